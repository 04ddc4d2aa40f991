"""TrivialAugment and RandAugment: every operation does what it says, at its weakest nothing."""

import numpy as np
import pytest

from keras_wrn.augment.policies import (
    OPERATIONS,
    RAND_AUGMENT,
    TRIVIAL_WIDE,
    apply_operation,
    rand_augment,
    trivial_augment,
)

IMAGE = np.random.default_rng(1).integers(20, 230, (16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("strengths", [TRIVIAL_WIDE, RAND_AUGMENT])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_every_operation_keeps_shape_and_type(operation, sign, strengths):
    strong = apply_operation(IMAGE, operation, 1.0, sign, strengths)
    assert strong.shape == IMAGE.shape and strong.dtype == np.uint8
    assert (operation == "identity") == np.array_equal(strong, IMAGE)


@pytest.mark.parametrize("strengths", [TRIVIAL_WIDE, RAND_AUGMENT])
@pytest.mark.parametrize(
    "operation", [name for name in OPERATIONS if name not in ("autocontrast", "equalize")]
)
def test_the_weakest_level_changes_nothing(operation, strengths):
    np.testing.assert_array_equal(apply_operation(IMAGE, operation, 0.0, 1.0, strengths), IMAGE)


def test_known_results_of_trivial_augment():
    def wide(operation, level, sign):
        return apply_operation(IMAGE, operation, level, sign, TRIVIAL_WIDE)

    np.testing.assert_array_equal(wide("solarize", 1.0, 1.0), 255 - IMAGE)
    np.testing.assert_array_equal(wide("posterize", 1.0, 1.0), IMAGE & 0b11000000)
    moved = wide("translate_x", 4 / 16, 1.0)
    np.testing.assert_array_equal(moved[:, :-4], IMAGE[:, 4:])
    assert not moved[:, -4:].any()
    assert wide("brightness", 1.0, -1.0).max() <= 3


def test_known_results_of_rand_augment():
    def changed(operation, level, sign):
        return apply_operation(IMAGE, operation, level, sign, RAND_AUGMENT)

    np.testing.assert_array_equal(changed("posterize", 1.0, 1.0), IMAGE & 0b11110000)
    moved = changed("translate_y", 331 / 150 * 2 / 16, 1.0)
    np.testing.assert_array_equal(moved[:-2], IMAGE[2:])
    np.testing.assert_allclose(changed("brightness", 1.0, -1.0), IMAGE * 0.1, atol=1)


def test_each_image_of_a_batch_has_its_own_operation():
    images = np.repeat(IMAGE[None], 64, axis=0)
    for changed in (
        trivial_augment(images, np.random.default_rng(0)),
        rand_augment(images, 2, 14, np.random.default_rng(0)),
    ):
        assert changed.shape == images.shape and changed.dtype == np.uint8
        assert len({image.tobytes() for image in changed}) > 30


def test_rand_augment_applies_n_operations_of_magnitude_m():
    images = np.repeat(IMAGE[None], 512, axis=0)

    def untouched(operations, magnitude):
        changed = rand_augment(images, operations, magnitude, np.random.default_rng(3))
        return np.mean([np.array_equal(image, IMAGE) for image in changed])

    # Identity has 1 of 14 operations, so with N = 1 so many images stay, with N = 2 its square.
    assert abs(untouched(1, 30) - 1 / 14) < 0.04
    assert untouched(2, 30) < 0.04
    # At M = 0 only autocontrast and equalize do anything.
    assert abs(untouched(1, 0) - 12 / 14) < 0.05
