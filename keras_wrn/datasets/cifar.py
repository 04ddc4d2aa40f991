"""CIFAR-10 and CIFAR-100: read or download the official Python batches.

Each batch file is checked against its SHA-256 before it is unpickled. An archive is read without
unpacking it to disk.

Source: https://www.cs.toronto.edu/~kriz/cifar.html. The batches' hashes were taken from files with
the MD5 sums that torchvision checks; the archives' sizes are what their host sends.
"""

import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from keras_wrn.datasets.images import Images
from keras_wrn.errors import InputError
from keras_wrn.system.downloads import Offer, download_offers
from keras_wrn.system.files import check_sha256
from keras_wrn.system.pickles import RestrictedUnpickler


class Batch(NamedTuple):
    """An official batch file: its name, its number of images and its SHA-256."""

    name: str
    images: int
    sha256: str


class Archive(NamedTuple):
    """A data set as its owner publishes it.

    Attributes:
        offer: the archive, to download.
        folder: the folder in the archive that holds the batch files.
        label_key: the labels' key in a batch.
        train: the batch files of the training set, in order.
        test: the batch files of the test set.
    """

    offer: Offer
    folder: str
    label_key: bytes
    train: tuple[Batch, ...]
    test: tuple[Batch, ...]


_HOST = "https://www.cs.toronto.edu/~kriz/"
_TERMS = (
    f"CIFAR's owner, at {_HOST}cifar.html, names no licence and asks to cite: A. Krizhevsky, "
    "Learning Multiple Layers of Features from Tiny Images, tech report, 2009."
)
_CIFAR10_TRAIN = (
    "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
    "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
    "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
    "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
    "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
)
_CIFAR10_TEST = "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831"
_CIFAR100_TRAIN = "735e79b04f092ca3d2e6d07f368c0a7d70d48c48d28865950cc24454cf45129b"
_CIFAR100_TEST = "4b67687d9933c4db8f0831104447f15b93774f4f464bd0516f0f0f2ac83b7864"
ARCHIVES = {
    "cifar10": Archive(
        Offer(
            _HOST + "cifar-10-python.tar.gz",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            170_498_071,
        ),
        "cifar-10-batches-py",
        b"labels",
        tuple(Batch(f"data_batch_{i}", 10000, sha) for i, sha in enumerate(_CIFAR10_TRAIN, 1)),
        (Batch("test_batch", 10000, _CIFAR10_TEST),),
    ),
    "cifar100": Archive(
        Offer(
            _HOST + "cifar-100-python.tar.gz",
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            169_001_437,
        ),
        "cifar-100-python",
        b"fine_labels",
        (Batch("train", 50000, _CIFAR100_TRAIN),),
        (Batch("test", 10000, _CIFAR100_TEST),),
    ),
}
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


def read(name: str, data_dir: Path) -> tuple[Images, Images]:
    """Read a CIFAR data set from a folder; download it where it is absent.

    Args:
        name: "cifar10" or "cifar100".
        data_dir: holds the archive (under its official name or one of Keras') or the folder that
            it unpacks to, or is that folder. An unpacked folder is read first: it is faster.

    Returns:
        Training and test images, uint8 (n, 32, 32, 3), with labels, int64 (n,), in the official
        order. CIFAR-100 has its 100 fine labels.

    Raises:
        InputError: a file is damaged or missing, or cannot be downloaded; the message names it.
    """
    archive = ARCHIVES[name]
    path = _find(archive, data_dir)
    if path is None:
        instead = f", or the folder {archive.folder} it unpacks to,"
        download_offers([archive.offer], data_dir, _TERMS, instead)
        path = data_dir / archive.offer.name
    again = f"Delete {path} and download it again"
    if path.is_dir():
        again = f"Unpack {archive.offer.name} again"
    remedy = f"{again}, from {archive.offer.url}."
    missing = {batch.name: batch for batch in (*archive.train, *archive.test)}
    found: dict[str, Images] = {}
    files = _in_folder(path, archive) if path.is_dir() else _in_archive(path, archive, remedy)
    for batch_name, source, data in files:
        if batch_name in missing:
            batch = missing.pop(batch_name)
            check_sha256(data, batch.sha256, remedy, name=source)
            found[batch_name] = _decode(data, archive.label_key, batch.images, source)
        if not missing:
            break
    if missing:
        raise InputError(f"{path} lacks {', '.join(sorted(missing))}. {remedy}")
    return _joined(archive.train, found), _joined(archive.test, found)


def _find(archive: Archive, data_dir: Path) -> Path | None:
    """Find the unpacked folder, else the archive."""
    folder, batches = archive.folder, (*archive.train, *archive.test)
    # Keras unpacks into FOLDER-target/FOLDER; the last is a data_dir that is the folder.
    for name in (folder, f"{folder}-target/{folder}", "."):
        if any((data_dir / name / batch.name).is_file() for batch in batches):
            return data_dir / name
    # The second name is Keras 3's, the third that of earlier versions.
    for name in (archive.offer.name, f"{folder}-target_archive", f"{folder}.tar.gz"):
        if (data_dir / name).is_file():
            return data_dir / name
    return None


def _in_folder(path: Path, archive: Archive) -> Iterator[tuple[str, str, bytes]]:
    """Yield name, name for messages, and bytes of each batch file."""
    for batch in (*archive.train, *archive.test):
        if (path / batch.name).is_file():
            yield batch.name, str(path / batch.name), (path / batch.name).read_bytes()


def _in_archive(path: Path, archive: Archive, remedy: str) -> Iterator[tuple[str, str, bytes]]:
    """Yield the same from the files of a tar archive, read from front to back."""
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                file = PurePosixPath(member.name)
                if file.parent.name == archive.folder and (content := tar.extractfile(member)):
                    yield file.name, f"{member.name} in {path}", content.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise InputError(f"{path} is damaged or only half there ({error}). {remedy}") from error


def _decode(data: bytes, label_key: bytes, count: int, source: str) -> Images:
    """Unpickle a batch file."""
    try:
        batch = RestrictedUnpickler(io.BytesIO(data), _ARRAYS, "arrays", encoding="bytes").load()
        pixels = batch[b"data"].reshape(count, 3, 1024)
        labels = np.asarray(batch[label_key]).reshape(count).astype(np.int64)
    except Exception as error:  # a broken pickle can raise anything
        raise InputError(f"{source} is not a CIFAR batch file: {error}.") from error
    images = np.empty((count, 1024, 3), np.uint8)
    # Three long strided copies are faster than one transpose.
    for channel in range(3):
        images[:, :, channel] = pixels[:, channel]
    return Images(images.reshape(count, 32, 32, 3), labels)


def _joined(batches: tuple[Batch, ...], found: dict[str, Images]) -> Images:
    parts = [found[batch.name] for batch in batches]
    return Images(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
