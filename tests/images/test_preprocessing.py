"""The table of statistics and class names, and the two functions that read it."""

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from keras_wrn.errors import InputError
from keras_wrn.images.class_names import decode_predictions
from keras_wrn.images.preprocessing import (
    PREPROCESSING,
    Preprocessing,
    measure_preprocessing,
    preprocess_input,
    preprocessing_of,
)

OWN = Preprocessing((10.0, 20.0), (2.0, 4.0), 8, ("left", "right", "up"))


def test_table_is_whole():
    assert set(PREPROCESSING) == {"cifar10", "cifar100", "svhn", "digits", "imagenet"}
    counts = {"cifar10": 10, "cifar100": 100, "svhn": 10, "digits": 10, "imagenet": 0}
    for name, row in PREPROCESSING.items():
        assert len(row.mean) == len(row.std) == 3
        assert min(row.std) > 0
        assert len(set(row.class_names)) == len(row.class_names) == counts[name]
    assert PREPROCESSING["cifar10"].mean == (125.3, 123.0, 113.9)
    assert PREPROCESSING["cifar10"].std == (63.0, 62.1, 66.7)
    assert PREPROCESSING["cifar100"].mean == PREPROCESSING["cifar10"].mean
    names = PREPROCESSING["cifar100"].class_names
    assert names == tuple(sorted(names)), "CIFAR-100 counts its classes in alphabetical order"


def test_rows_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        PREPROCESSING["svhn"].size = 64


def test_unknown_data_set_names_what_there_is():
    for wrong in ("cifar11", None, 10, ["cifar10"]):
        with pytest.raises(InputError, match="one of cifar10, cifar100, svhn, digits, imagenet"):
            preprocessing_of(wrong)
        with pytest.raises(InputError, match="Received: dataset="):
            preprocess_input(np.zeros((1, 32, 32, 3)), wrong)
        with pytest.raises(InputError, match="Received: dataset="):
            decode_predictions(np.zeros((1, 10)), dataset=wrong)
    assert preprocessing_of(OWN) is OWN


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float32", "float64"])
def test_numpy_in_numpy_out(dtype):
    images = np.arange(96).reshape(2, 4, 4, 3).astype(dtype)
    before = images.copy()
    result = preprocess_input(images)
    assert type(result) is np.ndarray
    assert result.dtype == np.float32
    expected = (before.astype("float64") - [125.3, 123.0, 113.9]) / [63.0, 62.1, 66.7]
    np.testing.assert_allclose(result, expected, atol=1e-6)
    np.testing.assert_array_equal(images, before)


def test_svhn_is_divided_by_255_only():
    images = np.array([0, 51, 255], "uint8").reshape(1, 1, 1, 3)
    np.testing.assert_allclose(preprocess_input(images, "svhn").ravel(), [0, 0.2, 1], atol=1e-7)


def test_imagenet_constants():
    white = preprocess_input(np.full((1, 1, 3), 255), "imagenet").ravel()
    expected = (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(white, expected, atol=1e-6)


def test_tensor_in_tensor_out_with_the_same_numbers():
    import keras

    images = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3)).astype("uint8")
    tensor = preprocess_input(keras.ops.convert_to_tensor(images), "cifar100")
    assert keras.ops.is_tensor(tensor)
    assert keras.backend.standardize_dtype(tensor.dtype) == "float32"
    expected = preprocess_input(images, "cifar100")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(tensor), expected, atol=1e-6)


def test_symbolic_tensor_builds_a_model():
    import keras

    inputs = keras.Input((8, 8, 3), dtype="uint8")
    model = keras.Model(inputs, preprocess_input(inputs))
    images = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 3)).astype("uint8")
    result = keras.ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(result, preprocess_input(images), atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (2, 32, 32, 1), (32, 32), ()])
def test_wrong_channels(shape):
    with pytest.raises(InputError, match=r"must have 3 channels in the last axis. Received: shape"):
        preprocess_input(np.zeros(shape))


def test_text_for_images():
    with pytest.raises(InputError, match=r"must be numbers on 0..255"):
        preprocess_input("cat.png")


def test_own_statistics():
    assert preprocess_input([[12.0, 16.0]], OWN).tolist() == [[1.0, -1.0]]


def test_measured_statistics():
    images = np.random.default_rng(3).integers(0, 256, (7, 6, 6, 3)).astype("uint8")
    row = measure_preprocessing(images, ["a", "b"])
    np.testing.assert_allclose(row.mean, images.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(row.std, images.std(axis=(0, 1, 2)))
    assert (row.size, row.class_names) == (6, ("a", "b"))
    scaled = preprocess_input(images, row)
    np.testing.assert_allclose(scaled.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=(0, 1, 2)), 1, atol=1e-5)


def test_measure_refuses_what_has_no_statistics():
    with pytest.raises(InputError, match="must be uint8"):
        measure_preprocessing(np.zeros((2, 4, 4, 3)), ())
    with pytest.raises(InputError, match="must be uint8"):
        measure_preprocessing(np.zeros((0, 4, 4, 3), "uint8"), ())
    with pytest.raises(InputError, match=r"Channel 0 .* one value"):
        measure_preprocessing(np.zeros((2, 4, 4, 3), "uint8"), ())


def test_a_resize_below_the_size_is_refused():
    with pytest.raises(InputError, match="`resize` must be None or at least `size`.*resize=28"):
        Preprocessing((0.0,), (1.0,), 32, ("a", "b"), resize=28)


def test_row_survives_json():
    row = PREPROCESSING["cifar10"]
    again = Preprocessing(**json.loads(json.dumps(vars(row))))
    assert again.class_names == list(row.class_names)
    images = np.arange(24).reshape(2, 2, 2, 3)
    np.testing.assert_array_equal(preprocess_input(images, again), preprocess_input(images, row))


def test_a_card_says_what_its_network_was_trained_with():
    own = Preprocessing((1.0,) * 3, (2.0,) * 3, 48, ("a", "b"), 50, "bicubic")
    card = json.loads(json.dumps({"preprocessing": vars(own)}))
    assert preprocessing_of(card) == own
    old = {key: card["preprocessing"][key] for key in ("mean", "std", "size", "class_names")}
    expected = replace(own, resize=None, interpolation="bilinear")
    assert preprocessing_of({"preprocessing": old}) == expected
    np.testing.assert_array_equal(preprocess_input(np.ones((1, 1, 3)), card), np.zeros((1, 1, 3)))
    assert decode_predictions([[0.1, 0.9]], top=1, dataset=card) == [[(1, "b", 0.9)]]


@pytest.mark.parametrize(
    "change",
    [{"mean": 1}, {"std": None}, {"size": "x"}, {"interpolation": "exec"}, {"mean": ["x"]}],
)
def test_a_damaged_card_is_refused(change):
    row = vars(PREPROCESSING["cifar10"])
    for card in ({}, {"preprocessing": 3}, {"preprocessing": row | change}):
        with pytest.raises(InputError, match="The preprocessing in the card is damaged: "):
            preprocessing_of(card)


def test_numpy_needs_no_keras():
    program = (
        "import sys, numpy; from keras_wrn.images import class_names, preprocessing; "
        "preprocessing.preprocess_input(numpy.zeros((1, 2, 2, 3), 'uint8')); "
        "class_names.decode_predictions(numpy.zeros((1, 10))); "
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
