"""Whitening: the numbers, against plain NumPy, and the layer."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_wrn import datasets
from keras_wrn.errors import InputError
from keras_wrn.images import preprocessing
from keras_wrn.images import whitening as whitening_module
from keras_wrn.images.preprocessing import PREPROCESSING, measure_preprocessing, preprocess_input
from keras_wrn.images.whitening import fit_whitening
from keras_wrn.images.whitening_layer import Whiten
from keras_wrn.inference import classifier

CIFAR = Path("~/.keras/datasets/cifar-10-batches-py").expanduser()


def smooth_images(n, size=8, seed=0):
    """uint8 images whose neighbouring pixels and channels are alike, as in photographs."""
    values = np.random.default_rng(seed).normal(size=(n, size + 2, size + 2, 3))
    values = sum(values[:, i : i + size, j : j + size] for i in range(3) for j in range(3))
    values = values + 2 * values.mean(axis=-1, keepdims=True)
    return np.clip(128 + 15 * values, 0, 255).astype(np.uint8)


def channels_first(images):
    """(n, 3 * height * width), as pylearn2 has them."""
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def contrast_normalized(images):
    """GCN, image by image, float64."""
    rows = []
    for row in channels_first(images).astype(np.float64):
        centred = row - row.mean()
        norm = np.linalg.norm(centred)
        rows.append(centred / (norm / 55) if norm > 0 else centred)
    return np.stack(rows)


def whitened_plainly(train, images):
    """ZCA by the book: through the singular values of the covariance."""
    rows = contrast_normalized(train)
    covariance = np.cov(rows, rowvar=False, bias=True)
    u, s, _ = np.linalg.svd(covariance + 0.1 * np.eye(len(covariance)))
    matrix = u @ np.diag(1 / np.sqrt(s)) @ u.T
    white = (contrast_normalized(images) - rows.mean(axis=0)) @ matrix
    size = images.shape[1]
    return white.reshape(-1, 3, size, size).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("size", [8, 5])
def test_it_is_the_whitening_of_the_paper_s_data(size):
    train, test = smooth_images(400, size), smooth_images(30, size, seed=1)
    row = measure_preprocessing(train, ["a", "b"], whitening=True)
    assert (row.size, row.class_names, row.whitening.shape) == (size, ("a", "b"), (size, size, 3))
    assert (row.whitening.scale, row.whitening.filter_bias) == (55.0, 0.1)
    white = preprocess_input(test, row)
    assert (white.dtype, white.shape) == (np.float32, test.shape)
    np.testing.assert_allclose(white, whitened_plainly(train, test), atol=2e-4)


def test_a_component_of_variance_s_has_s_over_s_plus_a_tenth_afterwards():
    images = smooth_images(500)
    before = contrast_normalized(images)
    np.testing.assert_allclose(np.linalg.norm(before, axis=1), 55)
    row = measure_preprocessing(images, (), whitening=True)
    white = channels_first(preprocess_input(images, row))
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-5)
    variances, components = np.linalg.eigh(np.cov(before, rowvar=False, bias=True))
    expected = components @ np.diag(variances / (variances + 0.1)) @ components.T
    np.testing.assert_allclose(np.cov(white, rowvar=False, bias=True), expected, atol=1e-5)


def test_images_are_measured_in_parts_and_the_same_each_time(monkeypatch):
    images = smooth_images(101)
    together = fit_whitening(images)
    assert fit_whitening(images.copy()) == together
    monkeypatch.setattr(whitening_module, "_FITTED_AT_ONCE", 7)
    np.testing.assert_allclose(fit_whitening(images).matrix, together.matrix, atol=1e-6)


def test_fewer_images_than_pixels_and_flat_ones_give_numbers():
    images = smooth_images(5)
    images[2] = 77
    row = measure_preprocessing(images, (), whitening=True)
    white = preprocess_input(images, row)
    assert np.isfinite(white).all()
    np.testing.assert_allclose(white, whitened_plainly(images, images), atol=2e-4)
    level = np.full((2, 8, 8, 3), [[[[255]]], [[[19]]]], np.uint8)
    flat = -row.whitening.mean.ravel() @ row.whitening.matrix
    for white in preprocess_input(level, row):
        np.testing.assert_allclose(white.ravel(), flat, atol=1e-3)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.zeros((2, 8, 8, 3)), "must be uint8 of shape .* Received: float64"),
        (np.zeros((0, 8, 8, 3), np.uint8), "with n >= 1"),
        (np.zeros((1, 96, 96, 3), np.uint8), "27,648 x 27,648 .* Use 64x64 pixels or fewer"),
    ],
)
def test_what_cannot_be_measured_is_refused(images, sentence):
    with pytest.raises(InputError, match=sentence):
        fit_whitening(images)


@pytest.fixture(scope="module")
def row():
    return measure_preprocessing(smooth_images(300), tuple("abcdefghij"), whitening=True)


def test_arrays_tensors_models_and_the_layer_agree(row):
    images = smooth_images(20, seed=2)
    expected = preprocess_input(images, row)
    tensor = preprocess_input(keras.ops.convert_to_tensor(images), row)
    assert keras.ops.is_tensor(tensor)
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    model = keras.Model(inputs, preprocess_input(inputs, row))
    keras.config.set_dtype_policy("mixed_bfloat16")
    layer = preprocessing.normalization(row)
    assert (layer.name, layer.trainable_variables) == ("normalization", [])
    for white in (tensor, model(images), layer(images), layer(images.astype("float64"))):
        assert keras.backend.standardize_dtype(white.dtype) == "float32"
        np.testing.assert_allclose(keras.ops.convert_to_numpy(white), expected, atol=1e-5)
    assert preprocess_input(images.tolist(), row).shape == images.shape
    assert preprocess_input(images[:0], row).shape == (0, 8, 8, 3)


def test_the_layer_is_stored_with_its_numbers(row, tmp_path):
    layer = Whiten.from_whitening(row.whitening)
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "whitening.keras")
    again = keras.saving.load_model(tmp_path / "whitening.keras")
    images = smooth_images(3)
    np.testing.assert_array_equal(
        again.predict(images, verbose=0), model.predict(images, verbose=0)
    )
    assert Whiten.from_config(layer.get_config()).scale == 55.0


@pytest.mark.parametrize("shape", [(8, 8, 3), (2, 9, 8, 3), (2, 8, 8, 1)])
def test_images_of_another_shape_are_refused(row, shape):
    sentence = r"must have 3 channels|shape \(n, 8, 8, 3\) that .* fitted to. Received: shape"
    with pytest.raises(InputError, match=sentence):
        preprocess_input(np.zeros(shape, np.uint8), row)


def test_a_network_of_another_size_is_refused(row):
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, keras.ops.mean(inputs, axis=(1, 2))[:, :1] * np.ones(10))
    with pytest.raises(InputError, match=r"fitted to. Received: shape \(None, 32, 32, 3\)"):
        classifier.with_preprocessing(model, row)


def test_preprocessing_is_compared_by_its_numbers(row):
    same = measure_preprocessing(smooth_images(300), row.class_names, whitening=True)
    assert same == row and hash(same) == hash(row) and len({same, row}) == 1
    other = measure_preprocessing(smooth_images(299), row.class_names, whitening=True)
    assert other != row and dataclasses.replace(row, whitening=None) != row
    assert row != PREPROCESSING["cifar10"] and PREPROCESSING["cifar10"] != row
    assert row.whitening != dataclasses.replace(row.whitening, filter_bias=0.2)
    assert len(repr(row)) < 500
    with pytest.raises(ValueError, match="`folder` is missing"):
        row.to_card()


@pytest.mark.skipif(not CIFAR.is_dir(), reason=f"CIFAR-10 is not in {CIFAR}")
def test_photographs_are_whitened():
    """The middle 12 x 12 pixels of 4,000 training and 500 test images."""
    data = datasets.load("cifar10")
    train, test = data.train.images[:4000, 10:22, 10:22], data.test.images[:500, 10:22, 10:22]
    row = measure_preprocessing(train, data.class_names, whitening=True)
    white = preprocess_input(test, row)
    np.testing.assert_allclose(white, whitened_plainly(train, test), atol=1e-3)
    pixels, neighbours = np.arange(11), np.arange(1, 12)
    before = np.corrcoef(contrast_normalized(test).T)[pixels, neighbours]
    after = np.corrcoef(channels_first(white).T)[pixels, neighbours]
    assert before.min() > 0.8
    assert np.abs(after).max() < 0.4
