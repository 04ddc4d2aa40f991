"""Corruptions that change pixels where they are: noise, light, colour, JPEG, coarse pixels.

Every function takes uint8 images (n, height, width, 3), the constants of a severity and a random
generator, and returns floats on 0..255. Draws come in the order of the published code.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness", arXiv:1903.12261, and
their make_cifar_c.py and make_imagenet_c.py.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image


def gaussian_noise(images: np.ndarray, scale: float, random: Any) -> np.ndarray:
    """Normal noise of standard deviation `scale` (of images in [0, 1])."""
    x = images / 255.0
    return np.clip(x + random.normal(size=x.shape, scale=scale), 0, 1) * 255


def shot_noise(images: np.ndarray, photons: float, random: Any) -> np.ndarray:
    """Poisson noise, as of so many photons in a white pixel."""
    return np.clip(random.poisson(images / 255.0 * photons) / float(photons), 0, 1) * 255


def impulse_noise(images: np.ndarray, amount: float, random: Any) -> np.ndarray:
    """A share of the values become 0 or 255, as skimage's "s&p"."""
    x = images.astype(float)
    flipped = random.random(x.shape) <= amount
    salted = random.random(x.shape) <= 0.5
    x[flipped & salted] = 255
    x[flipped & ~salted] = 0
    return x


def speckle_noise(images: np.ndarray, scale: float, random: Any) -> np.ndarray:
    """Normal noise in proportion to the value."""
    x = images / 255.0
    return np.clip(x + x * random.normal(size=x.shape, scale=scale), 0, 1) * 255


def contrast(images: np.ndarray, factor: float, random: Any) -> np.ndarray:
    """Scale the distance from the mean colour of the image."""
    x = images / 255.0
    means = x.mean(axis=(1, 2), keepdims=True)
    return np.clip((x - means) * factor + means, 0, 1) * 255


def brightness(images: np.ndarray, amount: float, random: Any) -> np.ndarray:
    """Add to the value of HSV."""
    hue, saturation, value = _to_hsv(images / 255.0)
    return _to_rgb(hue, saturation, np.clip(value + amount, 0, 1)) * 255


def saturate(images: np.ndarray, constants: tuple[float, float], random: Any) -> np.ndarray:
    """Scale and shift the saturation of HSV."""
    factor, amount = constants
    hue, saturation, value = _to_hsv(images / 255.0)
    return _to_rgb(hue, np.clip(saturation * factor + amount, 0, 1), value) * 255


def jpeg_compression(images: np.ndarray, quality: int, random: Any) -> np.ndarray:
    """Write and read JPEG of a quality, by Pillow."""
    found = np.empty(images.shape, np.uint8)
    for position, image in enumerate(images):
        file = BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        found[position] = np.asarray(Image.open(file))
    return found.astype(float)


def pixelate(images: np.ndarray, factor: float, random: Any) -> np.ndarray:
    """Shrink by averaging and enlarge again by averaging, by Pillow."""
    height, width = images.shape[1:3]
    small = (int(width * factor), int(height * factor))
    found = np.empty(images.shape, np.uint8)
    for position, image in enumerate(images):
        shrunk = Image.fromarray(image).resize(small, Image.Resampling.BOX)
        found[position] = np.asarray(shrunk.resize((width, height), Image.Resampling.BOX))
    return found.astype(float)


def _to_hsv(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hue, saturation and value in [0, 1] of RGB in [0, 1]."""
    red, green, blue = np.moveaxis(x, -1, 0)
    value = x.max(axis=-1)
    spread = value - x.min(axis=-1)
    divisor = np.where(spread == 0, 1, spread)
    hue = np.where(red == value, (green - blue) / divisor, 0)
    hue = np.where(green == value, 2 + (blue - red) / divisor, hue)
    hue = np.where(blue == value, 4 + (red - green) / divisor, hue)
    hue = np.where(spread == 0, 0, hue / 6 % 1)
    return hue, spread / np.where(value == 0, 1, value), value


def _to_rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """RGB in [0, 1] of hue, saturation and value in [0, 1]."""
    sector = np.floor(hue * 6)
    rest = hue * 6 - sector
    low = value * (1 - saturation)
    falling = value * (1 - rest * saturation)
    rising = value * (1 - (1 - rest) * saturation)
    sector = sector.astype(int) % 6
    red = np.choose(sector, (value, falling, low, low, rising, value))
    green = np.choose(sector, (rising, value, value, falling, low, low))
    blue = np.choose(sector, (low, low, rising, value, value, falling))
    return np.stack([red, green, blue], axis=-1)
