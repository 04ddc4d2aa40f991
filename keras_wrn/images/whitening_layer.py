"""Whiten images: a function on every Keras backend, and a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_wrn.errors import InputError
from keras_wrn.images.whitening import FLAT, SCALE, Whitening

_WHITENED_AT_ONCE = 500  # images


def whiten(images: Any, mean: Any, matrix: Any, scale: float) -> Any:
    """Whiten a tensor of images, on any Keras backend.

    Args:
        images: values on 0..255, (batch, height, width, channels), any number type.
        mean: `Whitening.mean`.
        matrix: `Whitening.matrix`.
        scale: `Whitening.scale`.

    Returns:
        float32 of the same shape. On GPUs, TensorFlow and JAX may multiply in TF32; the error is
        then 0.15 % (root mean square, computed for CIFAR-10, not measured).
    """
    values = matrix.shape[0]
    flat = ops.reshape(ops.cast(images, "float32"), (-1, values))
    flat = flat - ops.mean(flat, axis=1, keepdims=True)
    norm = ops.sqrt(ops.sum(ops.square(flat), axis=1, keepdims=True))
    flat = flat / ops.where(norm < FLAT, 1.0, norm / scale)
    flat = ops.matmul(flat - ops.reshape(mean, (1, values)), matrix)
    return ops.reshape(flat, (-1, *images.shape[1:]))


def whitened(images: Any, whitening: Whitening) -> Any:
    """Whiten images, (n, height, width, channels): a NumPy array in parts, or a tensor.

    Returns:
        float32 of the same shape, NumPy for NumPy.

    Raises:
        InputError: images of another shape than the whitening was fitted to.
    """
    check_shape(images.shape, whitening)
    mean, matrix = whitening.mean, whitening.matrix
    if not isinstance(images, np.ndarray):
        return whiten(images, mean, matrix, whitening.scale)
    mean, matrix = ops.convert_to_tensor(mean), ops.convert_to_tensor(matrix)
    result = np.empty(images.shape, np.float32)
    for start in range(0, len(images), _WHITENED_AT_ONCE):
        part = ops.convert_to_tensor(images[start : start + _WHITENED_AT_ONCE], "float32")
        result[start : start + _WHITENED_AT_ONCE] = ops.convert_to_numpy(
            whiten(part, mean, matrix, whitening.scale)
        )
    return result


def check_shape(shape: Sequence[int | None], whitening: Whitening) -> None:
    """Raise InputError if images (n, height, width, channels) do not fit a whitening."""
    if len(shape) != 4 or tuple(shape[1:]) != whitening.shape:
        wanted = ", ".join(str(side) for side in whitening.shape)
        raise InputError(
            f"Images must have the shape (n, {wanted}) that their whitening was fitted to. "
            f"Received: shape {tuple(shape)}."
        )


@keras.saving.register_keras_serializable(package="keras_wrn")
class Whiten(keras.layers.Layer):
    """Whiten images, with mean and matrix as weights that are not trained.

    Args:
        scale: the norm of each image after contrast normalisation.
        **options: of `keras.layers.Layer`.

    Input: values on 0..255, (batch, height, width, channels). Output: float32 of that shape.

    Example:
        >>> from keras_wrn.images.whitening import fit_whitening
        >>> images = np.random.default_rng(1).integers(0, 256, (100, 8, 8, 3), np.uint8)
        >>> layer = Whiten.from_whitening(fit_whitening(images))
        >>> keras.backend.standardize_dtype(layer(images).dtype)
        'float32'
    """

    def __init__(self, scale: float = SCALE, **options: Any) -> None:
        # float32 under every dtype policy: rounding to 16 bits would change the images.
        super().__init__(**{"dtype": "float32", "trainable": False, **options})
        self.scale = scale

    @classmethod
    def from_whitening(cls, whitening: Whitening, name: str = "whitening") -> Whiten:
        """Make the layer of a fitted whitening."""
        layer = cls(whitening.scale, name=name)
        layer.build((None, *whitening.shape))
        layer.mean.assign(whitening.mean)
        layer.matrix.assign(whitening.matrix)
        return layer

    def build(self, input_shape: Any) -> None:
        """Make mean and matrix; with their initial values only contrast is normalised."""
        shape = tuple(input_shape[1:])
        values = int(np.prod(shape))
        self.mean = self.add_weight(shape=shape, initializer="zeros", name="mean")
        self.matrix = self.add_weight(shape=(values, values), initializer="identity", name="matrix")
        self.input_spec = keras.layers.InputSpec(shape=(None, *shape))

    def call(self, images: Any) -> Any:
        """Whiten."""
        return whiten(images, self.mean, self.matrix, self.scale)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the layer; mean and matrix are weights."""
        return {**super().get_config(), "scale": self.scale}
