"""The real CIFAR files, where they are: counts, statistics, class names."""

import io
from pathlib import Path

import numpy as np
import pytest

from keras_wrn import datasets
from keras_wrn.datasets import cifar
from keras_wrn.images.preprocessing import measure_preprocessing
from keras_wrn.system.pickles import RestrictedUnpickler

FOLDER = Path("~/.keras/datasets").expanduser()


@pytest.fixture(params=["cifar10", "cifar100"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def real():
    loaded = {}

    def real(name):
        if cifar._find(cifar.ARCHIVES[name], FOLDER) is None:
            pytest.skip(f"the official {name} files are not in {FOLDER}")
        if name not in loaded:
            loaded[name] = datasets.load(name, FOLDER)
        return loaded[name]

    return real


MEAN = {
    "cifar10": (0.49139968, 0.48215841, 0.44653091),
    "cifar100": (0.50707516, 0.48654887, 0.44091784),
}


def test_real_counts_and_statistics(name, real):
    dataset = real(name)
    classes = len(dataset.class_names)
    assert dataset.train.images.shape == (50000, 32, 32, 3)
    assert dataset.test.images.shape == (10000, 32, 32, 3)
    assert np.bincount(dataset.train.labels).tolist() == [50000 // classes] * classes
    assert np.bincount(dataset.test.labels).tolist() == [10000 // classes] * classes
    measured = measure_preprocessing(dataset.train.images, dataset.class_names)
    np.testing.assert_allclose(np.divide(measured.mean, 255), MEAN[name], atol=1e-8)
    if name == "cifar10":
        std = np.divide(measured.std, 255)
        np.testing.assert_allclose(std, (0.24703223, 0.24348513, 0.26158784), atol=1e-8)


def test_real_class_names(name, real):
    real(name)
    folder = cifar._find(cifar.ARCHIVES[name], FOLDER)
    meta = folder / {"cifar10": "batches.meta", "cifar100": "meta"}[name]
    if not meta.is_file():
        pytest.skip(f"{meta} is absent")
    file = io.BytesIO(meta.read_bytes())
    names = RestrictedUnpickler(file, cifar._ARRAYS, "arrays", encoding="bytes").load()
    names = names[{"cifar10": b"label_names", "cifar100": b"fine_label_names"}[name]]
    assert tuple(label.decode() for label in names) == real(name).class_names
