"""The CIFAR reader: every official form, made up with two images a file; and the download."""

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
from keras_wrn.datasets import cifar, cifar_files
from keras_wrn.errors import InputError

PER_FILE = 2


def python_batch(key, pixels, labels):
    """A batch file's bytes, as Python 2 and NumPy 1 wrote the official ones."""
    content = {b"data": pixels, key: [int(label) for label in labels]}
    data = pickle.dumps(content, protocol=2)
    return data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def binary_batch(label_bytes, pixels, labels):
    other = np.full((len(labels), label_bytes - 1), 7, np.uint8)
    return np.concatenate([other, labels[:, None].astype(np.uint8), pixels], axis=1).tobytes()


@dataclasses.dataclass
class MadeUp:
    """Official files in miniature, and the arrays that must come out of them."""

    editions: dict
    contents: dict  # per edition's folder: {file name: bytes}
    images: np.ndarray
    labels: np.ndarray

    def unpack(self, edition, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.contents[edition.folder].items():
            (folder / name).write_bytes(data)
        return folder

    def pack(self, edition, path: Path, mode="w:gz") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, mode) as archive:
            for name, data in {"readme.html": b"<p>", **self.contents[edition.folder]}.items():
                member = tarfile.TarInfo(f"{edition.folder}/{name}")
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
    editions, contents = [], {}
    files = len(cifar_files.EDITIONS[name][0].train) + 1
    pixels = generator.integers(0, 256, (files, PER_FILE, 3072), dtype=np.uint8)
    labels = generator.integers(0, 10 if name == "cifar10" else 100, (files, PER_FILE))
    for edition in cifar_files.EDITIONS[name]:
        batches, made = [*edition.train, *edition.test], []
        contents[edition.folder] = {}
        for file, values, names in zip(batches, pixels, labels, strict=True):
            if edition.label_key:
                data = python_batch(edition.label_key, values, names)
            else:
                data = binary_batch(edition.label_bytes, values, names)
            contents[edition.folder][file.name] = data
            made.append(file._replace(images=PER_FILE, sha256=hashlib.sha256(data).hexdigest()))
        split = tuple(made[:-1]), tuple(made[-1:])
        editions.append(dataclasses.replace(edition, train=split[0], test=split[1]))
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return MadeUp({name: tuple(editions)}, contents, images, labels.reshape(-1))


@pytest.fixture(params=["cifar10", "cifar100"])
def name(request):
    return request.param


@pytest.fixture
def made_up(name, monkeypatch):
    result = make(name)
    monkeypatch.setattr(cifar, "EDITIONS", result.editions)
    return result


@pytest.mark.parametrize("which", [0, 1], ids=["python", "binary"])
@pytest.mark.parametrize("place", ["{0}", "{0}-target/{0}", "."])
def test_unpacked_folder(name, made_up, tmp_path, which, place):
    edition = made_up.editions[name][which]
    made_up.unpack(edition, tmp_path / place.format(edition.folder))
    made_up.check(cifar.read(name, tmp_path))


@pytest.mark.parametrize("which", [0, 1], ids=["python", "binary"])
@pytest.mark.parametrize("place", ["{1}", "{0}-target_archive", "{0}.tar.gz"])
def test_archive_in_memory(name, made_up, tmp_path, which, place):
    edition = made_up.editions[name][which]
    made_up.pack(edition, tmp_path / place.format(edition.folder, edition.archive))
    made_up.check(cifar.read(name, tmp_path))
    assert len(list(tmp_path.iterdir())) == 1, "nothing is unpacked to disk"


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickle_protocols_of_other_tools(protocol):
    pixels = np.arange(6144, dtype=np.uint8).reshape(2, 3072)
    data = pickle.dumps({b"data": np.array(pixels), b"labels": [3, 1]}, protocol=protocol)
    file = cifar_files.BatchFile("data_batch_1", 2, "")
    edition = cifar_files.EDITIONS["cifar10"][0]
    got, labels = cifar._decode(data, edition, file, "x")
    np.testing.assert_array_equal(got.reshape(2, 3072), pixels)
    assert labels.tolist() == [3, 1]


def test_load_gives_class_names_and_unpacks(name, made_up, tmp_path):
    made_up.unpack(made_up.editions[name][0], tmp_path / "sub" / "data")
    dataset = datasets.load(name, tmp_path / "sub" / "data")
    made_up.check(dataset)
    (x_train, _), (_, y_test) = dataset
    assert x_train is dataset.train.images
    assert y_test is dataset.test.labels
    assert dataset.name == name
    assert len(dataset.class_names) == {"cifar10": 10, "cifar100": 100}[name]


def test_default_folder_honours_keras_home(name, made_up, tmp_path, monkeypatch):
    edition = made_up.editions[name][0]
    made_up.unpack(edition, tmp_path / "datasets" / edition.folder)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    made_up.check(datasets.load(name))


@pytest.mark.parametrize("which", [0, 1], ids=["python", "binary"])
def test_truncated_batch_file_is_named(name, made_up, tmp_path, which):
    edition = made_up.editions[name][which]
    folder = made_up.unpack(edition, tmp_path / edition.folder)
    victim = folder / edition.train[-1].name
    victim.write_bytes(victim.read_bytes()[:-1000])
    with pytest.raises(InputError) as caught:
        cifar.read(name, tmp_path)
    assert str(victim) in str(caught.value)
    assert "damaged or another file" in str(caught.value)
    assert edition.archive in str(caught.value)


