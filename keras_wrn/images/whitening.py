"""Global contrast normalisation and ZCA whitening: the images of the paper's Tables 2 to 4.

Each image has its mean subtracted and is scaled to a norm of 55; then the training set's mean is
subtracted and the result multiplied by (covariance + 0.1 * identity) ** -1/2, which leaves of
each principal component of variance s the variance s / (s + 0.1).

Source: pylearn2, whose data the authors trained on: make_cifar10_gcn_whitened.py, with
`global_contrast_normalize(X, scale=55.)` and `ZCA(filter_bias=0.1)`. It flattens images channel
by channel, here it is row by row: neither step depends on the order of the pixels.
Differs: fitted in float64, and rounded to float32 afterwards.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.system.files import check_sha256, sha256, write_whole

WHITENING_FILE = "whitening.npz"
SCALE = 55.0
FILTER_BIAS = 0.1
# An image whose norm is below is flat, and is not scaled. The least contrast that whole numbers
# can have is one pixel that is 1 above the rest, a norm of about 1; what is less is rounding.
FLAT = 0.01
_LARGEST = 64 * 64 * 3  # numbers of an image; their matrix takes 0.6 GB, and fitting 4 GB
_FITTED_AT_ONCE = 2000  # images


@dataclass(frozen=True, eq=False)
class Whitening:
    """What whitens images; equal to another where all numbers are.

    Attributes:
        mean: of the contrast-normalised training images, float32 (height, width, channels).
        matrix: symmetric, float32 (numbers of an image, numbers of an image).
        scale: the norm that each image is brought to before.
        filter_bias: what was added to the variance of each component.
    """

    mean: np.ndarray = field(repr=False)
    matrix: np.ndarray = field(repr=False)
    scale: float = SCALE
    filter_bias: float = FILTER_BIAS

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width, channels) of the images."""
        return self.mean.shape

    def write(self, folder: Path | None) -> dict[str, Any]:
        """Write whitening.npz into a folder, whole, and return what a card says of it."""
        if folder is None:
            raise ValueError("A whitening cannot be stored in a card alone: `folder` is missing.")
        path = folder / WHITENING_FILE
        write_whole(path, lambda part: np.savez(part, mean=self.mean, matrix=self.matrix))
        return {
            "file": WHITENING_FILE,
            "sha256": sha256(path),
            "scale": self.scale,
            "filter_bias": self.filter_bias,
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Whitening) and (
            (self.scale, self.filter_bias) == (other.scale, other.filter_bias)
            and np.array_equal(self.mean, other.mean)
            and np.array_equal(self.matrix, other.matrix)
        )

    def __hash__(self) -> int:
        return hash((self.scale, self.filter_bias, self.mean.tobytes()))


def fit_whitening(
    images: np.ndarray, scale: float = SCALE, filter_bias: float = FILTER_BIAS
) -> Whitening:
    """Measure what whitens a data set.

    The same images give the same bits on the same machine; another number of processors may
    change the last bit of a few entries.

    Args:
        images: uint8, (n, height, width, channels): the training images only.
        scale: the norm that each image is brought to.
        filter_bias: added to the variance of each principal component, > 0.

    Returns:
        The whitening. 50,000 images of CIFAR take 40 seconds of a processor and 0.4 GB.

    Raises:
        InputError: no uint8 images, or too large ones: the matrix grows with size ** 4.

    Example:
        >>> images = np.random.default_rng(1).integers(0, 256, (100, 8, 8, 3), np.uint8)
        >>> fit_whitening(images).matrix.shape
        (192, 192)
    """
    if images.dtype != np.uint8 or images.ndim != 4 or not images.size:
        raise InputError(
            "`images` must be uint8 of shape (n, size, size, channels) with n >= 1. "
            f"Received: {images.dtype} of shape {images.shape}."
        )
    shape = images.shape[1:]
    numbers = int(np.prod(shape))
    if numbers > _LARGEST:
        raise InputError(
            f"Whitening takes a matrix of {numbers:,} x {numbers:,} numbers for images of shape "
            f"{shape}. Use 64x64 pixels or fewer, or train without `whitening`."
        )
    total, products = np.zeros(numbers), np.zeros((numbers, numbers))
    for start in range(0, len(images), _FITTED_AT_ONCE):
        part = _contrast_normalized(images[start : start + _FITTED_AT_ONCE], scale)
        total += part.sum(axis=0)
        products += part.T @ part
    mean = total / len(images)
    products /= len(images)
    products -= np.outer(mean, mean)
    products[np.diag_indices(numbers)] += filter_bias
    variances, components = np.linalg.eigh(products)
    matrix = (components / np.sqrt(variances)) @ components.T
    return Whitening(
        mean.reshape(shape).astype(np.float32), matrix.astype(np.float32), scale, filter_bias
    )


def _contrast_normalized(images: np.ndarray, scale: float) -> np.ndarray:
    """As `whitening_layer.whiten` begins, in float64: (n, numbers of an image)."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    norm = np.sqrt(np.sum(np.square(flat), axis=1, keepdims=True))
    flat /= np.where(norm < FLAT, 1.0, norm / scale)
    return flat


def read_whitening(entry: Any, folder: Path) -> Whitening:
    """Read what `Whitening.write` wrote.

    Args:
        entry: what the card says of it.
        folder: of the card.

    Raises:
        InputError: the file is missing, or is not the one that the card speaks of.
    """
    path = folder / WHITENING_FILE
    try:
        expected = str(entry["sha256"])
        scale, filter_bias = float(entry["scale"]), float(entry["filter_bias"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"What the card in {folder} says of its whitening is damaged.") from error
    if not path.is_file():
        raise InputError(
            f"{folder} has no {WHITENING_FILE}, which its images are whitened with. Copy it from "
            "the folder that training left: without it the network cannot be used."
        )
    check_sha256(path, expected, "Copy it from the folder that training left.")
    try:
        with np.load(path) as file:
            mean, matrix = file["mean"], file["matrix"]
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged: {error}.") from error
    if mean.ndim != 3 or matrix.shape != (mean.size, mean.size):
        raise InputError(f"{path} is damaged: shapes {mean.shape} and {matrix.shape}.")
    return Whitening(mean, matrix, scale, filter_bias)
