"""`datasets.load`: digits, SVHN, and the messages of its errors."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_wrn import datasets
from keras_wrn.datasets import svhn as svhn_files
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import PREPROCESSING, measure_preprocessing

REAL = Path("~/.keras/datasets").expanduser()


def test_unknown_name_says_what_there_is():
    with pytest.raises(InputError, match="cifar10, cifar100, svhn, digits, or an existing folder"):
        datasets.load("mnist")
    with pytest.raises(InputError, match=r"Received: name='CIFAR-100'. Nearest: cifar100."):
        datasets.load("CIFAR-100")
    for wrong in ("", None, 10, b"cifar10"):
        with pytest.raises(InputError, match="Received: name="):
            datasets.load(wrong)


def test_extra_and_size_belong_to_svhn_and_folders():
    with pytest.raises(InputError, match=r"Only svhn has an extra set. Received: name='digits'"):
        datasets.load("digits", extra=True)
    with pytest.raises(InputError, match=r"images of digits are 32x32.*Received: size=64"):
        datasets.load("digits", size=64)
    for size in (0, -1, 32.0, True, None):
        with pytest.raises(InputError, match="whole number of pixels"):
            datasets.load("digits", size=size)


def test_import_and_digits_need_no_keras():
    program = (
        "import sys; from keras_wrn import datasets; "
        "assert not {'keras', 'tensorflow', 'jax', 'scipy', 'sklearn', 'PIL'} & set(sys.modules); "
        "datasets.load('digits'); "
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# Digits.


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn")
    return datasets.load("digits")


def test_digits_are_all_there(digits):
    assert digits.train.images.shape == (1437, 32, 32, 3)
    assert digits.test.images.shape == (360, 32, 32, 3)
    assert digits.train.images.dtype == digits.test.images.dtype == np.uint8
    assert digits.train.labels.dtype == np.int64
    assert np.bincount(digits.train.labels, minlength=10).min() >= 141
    assert np.bincount(digits.test.labels, minlength=10).min() >= 33
    assert digits.class_names == tuple("0123456789")


def test_digits_are_scikit_learns_enlarged(digits):
    from sklearn.datasets import load_digits

    original = load_digits()
    np.testing.assert_array_equal(digits.train.labels, original.target[:1437])
    np.testing.assert_array_equal(digits.test.labels, original.target[1437:])
    images = np.concatenate([digits.train.images, digits.test.images])
    assert (images.min(), images.max()) == (0, 255)
    assert (images[..., 0] == images[..., 2]).all()
    # The ink of each 4x4 block is that of its pixel, but for what a smooth enlargement spreads.
    blocks = images[..., 0].reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4))
    assert np.corrcoef(blocks.ravel(), original.images.ravel())[0, 1] > 0.98
    assert abs(blocks.mean() - original.images.mean() * 255 / 16) < 2


def test_digits_constants_are_the_measured_ones(digits):
    measured = measure_preprocessing(digits.train.images, digits.class_names)
    # Pillow's rounding may change between versions by less than this.
    np.testing.assert_allclose(measured.mean, PREPROCESSING["digits"].mean, atol=0.05)
    np.testing.assert_allclose(measured.std, PREPROCESSING["digits"].std, atol=0.05)


def test_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(InputError, match=r"needs scikit-learn.*Run: pip install scikit-learn"):
        datasets.load("digits")


# SVHN.


@pytest.fixture
def svhn(tmp_path, monkeypatch):
    """SVHN files of 6, 4 and 5 images, and the hashes of the table to match."""
    scipy_io = pytest.importorskip("scipy.io")
    generator = np.random.default_rng(8)
    content, hashes = {}, {}
    for name, count in (("train", 6), ("test", 4), ("extra", 5)):
        images = generator.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = np.array([10, 1, 9, 10, 5, 3][:count], np.uint8)[:, None]
        path = tmp_path / f"{name}_32x32.mat"
        scipy_io.savemat(path, {"X": images, "y": labels}, do_compression=True)
        content[name] = images, labels
        hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    change_offers(monkeypatch, **{name: {"sha256": got} for name, got in hashes.items()})
    return content


def change_offers(monkeypatch, **changes):
    """Change the entries of the table of SVHN's files."""
    for name, change in changes.items():
        monkeypatch.setitem(svhn_files.FILES, name, svhn_files.FILES[name]._replace(**change))


def offer_from(monkeypatch, folder):
    """Let SVHN be downloaded from a folder."""
    urls = {name: f"{folder.as_uri()}/{file.name}" for name, file in svhn_files.FILES.items()}
    change_offers(monkeypatch, **{name: {"url": url} for name, url in urls.items()})


def test_svhn_layout_and_label_ten(svhn, tmp_path):
    dataset = datasets.load("svhn", tmp_path)
    assert dataset.train.images.shape == (6, 32, 32, 3)
    assert dataset.train.images.flags.c_contiguous
    assert dataset.train.labels.tolist() == [0, 1, 9, 0, 5, 3]
    assert dataset.train.labels.dtype == np.int64
    assert len(dataset.test.images) == 4
    for index in range(6):
        np.testing.assert_array_equal(dataset.train.images[index], svhn["train"][0][..., index])
    assert dataset.class_names == tuple("0123456789")


