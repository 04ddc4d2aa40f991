"""What tests of networks share: images of noise, outputs, and which layer takes which."""

import keras
import numpy as np

TOLERANCE = 1e-4  # of two networks' logits, relative to the largest, in float32


def images(*shape, seed=3):
    """Normal noise of a shape, (batch, height, width, channels)."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def outputs(model, x, training=False):
    return keras.ops.convert_to_numpy(model(x, training=training))


def difference(ours, reference):
    """The largest difference, relative to the largest value of the reference."""
    assert ours.shape == reference.shape
    assert np.abs(reference).max() > 0.1, "nothing to compare"
    return float(np.abs(ours - reference).max() / np.abs(reference).max())


def source(layer):
    """The name of the layer whose output `layer` takes."""
    return layer.input._keras_history.operation.name


def layers(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]
