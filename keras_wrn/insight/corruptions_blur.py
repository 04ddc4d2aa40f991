"""Corruptions that move light between pixels: blurs, zoom, glass, elastic cloth.

Every function takes uint8 images (n, height, width, 3), the constants of a severity and a random
generator, and returns floats on 0..255. Draws come in the order of the published code.

Source: Hendrycks & Dietterich, arXiv:1903.12261, and their make_cifar_c.py. Differs: their
motion blur is ImageMagick's; this one is that of the package imagecorruptions, in NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def gaussian_blur(images: np.ndarray, sigma: float, random: Any) -> np.ndarray:
    """A Gaussian of `sigma` pixels; edge pixels go on outside."""
    return _gaussian(images / 255.0, sigma) * 255


def defocus_blur(images: np.ndarray, constants: tuple[float, float], random: Any) -> np.ndarray:
    """A disk of a radius in pixels, itself blurred by a Gaussian (radius, sigma)."""
    from scipy.ndimage import correlate

    kernel = _disk(*constants)
    blurred = correlate(images / 255.0, kernel[None, :, :, None], mode="mirror")
    return np.clip(blurred, 0, 1) * 255


def motion_blur(images: np.ndarray, constants: tuple[int, float], random: Any) -> np.ndarray:
    """Smear along a line (radius, sigma) that lies within 45 degrees of the horizontal."""
    angles = random.uniform(-45, 45, size=len(images))
    return smear(images, *constants, angles)


def zoom_blur(images: np.ndarray, factors: Sequence[float], random: Any) -> np.ndarray:
    """The mean of the image and of its enlargements."""
    x = (images / 255.0).astype(np.float32)
    total = x.copy()
    for factor in factors:
        total += clipped_zoom(x, factor)
    return np.clip(total / (len(factors) + 1), 0, 1) * 255


def glass_blur(images: np.ndarray, constants: tuple[float, int, int], random: Any) -> np.ndarray:
    """Blur, replace pixels by near ones, blur (sigma, pixels, passes).

    The published code means to swap two pixels, and copies one onto the other: in NumPy both
    names are views of one array. So does this function.
    """
    sigma, reach, passes = constants
    x = (_gaussian(images / 255.0, sigma) * 255).astype(np.uint8)
    for _ in range(passes):
        x = _displace(x, reach, random)
    return np.clip(_gaussian(x / 255.0, sigma), 0, 1) * 255


def elastic_transform(
    images: np.ndarray, constants: tuple[float, float, float], random: Any
) -> np.ndarray:
    """A random affine map, then a random smooth displacement (strength, sigma, affine pixels)."""
    from scipy.ndimage import gaussian_filter

    strength, sigma, affine = constants
    n, height, width, _ = images.shape
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    x = images / 255.0
    corners = _corners(height, width)
    moved = corners + random.uniform(-affine, affine, size=(n, 3, 2))
    back = _affine(moved, corners)  # where each point of the result comes from: (n, 2, 3), x first
    places = np.einsum("nij,jhw->nihw", back, np.stack([columns, rows, np.ones_like(rows)]))
    x = _bilinear(x, places[:, 1], places[:, 0], "mirror")
    across, down = (
        gaussian_filter(
            random.uniform(-1, 1, size=(n, height, width)),
            (0, sigma, sigma),
            mode="reflect",
            truncate=3,
        )
        * strength
        for _ in range(2)
    )
    return np.clip(_bilinear(x, rows + down, columns + across, "reflect"), 0, 1) * 255


def smear(layers: np.ndarray, radius: int, sigma: float, angles: np.ndarray) -> np.ndarray:
    """Sum copies shifted along a line, with half a Gaussian of weights; edges go on outside.

    Args:
        layers: (n, height, width, channels).
        radius: the line has 2 radius + 1 points.
        sigma: of the weights, in pixels.
        angles: in degrees, (n,).

    Returns:
        float64 of the shape of `layers`.
    """
    n, height, width, _ = layers.shape
    points = 2 * radius + 1
    weights = np.exp(-(np.arange(points) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    radians, image = np.deg2rad(angles), np.arange(n)[:, None, None]
    inside = np.ones(n, bool)
    total = np.zeros(layers.shape)
    for step, weight in enumerate(weights):
        down = -np.ceil(step * np.sin(radians) - 0.5).astype(int)
        across = -np.ceil(step * np.cos(radians) - 0.5).astype(int)
        inside &= (np.abs(down) < height) & (np.abs(across) < width)
        rows = np.clip(np.arange(height) - down[:, None], 0, height - 1)
        columns = np.clip(np.arange(width) - across[:, None], 0, width - 1)
        shifted = layers[image, rows[:, :, None], columns[:, None, :]]
        total += weight * inside[:, None, None, None] * shifted
    return total


def clipped_zoom(x: np.ndarray, factor: float) -> np.ndarray:
    """Enlarge the middle of images (n, height, width, channels) to their own size, linearly."""
    from scipy.ndimage import zoom

    sizes = x.shape[1:3]
    inner = [int(np.ceil(size / factor)) for size in sizes]
    top, left = ((size - small) // 2 for size, small in zip(sizes, inner))
    part = x[:, top : top + inner[0], left : left + inner[1]]
    large = zoom(part, (1, factor, factor, 1), order=1)
    top, left = ((large.shape[axis + 1] - sizes[axis]) // 2 for axis in (0, 1))
    return large[:, top : top + sizes[0], left : left + sizes[1]]


def _gaussian(x: np.ndarray, sigma: float) -> np.ndarray:
    """skimage.filters.gaussian over height and width."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(x, (0, sigma, sigma, 0), mode="nearest", truncate=4)


