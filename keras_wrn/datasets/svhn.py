"""SVHN with cropped digits: read or download the official files.

Each file is checked against its SHA-256 before it is read.

Source: http://ufldl.stanford.edu/housenumbers/. The hashes and sizes are tensorflow_datasets'.
"""

from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.datasets.images import Images
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


def read(folder: Path, extra: bool, split: str | None) -> tuple[Images, Images]:
    """Read SVHN from a folder, or from svhn/ in it; download the files that are absent.

    Args:
        folder: holds the .mat files under their official names.
        extra: add the 531,131 extra images to the training set, after it.
        split: "train" or "test" to read that one only; the other has no images then.

    Returns:
        Training and test images, uint8 (n, 32, 32, 3), with labels, int64 (n,), in the official
        order. The label of the digit 0 is 0.

    Raises:
        InputError: scipy is not installed; a file is damaged, or absent and cannot be downloaded.
    """
    scipy_io = import_package("scipy.io", "scipy", "Reading SVHN")  # before anything is downloaded
    train = [] if split == "test" else [FILES["train"], FILES["extra"]][: 1 + extra]
    test = [] if split == "train" else [FILES["test"]]
    absent = [file for file in (*train, *test) if not _path(file, folder).is_file()]
    download_offers(absent, folder, TERMS)
    return _read(train, folder, scipy_io), _read(test, folder, scipy_io)


def _path(file: Offer, folder: Path) -> Path:
    subfolder = folder / "svhn" / file.name
    return subfolder if subfolder.is_file() else folder / file.name


def _read(files: list[Offer], folder: Path, scipy_io: Any) -> Images:
    images, labels = [np.empty((0, 32, 32, 3), np.uint8)], [np.empty(0, np.int64)]
    for file in files:
        path = _path(file, folder)
        check_sha256(path, file.sha256, f"Delete it and download it again, from {file.url}.")
        try:
            content = scipy_io.loadmat(path)
            images.append(np.ascontiguousarray(content["X"].transpose(3, 0, 1, 2)))
            labels.append(content["y"].ravel().astype(np.int64))
        except Exception as error:  # scipy raises many kinds for a file that is no .mat
            raise InputError(f"{path} is not a file of SVHN's layout: {error}.") from error
    # The files say 10 for the digit 0.
    return Images(np.concatenate(images), np.concatenate(labels) % 10)
