"""Reader of the official CIFAR-10 and CIFAR-100 files: python or binary, archive or folder.

Every batch file is checked against its sha256 before a byte of it is interpreted, and nothing is
ever unpacked to disk. The python edition is pickled: the unpickler here builds arrays and plain
containers and refuses everything else.
"""

import io
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from keras_wrn.datasets.cifar_files import EDITIONS, BatchFile, Edition
from keras_wrn.errors import InputError
from keras_wrn.system.files import check_sha256
from keras_wrn.system.pickles import RestrictedUnpickler

Split = tuple[np.ndarray, np.ndarray]


# NumPy 1 and 2 keep this function in different modules.
_rebuild_array: Any = np.zeros(0).__reduce__()[0]
_ARRAYS = {
    "numpy.core.multiarray._reconstruct": _rebuild_array,
    "numpy._core.multiarray._reconstruct": _rebuild_array,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    # Python 3 writes bytes in this way into old pickle protocols, always as latin1.
    "_codecs.encode": lambda text, encoding: text.encode("latin1"),
}


def read(name: str, data_dir: Path) -> tuple[Split, Split] | None:
    """Read a CIFAR data set from whichever official form lies in a folder.

    Args:
        name: "cifar10" or "cifar100".
        data_dir: holds an archive (under its official name or one that Keras gives it) or the
            folder it unpacks to, or is that folder. An unpacked folder is preferred: it is
            faster to read.

    Returns:
        (train images, labels), (test images, labels): uint8 (n, 32, 32, 3) and int64 (n,), in
        the official order, CIFAR-100 with its 100 fine labels; None where there is no such file.

    Raises:
        InputError: a file is missing, damaged or only half there; the message names it.
    """
    place = _find(name, data_dir)
    if place is None:
        return None
    path, edition = place
    train, test = _room_for(edition.train), _room_for(edition.test)
    waiting = dict([*_targets(edition.train, train), *_targets(edition.test, test)])
    files = _from_folder if path.is_dir() else _from_archive
    for file_name, source, data in files(path, edition, set(waiting)):
        file, images, labels = waiting.pop(file_name)
        check_sha256(data, file.sha256, _remedy(path, edition), name=source)
        pixels, labels[:] = _decode(data, edition, file, source)
        # Channel by channel: three long strided copies are faster than one transpose.
        for channel in range(3):
            images[:, :, channel] = pixels[:, channel]
    if waiting:
        raise InputError(f"{path} lacks {', '.join(sorted(waiting))}. {_remedy(path, edition)}")
    return train, test


def _find(name: str, data_dir: Path) -> tuple[Path, Edition] | None:
    """The first official form present, unpacked folders first."""
    for edition in EDITIONS[name]:
        # Keras unpacks into FOLDER-target/FOLDER; the last is a data_dir that is the folder.
        for folder in (edition.folder, f"{edition.folder}-target/{edition.folder}", "."):
            path = data_dir / folder
            if any((path / file.name).is_file() for file in (*edition.train, *edition.test)):
                return path, edition
    for edition in EDITIONS[name]:
        # The second is Keras 3's name for the archive, the third the one of earlier versions.
        for archive in (
            edition.archive,
            f"{edition.folder}-target_archive",
            f"{edition.folder}.tar.gz",
        ):
            if (data_dir / archive).is_file():
                return data_dir / archive, edition
    return None


def _remedy(path: Path, edition: Edition) -> str:
    if path.is_dir():
        return f"Unpack {edition.archive} again, from {edition.url}."
    return f"Delete {path} and download it again, from {edition.url}."


def _room_for(files: tuple[BatchFile, ...]) -> Split:
    count = sum(file.images for file in files)
    return np.empty((count, 32, 32, 3), np.uint8), np.empty(count, np.int64)


def _targets(
    files: tuple[BatchFile, ...], split: Split
) -> Iterator[tuple[str, tuple[BatchFile, np.ndarray, np.ndarray]]]:
    """Per file name the views, (n, 1024, 3) and (n,), that the file's images and labels fill."""
    images, labels = split
    start = 0
    for file in files:
        part = slice(start, start + file.images)
        yield file.name, (file, images[part].reshape(-1, 1024, 3), labels[part])
        start += file.images


def _from_folder(
    path: Path, edition: Edition, names: Collection[str]
) -> Iterator[tuple[str, str, bytes]]:
    """Yield (file name, what to call it in a message, bytes) for the files that are there."""
    for name in sorted(names):
        if (path / name).is_file():
            yield name, str(path / name), (path / name).read_bytes()


def _from_archive(
    path: Path, edition: Edition, names: Collection[str]
) -> Iterator[tuple[str, str, bytes]]:
    """The same from a tar archive, read from front to back without unpacking it."""
    try:
        left = set(names)
        with tarfile.open(path) as archive:
            for member in archive:
                member_path = PurePosixPath(member.name)
                if member_path.parent.name != edition.folder or member_path.name not in left:
                    continue
                content = archive.extractfile(member)
                if content is not None:
                    left.remove(member_path.name)
                    yield member_path.name, f"{member.name} in {path}", content.read()
                if not left:
                    return
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise InputError(
            f"{path} is damaged or only half there ({error}). {_remedy(path, edition)}"
        ) from error


def _decode(
    data: bytes, edition: Edition, file: BatchFile, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 3, 1024) and labels (n,) of one batch file."""
    try:
        if edition.label_key:
            batch = RestrictedUnpickler(
                io.BytesIO(data), _ARRAYS, "arrays", encoding="bytes"
            ).load()
            pixels, labels = batch[b"data"], np.asarray(batch[edition.label_key])
        else:
            record = edition.label_bytes + 3072
            records = np.frombuffer(data, np.uint8).reshape(file.images, record)
            pixels, labels = records[:, edition.label_bytes :], records[:, edition.label_bytes - 1]
        return pixels.reshape(file.images, 3, 1024), labels.reshape(file.images)
    except Exception as error:  # a broken pickle can raise anything
        raise InputError(f"{source} is not a CIFAR batch file: {error}.") from error
