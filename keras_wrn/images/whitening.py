"""Fit global contrast normalisation and ZCA whitening, which the paper's Tables 2 to 4 use.

The mean of each image is subtracted and the image is scaled to a norm of 55. Then the training
set's mean is subtracted, and the image is multiplied by (covariance + 0.1 * identity) ** -1/2: a
principal component of variance s gets the variance s / (s + 0.1).

Source: pylearn2, whose data the authors trained on: make_cifar10_gcn_whitened.py, with
`global_contrast_normalize(X, scale=55.)` and `ZCA(filter_bias=0.1)`. pylearn2 flattens images
channel by channel, this module row by row: the result does not depend on the order.
Differs: fitted in float64, then rounded to float32.
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
# An image with a smaller norm is flat and is not scaled. The smallest contrast of whole numbers is
# one pixel that is 1 above the rest, a norm of about 1: a smaller norm is a rounding error.
FLAT = 0.01
_LARGEST = 64 * 64 * 3  # values of an image; their matrix takes 0.6 GB, and fitting it 4 GB
_FITTED_AT_ONCE = 2000  # images


@dataclass(frozen=True, eq=False)
class Whitening:
    """A fitted whitening.

    Attributes:
        mean: of the contrast-normalised training images, float32 (height, width, channels).
        matrix: symmetric, float32 (values of an image, values of an image).
        scale: the norm of each image after contrast normalisation.
        filter_bias: was added to the variance of each principal component.
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
        """Write whitening.npz into a folder, and return its entry in the card."""
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


def fit_whitening(images: np.ndarray) -> Whitening:
    """Fit a whitening to a data set.

    The same images give the same bits on the same machine. Another number of processors may
    change the last bit of a few entries.

    Args:
        images: uint8 (n, height, width, channels), the training images only.

    Returns:
        The whitening. 50,000 images of CIFAR take 40 seconds of a processor and 0.4 GB.

    Raises:
        InputError: not uint8 images, or too large ones: the matrix grows with size ** 4.

    Example:
        >>> images = np.random.default_rng(1).integers(0, 256, (100, 8, 8, 3), np.uint8)
        >>> fit_whitening(images).matrix.shape
        (192, 192)
    """
    check_images(images)
    shape = images.shape[1:]
    numbers = int(np.prod(shape))
    if numbers > _LARGEST:
        raise InputError(
            f"Whitening takes a matrix of {numbers:,} x {numbers:,} numbers for images of shape "
            f"{shape}. Use 64x64 pixels or fewer, or train without `whitening`."
        )
    total, products = np.zeros(numbers), np.zeros((numbers, numbers))
    for start in range(0, len(images), _FITTED_AT_ONCE):
        part = _contrast_normalized(images[start : start + _FITTED_AT_ONCE], SCALE)
        total += part.sum(axis=0)
        products += part.T @ part
    mean = total / len(images)
    products /= len(images)
    products -= np.outer(mean, mean)
    products[np.diag_indices(numbers)] += FILTER_BIAS
    variances, components = np.linalg.eigh(products)
    matrix = (components / np.sqrt(variances)) @ components.T
    return Whitening(
        mean.reshape(shape).astype(np.float32), matrix.astype(np.float32), SCALE, FILTER_BIAS
    )


def check_images(images: np.ndarray) -> None:
    """Raise InputError for images that are not uint8 (n, size, size, channels) with n >= 1."""
    if images.dtype != np.uint8 or images.ndim != 4 or not images.size:
        raise InputError(
            "`images` must be uint8 of shape (n, size, size, channels) with n >= 1. "
            f"Received: {images.dtype} of shape {images.shape}."
        )


def _contrast_normalized(images: np.ndarray, scale: float) -> np.ndarray:
    """The first step of `whitening_layer.whiten`, in float64: (n, values of an image)."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    norm = np.sqrt(np.sum(np.square(flat), axis=1, keepdims=True))
    flat /= np.where(norm < FLAT, 1.0, norm / scale)
    return flat


def read_whitening(entry: Any, folder: Path) -> Whitening:
    """Read a whitening from the folder of a card.

    Args:
        entry: its entry in the card, from `Whitening.write`.
        folder: the folder of the card.

    Raises:
        InputError: the entry or the file is damaged, or the file is missing or another one.
    """
    path = folder / WHITENING_FILE
    try:
        expected = str(entry["sha256"])
        scale, filter_bias = float(entry["scale"]), float(entry["filter_bias"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"The whitening in the card of {folder} is damaged: {error!r}.") from error
    if not path.is_file():
        raise InputError(
            f"{folder} has no {WHITENING_FILE}, which the network needs to whiten images. Copy it "
            "from the folder of the training run."
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
