"""Colour jitter and lighting against plain NumPy, image by image, and their draws."""

import itertools

import keras
import numpy as np
import pytest
from compiled_layers import compiled_twice

from keras_wrn.augment import colour
from keras_wrn.augment.colour import ColorJitter, Lighting
from keras_wrn.errors import InputError

RNG = np.random.default_rng(1)
IMAGES = RNG.integers(0, 256, (48, 6, 5, 3)).astype("uint8")
LAYERS = [ColorJitter, Lighting]


def _numpy(values):
    return keras.ops.convert_to_numpy(values)


def _grey(image):
    return 0.299 * image[..., 0] + 0.587 * image[..., 1] + 0.114 * image[..., 2]


def _blend(image, other, alpha):
    return alpha * image + (1 - alpha) * other


def _brightness(image, alpha):
    return _blend(image, np.zeros_like(image), alpha)


def _contrast(image, alpha):
    return _blend(image, np.full_like(image, _grey(image).mean()), alpha)


def _saturation(image, alpha):
    return _blend(image, np.repeat(_grey(image)[..., None], 3, axis=-1), alpha)


def test_jitter_is_the_three_blends_in_the_order_drawn():
    factors = RNG.uniform(0.6, 1.4, (48, 3)).astype("float32")
    order = np.stack([RNG.permutation(3) for _ in IMAGES])
    assert len({tuple(row) for row in order}) == 6
    pixels = IMAGES.astype("float32")
    found = _numpy(colour.jitter(pixels, keras.ops.convert_to_tensor(factors), order))
    for image, result, alphas, turns in zip(IMAGES, found, factors, order, strict=True):
        expected = image.astype("float64")
        for turn in turns:
            expected = (_brightness, _contrast, _saturation)[turn](expected, alphas[turn])
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-3)
    assert found.max() > 255, "nothing is clipped"


def test_lighting_adds_one_colour_along_the_axes():
    alphas = RNG.normal(0, 0.1, (48, 3)).astype("float32")
    found = _numpy(colour.lit(IMAGES.astype("float32"), keras.ops.convert_to_tensor(alphas)))
    axes = [[-0.5675, -0.5808, -0.5836], [0.7192, -0.0045, -0.6948], [0.4009, -0.8140, 0.4203]]
    for image, result, alpha in zip(IMAGES, found, alphas, strict=True):
        along = [255 * a * v for a, v in zip(alpha, (0.2175, 0.0188, 0.0045), strict=True)]
        added = sum(a * np.array(axis) for a, axis in zip(along, axes, strict=True))
        np.testing.assert_allclose(result, image + added, rtol=1e-5, atol=1e-3)


def test_the_axes_are_orthonormal():
    product = colour.EIGENVECTORS.T @ colour.EIGENVECTORS
    np.testing.assert_allclose(product, np.eye(3), atol=2e-3)


def test_factors_and_orders_of_a_batch(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        colour, "jitter", lambda *arguments: drawn.extend(map(_numpy, arguments[1:]))
    )
    ColorJitter(0.4, seed=1)(np.zeros((3000, 1, 1, 3), "uint8"), training=True)
    factors, orders = drawn
    assert factors.shape == orders.shape == (3000, 3)
    assert 0.6 <= factors.min() < 0.601 and 1.399 < factors.max() <= 1.4
    # 3,000 draws with standard deviation 0.4 / sqrt(3): each mean is within five of its errors.
    np.testing.assert_allclose(factors.mean(axis=0), 1, atol=5 * 0.4 / np.sqrt(3 * 3000))
    assert np.abs(np.corrcoef(factors.T) - np.eye(3)).max() < 5 / np.sqrt(3000)
    found, counts = np.unique(orders, axis=0, return_counts=True)
    assert sorted(map(tuple, found.tolist())) == list(itertools.permutations(range(3)))
    # 500 of each expected; five standard deviations of a binomial are 102.
    assert counts.min() > 398 and counts.max() < 602


def test_draws_of_lighting_have_the_axes_spread():
    black = np.zeros((5000, 1, 1, 3), "uint8")
    colours = _numpy(Lighting(0.1, seed=1)(black, training=True))[:, 0, 0] / 255
    along = colours @ colour.EIGENVECTORS
    np.testing.assert_allclose(along.std(axis=0), 0.1 * colour.EIGENVALUES, rtol=0.1)


@pytest.mark.parametrize("layer", LAYERS)
def test_each_image_has_draws_of_its_own_and_each_call_too(layer):
    same = np.repeat(IMAGES[:1], 32, axis=0)
    first, again = layer(seed=3), layer(seed=3)
    result = _numpy(first(same, training=True))
    assert result.dtype == np.float32
    assert len({image.tobytes() for image in result}) == 32
    np.testing.assert_array_equal(result, _numpy(again(same, training=True)))
    assert not np.array_equal(result, _numpy(first(same, training=True)))


@pytest.mark.parametrize("layer", LAYERS)
def test_outside_training_pixels_only_become_floats(layer):
    result = _numpy(layer(seed=1)(IMAGES, training=False))
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, IMAGES)


@pytest.mark.parametrize("layer", LAYERS)
def test_it_stays_in_float32_and_comes_back_from_its_config(layer):
    keras.config.set_dtype_policy("mixed_bfloat16")
    one = layer(0.3, seed=5)
    assert _numpy(one(IMAGES, training=True)).dtype == np.float32
    again = keras.layers.deserialize(keras.layers.serialize(layer(0.3, seed=5)))
    assert again.get_config() == {**one.get_config(), "name": again.name}


@pytest.mark.parametrize("layer", LAYERS)
def test_it_runs_inside_a_compiled_model(layer):
    same = np.repeat(IMAGES[:1], 32, axis=0)
    one, other = compiled_twice(layer(seed=1), same)
    assert len({image.tobytes() for image in one}) == 32 and not np.array_equal(one, other)


def test_amounts_without_sense_are_refused():
    for amount in (0, -0.1, 1.1):
        with pytest.raises(InputError, match=f"amount={amount}"):
            ColorJitter(amount)
    with pytest.raises(InputError, match="std=0"):
        Lighting(0)
