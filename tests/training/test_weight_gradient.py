"""The products compute the gradient that TensorFlow's own operation computes."""

import keras
import numpy as np
import pytest

from keras_wrn.applications.wide_resnet import WideResNet
from keras_wrn.training.clone import training_clone
from keras_wrn.training.weight_gradient import (
    ProductGradientConv2D,
    is_suitable,
    strided_weight_gradient,
    weight_gradient,
)

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="the gradient is TensorFlow's"
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    ("stride", "shape"),
    [(1, shape) for shape in [(3, 5, 4, 6, 7), (2, 1, 1, 3, 2), (1, 8, 8, 16, 8)]]
    + [(2, shape) for shape in [(3, 6, 4, 6, 7), (2, 4, 4, 3, 2), (1, 18, 10, 16, 8)]],
)
def test_it_is_the_gradient(stride, shape):
    import tensorflow as tf

    count, height, width, channels, filters = shape
    images = normal(count, height, width, channels)
    rows, columns = (height, width) if stride == 1 else (height // 2 - 1, width // 2 - 1)
    upstream = normal(count, rows, columns, filters, seed=1)
    expected = tf.raw_ops.Conv2DBackpropFilter(
        input=images,
        filter_sizes=[3, 3, channels, filters],
        out_backprop=upstream,
        strides=[1, stride, stride, 1],
        padding="SAME" if stride == 1 else "VALID",
    )
    gradient = weight_gradient if stride == 1 else strided_weight_gradient
    got = gradient(tf.constant(images), tf.constant(upstream))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("side", "stride", "precision", "tolerance", "expected"),
    # bfloat16 has 8 bits: what the two round last may differ in the last of them.
    [
        (6, 1, "float32", 1e-4, 1),
        (9, 1, "float32", 1e-4, 0),  # the products are for small planes
        (8, 1, "mixed_bfloat16", 2**-8, 1),
        (18, 2, "float32", 1e-4, 1),
        (17, 2, "float32", 1e-4, 0),
        (36, 2, "float32", 1e-4, 0),
        (10, 2, "mixed_bfloat16", 2**-8, 1),
    ],
)
def test_a_layer_learns_as_the_stock_layer_does(
    side, stride, precision, tolerance, expected, monkeypatch
):
    import tensorflow as tf

    from keras_wrn.training import weight_gradient as module

    calls, name = [], "weight_gradient" if stride == 1 else "strided_weight_gradient"
    ours = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *of: calls.append(1) or ours(*of))
    images, gradients = tf.constant(normal(4, side, side, 128)), []
    for kind in (keras.layers.Conv2D, ProductGradientConv2D):
        padding = "same" if stride == 1 else "valid"
        layer = kind(128, 3, stride, padding=padding, use_bias=False, dtype=precision)
        layer.build(images.shape)
        layer.set_weights([normal(3, 3, 128, 128, seed=2) / 34])

        @tf.function
        def step(layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(images)
                loss = tf.reduce_sum(tf.square(tf.cast(layer(images), tf.float32)))
            return tape.gradient(loss, [images, layer.kernel.value])

        gradients.append(step())
    assert len(calls) == expected
    for stock, flat in zip(*gradients, strict=True):
        assert flat.dtype == stock.dtype == tf.float32
        np.testing.assert_allclose(
            flat, stock, rtol=tolerance, atol=tolerance * np.abs(stock).max()
        )


def test_only_the_bfloat16_clone_has_it_and_only_where_it_fits():
    network = WideResNet(10, 2, input_shape=(16, 16, 3))
    suitable = [layer.name for layer in network.layers if is_suitable(layer)]
    assert "group1_block1_conv1" in suitable
    assert "group1_block1_proj" not in suitable  # 1x1
    assert "group2_block1_conv1" in suitable  # strided
    for precision, expected in (("mixed_bfloat16", suitable), ("float32", [])):
        clone = training_clone(network, precision=precision)
        flat = [layer.name for layer in clone.layers if isinstance(layer, ProductGradientConv2D)]
        assert flat == expected
