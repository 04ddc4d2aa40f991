"""What the tests of conversion share: small weights, files of them, and the check of outputs."""

import os

import keras
import numpy as np
from foreign_networks import network_shapes
from model_parts import TOLERANCE, difference, outputs
from reference_network import random_weights
from torch_writer import write_zip

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
CONSTANTS = {
    name: np.float32(values).reshape(3, 1, 1)
    for name, values in (("mean", MEAN), ("std", STD), ("mu", MEAN), ("sigma", STD))
}


def images(size=(32, 32), count=2):
    return np.random.default_rng(5).uniform(size=(count, *size, 3)).astype(np.float32)


def small_weights(depth=16, width=2, classes=10, seed=0):
    return random_weights(network_shapes(depth, width, classes), seed)


def write_npz(path, tensors):
    np.savez(path, **tensors)
    return path


def write_pth(path, tensors):
    write_zip(path, {"state_dict": {f"module.{k}": v for k, v in tensors.items()}, "epoch": 200})
    return path


def compare(model, reference, x=None):
    """Check the outputs of a model, and print the difference under the name of the test."""
    figure = difference(outputs(model, images() if x is None else x), reference)
    test = os.environ["PYTEST_CURRENT_TEST"].rpartition("::")[2].removesuffix(" (call)")
    print(f"{keras.config.backend()} {test}: {figure:.2e}")
    assert figure < TOLERANCE
