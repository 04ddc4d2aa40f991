"""Mixup and CutMix: labels in the shares of the pixels."""

import numpy as np
import pytest

from keras_wrn.augment.geometry import RandomCropFlip
from keras_wrn.augment.mixing import cutmix, mixup

LABELS = np.arange(16) % 4


def _flat_images():
    """Each image has one value, its label times 60."""
    return np.repeat(LABELS * 60, 8 * 8 * 3).reshape(16, 8, 8, 3).astype(np.uint8)


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_labels_are_shares_that_fit_the_pixels(mix):
    seen = []
    for seed in range(20):
        images, labels = mix(_flat_images(), LABELS, 4, 1.0, np.random.default_rng(seed))
        assert images.dtype == np.uint8 and labels.dtype == np.float32
        np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
        expected = labels @ (np.arange(4) * 60)
        np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), expected, atol=0.51)
        seen.append(labels.max(axis=1).min())
    assert min(seen) < 0.8, "some batches are really mixed"


def test_cutmix_pastes_one_rectangle():
    rng = np.random.default_rng(3)
    images, _ = cutmix(_flat_images(), LABELS, 4, 1.0, rng)
    changed = (images != _flat_images()).any(axis=(0, 3))
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert changed.sum() == len(rows) * len(columns) > 0


def test_how_far_cutmix_labels_are_from_what_is_left_after_the_crop():
    """The docstring's 0.043, of fewer draws."""
    crop, numbers, apart = RandomCropFlip(pad=4, seed=1), np.arange(32), []
    images = np.tile(numbers.astype(np.uint8)[:, None, None, None], (1, 32, 32, 1))
    for seed in range(100):
        mixed, labels = cutmix(images, numbers, 32, 1.0, np.random.default_rng(seed))
        shown = np.asarray(crop(mixed, training=True))
        own = (shown == images).mean(axis=(1, 2, 3))
        apart.append(np.abs(own - labels[numbers, numbers]).mean())
    # Between batches the standard deviation is 0.021.
    assert np.mean(apart) == pytest.approx(0.043, abs=4 * 0.021 / np.sqrt(100))
