"""Batches for fit: the same ones, and on TensorFlow nothing that tunes them."""

import itertools

import keras
import numpy as np
import pytest

from keras_wrn.training.batches import BatchStream, InOrder, untuned
from keras_wrn.training.recipe import Recipe

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 8, 8, 3), np.uint8)
LABELS = np.arange(11)
on_tensorflow = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="tf.data is TensorFlow's"
)


def streams():
    mixed = Recipe(batch_size=4, mixup=0.2, flip=False)
    return {
        "labels": BatchStream(IMAGES, LABELS, Recipe(batch_size=4), classes=11, start_step=1),
        "shares of classes": BatchStream(IMAGES, LABELS, mixed, classes=11),
        "in order": InOrder(IMAGES, LABELS, 4),
    }


def test_in_order_is_every_image_once():
    stream = InOrder(IMAGES, LABELS, 4)
    batches = [stream[i] for i in range(stream.num_batches)]
    assert [len(labels) for _, labels in batches] == [4, 4, 3]
    np.testing.assert_array_equal(np.concatenate([images for images, _ in batches]), IMAGES)
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), LABELS)


@on_tensorflow
@pytest.mark.parametrize("name", list(streams()))
def test_the_batches_are_the_streams_and_are_not_tuned(name):
    stream = streams()[name]
    data = untuned(stream)
    assert data.options().autotune.enabled is False
    assert data.cardinality() == (stream.num_batches or -2)  # unknown
    some = list(itertools.islice(data.as_numpy_iterator(), 7))
    assert len(some) == (stream.num_batches or 7)
    for step, batch in enumerate(some):
        for part, expected in zip(batch, stream[step], strict=True):
            assert part.dtype == expected.dtype
            np.testing.assert_array_equal(part, expected)


def test_what_is_no_stream_is_handed_back():
    batches = [(IMAGES, LABELS)]
    assert untuned(batches) is batches
    if keras.config.backend() != "tensorflow":
        stream = InOrder(IMAGES, LABELS, 4)
        assert untuned(stream) is stream
