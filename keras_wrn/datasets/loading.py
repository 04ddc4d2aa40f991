"""Name or folder -> uint8 images and integer labels, for training and for testing.

Files are read from `data_dir`, by default Keras' own folder ~/.keras/datasets; CIFAR and SVHN are
downloaded there where they are absent. Each of their files is checked against its sha256 every
time it is read. Pixels stay uint8: `preprocessing` has the statistics.
"""

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_wrn.datasets import cifar, folders, svhn
from keras_wrn.datasets.cifar_files import CIFAR_TERMS
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import INTERPOLATIONS, PREPROCESSING
from keras_wrn.system.backend import import_package
from keras_wrn.system.downloads import download_offers

NAMES = ("cifar10", "cifar100", "svhn", "digits")
_DIGITS_TRAIN = 1437


class Images(NamedTuple):
    """Images, uint8 (n, height, width, 3), and their labels, int64 (n,)."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory; unpacks as `(x_train, y_train), (x_test, y_test) = dataset`.

    Attributes:
        name: as `preprocessing` knows it, or the folder's name.
        train: the training images and labels.
        test: the test images and labels.
        class_names: the name of each label.
    """

    name: str
    train: Images
    test: Images
    class_names: tuple[str, ...]

    def __iter__(self) -> Iterator[Images]:
        yield self.train
        yield self.test


def load(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    extra: bool = False,
    size: int = 32,
    resize: int | None = None,
    interpolation: str = "bilinear",
    split: str | None = None,
    most: int | None = None,
) -> Dataset:
    """Load a data set into memory.

    Args:
        name: "cifar10", "cifar100", "svhn", "digits", or a folder of class sub-folders with
            images, with or without train/ and test/ above them (`image_folder.read`).
        data_dir: where the files of CIFAR and SVHN are, or are downloaded to, and where a folder
            is looked for that is not here. Default: datasets/ in $KERAS_HOME, or ~/.keras/datasets.
        extra: add SVHN's 531,131 extra images to its training set, as the paper does. Needs about
            4 GB of memory while reading.
        size: height and width to which the images of a folder are brought, in pixels.
        resize: pixels that the shorter side of these is first brought to, `size` or more; None
            for the largest square in the middle.
        interpolation: of these, "bilinear" or "bicubic".
        split: "train" or "test" to read that alone; the other has no images then.
        most: at most so many images of each, evenly out of all; None for all.

    Returns:
        The data set: train and test images, labels and class names.

    Raises:
        InputError: an unknown name; a missing file that could not be downloaded either; a damaged
            or half-downloaded file, by name. No such file is ever trained on.

    Example:
        >>> (x_train, y_train), (x_test, y_test) = load("digits")
        >>> x_train.shape, y_test.shape
        ((1437, 32, 32, 3), (360,))
    """
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name):
        raise _unknown(name)
    _check_crop(size, resize, interpolation)
    if split not in (None, "train", "test"):
        raise InputError(f"`split` must be 'train', 'test' or None. Received: split={split!r}.")
    if extra and name != "svhn":
        raise InputError(f"Only svhn has an extra set. Received: name={str(name)!r}, extra=True.")
    if name not in NAMES:
        folder = find_folder(name, data_dir)
        train, test, class_names = folders.read(
            folder, int(size), resize=resize, interpolation=interpolation, split=split, most=most
        )
        return Dataset(folder.resolve().name, Images(*train), Images(*test), class_names)
    if size != 32 or resize is not None:
        raise InputError(
            f"The images of {name} are 32x32; `size` and `resize` are for folders of images. "
            f"Received: size={size}, resize={resize}."
        )
    folder = default_dir() if data_dir is None else Path(data_dir).expanduser()
    if name == "digits":
        train, test = _digits()
    elif name == "svhn":
        train, test = svhn.read(folder, extra, split)
    else:
        train, test = _cifar(str(name), folder)
    train, test = _some(train, split != "test", most), _some(test, split != "train", most)
    return Dataset(str(name), Images(*train), Images(*test), PREPROCESSING[str(name)].class_names)


