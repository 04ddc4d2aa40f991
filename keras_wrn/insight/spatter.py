"""Spatter of water or mud, one of the four extra corruptions.

The published code makes its drops by OpenCV: Canny edges, a distance transform, an equalised
histogram. The same steps stand here in NumPy, for all images of a batch at once.

Source: Hendrycks & Dietterich, arXiv:1903.12261, and their make_cifar_c.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

WATER, MUD = np.array([175, 238, 238]) / 255, np.array([63, 42, 20]) / 255
FARTHEST = 20  # pixels, beyond which the distance to an edge no longer counts
_RIDGES = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
# Steps of OpenCV's 5x5 distance and their lengths: straight, diagonal, and the knight's move.
_STEPS = {(0, 1): 1.0, (1, 1): 1.4, (1, 2): 2.1969}


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
