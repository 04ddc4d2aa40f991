"""A step of sharpness-aware minimisation, beside the same step by hand."""

import keras
import numpy as np
import pytest

if keras.config.backend() != "tensorflow":
    pytest.skip("sharpness-aware minimisation runs on TensorFlow only", allow_module_level=True)
tf = pytest.importorskip("tensorflow")

from keras_wrn.training import losses
from keras_wrn.training.sharpness_aware import SharpnessAwareModel

RHO, RATE = 0.5, 0.1
IMAGES = np.random.default_rng(1).normal(1, 2, (6, 3)).astype("float32")
LABELS = np.array([0, 1, 0, 1, 1, 0])


def network():
    """Batch normalisation and a classifier, always with the same weights."""
    keras.utils.set_random_seed(3)
    layers = [keras.layers.BatchNormalization(momentum=0.9), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((3,)), *layers])


def step_by_hand(model):
    """Algorithm 1 of the paper; returns the weights after it, and the two gradients."""

    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(losses.cross_entropy()(LABELS, model(IMAGES, training=True)))
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    start = [v.numpy() for v in model.trainable_variables]
    at_start = gradients()
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in at_start))
    for variable, gradient in zip(model.trainable_variables, at_start, strict=True):
        variable.assign_add(RHO * gradient / norm)
    at_top = gradients()
    return [w - RATE * g for w, g in zip(start, at_top, strict=True)], at_start, at_top


@pytest.fixture
def stepped():
    """The network after one step of the model."""
    images = keras.Input((3,))
    front = keras.Model(images, keras.layers.Rescaling(1.0)(images))
    model = SharpnessAwareModel(front, network(), RHO)
    model.compile(
        keras.optimizers.SGD(RATE), losses.cross_entropy(), metrics=[losses.error], run_eagerly=True
    )
    history = model.fit(IMAGES, LABELS, batch_size=len(IMAGES), shuffle=False, verbose=0).history
    return model.network, {name: values[0] for name, values in history.items()}


def test_the_step_is_from_the_start_by_the_gradient_at_the_top(stepped):
    expected, at_start, at_top = step_by_hand(network())
    assert max(np.abs(a - b).max() for a, b in zip(at_start, at_top, strict=True)) > 0.01
    for variable, weight in zip(stepped[0].trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), weight, atol=1e-6)


def test_the_moving_statistics_are_those_of_the_first_pass(stepped):
    moving = {v.name: v.numpy() for v in stepped[0].non_trainable_variables}
    np.testing.assert_allclose(moving["moving_mean"], 0.1 * IMAGES.mean(axis=0), rtol=1e-5)
    expected = 0.9 + 0.1 * IMAGES.var(axis=0)
    np.testing.assert_allclose(moving["moving_variance"], expected, rtol=1e-5)


def test_the_figures_are_of_the_whole_batch(stepped):
    figures = stepped[1]
    assert set(figures) == {"loss", "error"} and 0 <= figures["error"] <= 1