def _check_crop(size: object, resize: object, interpolation: str) -> None:
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise InputError(f"`size` must be a whole number of pixels. Received: size={size!r}.")
    if resize is not None and (not isinstance(resize, (int, np.integer)) or resize < size):
        raise InputError(
            "`resize` must be None or at least `size`, which is cut out of the resized image. "
            f"Received: resize={resize!r}, size={size}."
        )
    if interpolation not in INTERPOLATIONS:
        raise InputError(
            f"`interpolation` must be one of {', '.join(INTERPOLATIONS)}. "
            f"Received: interpolation={interpolation!r}."
        )


def _some(images: cifar.Split, wanted: bool, most: int | None) -> cifar.Split:
    """At most so many of the images and their labels; none where they are not wanted."""
    count = len(images[1]) if wanted else 0
    if most is not None:
        count = min(most, count)
    if count == len(images[1]):
        return images
    chosen = folders.spread(len(images[1]), count)
    return images[0][chosen], images[1][chosen]


def _unknown(name: object) -> InputError:
    plain = str(name).lower().replace("-", "").replace("_", "")
    near = difflib.get_close_matches(plain, NAMES, n=1, cutoff=0.7)
    return InputError(
        f"`name` must be one of {', '.join(NAMES)}, or an existing folder of class sub-folders "
        "with images, here or in `data_dir` (--data_dir). "
        f"Received: name={name!r}.{f' Nearest: {near[0]}.' if near else ''}"
    )


def default_dir() -> Path:
    """Where Keras keeps its data sets, found without importing Keras."""
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    return Path(home).expanduser() / "datasets"


def find_folder(
    name: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None
) -> Path:
    """Find a folder of images by its path, or in `data_dir` (default ~/.keras/datasets).

    In a `data_dir` that is given the last part of the path is enough, because a run remembers
    the path that it was trained with, perhaps on another machine. Raises InputError where there
    is none.
    """
    root = default_dir() if data_dir is None else Path(data_dir).expanduser()
    places = [Path(name).expanduser(), root / name]
    if data_dir is not None:
        places.append(root / Path(name).name)
    for folder in places:
        if folder.is_dir():
            return folder
    raise _unknown(name)


def _cifar(name: str, folder: Path) -> tuple[cifar.Split, cifar.Split]:
    splits = cifar.read(name, folder)
    if splits is None:
        edition = cifar.EDITIONS[name][0]
        instead = f", or the folder {edition.folder} it unpacks to,"
        download_offers([edition.offer], folder, CIFAR_TERMS, instead)
        splits = cifar.read(name, folder)
    if splits is None:
        raise InputError(f"The download of {name} left nothing in {folder}.")
    return splits


def _digits() -> tuple[cifar.Split, cifar.Split]:
    """scikit-learn's 1,797 digits of 8x8, enlarged to 32x32 RGB.

    The last 360 are the test set. The file keeps the pages of one writer together, so these are
    mostly hands that the training images do not show: nearest-neighbour error on the 8x8 pixels
    is 4.4 % on them and 1.2 % on 360 drawn at random (mean of 20 draws).
    """
    sklearn_datasets = import_package("sklearn.datasets", "scikit-learn", "The digits data set")
    pil = import_package("PIL.Image", "pillow", "Enlarging the digits")
    digits = sklearn_datasets.load_digits()
    ink = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    large = [pil.fromarray(page).resize((32, 32), pil.Resampling.BICUBIC) for page in ink]
    images = np.repeat(np.stack(large)[..., None], 3, axis=-1)
    labels = digits.target.astype(np.int64)
    cut = _DIGITS_TRAIN
    return (images[:cut], labels[:cut]), (images[cut:], labels[cut:])
