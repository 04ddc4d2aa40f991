"""Geometric augmentation as Keras layers: crop, flip and cutout, drawn for each image.

The layers run inside the training step, on every backend, and do nothing outside training. Keras'
own RandomCrop draws one window for a whole batch.
"""

from typing import Any

import keras
from keras import ops

from keras_wrn.errors import InputError


@keras.saving.register_keras_serializable(package="keras_wrn")
class RandomCropFlip(keras.layers.Layer):
    """Pad by reflection, crop a random window of the old size, and mirror half of the images.

    The edge pixel is not repeated. The padded image is never made: rows and columns of the window
    are gathered from the image, with reflected indices.

    Args:
        pad: pixels added on each side before cropping, >= 0 and below height and width.
        flip: mirror left to right with probability 1/2.
        seed: of the draws; an int repeats them.
        **options: of `keras.layers.Layer`.

    Input and output: (batch, height, width, channels), any dtype, which is kept.

    Example:
        >>> images = keras.ops.zeros((2, 32, 32, 3), "uint8")
        >>> tuple(RandomCropFlip(pad=4, seed=1)(images, training=True).shape)
        (2, 32, 32, 3)

    Source: section 3 of the paper: "horizontal flips and random crops from image padded by 4
    pixels on each side, filling missing pixels with reflections of original image".
    """

    def __init__(
        self, pad: int = 4, flip: bool = True, seed: int | None = None, **options: Any
    ) -> None:
        if pad < 0:
            raise InputError(f"`pad` must be 0 pixels or more. Received: pad={pad}")
        # The layer only moves pixels: no dtype policy may cast them.
        super().__init__(**{"autocast": False, **options})
        self.pad = pad
        self.flip = flip
        self.seed = seed
        self.draws = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Raise InputError for images that are too small to be reflected."""
        sides = [side for side in input_shape[1:3] if side is not None]
        if any(self.pad >= side for side in sides):
            raise InputError(
                "`pad` must be below the height and width of the images, which are reflected. "
                f"Received: pad={self.pad} for images of {sides[0]}x{sides[-1]} pixels."
            )
        super().build(input_shape)

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Crop and mirror each image."""
        if not training:
            return images
        shape = ops.shape(images)
        count, height, width = shape[0], images.shape[1], images.shape[2]
        draws = ops.floor(
            keras.random.uniform((3, count, 1), dtype="float32", seed=self.draws)
            * ops.convert_to_tensor([[[2 * self.pad + 1.0]], [[2 * self.pad + 1.0]], [[2.0]]])
        )
        draws = ops.cast(draws, "int32")
        rows = _reflect(ops.arange(height)[None, :] + draws[0] - self.pad, height)
        columns = ops.arange(width)[None, :]
        if self.flip:
            columns = ops.where(draws[2] == 1, width - 1 - columns, columns)
        columns = _reflect(columns + draws[1] - self.pad, width)
        return _take(images, rows, columns)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the layer."""
        return {**super().get_config(), "pad": self.pad, "flip": self.flip, "seed": self.seed}


@keras.saving.register_keras_serializable(package="keras_wrn")
class Cutout(keras.layers.Layer):
    """Set a square of each normalised image to 0, the data set's mean.

    The square's centre is anywhere in the image, so part of the square may lie outside.

    Args:
        size: side of the square in pixels, >= 1.
        seed: of the draws; an int repeats them.
        **options: of `keras.layers.Layer`.

    Input and output: float (batch, height, width, channels).

    Example:
        >>> cut = Cutout(8, seed=1)(keras.ops.ones((2, 32, 32, 3)), training=True)
        >>> float(keras.ops.min(cut)), float(keras.ops.max(cut))
        (0.0, 1.0)

    Source: DeVries & Taylor 2017, arXiv:1708.04552, section 3.
    """

    def __init__(self, size: int = 16, seed: int | None = None, **options: Any) -> None:
        if size < 1:
            raise InputError(f"`size` must be 1 pixel or more. Received: size={size}")
        super().__init__(**options)
        self.size = size
        self.seed = seed
        self.draws = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Cut a square out of each image."""
        if not training:
            return images
        count, height, width = ops.shape(images)[0], images.shape[1], images.shape[2]
        centres = keras.random.uniform((2, count, 1), dtype="float32", seed=self.draws)
        rows = self._inside(centres[0], height)
        columns = self._inside(centres[1], width)
        kept = 1.0 - rows[:, :, None, None] * columns[:, None, :, None]
        return images * ops.cast(kept, images.dtype)

    def _inside(self, centres: Any, length: int) -> Any:
        """1.0 for rows or columns inside the square, 0.0 for the others: (batch, length)."""
        first = ops.floor(centres * length) - self.size // 2
        indices = ops.arange(length, dtype="float32")[None, :]
        return ops.cast((indices >= first) & (indices < first + self.size), "float32")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the layer."""
        return {**super().get_config(), "size": self.size, "seed": self.seed}


def _reflect(indices: Any, size: int) -> Any:
    """Map indices of an axis padded by reflection to 0..size-1."""
    indices = ops.abs(indices)
    return (size - 1) - ops.abs((size - 1) - indices)


def _take(images: Any, rows: Any, columns: Any) -> Any:
    """Gather rows and columns, (batch, rows) and (batch, columns), of each image."""
    count, height, width, channels = ops.shape(images)
    first = ops.arange(count)[:, None] * height
    indices = (first + rows)[:, :, None] * width + columns[:, None, :]
    pixels = ops.reshape(images, (-1, channels))
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return tf.gather(pixels, indices)  # ops.take looks for negative indices first
    return ops.take(pixels, indices, axis=0)
