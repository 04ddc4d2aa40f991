"""A 3x3 convolution whose weight gradient on small planes is matrix products.

oneDNN's bfloat16 kernel for the gradient of the weights runs along the rows of the planes. With AMX
it leaves three quarters of each tile empty where a row has 8 pixels, and more where it has 6
or 4. Here the planes of all images stand in one long row instead, with a row and a column of
zeros between them, and each of the nine weights is one product with that row moved by as many
pixels. With stride 2 that kernel is slower still, on any CPU; there the nine pixels that each
result has seen stand side by side, and one product has all weights. It lives only in the clone
that `train` steps; forward pass and values are the same.
"""

from typing import Any

import keras

# Where the products win (docs/performance.md); elsewhere they lose. Stride -> pixels of the result
# at most, and channels at least. With stride 1 that is a Xeon with AMX.
WINS = {1: ((64, 128),), 2: ((64, 64), (256, 128))}


class ProductGradientConv2D(keras.layers.Conv2D):
    """keras.layers.Conv2D, 3x3, no bias, with another weight gradient.

    Stride 1 and padding "same", or stride 2 and padding "valid". TensorFlow on CPUs; takes the
    stock gradient where the planes are larger or the channels fewer than where it gains, and with
    stride 2 where the height or width is odd.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve (batch, height, width, channels) with a kernel (3, 3, channels, filters)."""
        (height, width, channels), stride = inputs.shape[1:], self.strides[0]
        if not height or not width or height % stride or width % stride:
            return super().convolution_op(inputs, kernel)
        pixels = height * width if stride == 1 else (height // 2 - 1) * (width // 2 - 1)
        fewest = min(channels, self.filters)
        if not any(pixels <= most and fewest >= least for most, least in WINS[stride]):
            return super().convolution_op(inputs, kernel)
        return _convolve(inputs, kernel, stride)


def is_suitable(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a convolution that `ProductGradientConv2D` can stand for."""
    return (
        type(layer) is keras.layers.Conv2D
        and layer.kernel_size == (3, 3)
        and (layer.strides, layer.padding) in (((1, 1), "same"), ((2, 2), "valid"))
        and layer.dilation_rate == (1, 1)
        and layer.data_format == "channels_last"
        and layer.groups == 1
        and not layer.use_bias
    )


def _convolve(images: Any, kernel: Any, stride: int) -> Any:
    import tensorflow as tf

    padding = "SAME" if stride == 1 else "VALID"
    of_weights = weight_gradient if stride == 1 else strided_weight_gradient

    @tf.custom_gradient
    def convolve(x: Any, weights: Any) -> Any:
        def gradient(upstream: Any) -> tuple[Any, Any]:
            of_images = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x),
                filter=weights,
                out_backprop=upstream,
                strides=[1, stride, stride, 1],
                padding=padding,
            )
            return of_images, of_weights(x, upstream)

        return tf.nn.conv2d(x, weights, stride, padding), gradient

    return convolve(images, tf.convert_to_tensor(kernel))


def weight_gradient(images: Any, upstream: Any) -> Any:
    """The gradient of a 3x3 kernel, stride 1, "same" padding.

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


def strided_weight_gradient(images: Any, upstream: Any) -> Any:
    """The gradient of a 3x3 kernel, stride 2, no padding.

    Args:
        images: what was convolved, (batch, height, width, channels); height and width are even.
        upstream: the gradient of the result, (batch, height / 2 - 1, width / 2 - 1, filters), the
            same dtype.

    Returns:
        A tensor (3, 3, channels, filters) of that dtype.
    """
    import tensorflow as tf

    height, width, channels = images.shape[1:]
    rows, columns, filters = upstream.shape[1:]
    # Slices with a stride are slow, and those of even and odd rows and columns have none.
    parted = tf.reshape(images, (-1, height // 2, 2, width // 2, 2, channels))
    seen = [
        parted[
            :, down // 2 : down // 2 + rows, down % 2, right // 2 : right // 2 + columns, right % 2
        ]
        for down in range(3)
        for right in range(3)
    ]
    every = tf.reshape(tf.concat(seen, -1), (-1, 9 * channels))
    product = tf.matmul(every, tf.reshape(upstream, (-1, filters)), transpose_a=True)
    return tf.reshape(product, (3, 3, channels, filters))
