"""Batches depend on seed and step only; on TensorFlow nothing tunes their tf.data."""

import itertools

import keras
import numpy as np
import pytest

from keras_wrn.training.batches import BatchStream, InOrder, untuned
from keras_wrn.training.recipe import Recipe

IMAGES = np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1)
LABELS = np.arange(50)


def _stream(start_step=0, images=IMAGES, **options):
    recipe = Recipe(batch_size=8, **{"seed": 3, **options})
    return BatchStream(images, LABELS[: len(images)], recipe, classes=50, start_step=start_step)


def test_an_epoch_shows_no_image_twice_and_keeps_labels_with_images():
    stream = _stream()
    assert stream.steps_per_epoch == 6 and stream.num_batches is None
    images, labels = zip(*(stream[step] for step in range(6)), strict=True)
    labels = np.concatenate(labels)
    assert len(set(labels)) == 48
    np.testing.assert_array_equal(np.concatenate(images).ravel(), labels)


def test_every_device_sees_images_of_every_class():
    labels = np.repeat([0, 1], 32)  # as folders have them
    recipe, images = Recipe(batch_size=32, seed=3), np.zeros((64, 1, 1, 1), np.uint8)
    options = {"classes": 2, "replicas": 4}
    stream = BatchStream(images, labels, recipe, **options)
    for step in range(4):
        of_devices = stream[step][1].reshape(4, 8)
        counts = of_devices.sum(axis=1)  # of class 1
        assert counts.max() - counts.min() <= 1
        plain = BatchStream(images, labels, recipe, classes=2)[step][1]
        assert sorted(stream[step][1]) == sorted(plain) == plain.tolist()
        parts = [BatchStream(images, labels, recipe, **options, part=(i, 2)) for i in range(2)]
        halves = [part[step][1] for part in parts]
        np.testing.assert_array_equal(np.concatenate(halves), stream[step][1])


def test_epochs_differ_and_all_images_are_seen_in_the_end():
    stream = _stream()
    first, second = ([set(stream[e * 6 + s][1]) for s in range(6)] for e in (0, 1))
    assert first != second
    assert set().union(*(stream[step][1] for step in range(60))) == set(range(50))


def test_a_stream_that_starts_later_goes_on_as_the_first_would():
    from_start, rest = _stream(), _stream(start_step=9)
    for step in range(5):
        np.testing.assert_array_equal(from_start[9 + step][1], rest[step][1])


def test_seeds_differ():
    assert set(_stream()[0][1]) != set(_stream(seed=4)[0][1])


def test_mirroring_by_turns_shows_each_image_both_ways_in_two_epochs():
    images = np.random.default_rng(0).integers(0, 256, (48, 4, 4, 3), dtype=np.uint8)
    stream = _stream(images=images, alternating_flip=True)
    mirrored = [set(), set()]
    for epoch in (0, 1):
        for step in range(6):
            for image, label in zip(*stream[epoch * 6 + step], strict=True):
                if not np.array_equal(image, images[label]):
                    np.testing.assert_array_equal(image, images[label, :, ::-1])
                    mirrored[epoch].add(label)
    assert mirrored[0] | mirrored[1] == set(range(48)) and not mirrored[0] & mirrored[1]
    assert 12 < len(mirrored[0]) < 36


def test_mixed_and_augmented_batches_depend_on_seed_and_step_alone():
    images = np.random.default_rng(0).integers(0, 256, (48, 8, 8, 3), dtype=np.uint8)
    for options in ({"mixup": 0.5}, {"cutmix": 1.0}, {"policy": "rand_augment"}):
        one, other = _stream(images=images, **options), _stream(5, images=images, **options)
        for got, expected in zip(other[2], one[7], strict=True):
            np.testing.assert_array_equal(got, expected)
        assert one[7][0].dtype == np.uint8
        assert not np.array_equal(one[7][0], images[np.sort(one._order[8:16])])
        if "policy" not in options:  # each image's shares of the 50 classes
            assert one[7][1].shape == (8, 50) and 8 < np.count_nonzero(one[7][1]) <= 16
            np.testing.assert_allclose(one[7][1].sum(axis=1), 1, rtol=1e-6)


def test_the_data_set_itself_is_never_changed():
    images = np.random.default_rng(0).integers(0, 256, (48, 8, 8, 3), dtype=np.uint8)
    before = images.copy()
    for options in ({"alternating_flip": True}, {"cutmix": 1.0}, {"policy": "trivial_augment"}):
        _stream(images=images, **options)[0]
    np.testing.assert_array_equal(images, before)


NOISE = np.random.default_rng(0).integers(0, 256, (11, 8, 8, 3), np.uint8)
PLACES = np.arange(11)
on_tensorflow = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="tf.data is TensorFlow's"
)


def streams():
    mixed = Recipe(batch_size=4, mixup=0.2, flip=False)
    return {
        "labels": BatchStream(NOISE, PLACES, Recipe(batch_size=4), classes=11, start_step=1),
        "shares of classes": BatchStream(NOISE, PLACES, mixed, classes=11),
        "in order": InOrder(NOISE, PLACES, 4),
    }


def test_in_order_is_every_image_once():
    stream = InOrder(NOISE, PLACES, 4)
    batches = [stream[i] for i in range(stream.num_batches)]
    assert [len(labels) for _, labels in batches] == [4, 4, 3]
    np.testing.assert_array_equal(np.concatenate([images for images, _ in batches]), NOISE)
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), PLACES)


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
    batches = [(NOISE, PLACES)]
    assert untuned(batches) is batches
    if keras.config.backend() != "tensorflow":
        stream = InOrder(NOISE, PLACES, 4)
        assert untuned(stream) is stream
