"""A 3x3 convolution that computes its weight gradient as matrix products on small planes.

oneDNN's bfloat16 kernel for the weight gradient works along the rows of the planes. With AMX, a
row of 8 pixels fills a quarter of a tile, and a shorter row less. Here all planes are laid out as
one long row, with a row and a column of zeros between them. Each of the nine weights is then one
product with that row, shifted. With stride 2 oneDNN's kernel is slower still, on any CPU. Here the
nine pixels behind each output stand side by side, and one product gives all weights. Only the
training clone has this layer; its forward pass and its values are those of the stock layer.
"""

from typing import Any

import keras

# Where the products are faster (docs/performance.md): stride -> pairs of maximum output pixels and
# minimum channels. Stride 1 was measured on a Xeon with AMX.
WINS = {1: ((64, 128),), 2: ((64, 64), (256, 128))}


class ProductGradientConv2D(keras.layers.Conv2D):
    """keras.layers.Conv2D, 3x3, no bias, with its weight gradient as matrix products.

    For TensorFlow on CPUs; stride 1 with padding "same", or stride 2 with padding "valid". Keeps
    the stock gradient where that is faster, and for odd heights and widths with stride 2.
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
    """Whether `ProductGradientConv2D` can replace a layer."""
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
    weights_gradient = weight_gradient if stride == 1 else strided_weight_gradient

    @tf.custom_gradient
    def convolve(x: Any, weights: Any) -> Any:
        def gradient(upstream: Any) -> tuple[Any, Any]:
            images_gradient = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x),
                filter=weights,
                out_backprop=upstream,
                strides=[1, stride, stride, 1],
                padding=padding,
            )
            return images_gradient, weights_gradient(x, upstream)

        return tf.nn.conv2d(x, weights, stride, padding), gradient

    return convolve(images, tf.convert_to_tensor(kernel))


def weight_gradient(images: Any, upstream: Any) -> Any:
    """Compute the gradient of a 3x3 kernel, stride 1, "same" padding.

    Args:
        images: input of the convolution, (batch, height, width, channels).
        upstream: gradient of its output, (batch, height, width, filters), the same dtype.

    Returns:
        A tensor (3, 3, channels, filters) of that dtype.
    """
    import tensorflow as tf

    height, width, channels = images.shape[1:]
    filters = upstream.shape[-1]
    # A row and a column of zeros before each plane also end the plane before it.
    row = width + 1
    fence = [[0, 0], [1, 0], [1, 0], [0, 0]]
    pixels = tf.shape(images)[0] * (height + 1) * row
    # A shift by a row and a pixel, either way, must stay inside.
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
    """Compute the gradient of a 3x3 kernel, stride 2, no padding.

    Args:
        images: input of the convolution, (batch, height, width, channels), even height and width.
        upstream: gradient of its output, (batch, height / 2 - 1, width / 2 - 1, filters), the
            same dtype.

    Returns:
        A tensor (3, 3, channels, filters) of that dtype.
    """
    import tensorflow as tf

    height, width, channels = images.shape[1:]
    rows, columns, filters = upstream.shape[1:]
    # Slices with a stride are slow. Split into even and odd rows and columns, none needs one.
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
