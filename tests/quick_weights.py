"""Weights for tests that need none, or random ones, at once.

JAX compiles an initialiser for each shape of kernel, which takes longer than the tests do.
"""

import keras
import numpy as np
import pytest
from reference_network import random_weights


@pytest.fixture
def zero_kernels(monkeypatch):
    """Let kernels start at zero, which nothing has to be compiled for."""
    monkeypatch.setattr(
        keras.initializers.VarianceScaling,
        "__call__",
        lambda self, shape, dtype=None, **_: np.zeros(shape, dtype),
    )


def give_random_weights(model, seed=0):
    """Overwrite every weight of `model`; returns them by layer name."""
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    weights = random_weights(
        {name: [tuple(v.shape) for v in layer.weights] for name, layer in layers.items()}, seed
    )
    for name, values in weights.items():
        layers[name].set_weights(values)
    return weights
