"""The CIFAR reader: folders and archives in miniature, with two images a file; the download."""

import dataclasses
import hashlib
import io
import os
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from keras_wrn import datasets
from keras_wrn.datasets import cifar
from keras_wrn.errors import InputError

PER_FILE = 2


def python_batch(key, pixels, labels):
    """A batch file's bytes, as Python 2 and NumPy 1 wrote the official ones."""
    content = {b"data": pixels, key: [int(label) for label in labels]}
    data = pickle.dumps(content, protocol=2)
    return data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


@dataclasses.dataclass
class MadeUp:
    """An official archive in miniature, and the arrays that must come out of it."""

    archive: cifar.Archive
    contents: dict  # {file name: bytes}
    images: np.ndarray
    labels: np.ndarray

    def unpack(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.contents.items():
            (folder / name).write_bytes(data)
        return folder

    def pack(self, path: Path, mode="w:gz") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, mode) as archive:
            for name, data in {"readme.html": b"<p>", **self.contents}.items():
                member = tarfile.TarInfo(f"{self.archive.folder}/{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return path

    def check(self, splits):
        (x_train, y_train), (x_test, y_test) = splits
        assert x_train.dtype == np.uint8
        assert y_train.dtype == np.int64
        np.testing.assert_array_equal(np.concatenate([x_train, x_test]), self.images)
        np.testing.assert_array_equal(np.concatenate([y_train, y_test]), self.labels)
        assert len(x_test) == PER_FILE


def make(name):
    generator = np.random.default_rng(len(name))
    archive = cifar.ARCHIVES[name]
    batches, contents, made = [*archive.train, *archive.test], {}, []
    pixels = generator.integers(0, 256, (len(batches), PER_FILE, 3072), dtype=np.uint8)
    labels = generator.integers(0, 10 if name == "cifar10" else 100, (len(batches), PER_FILE))
    for batch, values, names in zip(batches, pixels, labels, strict=True):
        data = contents[batch.name] = python_batch(archive.label_key, values, names)
        made.append(batch._replace(images=PER_FILE, sha256=hashlib.sha256(data).hexdigest()))
    archive = archive._replace(train=tuple(made[:-1]), test=tuple(made[-1:]))
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return MadeUp(archive, contents, images, labels.reshape(-1))


@pytest.fixture(params=["cifar10", "cifar100"])
def name(request):
    return request.param


@pytest.fixture
def made_up(name, monkeypatch):
    result = make(name)
    monkeypatch.setitem(cifar.ARCHIVES, name, result.archive)
    return result


@pytest.mark.parametrize("place", ["{0}", "{0}-target/{0}", "."])
def test_unpacked_folder(name, made_up, tmp_path, place):
    archive = made_up.archive
    made_up.unpack(tmp_path / place.format(archive.folder))
    made_up.check(cifar.read(name, tmp_path))


@pytest.mark.parametrize("place", ["{1}", "{0}-target_archive", "{0}.tar.gz"])
def test_archive_in_memory(name, made_up, tmp_path, place):
    archive = made_up.archive
    made_up.pack(tmp_path / place.format(archive.folder, archive.offer.name))
    made_up.check(cifar.read(name, tmp_path))
    assert len(list(tmp_path.iterdir())) == 1, "nothing is unpacked to disk"


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickle_protocols_of_other_tools(protocol):
    pixels = np.arange(6144, dtype=np.uint8).reshape(2, 3072)
    data = pickle.dumps({b"data": np.array(pixels), b"labels": [3, 1]}, protocol=protocol)
    got, labels = cifar._decode(data, b"labels", 2, "x")
    np.testing.assert_array_equal(got.transpose(0, 3, 1, 2).reshape(2, 3072), pixels)
    assert labels.tolist() == [3, 1]


def test_load_gives_class_names_and_unpacks(name, made_up, tmp_path):
    made_up.unpack(tmp_path / "sub" / "data")
    dataset = datasets.load(name, tmp_path / "sub" / "data")
    made_up.check(dataset)
    (x_train, _), (_, y_test) = dataset
    assert x_train is dataset.train.images
    assert y_test is dataset.test.labels
    assert dataset.name == name
    assert len(dataset.class_names) == {"cifar10": 10, "cifar100": 100}[name]


def test_default_folder_honours_keras_home(name, made_up, tmp_path, monkeypatch):
    archive = made_up.archive
    made_up.unpack(tmp_path / "datasets" / archive.folder)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    made_up.check(datasets.load(name))


def test_truncated_batch_file_is_named(name, made_up, tmp_path):
    archive = made_up.archive
    folder = made_up.unpack(tmp_path / archive.folder)
    victim = folder / archive.train[-1].name
    victim.write_bytes(victim.read_bytes()[:-1000])
    with pytest.raises(InputError) as caught:
        cifar.read(name, tmp_path)
    assert str(victim) in str(caught.value)
    assert "damaged or another file" in str(caught.value)
    assert archive.offer.name in str(caught.value)


def test_one_changed_pixel_is_refused(name, made_up, tmp_path):
    archive = made_up.archive
    data = bytearray(made_up.contents[archive.test[0].name])
    data[-700] ^= 1
    made_up.contents[archive.test[0].name] = bytes(data)
    packed = made_up.pack(tmp_path / archive.offer.name)
    with pytest.raises(InputError) as caught:
        cifar.read(name, tmp_path)
    assert str(packed) in str(caught.value)
    assert archive.test[0].name in str(caught.value)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_truncated_archive_is_named(name, made_up, tmp_path, keep, mode):
    archive = made_up.archive
    packed = made_up.pack(tmp_path / archive.offer.name, mode)
    complete = packed.read_bytes()
    if mode == "w":  # the last 10,240 bytes of a tar are padding that nobody misses
        complete = complete.rstrip(b"\0")
    packed.write_bytes(complete[: int(keep * len(complete))])
    with pytest.raises(InputError, match=r"damaged or only half there|lacks") as caught:
        cifar.read(name, tmp_path)
    assert str(packed) in str(caught.value)
    assert f"download it again, from {archive.offer.url}" in str(caught.value)


def test_missing_batch_file_is_named(name, made_up, tmp_path):
    archive = made_up.archive
    folder = made_up.unpack(tmp_path / archive.folder)
    (folder / archive.test[0].name).unlink()
    with pytest.raises(InputError, match=f"{archive.folder} lacks {archive.test[0].name}"):
        cifar.read(name, tmp_path)


def test_a_web_page_in_place_of_the_archive(name, made_up, tmp_path):
    archive = made_up.archive
    (tmp_path / archive.offer.name).write_text("<html>503 Service Unavailable</html>")
    with pytest.raises(InputError, match="damaged or only half there"):
        cifar.read(name, tmp_path)


class _Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_malicious_pickle_is_refused_even_with_the_right_hash(name, made_up, tmp_path, monkeypatch):
    archive = made_up.archive
    data = pickle.dumps({b"data": _Malicious(tmp_path / "owned")}, protocol=2)
    first = archive.train[0]._replace(sha256=hashlib.sha256(data).hexdigest())
    changed = archive._replace(train=(first, *archive.train[1:]))
    monkeypatch.setitem(cifar.ARCHIVES, name, changed)
    folder = made_up.unpack(tmp_path / archive.folder)
    (folder / first.name).write_bytes(data)
    with pytest.raises(InputError, match=r"its pickle asks for (posix|nt)\.mkdir") as caught:
        cifar.read(name, tmp_path)
    assert str(folder / first.name) in str(caught.value)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps([1, 2]), pickle.dumps({})])
