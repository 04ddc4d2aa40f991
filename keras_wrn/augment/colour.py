"""Colour augmentation of ImageNet as Keras layers: jitter and lighting, drawn for each image.

Both work on pixels of 0 to 255 in float32 and do nothing outside training. As in the authors'
pipeline, what leaves the range 0 to 255 stays outside it.

Source: fb.resnet.torch, datasets/transforms.lua and datasets/imagenet.lua, with which the
paper's ImageNet networks were trained.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_wrn.errors import InputError

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # shares of red, green and blue in grey
BRIGHTNESS, CONTRAST, SATURATION = range(3)
# Principal axes of ImageNet's colours (columns) and the variance along them, on 0..1.
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045], np.float32)
EIGENVECTORS = np.array(
    [
        [-0.5675, 0.7192, 0.4009],
        [-0.5808, -0.0045, -0.8140],
        [-0.5836, -0.6948, 0.4203],
    ],
    np.float32,
)


@keras.saving.register_keras_serializable(package="keras_wrn")
class ColorJitter(keras.layers.Layer):
    """Change brightness, contrast and saturation of each image, in an order of its own.

    Each is a mixture `factor * image + (1 - factor) * other` with a factor drawn evenly from
    1 - amount to 1 + amount: brightness with black, contrast with the mean grey of the image as
    it then is, saturation with its grey version.

    Args:
        amount: largest distance of a factor from 1, above 0 and at most 1.
        seed: of the draws; an int repeats them.
        **options: of `keras.layers.Layer`.

    Input: (batch, height, width, 3), 0 to 255, any number type. Output: float32.

    Example:
        >>> images = keras.ops.full((2, 8, 8, 3), 100, "uint8")
        >>> tuple(ColorJitter(0.4, seed=1)(images, training=True).shape)
        (2, 8, 8, 3)
    """

    def __init__(self, amount: float = 0.4, seed: int | None = None, **options: Any) -> None:
        if not 0 < amount <= 1:
            raise InputError(f"`amount` must be above 0 and at most 1. Received: amount={amount}")
        super().__init__(**{"dtype": "float32", **options})
        self.amount = amount
        self.seed = seed
        self.draws = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Jitter each image."""
        images = ops.cast(images, "float32")
        if not training:
            return images
        count = ops.shape(images)[0]
        factors = keras.random.uniform(
            (count, 3), 1 - self.amount, 1 + self.amount, dtype="float32", seed=self.draws
        )
        # Three draws in the order of their size are a permutation, each as likely as another.
        order = ops.argsort(keras.random.uniform((count, 3), dtype="float32", seed=self.draws))
        return jitter(images, factors, order)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape that came in."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs to make this layer again."""
        return {**super().get_config(), "amount": self.amount, "seed": self.seed}


@keras.saving.register_keras_serializable(package="keras_wrn")
class Lighting(keras.layers.Layer):
    """Add one colour to each image, drawn along the principal axes of ImageNet's colours.

    Args:
        std: standard deviation of the draws, which the axes' variances multiply; above 0.
        seed: of the draws; an int repeats them.
        **options: of `keras.layers.Layer`.

    Input: (batch, height, width, 3), RGB of 0 to 255, any number type. Output: float32.

    Example:
        >>> images = keras.ops.full((2, 8, 8, 3), 100, "uint8")
        >>> tuple(Lighting(0.1, seed=1)(images, training=True).shape)
        (2, 8, 8, 3)

    Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural
    networks", section 4.1.
    """

    def __init__(self, std: float = 0.1, seed: int | None = None, **options: Any) -> None:
        if std <= 0:
            raise InputError(f"`std` must be above 0. Received: std={std}")
        super().__init__(**{"dtype": "float32", **options})
        self.std = std
        self.seed = seed
        self.draws = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Add a colour to each image."""
        images = ops.cast(images, "float32")
        if not training:
            return images
        shape = (ops.shape(images)[0], 3)
        alphas = keras.random.normal(shape, stddev=self.std, dtype="float32", seed=self.draws)
        return lit(images, alphas)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape that came in."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs to make this layer again."""
        return {**super().get_config(), "std": self.std, "seed": self.seed}


def jitter(images: Any, factors: Any, order: Any) -> Any:
    """What `ColorJitter` does for given draws.

    Args:
        images: float32 (batch, height, width, 3).
        factors: float32 (batch, 3), of brightness, contrast and saturation.
        order: integers (batch, 3): a permutation of 0, 1 and 2, the first is done first.
    """
    for turn in range(3):
        operation = order[:, turn, None, None, None]
        factor = ops.take_along_axis(factors, order[:, turn, None], axis=1)[:, :, None, None]
        grey = ops.sum(images * GREY, axis=-1, keepdims=True)
        mean_grey = ops.mean(grey, axis=(1, 2), keepdims=True)
        other = ops.where(operation == CONTRAST, mean_grey, grey)
        other = ops.where(operation == BRIGHTNESS, 0.0, other)
        images = factor * images + (1 - factor) * other
    return images


def lit(images: Any, alphas: Any) -> Any:
    """What `Lighting` does for given draws: float32 images, and alphas (batch, 3)."""
    colours = ops.matmul(alphas * EIGENVALUES, EIGENVECTORS.T) * 255
    return images + colours[:, None, None, :]
