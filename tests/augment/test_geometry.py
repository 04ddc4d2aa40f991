"""The random crop and flip: exactly the paper's windows, drawn for each image."""

import keras
import numpy as np
import pytest
from compiled_layers import compiled_twice

from keras_wrn.augment.geometry import Cutout, RandomCropFlip
from keras_wrn.errors import InputError


def _augment(layer, images, training=True):
    return keras.ops.convert_to_numpy(layer(keras.ops.convert_to_tensor(images), training=training))


def _windows(image, pad):
    """Every crop of the reflect-padded image, by (row, column, mirrored)."""
    height, width, _ = image.shape
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    for row in range(2 * pad + 1):
        for column in range(2 * pad + 1):
            window = padded[row : row + height, column : column + width]
            yield (row, column, 0), window
            yield (row, column, 1), window[:, ::-1]


def test_each_image_is_one_window_of_its_reflect_padded_self():
    images = np.random.default_rng(1).integers(0, 256, (64, 12, 10, 3), dtype=np.uint8)
    result = _augment(RandomCropFlip(pad=4, seed=2), images)
    assert result.dtype == np.uint8 and result.shape == images.shape
    places = []
    for image, got in zip(images, result, strict=True):
        found = [place for place, window in _windows(image, 4) if np.array_equal(window, got)]
        assert len(found) == 1
        places += found
    assert len(set(places)) > 32, "each image has a draw of its own"


def test_every_place_is_equally_likely():
    image = np.arange(6 * 6, dtype=np.uint8).reshape(1, 6, 6, 1)
    layer = RandomCropFlip(pad=1, seed=3)
    images = np.repeat(image, 3600, axis=0)
    by_window = {window.tobytes(): place for place, window in _windows(image[0], 1)}
    counts = dict.fromkeys(by_window.values(), 0)
    for got in _augment(layer, images):
        counts[by_window[got.tobytes()]] += 1
    # 18 places, 200 expected each; five standard deviations are 69.
    assert min(counts.values()) > 131 and max(counts.values()) < 269


def test_padding_that_no_image_can_reflect_is_refused():
    with pytest.raises(InputError, match="pad=8 for images of 12x8 pixels"):
        RandomCropFlip(pad=8)(keras.ops.zeros((1, 12, 8, 3)))
    RandomCropFlip(pad=7)(keras.ops.zeros((1, 12, 8, 3)))


def test_nothing_happens_outside_training():
    images = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    layer = RandomCropFlip(seed=1)
    np.testing.assert_array_equal(_augment(layer, images, training=False), images)


def test_crop_and_flip_can_be_left_out():
    images = np.random.default_rng(1).integers(0, 256, (32, 8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(_augment(RandomCropFlip(0, False, seed=1), images), images)
    flipped = _augment(RandomCropFlip(0, True, seed=1), images)
    kept = [np.array_equal(a, b) for a, b in zip(flipped, images, strict=True)]
    turned = [np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, images, strict=True)]
    assert all(k or t for k, t in zip(kept, turned, strict=True)) and any(kept) and any(turned)


def test_a_seed_repeats_the_draws_and_the_next_call_does_not():
    images = np.random.default_rng(1).integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
    first, second = RandomCropFlip(seed=7), RandomCropFlip(seed=7)
    one = _augment(first, images)
    np.testing.assert_array_equal(one, _augment(second, images))
    assert not np.array_equal(one, _augment(first, images))


def test_it_runs_inside_a_compiled_model_on_uint8():
    images = np.random.default_rng(1).integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
    one, other = compiled_twice(RandomCropFlip(pad=2, seed=1), images)
    assert one.dtype == np.uint8 and not np.array_equal(one, other)
    for image, got in zip(images, one, strict=True):
        assert any(np.array_equal(window, got) for _, window in _windows(image, 2))


def test_a_negative_pad_is_refused():
    with pytest.raises(InputError, match="pad=-1"):
        RandomCropFlip(-1)


def test_cutout_sets_one_square_of_each_image_to_the_mean():
    images = np.ones((64, 16, 16, 3), "float32")
    cut = _augment(Cutout(6, seed=1), images)
    holes = cut[..., 0] == 0
    assert all(np.array_equal(cut[..., channel], ~holes) for channel in range(3))
    areas = holes.sum(axis=(1, 2))
    assert areas.max() == 36 and areas.min() >= 9
    for hole in holes:
        assert hole.sum() == hole.any(axis=0).sum() * hole.any(axis=1).sum()
    assert len({hole.tobytes() for hole in holes}) > 32
    np.testing.assert_array_equal(_augment(Cutout(6, seed=1), images, training=False), images)


def test_cutout_without_a_size_is_refused():
    with pytest.raises(InputError, match="size=0"):
        Cutout(0)
