"""ImageNet's colour augmentation as Keras layers: jitter and lighting, drawn for each image.

Both layers work in float32 and do nothing outside training. As in the authors' pipeline, values
outside 0 to 255 are not clipped.

Source: fb.resnet.torch, datasets/transforms.lua and datasets/imagenet.lua, which trained the
paper's ImageNet networks.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_wrn.errors import InputError

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # weights of red, green and blue
BRIGHTNESS, CONTRAST, SATURATION = range(3)
# Principal axes of ImageNet's colours (columns) and their variances, for pixels on 0..1.
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
    """Change brightness, contrast and saturation of each image, in a random order.

    Each change is `factor * image + (1 - factor) * other`, with a factor drawn uniformly from
    1 - amount to 1 + amount. `other` is black for brightness, the mean grey of the image for
    contrast, and the image in grey for saturation.

    Args:
        amount: largest distance of a factor from 1, above 0 and at most 1.
        seed: of the draws; an int repeats them.
        **options: of `keras.layers.Layer`.

    Input: RGB (batch, height, width, 3), 0 to 255, any number type. Output: float32, same shape.

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
        # The order of three uniform draws is a uniform permutation.
        order = ops.argsort(keras.random.uniform((count, 3), dtype="float32", seed=self.draws))
        return jitter(images, factors, order)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the layer."""
        return {**super().get_config(), "amount": self.amount, "seed": self.seed}


@keras.saving.register_keras_serializable(package="keras_wrn")
class Lighting(keras.layers.Layer):
    """Add a colour to each image, drawn along the principal axes of ImageNet's colours.

    Args:
        std: standard deviation of the draws, which are multiplied by the axes' variances; above 0.
        seed: of the draws; an int repeats them.
        **options: of `keras.layers.Layer`.

    Input: RGB (batch, height, width, 3), 0 to 255, any number type. Output: float32, same shape.

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

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the layer."""
        return {**super().get_config(), "std": self.std, "seed": self.seed}


def jitter(images: Any, factors: Any, order: Any) -> Any:
    """Apply `ColorJitter` with given draws.

    Args:
        images: float32 (batch, height, width, 3).
        factors: float32 (batch, 3), of brightness, contrast and saturation.
        order: integers (batch, 3), permutations of 0, 1 and 2 from the first change to the last.
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
    """Apply `Lighting` with given draws: float32 images, and alphas (batch, 3)."""
    colours = ops.matmul(alphas * EIGENVALUES, EIGENVECTORS.T) * 255
    return images + colours[:, None, None, :]
