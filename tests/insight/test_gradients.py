"""The gradient with respect to images, on the backend that runs the tests."""

import numpy as np
import pytest
from keras import ops

import keras_wrn
from keras_wrn.insight.gradients import gradient_function


@pytest.mark.parametrize("compiled", [True, False])
def test_the_gradient_of_a_known_function(compiled):
    gradient = gradient_function(lambda x, scale: ops.sum(x**3, axis=1) * scale, compiled=compiled)
    x = np.array([[1.0, 2.0], [3.0, -1.0]], "float32")
    losses, slopes = gradient(x, np.array([1.0, 2.0], "float32"))
    np.testing.assert_allclose(losses, [9, 52])
    np.testing.assert_allclose(slopes, [[3, 12], [54, 6]])
    assert losses.dtype == slopes.dtype == np.float32


def test_images_without_influence_have_gradient_zero():
    network = keras_wrn.WideResNet(10, 1, input_shape=(8, 8, 3))
    network.get_layer("predictions").kernel.assign(np.zeros((64, 10), "float32"))
    gradient = gradient_function(lambda x: ops.max(network(x, training=False), axis=1))
    _, slopes = gradient(np.ones((2, 8, 8, 3), "uint8"))
    assert slopes.shape == (2, 8, 8, 3)
    assert not slopes.any()


def test_the_gradient_of_a_network_is_its_slope():
    smooth = keras_wrn.Conventions(activation="silu")
    options = {"input_shape": (8, 8, 3), "classifier_activation": None, "conventions": smooth}
    network = keras_wrn.WideResNet(10, 1, **options)
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 8, 8, 3)).astype("float32")
    direction = random.normal(size=x.shape).astype("float32")
    gradient = gradient_function(lambda pixels: network(pixels, training=False)[:, 3])
    _, slopes = gradient(x)
    step = 1e-2
    forward, _ = gradient(x + step * direction)
    backward, _ = gradient(x - step * direction)
    found = np.sum(slopes * direction, axis=(1, 2, 3))
    np.testing.assert_allclose((forward - backward) / (2 * step), found, rtol=0.02)


def test_statistics_stay_as_they_are():
    network = keras_wrn.WideResNet(10, 1, input_shape=(8, 8, 3))
    before = network.get_weights()
    gradient_function(lambda x: network(x, training=False)[:, 0])(np.ones((1, 8, 8, 3), "uint8"))
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
