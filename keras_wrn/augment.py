"""Augmentation as Keras layers on uint8 images, inside the training step.

Images stay uint8 until they are on the device: a quarter of the bytes to ship, and the
same code for every backend. Every layer draws anew for each image of a batch (Keras' own
RandomCrop draws one window for all of them) and does nothing outside training.
"""

from typing import Any

import keras
from keras import ops

from keras_wrn.errors import InputError


@keras.saving.register_keras_serializable(package="keras_wrn")
class RandomCropFlip(keras.layers.Layer):
    """Reflect-pad, crop back to the old size at a random place, and mirror half of the images.

    The padded image is never made: the window's rows and columns are gathered from the image,
    with the reflection folded into the indices (the edge pixel is not repeated).

    Args:
        pad: pixels added on each side before cropping, >= 0 and below height and width.
        flip: whether to mirror left to right with probability 1/2.
        seed: of the draws; an int repeats them.
        **options: of `keras.layers.Layer`.

    Input and output: (batch, height, width, channels), any dtype, kept as it is. The layer
    does nothing when called with `training=False`.

    Example:
        >>> images = keras.ops.zeros((2, 32, 32, 3), "uint8")
        >>> RandomCropFlip(pad=4, seed=1)(images, training=True).shape
        TensorShape([2, 32, 32, 3])

    Source: section 3 of the paper: "horizontal flips and random crops from image padded by 4
    pixels on each side, filling missing pixels with reflections of original image".
    """

    def __init__(
        self, pad: int = 4, flip: bool = True, seed: int | None = None, **options: Any
    ) -> None:
        if pad < 0:
            raise InputError(f"`pad` must be 0 pixels or more. Received: pad={pad}")
        # The layer moves pixels, it does not compute: no policy may cast them.
        super().__init__(**{"autocast": False, **options})
        self.pad = pad
        self.flip = flip
        self.seed = seed
        self.draws = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Crop and mirror, one draw an image."""
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
        return _take(_take(images, rows, axis=1), columns, axis=2)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape that came in."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs to make this layer again."""
        return {**super().get_config(), "pad": self.pad, "flip": self.flip, "seed": self.seed}


def _reflect(indices: Any, size: int) -> Any:
    """Fold indices of a reflect-padded axis back into 0..size-1."""
    indices = ops.abs(indices)
    return (size - 1) - ops.abs((size - 1) - indices)


def _take(images: Any, indices: Any, axis: int) -> Any:
    """Take rows (axis 1) or columns (axis 2) of each image: indices (batch, taken)."""
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        # TensorFlow's batched gather copies rows whole; ops.take_along_axis would copy single
        # pixels through an index tensor as large as the images, 6 times slower.
        return tf.gather(images, indices, axis=axis, batch_dims=1)
    shaped = indices[:, :, None, None] if axis == 1 else indices[:, None, :, None]
    return ops.take_along_axis(images, shaped, axis=axis)