def test_pickle_of_something_else(content):
    with pytest.raises(InputError, match="here is not a CIFAR batch file"):
        cifar._decode(content, b"labels", 2, "here")


# Downloads, from file:// addresses.


@pytest.fixture
def publish(name, made_up, tmp_path, monkeypatch):
    """Puts the archive where it is downloaded from; `cut` bytes are lost on the way."""

    def publish(cut=0):
        archive = made_up.archive
        packed = made_up.pack(tmp_path / "host" / archive.offer.name)
        complete = packed.read_bytes()
        packed.write_bytes(complete[: len(complete) - cut])
        sha256 = hashlib.sha256(complete).hexdigest()
        offer = archive.offer._replace(url=packed.as_uri(), sha256=sha256)
        monkeypatch.setitem(cifar.ARCHIVES, name, archive._replace(offer=offer))
        return cifar.ARCHIVES[name]

    return publish


def test_download_into_data_dir(name, made_up, publish, tmp_path):
    archive = publish()
    made_up.check(datasets.load(name, tmp_path / "data"))
    assert [path.name for path in (tmp_path / "data").iterdir()] == [archive.offer.name]
    shutil.rmtree(tmp_path / "host")
    made_up.check(datasets.load(name, tmp_path / "data"))


def test_download_starts_again_after_a_killed_one(name, made_up, publish, tmp_path):
    archive = publish()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / f".part-{archive.offer.name}").write_bytes(b"half")
    (tmp_path / "data" / f".part-{archive.offer.name}.lock").write_bytes(b"")
    made_up.check(datasets.load(name, tmp_path / "data"))
    assert [path.name for path in (tmp_path / "data").iterdir()] == [archive.offer.name]


def test_download_with_the_wrong_hash_is_not_kept(name, made_up, publish, tmp_path):
    publish(cut=100)
    with pytest.raises(InputError, match=r"could not be downloaded .*damaged or another"):
        datasets.load(name, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_folder_that_was_there_stays_where_a_download_fails(name, made_up, publish, tmp_path):
    publish(cut=100)
    (tmp_path / "empty").mkdir()
    for folder, kept in ((tmp_path / "empty", True), (tmp_path / "mistyped" / "data", False)):
        with pytest.raises(InputError, match="could not be downloaded"):
            datasets.load(name, folder)
        assert folder.exists() == kept
    assert not (tmp_path / "mistyped").exists()


def test_missing_data_says_which_file_goes_where(name, made_up, publish, tmp_path):
    archive = publish()
    shutil.rmtree(tmp_path / "host")
    with pytest.raises(InputError) as caught:
        datasets.load(name, tmp_path / "data")
    message = str(caught.value)
    assert f"{archive.offer.name} is not in {tmp_path / 'data'}" in message
    assert (
        f"Put {archive.offer.name}, or the folder {archive.folder} it unpacks to, into" in message
    )
    size = {"cifar10": "170,498,071", "cifar100": "169,001,437"}[name]
    assert f"{archive.offer.url} ({size} bytes)" in message
    assert "/cifar.html, names no licence" in message and "Krizhevsky" in message


def test_data_dir_that_is_a_file(name, made_up, publish, tmp_path):
    publish()
    (tmp_path / "data").write_text("")
    with pytest.raises(InputError, match=r"is not in .*data and could not be downloaded"):
        datasets.load(name, tmp_path / "data")