def _disk(radius: float, sigma: float) -> np.ndarray:
    """A disk of sum 1, blurred by a Gaussian of 3 or 5 points."""
    from scipy.ndimage import correlate1d

    reach, points = (8, 1) if radius <= 8 else (int(radius), 2)
    line = np.arange(-reach, reach + 1)
    disk = (line[:, None] ** 2 + line**2 <= radius**2).astype(float)
    disk /= disk.sum()
    weights = np.exp(-(np.arange(-points, points + 1) ** 2) / (2 * sigma**2))
    for axis in (0, 1):
        disk = correlate1d(disk, weights / weights.sum(), axis, mode="mirror")
    return disk


def _displace(x: np.ndarray, reach: int, random: Any) -> np.ndarray:
    """Copy a near pixel onto each, from the lower right to the upper left.

    A pixel that was written before gives its new value, which came from a third one. All chains
    are followed at once: each round doubles how far every pixel has followed its own.
    """
    n, height, width, channels = x.shape
    size = height * width
    rows = np.arange(height - reach, reach, -1)[:, None]
    columns = np.arange(width - reach, reach, -1)
    steps = random.integers(-reach, reach, size=(n, len(rows), len(columns), 2))
    place = (rows * width + columns).ravel()
    source = (rows + steps[..., 1]) * width + columns + steps[..., 0]
    source = source.reshape(n, -1)
    rank = np.full(size, size)
    rank[place] = np.arange(len(place))
    # Of 2 * size nodes the first half are old values, which stay, and the second half new ones.
    follow = np.tile(np.arange(2 * size), (n, 1))
    follow[:, size + place] = np.where(rank[source] < rank[place], size + source, source)
    while True:
        further = np.take_along_axis(follow, follow, axis=1)
        if np.array_equal(further, follow):
            break
        follow = further
    pixels = x.reshape(n, size, channels).copy()
    pixels[:, place] = np.take_along_axis(pixels, follow[:, size + place, None], axis=1)
    return pixels.reshape(x.shape)


def _corners(height: int, width: int) -> np.ndarray:
    """Three points around the middle of an image, as the published code has them."""
    middle = np.array([height, width]) // 2.0
    reach = min(height, width) // 3
    return np.array([middle + reach, [middle[0] + reach, middle[1] - reach], middle - reach])


def _affine(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The maps (n, 2, 3) that take three points (n, 3, 2) to three points (3, 2)."""
    ones = np.ones((*sources.shape[:2], 1))
    # NumPy 1 takes a matrix beside a stack of matrices for a stack of vectors.
    return np.swapaxes(
        np.linalg.solve(np.concatenate([sources, ones], axis=2), targets[None]), 1, 2
    )


def _bilinear(x: np.ndarray, rows: np.ndarray, columns: np.ndarray, edge: str) -> np.ndarray:
    """Sample images (n, h, w, channels) at fractional places (n, h, w)."""
    image = np.arange(len(x))[:, None, None]
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, across = (rows - top)[..., None], (columns - left)[..., None]
    total = np.zeros(x.shape)
    for row, part in ((top, 1 - down), (top + 1, down)):
        for column, share in ((left, 1 - across), (left + 1, across)):
            inside = x[image, _inside(row, x.shape[1], edge), _inside(column, x.shape[2], edge)]
            total += part * share * inside
    return total


def _inside(index: np.ndarray, size: int, edge: str) -> np.ndarray:
    """Reflect indices into 0 to size - 1: "mirror" repeats no edge pixel, "reflect" does."""
    period = 2 * size if edge == "reflect" else max(2 * size - 2, 1)
    index = index % period
    return np.where(index < size, index, period - index - (edge == "reflect"))
