"""Corruptions that lay something over an image: fog, frost, snow, spatter.

Every function takes uint8 images (n, height, width, 3), the constants of a severity and a random
generator, and returns floats on 0..255. Draws come in the order of the published code.

Source: Hendrycks & Dietterich, arXiv:1903.12261, and their make_cifar_c.py. Differs: frost is
grown by random numbers, with the colours and contrasts of their five photographs. Spatter's drops
are OpenCV's there (Canny edges, a distance transform, an equalised histogram), and NumPy's here.
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
WATER, MUD = np.array([175, 238, 238]) / 255, np.array([63, 42, 20]) / 255
FARTHEST = 20  # pixels, beyond which the distance to an edge no longer counts
_RIDGES = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
# Steps of OpenCV's 5x5 distance and their lengths: straight, diagonal, and the knight's move.
_STEPS = {(0, 1): 1.0, (1, 1): 1.4, (1, 2): 2.1969}


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


def spatter(images: np.ndarray, constants: tuple[float, ...], random: Any) -> np.ndarray:
    """Throw drops on images (mean, deviation, sigma, threshold, strength, 1 for mud)."""
    from scipy.ndimage import gaussian_filter

    mean, deviation, sigma, threshold, strength, mud = constants
    x = images / 255.0
    liquid = random.normal(size=x.shape[:3], loc=mean, scale=deviation)
    liquid = gaussian_filter(liquid, (0, sigma, sigma), mode="nearest")
    if mud:
        cover = (liquid > threshold).astype(float)
        cover = gaussian_filter(cover, (0, strength, strength), mode="nearest")
        cover[cover < 0.8] = 0
        cover = cover[..., None]
        return np.clip(x * (1 - cover) + MUD * cover, 0, 1) * 255
    liquid[liquid < threshold] = 0
    depth = (np.clip(liquid, 0, 1) * 255).astype(np.uint8)
    drops = depth * _relief(depth)
    drops = drops / np.maximum(drops.max(axis=(1, 2), keepdims=True), 1) * strength
    return np.clip(x + drops[..., None] * WATER, 0, 1) * 255


def _relief(depth: np.ndarray) -> np.ndarray:
    """The light on drops (n, h, w), whole numbers on 0..255 as floats."""
    from scipy.ndimage import correlate

    far = np.minimum(_distances(_edges(depth)), FARTHEST)
    far = _equalised(_blurred(far).astype(np.uint8)).astype(float)
    ridges = np.clip(correlate(far, _RIDGES[None], mode="mirror"), 0, 255)
    return np.round(_blurred(ridges))


def _blurred(x: np.ndarray) -> np.ndarray:
    """The mean of each 3x3 pixels."""
    from scipy.ndimage import correlate

    sums = correlate(x.astype(float), np.ones((1, 3, 3)), mode="mirror")
    return (sums * (1 / 9)).astype(np.float32)


def _edges(depth: np.ndarray, low: int = 50, high: int = 150) -> np.ndarray:
    """Canny's edges of uint8 (n, h, w): thin ridges of the gradient that join strong ones."""
    from scipy.ndimage import binary_propagation, correlate1d

    x = depth.astype(int)
    slopes = []
    for axis in (1, 2):
        smooth = correlate1d(x, [1, 2, 1], 3 - axis, mode="nearest")
        slopes.append(correlate1d(smooth, [-1, 0, 1], axis, mode="nearest"))
    down, across = slopes
    size = np.abs(down) + np.abs(across)
    padded = np.pad(size, ((0, 0), (1, 1), (1, 1)))

    def beside(row: int, column: int) -> np.ndarray:
        height, width = size.shape[1:]
        return padded[:, 1 + row : 1 + row + height, 1 + column : 1 + column + width]

    tangent = np.tan(np.pi / 8)
    flat = np.abs(down) < tangent * np.abs(across)
    steep = np.abs(down) > (tangent + 2) * np.abs(across)
    same = (down < 0) == (across < 0)
    falling = (size > beside(-1, -1)) & (size > beside(1, 1))
    rising = (size > beside(-1, 1)) & (size > beside(1, -1))
    ridge = np.where(same, falling, rising)
    ridge = np.where(steep, (size > beside(-1, 0)) & (size >= beside(1, 0)), ridge)
    ridge = np.where(flat, (size > beside(0, -1)) & (size >= beside(0, 1)), ridge)
    weak = ridge & (size > low)
    neighbours = np.ones((1, 3, 3), bool)
    return binary_propagation(weak & (size > high), structure=neighbours, mask=weak)


def _distances(edges: np.ndarray) -> np.ndarray:
    """The length of the shortest way of OpenCV's steps to an edge, (n, h, w), up to 20 pixels."""
    found = np.where(edges, 0.0, np.inf)
    height, width = edges.shape[1:]
    moves = {
        (sign * a, other * b): length
        for (row, column), length in _STEPS.items()
        for a, b in ((row, column), (column, row))
        for sign in (-1, 1)
        for other in (-1, 1)
    }
    for _ in range(FARTHEST):
        padded = np.pad(found, ((0, 0), (2, 2), (2, 2)), constant_values=np.inf)
        nearer = found
        for (row, column), length in moves.items():
            part = padded[:, 2 + row : 2 + row + height, 2 + column : 2 + column + width]
            nearer = np.minimum(nearer, part + length)
        if np.array_equal(nearer, found):
            break
        found = nearer
    return found


def _equalised(x: np.ndarray) -> np.ndarray:
    """Spread each uint8 image (n, h, w) over 0..255, as OpenCV's equalizeHist."""
    found = np.empty_like(x)
    for position, image in enumerate(x):
        counts = np.bincount(image.ravel(), minlength=256)
        first = np.flatnonzero(counts)[0]
        rest = image.size - counts[first]
        if rest == 0:
            found[position] = first
            continue
        below = np.cumsum(counts) - counts[first]
        table = np.clip(np.round(below * (255 / rest)), 0, 255)
        table[:first] = 0
        found[position] = table.astype(np.uint8)[image]
    return found
