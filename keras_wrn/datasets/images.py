"""Images with labels, and an even choice of them."""

from typing import NamedTuple

import numpy as np


class Images(NamedTuple):
    """Images, uint8 (n, height, width, 3), and their labels, int64 (n,)."""

    images: np.ndarray
    labels: np.ndarray


def spread(count: int, most: int | None) -> np.ndarray:
    """Choose at most `most` of `count` positions, spread evenly; None: no limit.

    Files are in the order of their classes, so an even choice has images of every class.

    Example:
        >>> spread(10, 4).tolist()
        [0, 2, 5, 7]
    """
    chosen = count if most is None else min(most, count)
    return np.arange(chosen, dtype=np.int64) * count // max(chosen, 1)


def at_most(data: Images, most: int | None) -> Images:
    """Keep at most `most` images with their labels, spread evenly; None: no limit."""
    if most is None or most >= len(data.labels):
        return data
    chosen = spread(len(data.labels), most)
    return Images(data.images[chosen], data.labels[chosen])
