"""Whitening applied: operations of any Keras backend, and the layer made of them."""

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
    """Whiten a tensor of images, with operations of any Keras backend.

    Args:
        images: values on 0..255, (batch, height, width, channels), any number type.
        mean: as `Whitening.mean`.
        matrix: as `Whitening.matrix`.
        scale: as `Whitening.scale`.

    Returns:
        float32 of the same shape. GPUs that multiply in TF32, which TensorFlow and JAX let them,
        come within 0.15 % (root mean square, computed for CIFAR-10, not measured).
    """
    numbers = matrix.shape[0]
    flat = ops.reshape(ops.cast(images, "float32"), (-1, numbers))
    flat = flat - ops.mean(flat, axis=1, keepdims=True)
    norm = ops.sqrt(ops.sum(ops.square(flat), axis=1, keepdims=True))
    flat = flat / ops.where(norm < FLAT, 1.0, norm / scale)
    flat = ops.matmul(flat - ops.reshape(mean, (1, numbers)), matrix)
    return ops.reshape(flat, (-1, *images.shape[1:]))


def whitened(images: Any, whitening: Whitening) -> Any:
    """Whiten images: NumPy in, NumPy out, a few hundred at a time; a tensor gives a tensor.

    Raises:
        InputError: images of another shape than those that were measured.
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
    """Refuse images, (n, height, width, channels), that a whitening was not fitted to."""
    if len(shape) != 4 or tuple(shape[1:]) != whitening.shape:
        wanted = ", ".join(str(side) for side in whitening.shape)
        raise InputError(
            f"Images that are whitened must have the shape (n, {wanted}) that their whitening was "
            f"fitted to. Received: shape {tuple(shape)}."
        )


@keras.saving.register_keras_serializable(package="keras_wrn")
class Whiten(keras.layers.Layer):
    """`whiten` as a layer that keeps mean and matrix as weights that are not trained.

    Args:
        scale: the norm that each image is brought to.
        **options: of `keras.layers.Layer`.

    Input: values on 0..255, (batch, height, width, channels). Output: float32 of that shape.

    Example:
        >>> from keras_wrn.images.whitening import fit_whitening
        >>> images = np.random.default_rng(1).integers(0, 256, (100, 8, 8, 3), np.uint8)
        >>> keras.backend.standardize_dtype(Whiten.of(fit_whitening(images))(images).dtype)
        'float32'
    """

    def __init__(self, scale: float = SCALE, **options: Any) -> None:
        # A float32 layer in programs of any precision: rounded images are other images.
        super().__init__(**{"dtype": "float32", "trainable": False, **options})
        self.scale = scale

    @classmethod
    def of(cls, whitening: Whitening, name: str = "whitening") -> Whiten:
        """The layer that does what was measured."""
        layer = cls(whitening.scale, name=name)
        layer.build((None, *whitening.shape))
        layer.mean.assign(whitening.mean)
        layer.matrix.assign(whitening.matrix)
        return layer

    def build(self, input_shape: Any) -> None:
        """Make mean and matrix; until they are set, contrast is all that is normalised."""
        shape = tuple(input_shape[1:])
        numbers = int(np.prod(shape))
        self.mean = self.add_weight(shape=shape, initializer="zeros", name="mean")
        self.matrix = self.add_weight(
            shape=(numbers, numbers), initializer="identity", name="matrix"
        )
        self.input_spec = keras.layers.InputSpec(shape=(None, *shape))

    def call(self, images: Any) -> Any:
        """Whiten."""
        return whiten(images, self.mean, self.matrix, self.scale)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape stays."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What makes the layer again; its numbers are weights."""
        return {**super().get_config(), "scale": self.scale}
