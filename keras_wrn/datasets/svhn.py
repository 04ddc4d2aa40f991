"""Reader of the official SVHN files, the format with cropped digits; fetches those that are absent.

Source: http://ufldl.stanford.edu/housenumbers/. Every file is checked against its sha256 before a
byte of it is interpreted; the hashes and sizes are those of tensorflow_datasets' checksums.
"""

from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.datasets.cifar import Split
from keras_wrn.errors import InputError
from keras_wrn.system.backend import import_package
from keras_wrn.system.downloads import Offer, download_offers
from keras_wrn.system.files import check_sha256

_HOST = "http://ufldl.stanford.edu/housenumbers/"
TERMS = f"SVHN is for non-commercial use only, says its owner at {_HOST}."
FILES = {
    "train": Offer(
        _HOST + "train_32x32.mat",
        "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        182_040_794,
    ),
    "test": Offer(
        _HOST + "test_32x32.mat",
        "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        64_275_384,
    ),
    "extra": Offer(
        _HOST + "extra_32x32.mat",
        "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3",
        1_329_278_602,
    ),
}


def read(folder: Path, extra: bool, split: str | None) -> tuple[Split, Split]:
    """Read SVHN from a folder, or from svhn/ in it; download what is in neither.

    Args:
        folder: holds the .mat files under their official names.
        extra: add the 531,131 extra images to the training set, after it.
        split: "train" or "test" to read that alone; the other has no images then.

    Returns:
        (train images, labels), (test images, labels): uint8 (n, 32, 32, 3) and int64 (n,), in
        the official order, the digit 0 as 0.

    Raises:
        InputError: scipy is not installed; a file is damaged, or absent and not to be had.
    """
    scipy_io = import_package("scipy.io", "scipy", "Reading SVHN")  # before anything is downloaded
    learnt = [] if split == "test" else ["train", "extra"] if extra else ["train"]
    wanted = [FILES[part] for part in [*learnt, *(["test"] if split != "train" else [])]]
    absent = [file for file in wanted if not _path(file, folder).is_file()]
    download_offers(absent, folder, TERMS)
    nothing = np.empty((0, 32, 32, 3), np.uint8), np.empty(0, np.int64)
    train = _read_file(FILES["train"], folder, scipy_io) if "train" in learnt else nothing
    if "extra" in learnt:
        more = _read_file(FILES["extra"], folder, scipy_io)
        train = np.concatenate([train[0], more[0]]), np.concatenate([train[1], more[1]])
    test = nothing if split == "train" else _read_file(FILES["test"], folder, scipy_io)
    return train, test


def _path(file: Offer, folder: Path) -> Path:
    own = folder / "svhn" / file.name
    return own if own.is_file() else folder / file.name


def _read_file(file: Offer, folder: Path, scipy_io: Any) -> Split:
    path = _path(file, folder)
    check_sha256(path, file.sha256, f"Delete it and download it again, from {file.url}.")
    try:
        content = scipy_io.loadmat(path)
        images = np.ascontiguousarray(content["X"].transpose(3, 0, 1, 2))
        labels = content["y"].ravel().astype(np.int64)
    except Exception as error:  # scipy raises many kinds for a file that is no .mat
        raise InputError(f"{path} is not a file of SVHN's layout: {error}.") from error
    # The files say 10 for the digit 0.
    labels[labels == 10] = 0
    return images, labels
