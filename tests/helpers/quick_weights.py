"""Weights for tests that need none, or random ones, at once.

JAX compiles an initialiser for each shape of kernel, which takes longer than the tests do.
"""

import contextlib

import keras
import numpy as np
import pytest
from reference_network import random_weights


@pytest.fixture
def zero_kernels():
    """Let kernels start at zero, which nothing has to be compiled for."""
    with zeros_to_start_with():
        yield


@contextlib.contextmanager
def zeros_to_start_with():
    """What is built here has kernels of zeros."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            keras.initializers.VarianceScaling,
            "__call__",
            lambda self, shape, dtype=None, **_: np.zeros(shape, dtype),
        )
        yield


def give_random_weights(model, seed=0):
    """Overwrite every weight of `model`; returns them by layer name."""
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    weights = random_weights(
        {name: [tuple(v.shape) for v in layer.weights] for name, layer in layers.items()}, seed
    )
    for name, values in weights.items():
        layers[name].set_weights(values)
    return weights
