"""Images in memory: which of them are trained on, and which are looked at."""

import keras
import numpy as np
import pytest

from keras_wrn import datasets
from keras_wrn.datasets.loading import Dataset, Images
from keras_wrn.errors import InputError
from keras_wrn.training import feeds
from keras_wrn.training.batches import even_batch
from keras_wrn.training.feeds import InMemory
from keras_wrn.training.recipe import Recipe


def made_up(name, count, classes):
    """A data set that is sorted by class, as folders are read."""
    labels = np.arange(count) * classes // count
    images = np.random.default_rng(1).integers(0, 256, (count, 8, 8, 3), np.uint8)
    images[:, 0, 0, 0] = labels
    split = Images(images, labels)
    return Dataset(name, split, split, tuple(f"class {i}" for i in range(classes)))


def test_a_part_of_a_folder_is_of_all_classes(monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda *_, **__: made_up("folder", 40, 4))
    monkeypatch.setattr(feeds, "LOOKED_AT", 8)
    feed = InMemory(Recipe(dataset="folder", train_images=12, batch_size=12, flip=False), None)
    images, labels = feed.stream(0)[0]
    assert feed.images == 12 and sorted(labels) == sorted([0, 1, 2, 3] * 3)
    np.testing.assert_array_equal(images[:, 0, 0, 0], labels)
    images, labels = feed.test
    assert labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    np.testing.assert_array_equal(images[:, 0, 0, 0], labels)


def test_a_part_of_a_named_set_is_spread_evenly_too(monkeypatch):
    data = made_up("digits", 40, 10)
    monkeypatch.setattr(datasets, "load", lambda *_, **__: data)
    feed = InMemory(Recipe(dataset="digits", train_images=12), None)
    np.testing.assert_array_equal(feed._train[0], data.train.images[np.arange(12) * 40 // 12])
    assert InMemory(Recipe(dataset="digits", train_images=41), None).images == 40


def test_the_last_batch_of_an_evaluation_has_all_replicas_busy():
    assert even_batch(1000, 1, 500) == 500
    for images, replicas in ((1001, 2), (7, 2), (11, 3)):
        size = even_batch(images, replicas, 6)
        if keras.config.backend() == "jax":  # all batches are shared out alike, or none is
            assert size <= 6 and size % replicas
        else:
            assert size <= 6 and (images % size == 0 or images % size >= replicas)


def test_held_out_images_take_the_place_of_the_test_set(monkeypatch):
    data = made_up("digits", 40, 10)
    monkeypatch.setattr(datasets, "load", lambda *_, **__: data)
    feed = InMemory(Recipe(dataset="digits", held_out=10, seed=1), None)
    assert (len(feed._train[1]), len(feed._test[1])) == (30, 10)
    both = np.concatenate([feed._train[0], feed._test[0]])
    assert {image.tobytes() for image in both} == {image.tobytes() for image in data.train.images}
    again = InMemory(Recipe(dataset="digits", held_out=10, seed=2), None)
    np.testing.assert_array_equal(again._test[0], feed._test[0])
    with pytest.raises(InputError, match="below the number of training images, 40"):
        InMemory(Recipe(dataset="digits", held_out=40), None)
    with pytest.raises(InputError, match="held_out.*train_images"):
        Recipe(held_out=10, train_images=100)
