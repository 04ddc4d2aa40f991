"""Load a data set by name or from a folder: uint8 images and integer labels.

CIFAR and SVHN are downloaded where they are absent; every file is checked against its SHA-256 each
time it is read. `preprocessing` has the statistics of the pixels.
"""

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import numpy as np

from keras_wrn.datasets import cifar, folders, svhn
from keras_wrn.datasets.images import Images, at_most
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import INTERPOLATIONS, PREPROCESSING
from keras_wrn.system.backend import import_package
from keras_wrn.system.files import keras_home

NAMES = ("cifar10", "cifar100", "svhn", "digits")
_DIGITS_TRAIN = 1437


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory; unpacks as `(x_train, y_train), (x_test, y_test) = dataset`.

    Attributes:
        name: the name in `PREPROCESSING`, or the folder's name.
        train: the training images, uint8 (n, height, width, 3), and labels, int64 (n,).
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
    size: int | tuple[int, int] = 32,
    channels: int = 3,
    resize: int | None = None,
    interpolation: str = "bilinear",
    split: str | None = None,
    most: int | None = None,
    hold_out: bool = True,
) -> Dataset:
    """Load a data set into memory.

    Args:
        name: "cifar10", "cifar100", "svhn", "digits", or a folder with one sub-folder of images per
            class, with or without train/ and test/ above them (`folders.scan`).
        data_dir: where the files of CIFAR and SVHN are or are downloaded to, and where a relative
            folder is searched too. Default: datasets/ in $KERAS_HOME, or ~/.keras/datasets.
        extra: add SVHN's 531,131 extra images to its training set, as the paper does. Reading them
            needs about 4 GB of memory.
        size: height and width of a folder's images after resizing, in pixels: one number, or both.
        channels: of a folder's images, 3 for RGB or 1 for grey.
        resize: pixels of their shorter side before the crop, `size` or more; None for the largest
            square in the middle.
        interpolation: of their resizing, "bilinear" or "bicubic".
        split: "train" or "test" to read that one only; the other has no images then.
        most: maximum images per split, spread evenly; None: no limit.
        hold_out: of a folder without train/ and test/, every fifth image of each class is the test
            set; False: all of its images are, and are the training set too.

    Returns:
        Training and test images, uint8 (n, height, width, channels), with labels, int64 (n,),
        and the class names.

    Raises:
        InputError: an unknown name, or a file that is damaged or cannot be downloaded. The message
            names the file.

    Example:
        >>> (x_train, y_train), (x_test, y_test) = load("digits")
        >>> x_train.shape, y_test.shape
        ((1437, 32, 32, 3), (360,))
    """
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name):
        raise _unknown(name)
    sides = _checked_sides(size, resize, interpolation)
    if channels not in (1, 3):
        raise InputError(f"`channels` must be 3 (RGB) or 1 (grey). Received: {channels!r}.")
    if split not in (None, "train", "test"):
        raise InputError(f"`split` must be 'train', 'test' or None. Received: split={split!r}.")
    if extra and name != "svhn":
        raise InputError(f"Only svhn has an extra set. Received: name={str(name)!r}, extra=True.")
    if name not in NAMES:
        folder = find_folder(name, data_dir)
        train, test, class_names = folders.read(
            folder,
            sides,
            channels=channels,
            resize=resize,
            interpolation=interpolation,
            split=split,
            most=most,
            hold_out=hold_out,
        )
        return Dataset(folder.resolve().name, train, test, class_names)
    if sides != (32, 32) or channels != 3 or resize is not None:
        raise InputError(
            f"The images of {name} are 32x32 RGB; `size`, `channels` and `resize` are for folders "
            f"of images. Received: size={size}, channels={channels}, resize={resize}."
        )
    folder = default_dir() if data_dir is None else Path(data_dir).expanduser()
    if name == "digits":
        train, test = _digits()
    elif name == "svhn":
        train, test = svhn.read(folder, extra, split)
    else:
        train, test = cifar.read(str(name), folder)
    train = at_most(train, 0 if split == "test" else most)
    test = at_most(test, 0 if split == "train" else most)
    return Dataset(str(name), train, test, PREPROCESSING[str(name)].class_names)


def _checked_sides(size: object, resize: object, interpolation: str) -> tuple[int, int]:
    """Height and width of a size; raises InputError if images cannot be cropped so."""
    sides = size if isinstance(size, tuple) else (size, size)
    are_integers = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in sides)
    if len(sides) != 2 or not are_integers or min(sides) < 1:
        raise InputError(
            "`size` must be a whole number of pixels, or height and width. "
            f"Received: size={size!r}."
        )
    if resize is not None and (not isinstance(resize, (int, np.integer)) or resize < min(sides)):
        raise InputError(
            "`resize` must be None or at least `size`, which is cut out of the resized image. "
            f"Received: resize={resize!r}, size={size}."
        )
    if interpolation not in INTERPOLATIONS:
        raise InputError(
            f"`interpolation` must be one of {', '.join(INTERPOLATIONS)}. "
            f"Received: interpolation={interpolation!r}."
        )
    return int(sides[0]), int(sides[1])


def _unknown(name: object) -> InputError:
    plain = str(name).lower().replace("-", "").replace("_", "")
    near = difflib.get_close_matches(plain, NAMES, n=1, cutoff=0.7)
    return InputError(
        f"`name` must be one of {', '.join(NAMES)}, or an existing folder of class sub-folders "
        "with images, here or in `data_dir` (--data_dir). "
        f"Received: name={name!r}.{f' Nearest: {near[0]}.' if near else ''}"
    )


def default_dir() -> Path:
    """Return Keras' folder of data sets, without importing Keras."""
    return keras_home() / "datasets"


def find_folder(
    name: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None
) -> Path:
    """Find a folder of images by its path, or in `data_dir` (default ~/.keras/datasets).

    In a given `data_dir`, the last part of the path is enough: a run keeps the path that it was
    trained with, perhaps on another machine. Raises InputError where there is no such folder.
    """
    root = default_dir() if data_dir is None else Path(data_dir).expanduser()
    places = [Path(name).expanduser(), root / name]
    if data_dir is not None:
        places.append(root / PureWindowsPath(name).name)  # which knows both separators
    for folder in places:
        if folder.is_dir():
            return folder
    raise _unknown(name)


def _digits() -> tuple[Images, Images]:
    """scikit-learn's 1,797 digits of 8x8, enlarged to 32x32 RGB.

    The last 360 are the test set. The file is sorted by writer, so most of these are by writers
    who are not in the training set: the nearest-neighbour error on the 8x8 pixels is 4.4 % on
    them and 1.2 % on 360 drawn at random (mean of 20 draws).
    """
    sklearn_datasets = import_package("sklearn.datasets", "scikit-learn", "The digits data set")
    pil = import_package("PIL.Image", "pillow", "Enlarging the digits")
    digits = sklearn_datasets.load_digits()
    ink = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    large = [pil.fromarray(page).resize((32, 32), pil.Resampling.BICUBIC) for page in ink]
    images = np.repeat(np.stack(large)[..., None], 3, axis=-1)
    labels = digits.target.astype(np.int64)
    cut = _DIGITS_TRAIN
    return Images(images[:cut], labels[:cut]), Images(images[cut:], labels[cut:])
