"""Corruptions that lay something over an image: fog, frost, snow.

Every function takes uint8 images (n, height, width, 3), the constants of a severity and a random
generator, and returns floats on 0..255. Draws come in the order of the published code.

Source: Hendrycks & Dietterich, arXiv:1903.12261, and their make_cifar_c.py. Differs: frost is
grown by random numbers, with the colours and contrasts of their five photographs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_wrn.insight.corruptions_blur import clipped_zoom, smear

GREY = np.array([0.299, 0.587, 0.114])  # of red, green, blue, as OpenCV has it
# Mean and standard deviation of red, green and blue in each of the published photographs, and
# the share of the deviation that is left when they are shrunk to a fifth, as for 32 pixels.
FROSTS = np.array(
    [
        [[78, 149, 166], [27, 16, 15]],
        [[201, 205, 214], [21, 22, 23]],
        [[201, 205, 214], [21, 22, 23]],
        [[138, 153, 165], [28, 28, 30]],
        [[112, 123, 135], [44, 43, 42]],
    ],
    float,
)
SHRUNK = 0.84


def fog(images: np.ndarray, constants: tuple[float, float], random: Any) -> np.ndarray:
    """Add a plasma fractal (strength, how fast its roughness decays)."""
    strength, decay = constants
    height, width = images.shape[1:3]
    x = images / 255.0
    brightest = x.max(axis=(1, 2, 3), keepdims=True)
    side = 1 << (max(height, width) - 1).bit_length()
    plasma = _plasma(len(images), side, decay, random)[:, :height, :width, None]
    return np.clip((x + strength * plasma) * brightest / (brightest + strength), 0, 1) * 255


def frost(images: np.ndarray, constants: tuple[float, float], random: Any) -> np.ndarray:
    """Mix in a picture of ice (weights of the image and of the ice)."""
    own, ice = constants
    n, height, width, _ = images.shape
    return np.clip(own * images + ice * _ice(n, height, width, random), 0, 255)


def snow(images: np.ndarray, constants: tuple[float, ...], random: Any) -> np.ndarray:
    """Whiten, and add smeared flakes (mean, deviation, zoom, threshold, radius, sigma, share)."""
    mean, deviation, zoom, threshold, radius, sigma, share = constants
    x = images / 255.0
    flakes = random.normal(size=x.shape[:3], loc=mean, scale=deviation)
    flakes = clipped_zoom(flakes[..., None], zoom)
    flakes[flakes < threshold] = 0
    angles = random.uniform(-135, -45, size=len(x))
    flakes = smear(np.clip(flakes, 0, 1), int(radius), sigma, angles)
    flakes = np.round(flakes * 255) / 255
    white = np.maximum(x, (x @ GREY)[..., None] * 1.5 + 0.5)
    x = share * x + (1 - share) * white
    return np.clip(x + flakes + np.rot90(flakes, 2, axes=(1, 2)), 0, 1) * 255


def _plasma(n: int, side: int, decay: float, random: Any) -> np.ndarray:
    """Height maps (n, side, side) in [0, 1] by the diamond-square algorithm, on a torus."""
    heights = np.zeros((n, side, side))
    step, wibble = side, 100.0

    def middle(total: np.ndarray) -> np.ndarray:
        return total / 4 + wibble * random.uniform(-wibble, wibble, total.shape)

    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        total = corners + np.roll(corners, -1, axis=1)
        total = total + np.roll(total, -1, axis=2)
        heights[:, half::step, half::step] = middle(total)
        centres = heights[:, half::step, half::step]
        beside = centres + np.roll(centres, 1, axis=1) + corners + np.roll(corners, -1, axis=2)
        heights[:, ::step, half::step] = middle(beside)
        below = centres + np.roll(centres, 1, axis=2) + corners + np.roll(corners, -1, axis=1)
        heights[:, half::step, ::step] = middle(below)
        step, wibble = half, wibble / decay
    heights -= heights.min(axis=(1, 2), keepdims=True)
    return heights / heights.max(axis=(1, 2), keepdims=True)


def _ice(n: int, height: int, width: int, random: Any) -> np.ndarray:
    """Pictures of needles and crystals, (n, height, width, 3) on 0..255."""
    from scipy.ndimage import gaussian_filter

    small = max(height, width) <= 64
    means, deviations = np.moveaxis(FROSTS[random.integers(len(FROSTS), size=n)], 1, 0)

    def smooth(down: float, across: float) -> np.ndarray:
        noise = random.normal(size=(n, height, width))
        noise = gaussian_filter(noise, (0, down, across), mode="wrap")
        return noise / noise.std()

    # Coarse noise says where ice is; the ridges of long noise, down and across, are needles.
    thin, coarse, grain = (0.5, 5, 0.8) if small else (1, 16, 0.3)
    needles = 1 - np.minimum(np.abs(smooth(thin, 5 * thin)), np.abs(smooth(5 * thin, thin)))
    texture = needles + 0.4 * smooth(coarse, coarse) + grain * smooth(0, 0) * needles
    texture = (texture - texture.mean()) / texture.std() * (SHRUNK if small else 1)
    colours = means[:, None, None] + deviations[:, None, None] * texture[..., None]
    return np.clip(colours, 0, 255)
