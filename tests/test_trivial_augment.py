"""TrivialAugment: every operation does what it says, at its weakest nothing."""

import numpy as np
import pytest

from keras_wrn.trivial_augment import OPERATIONS, apply_operation, trivial_augment

IMAGE = np.random.default_rng(1).integers(20, 230, (16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_every_operation_keeps_shape_and_type(operation, sign):
    strong = apply_operation(IMAGE, operation, 1.0, sign)
    assert strong.shape == IMAGE.shape and strong.dtype == np.uint8
    assert (operation == "identity") == np.array_equal(strong, IMAGE)


@pytest.mark.parametrize(
    "operation", [name for name in OPERATIONS if name not in ("autocontrast", "equalize")]
)
def test_the_weakest_level_changes_nothing(operation):
    np.testing.assert_array_equal(apply_operation(IMAGE, operation, 0.0, 1.0), IMAGE)


def test_known_results():
    np.testing.assert_array_equal(apply_operation(IMAGE, "solarize", 1.0, 1.0), 255 - IMAGE)
    np.testing.assert_array_equal(apply_operation(IMAGE, "posterize", 1.0, 1.0), IMAGE & 0b11000000)
    moved = apply_operation(IMAGE, "translate_x", 4 / 32, 1.0)
    np.testing.assert_array_equal(moved[:, :-4], IMAGE[:, 4:])
    assert not moved[:, -4:].any()
    dark = apply_operation(IMAGE, "brightness", 1.0, -1.0)
    assert dark.max() <= 3


def test_each_image_of_a_batch_has_its_own_operation():
    images = np.repeat(IMAGE[None], 64, axis=0)
    changed = trivial_augment(images, np.random.default_rng(0))
    assert len({image.tobytes() for image in changed}) > 30
