"""A 3x3 convolution whose weight gradient on small planes is nine matrix products.

oneDNN's bfloat16 kernel for the gradient of the weights runs along the rows of the planes. With AMX
it leaves three quarters of each tile empty where a row has 8 pixels, and more where it has 6
or 4. Here the planes of all images stand in one long row instead, with a row and a column of
zeros between them, and each of the nine weights is one product with that row moved by as many
pixels. It lives only in the clone that `train` steps; forward pass and values are the same.
"""

from typing import Any

import keras

# Where the products win, measured on a Xeon with AMX (docs/performance.md); elsewhere they lose.
LARGEST_PLANE = 64  # pixels
FEWEST_CHANNELS = 128


class FlatGradientConv2D(keras.layers.Conv2D):
    """keras.layers.Conv2D, 3x3, stride 1, "same", no bias, with another weight gradient.

    TensorFlow on CPUs; takes the stock gradient where the planes are larger or the channels
    fewer than where it gains.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve (batch, height, width, channels) with a kernel (3, 3, channels, filters)."""
        height, width, channels = inputs.shape[1:]
        small = height and width and height * width <= LARGEST_PLANE
        if not small or min(channels, self.filters) < FEWEST_CHANNELS:
            return super().convolution_op(inputs, kernel)
        return _convolve(inputs, kernel)


def is_suitable(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a convolution that `FlatGradientConv2D` can stand for."""
    return (
        type(layer) is keras.layers.Conv2D
        and layer.kernel_size == (3, 3)
        and layer.strides == (1, 1)
        and layer.dilation_rate == (1, 1)
        and layer.padding == "same"
        and layer.data_format == "channels_last"
        and layer.groups == 1
        and not layer.use_bias
    )


def _convolve(images: Any, kernel: Any) -> Any:
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(x: Any, weights: Any) -> Any:
        def gradient(upstream: Any) -> tuple[Any, Any]:
            of_images = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x),
                filter=weights,
                out_backprop=upstream,
                strides=[1, 1, 1, 1],
                padding="SAME",
            )
            return of_images, weight_gradient(x, upstream)

        return tf.nn.conv2d(x, weights, 1, "SAME"), gradient

    return convolve(images, tf.convert_to_tensor(kernel))


def weight_gradient(images: Any, upstream: Any) -> Any:
    """The gradient of a 3x3 kernel, "same" padding.

    Args:
        images: what was convolved, (batch, height, width, channels).
        upstream: the gradient of the result, (batch, height, width, filters), the same dtype.

    Returns:
        A tensor (3, 3, channels, filters) of that dtype.
    """
    import tensorflow as tf

    height, width, channels = images.shape[1:]
    filters = upstream.shape[-1]
    # One row and one column of zeros in front of each plane end the one before it as well.
    row = width + 1
    fence = [[0, 0], [1, 0], [1, 0], [0, 0]]
    pixels = tf.shape(images)[0] * (height + 1) * row
    # So that a move of a row and a pixel either way stays inside.
    margin = [[row + 1, row + 1], [0, 0]]
    flat = tf.pad(tf.reshape(tf.pad(images, fence), (pixels, channels)), margin)
    across = tf.transpose(tf.reshape(tf.pad(upstream, fence), (pixels, filters)))
    products = [
        tf.matmul(across, tf.slice(flat, (down * row + right, 0), (pixels, channels)))
        for down in range(3)
        for right in range(3)
    ]
    together = tf.transpose(tf.stack(products), (0, 2, 1))
    return tf.reshape(together, (3, 3, channels, filters))
