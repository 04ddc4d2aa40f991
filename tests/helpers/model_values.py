"""The weights of a model as a file of layer/variable names has them."""

import keras
import numpy as np
from quick_weights import give_random_weights


def values(model):
    return {
        f"{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
        for layer in model.layers
        for variable in layer.weights
    }


def with_random_weights(model):
    """The model, with weights and statistics that differ everywhere."""
    give_random_weights(model)
    return model


def equal(ours, theirs, tolerance=0.0):
    assert ours.keys() == theirs.keys()
    for name in ours:
        # The smallest numbers have fewer digits in float16.
        near = {"rtol": tolerance, "atol": tolerance / 1000}
        np.testing.assert_allclose(ours[name], theirs[name], **near, err_msg=name)