def test_svhn_extra_comes_after_train(svhn, tmp_path):
    dataset = datasets.load("svhn", tmp_path, extra=True)
    assert dataset.train.images.shape == (11, 32, 32, 3)
    np.testing.assert_array_equal(dataset.train.images[6], svhn["extra"][0][..., 0])
    assert dataset.train.labels.tolist() == [0, 1, 9, 0, 5, 3, 0, 1, 9, 0, 5]
    assert len(dataset.test.images) == 4


def test_svhn_in_a_folder_of_its_own(svhn, tmp_path):
    (tmp_path / "svhn").mkdir()
    for path in tmp_path.glob("*.mat"):
        path.rename(tmp_path / "svhn" / path.name)
    assert len(datasets.load("svhn", tmp_path).train.images) == 6


def test_svhn_half_a_file_is_named(svhn, tmp_path):
    path = tmp_path / "test_32x32.mat"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError) as caught:
        datasets.load("svhn", tmp_path)
    assert f"{path} is damaged or another file" in str(caught.value)
    assert "http://ufldl.stanford.edu/housenumbers/test_32x32.mat" in str(caught.value)


def test_svhn_download(svhn, tmp_path, monkeypatch):
    (tmp_path / "host").mkdir()
    for path in tmp_path.glob("*.mat"):
        path.rename(tmp_path / "host" / path.name)
    offer_from(monkeypatch, tmp_path / "host")
    assert len(datasets.load("svhn", tmp_path / "data").train.images) == 6
    got = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert got == ["test_32x32.mat", "train_32x32.mat"], "the extra set is not downloaded unasked"


def test_svhn_missing_says_which_file_goes_where(svhn, tmp_path, monkeypatch):
    offer_from(monkeypatch, tmp_path / "host")
    with pytest.raises(InputError) as caught:
        datasets.load("svhn", tmp_path / "data", split="train")
    assert f"Put train_32x32.mat into {tmp_path / 'data'}" in str(caught.value)


def test_svhn_missing_is_one_sentence_with_all_files_sizes_and_terms(tmp_path, monkeypatch):
    pytest.importorskip("scipy")
    offer_from(monkeypatch, tmp_path / "host")
    with pytest.raises(InputError) as caught:
        datasets.load("svhn", tmp_path / "data", extra=True)
    for words in (
        "train_32x32.mat, extra_32x32.mat, test_32x32.mat are not in",
        "/train_32x32.mat (182,040,794 bytes)",
        "/test_32x32.mat (64,275,384 bytes)",
        "/extra_32x32.mat (1,329,278,602 bytes)",
        "non-commercial use only",
        "http://ufldl.stanford.edu/housenumbers/",
    ):
        assert words in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_svhn_that_was_downloaded_before_is_not_called_missing(svhn, tmp_path, monkeypatch):
    (tmp_path / "host").mkdir()
    (tmp_path / "train_32x32.mat").rename(tmp_path / "host" / "train_32x32.mat")
    offer_from(monkeypatch, tmp_path / "host")
    (tmp_path / "extra_32x32.mat").unlink()
    with pytest.raises(InputError, match="could not be downloaded") as caught:
        datasets.load("svhn", tmp_path, extra=True)
    assert str(caught.value).startswith(f"extra_32x32.mat is not in {tmp_path} and")
    assert (tmp_path / "train_32x32.mat").is_file()


def test_svhn_hash_of_another_file(tmp_path, monkeypatch):
    pytest.importorskip("scipy")
    for name in ("train", "test"):
        (tmp_path / f"{name}_32x32.mat").write_bytes(b"no matlab")
    change_offers(monkeypatch, train={"sha256": hashlib.sha256(b"no matlab").hexdigest()})
    with pytest.raises(InputError, match=r"train_32x32.mat is not a file of SVHN's layout"):
        datasets.load("svhn", tmp_path)


def test_svhn_first_real_images(tmp_path, monkeypatch):
    pytest.importorskip("scipy")
    real = REAL / "svhn_first1083" / "train_32x32.mat"
    if not real.is_file():
        pytest.skip(f"{real} is absent")
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (tmp_path / name).symlink_to(real)
    with pytest.raises(InputError, match="damaged or another file"):
        datasets.load("svhn", tmp_path)
    same = {"sha256": hashlib.sha256(real.read_bytes()).hexdigest()}
    change_offers(monkeypatch, train=same, test=same)
    train = datasets.load("svhn", tmp_path).train
    assert train.images.shape == (1083, 32, 32, 3)
    # What is known of the full training set's beginning: the first house is number 19, then 23.
    assert train.labels[:4].tolist() == [1, 9, 2, 3]
    assert set(train.labels) == set(range(10))
