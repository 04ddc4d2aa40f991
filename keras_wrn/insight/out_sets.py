"""Images that a network was not trained on, for measuring how well it notices."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_wrn import datasets
from keras_wrn.datasets.images import spread
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import PREPROCESSING, Preprocessing
from keras_wrn.inference.classifier import resized_side
from keras_wrn.system.backend import import_package

NOISE = "noise"
NOISE_IMAGES = 1000
# OpenOOD v1.5's groups for CIFAR-10 and CIFAR-100, by how the names of sets begin.
_NEAR = ("cifar", "tiny-imagenet", "tiny_imagenet")
_FAR = ("mnist", "svhn", "textures", "places")


def load_out_sets(
    sources: Sequence[str],
    preprocessing: Preprocessing,
    most: int,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    shape: tuple[int, int, int] | None = None,
) -> dict[str, np.ndarray]:
    """Load sets of images, brought to the size of a network's.

    Args:
        sources: each is "noise" (uniform on 0..255, 1,000 images, always the same); the name of a
            data set or a folder of images, whose test split is read; a .npy file of uint8
            images; or a .mat file of SVHN's layout. "svhn=FILE" gives a file the name svhn.
        preprocessing: of the network.
        most: maximum number of images of each set, spread evenly.
        data_dir: where the data sets are.
        shape: (height, width, channels) of the network's images; default the square of
            `preprocessing`.

    Returns:
        uint8 images (n, height, width, channels), by name.

    Raises:
        InputError: a set cannot be had or has other images.

    Example:
        >>> load_out_sets(["noise"], PREPROCESSING["cifar10"], 10)["noise"].shape
        (10, 32, 32, 3)
    """
    if shape is None:
        shape = (preprocessing.size, preprocessing.size, len(preprocessing.mean))
    found: dict[str, np.ndarray] = {}
    for source in sources:
        before, equals, after = source.partition("=")
        place = after if equals else source
        name = before if equals else Path(place).stem
        images = _load(place, preprocessing, shape, most, data_dir)
        if images.dtype != np.uint8 or images.shape[1:] != shape:
            raise InputError(
                f"The images of {source} must be uint8 of shape (n, {str(shape)[1:]}. "
                f"Received: {images.dtype} of shape {images.shape}."
            )
        if name in found:
            raise InputError(f"Each set needs a name of its own. Received: {name!r} twice.")
        found[name] = images
    return found


def _load(
    place: str,
    preprocessing: Preprocessing,
    shape: tuple[int, int, int],
    most: int,
    data_dir: str | os.PathLike[str] | None,
) -> np.ndarray:
    if place == NOISE:
        count = min(most, NOISE_IMAGES)
        return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
    path = Path(place).expanduser()
    if path.suffix in (".npy", ".mat"):
        if not path.is_file():
            raise InputError(f"`out` must name files that exist. Received: {path}.")
        images = _read_npy(path) if path.suffix == ".npy" else _read_mat(path)
        return images[spread(len(images), most)]
    data = datasets.load(
        place,
        data_dir,
        size=shape[:2],
        channels=shape[2],
        resize=resized_side(preprocessing, shape),
        interpolation=preprocessing.interpolation,
        split="test",
        most=most,
    )
    return data.test.images


def _read_npy(path: Path) -> np.ndarray:
    try:
        return np.load(path)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} must hold one NumPy array of numbers: {error}") from error


def _read_mat(path: Path) -> np.ndarray:
    """The images of a file of SVHN's layout: "X", (height, width, channels, n)."""
    reader = import_package("scipy.io", "scipy", "Reading a .mat file")
    try:
        content = reader.loadmat(path)
    except Exception as error:  # a damaged file can raise any exception
        raise InputError(f"{path} cannot be read as a .mat file: {error}") from error
    if "X" not in content or content["X"].ndim != 4:
        raise InputError(f"{path} must hold images as SVHN's files do, in X of four axes.")
    return np.ascontiguousarray(content["X"].transpose(3, 0, 1, 2))


def openood_group(name: str, class_names: Sequence[str]) -> str | None:
    """The group of a set in OpenOOD's benchmarks of CIFAR, "near" or "far"; None outside them.

    Example:
        >>> openood_group("cifar100", PREPROCESSING["cifar10"].class_names)
        'near'
    """
    cifar = (PREPROCESSING["cifar10"].class_names, PREPROCESSING["cifar100"].class_names)
    if tuple(class_names) not in cifar:
        return None
    if name.startswith(_NEAR):
        return "near"
    return "far" if name.startswith(_FAR) else None