@pytest.mark.parametrize("which", [0, 1], ids=["python", "binary"])
def test_one_changed_pixel_is_refused(name, made_up, tmp_path, which):
    edition = made_up.editions[name][which]
    data = bytearray(made_up.contents[edition.folder][edition.test[0].name])
    data[-700] ^= 1
    made_up.contents[edition.folder][edition.test[0].name] = bytes(data)
    archive = made_up.pack(edition, tmp_path / edition.archive)
    with pytest.raises(InputError) as caught:
        cifar.read(name, tmp_path)
    assert str(archive) in str(caught.value)
    assert edition.test[0].name in str(caught.value)


@pytest.mark.parametrize("which", [0, 1], ids=["python", "binary"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_truncated_archive_is_named(name, made_up, tmp_path, which, keep, mode):
    edition = made_up.editions[name][which]
    archive = made_up.pack(edition, tmp_path / edition.archive, mode)
    whole = archive.read_bytes()
    if mode == "w":  # the last 10,240 bytes of a tar are padding that nobody misses
        whole = whole.rstrip(b"\0")
    archive.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(InputError, match=r"damaged or only half there|lacks") as caught:
        cifar.read(name, tmp_path)
    assert str(archive) in str(caught.value)
    assert f"download it again, from {edition.url}" in str(caught.value)


def test_missing_batch_file_is_named(name, made_up, tmp_path):
    edition = made_up.editions[name][0]
    folder = made_up.unpack(edition, tmp_path / edition.folder)
    (folder / edition.test[0].name).unlink()
    with pytest.raises(InputError, match=f"{edition.folder} lacks {edition.test[0].name}"):
        cifar.read(name, tmp_path)


def test_a_web_page_in_place_of_the_archive(name, made_up, tmp_path):
    edition = made_up.editions[name][0]
    (tmp_path / edition.archive).write_text("<html>503 Service Unavailable</html>")
    with pytest.raises(InputError, match="damaged or only half there"):
        cifar.read(name, tmp_path)


class _Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_malicious_pickle_is_refused_even_with_the_right_hash(name, made_up, tmp_path):
    edition = made_up.editions[name][0]
    data = pickle.dumps({b"data": _Malicious(tmp_path / "owned")}, protocol=2)
    first = edition.train[0]._replace(sha256=hashlib.sha256(data).hexdigest())
    made_up.editions[name] = (dataclasses.replace(edition, train=(first, *edition.train[1:])),)
    folder = made_up.unpack(edition, tmp_path / edition.folder)
    (folder / first.name).write_bytes(data)
    with pytest.raises(InputError, match=r"its pickle asks for (posix|nt)\.mkdir") as caught:
        cifar.read(name, tmp_path)
    assert str(folder / first.name) in str(caught.value)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps([1, 2]), pickle.dumps({})])
def test_pickle_of_something_else(content):
    file = cifar_files.BatchFile("data_batch_1", 2, "")
    with pytest.raises(InputError, match="here is not a CIFAR batch file"):
        cifar._decode(content, cifar_files.EDITIONS["cifar10"][0], file, "here")


# Downloads, from file:// addresses.


@pytest.fixture
def publish(name, made_up, tmp_path):
    """Puts the archive where it is downloaded from; `cut` bytes are lost on the way."""

    def publish(cut=0):
        edition = made_up.editions[name][0]
        archive = made_up.pack(edition, tmp_path / "host" / edition.archive)
        whole = archive.read_bytes()
        archive.write_bytes(whole[: len(whole) - cut])
        made_up.editions[name] = (
            dataclasses.replace(
                edition, url=archive.as_uri(), sha256=hashlib.sha256(whole).hexdigest()
            ),
        )
        return made_up.editions[name][0]

    return publish


def test_download_into_data_dir(name, made_up, publish, tmp_path):
    edition = publish()
    made_up.check(datasets.load(name, tmp_path / "data"))
    assert [path.name for path in (tmp_path / "data").iterdir()] == [edition.archive]
    shutil.rmtree(tmp_path / "host")
    made_up.check(datasets.load(name, tmp_path / "data"))


def test_download_starts_again_after_a_killed_one(name, made_up, publish, tmp_path):
    edition = publish()
    (tmp_path / "data").mkdir()
    half = tmp_path / "data" / f".part-1-{edition.archive}"
    half.write_bytes(b"half")
    os.utime(half, (0, 0))
    made_up.check(datasets.load(name, tmp_path / "data"))
    assert [path.name for path in (tmp_path / "data").iterdir()] == [edition.archive]


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
    edition = publish()
    shutil.rmtree(tmp_path / "host")
    with pytest.raises(InputError) as caught:
        datasets.load(name, tmp_path / "data")
    message = str(caught.value)
    assert f"{edition.archive} is not in {tmp_path / 'data'}" in message
    assert f"Put {edition.archive}, or the folder {edition.folder} it unpacks to, into" in message
    size = {"cifar10": "170,498,071", "cifar100": "169,001,437"}[name]
    assert f"{edition.url} ({size} bytes)" in message
    assert "/cifar.html, names no licence" in message and "Krizhevsky" in message


def test_data_dir_that_is_a_file(name, made_up, publish, tmp_path):
    publish()
    (tmp_path / "data").write_text("")
    with pytest.raises(InputError, match=r"is not in .*data and could not be downloaded"):
        datasets.load(name, tmp_path / "data")
