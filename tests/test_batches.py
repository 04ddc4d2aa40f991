"""The order of training images is a pure function of seed and step."""

import numpy as np

from keras_wrn.batches import BatchStream

IMAGES = np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1)
LABELS = np.arange(50)


def _stream(**options):
    return BatchStream(IMAGES, LABELS, batch_size=8, **{"seed": 3, **options})


def test_an_epoch_shows_no_image_twice_and_keeps_labels_with_images():
    stream = _stream()
    assert stream.steps_per_epoch == 6 and stream.num_batches is None
    images, labels = zip(*(stream[step] for step in range(6)), strict=True)
    labels = np.concatenate(labels)
    assert len(set(labels)) == 48
    np.testing.assert_array_equal(np.concatenate(images).ravel(), labels)


def test_epochs_differ_and_all_images_are_seen_in_the_end():
    stream = _stream()
    first, second = ([set(stream[e * 6 + s][1]) for s in range(6)] for e in (0, 1))
    assert first != second
    assert set().union(*(stream[step][1] for step in range(60))) == set(range(50))


def test_a_stream_that_starts_later_goes_on_as_the_first_would():
    whole, rest = _stream(), _stream(start_step=9)
    for step in range(5):
        np.testing.assert_array_equal(whole[9 + step][1], rest[step][1])


def test_seeds_differ():
    assert set(_stream()[0][1]) != set(_stream(seed=4)[0][1])
