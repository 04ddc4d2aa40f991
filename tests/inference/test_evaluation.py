import keras
import numpy as np
import pytest
from tiny_run import DIGITS, random_images

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import PREPROCESSING, preprocess_input
from keras_wrn.inference import classifier, evaluation

PROBABILITIES = np.array(
    [
        [0.70, 0.10, 0.05, 0.06, 0.04, 0.05],
        [0.20, 0.30, 0.10, 0.15, 0.05, 0.20],
        [0.10, 0.50, 0.10, 0.10, 0.15, 0.05],
        [0.10, 0.10, 0.60, 0.05, 0.05, 0.10],
    ]
)
LABELS = np.array([0, 1, 5, 0])


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return keras_wrn.WideResNet(10, 1)


def test_top_k_error_by_hand():
    errors = [evaluation.top_k_error(PROBABILITIES, LABELS, k) for k in (1, 2, 5, 6, 9)]
    # Image 2 has its class last of all; image 3's 0.10 comes before the other two 0.10.
    assert errors == [0.5, 0.25, 0.25, 0.0, 0.0]


def test_a_network_that_says_the_same_of_every_class_is_at_chance():
    flat = np.full((10, 10), 0.1)
    assert evaluation.top_k_error(flat, np.arange(10), 1) == 0.9
    assert evaluation.top_k_error(flat, np.arange(10), 5) == 0.5


def test_negative_log_likelihood_by_hand():
    expected = -np.mean(np.log([0.70, 0.30, 0.05, 0.10]))
    found = evaluation.negative_log_likelihood(PROBABILITIES, LABELS)
    assert found == pytest.approx(expected, rel=1e-12)
    underflow = evaluation.negative_log_likelihood(np.array([[1.0, 0.0]]), np.array([1]))
    assert underflow == pytest.approx(87.34, abs=0.01)


def test_calibration_error_by_hand():
    # 0.70 right in bin 10, 0.30 right in bin 4, 0.50 wrong in bin 7, 0.60 wrong in bin 8.
    expected = (0.30 + 0.70 + 0.50 + 0.60) / 4
    found = evaluation.expected_calibration_error(PROBABILITIES, LABELS)
    assert found == pytest.approx(expected, rel=1e-12)


def test_calibration_error_is_that_of_its_definition():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(10, 0.3), 1000)
    labels = rng.integers(0, 10, 1000)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    expected = 0.0
    for m in range(1, 16):
        inside = (confidence > (m - 1) / 15) & (confidence <= m / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    found = evaluation.expected_calibration_error(probabilities, labels)
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_perfect_network_has_no_error():
    certain, labels = np.eye(10)[:4], np.arange(4)
    assert evaluation.expected_calibration_error(certain, labels) == 0
    assert evaluation.negative_log_likelihood(certain, labels) == 0
    assert evaluation.top_k_error(certain, labels, 1) == 0


def test_probabilities_are_those_of_preprocess_input_then_the_network(model):
    images = random_images(7)
    found = classifier.class_probabilities(model, images, DIGITS, batch_size=3)
    expected = model.predict(preprocess_input(images, "digits"), verbose=0)
    assert found.shape == (7, 10)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_one_image_is_predicted_by_a_step_that_is_traced_once_and_never_run_eagerly(model):
    eager = []

    class Witness(keras.layers.Layer):
        def call(self, x):
            try:
                eager.append(np.shape(keras.ops.convert_to_numpy(x)) == x.shape)
            except Exception:  # a symbol has no values; each backend says so in its own way
                eager.append(False)
            return x

    watched = keras.Model(model.input, Witness()(model.output))
    eager.clear()
    found = classifier.class_probabilities(watched, random_images(1), DIGITS)
    assert eager and not any(eager)
    traced = len(eager)
    classifier.class_probabilities(watched, random_images(1, seed=1), DIGITS)
    assert len(eager) == traced
    watched(preprocess_input(random_images(1), "digits"))
    assert eager[-1]  # this is what it would look like
    expected = classifier.class_probabilities(model, random_images(1), DIGITS)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_evaluate_returns_plain_numbers_whatever_the_batch(model):
    images, labels = random_images(7), np.arange(7)
    metrics = keras_wrn.evaluate(model, images, labels, DIGITS, batch_size=7)
    assert list(metrics) == ["n", "error", "top5_error", "nll", "ece"]
    assert [type(value) for value in metrics.values()] == [int, float, float, float, float]
    assert metrics["n"] == 7
    other = keras_wrn.evaluate(model, images, labels[:, None], DIGITS, batch_size=3)
    assert other == pytest.approx(metrics, abs=1e-6)
    assert keras_wrn.evaluate(model, images, labels, "digits", batch_size=7) == metrics


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        (random_images(2).astype("float32"), [0, 1], "`images` must be uint8"),
        (random_images(2, size=28), [0, 1], r"\(n, 32, 32, 3\).*Received: uint8 of shape \(2, 28"),
        (random_images(2)[..., 0], [0, 1], "`images` must be uint8"),
        (random_images(0), np.zeros(0, int), "with n at least 1"),
        (random_images(2), [0, 1, 2], "one whole number for each of the 2 images"),
        (random_images(2), [0.0, 1.0], "Received: float64"),
        (random_images(2), [0, 10], "between 0 and 9, the model's classes. Received: 0 to 10"),
        (random_images(2), [-1, 0], "Received: -1 to 0"),
    ],
)
def test_images_and_labels_that_do_not_fit_are_refused(model, images, labels, sentence):
    with pytest.raises(InputError, match=sentence):
        keras_wrn.evaluate(model, images, labels, DIGITS)


@pytest.mark.parametrize("batch_size", [0, 2.0, True])
def test_a_batch_size_that_is_none_is_refused(model, batch_size):
    with pytest.raises(InputError, match="`batch_size` must be a whole number from 1"):
        keras_wrn.evaluate(model, random_images(1), [0], DIGITS, batch_size=batch_size)


def test_logits_are_refused():
    logits = keras_wrn.WideResNet(10, 1, classifier_activation=None)
    with pytest.raises(InputError, match='classifier_activation="softmax"'):
        classifier.class_probabilities(logits, random_images(2), DIGITS)


def test_a_network_that_diverged_is_refused():
    broken = keras_wrn.WideResNet(10, 1)
    broken.get_layer("predictions").bias.assign(np.full(10, np.nan, "float32"))
    with pytest.raises(InputError, match="NaN or infinity for 2 of 2 images"):
        classifier.class_probabilities(broken, random_images(2), DIGITS)


def test_preprocessing_that_does_not_fit_the_model_is_refused(model):
    with pytest.raises(InputError, match="100 names for 10 classes"):
        classifier.with_preprocessing(model, PREPROCESSING["cifar100"])
    with pytest.raises(InputError, match="the channels that `preprocessing` has"):
        classifier.with_preprocessing(
            keras_wrn.WideResNet(10, 1, input_shape=(32, 32, 1)), PREPROCESSING["cifar10"]
        )
    with pytest.raises(InputError, match="include_top=True"):
        classifier.with_preprocessing(keras_wrn.WideResNet(10, 1, include_top=False), DIGITS)


def test_the_model_with_preprocessing_is_stock_keras_and_shares_the_weights(model):
    full = classifier.with_preprocessing(model, DIGITS)
    assert full.input_shape == (None, 32, 32, 3)
    assert full.inputs[0].dtype == "uint8"
    assert {type(layer).__module__.split(".")[0] for layer in full.layers} == {"keras"}
    assert [id(v) for v in full.trainable_variables] == [id(v) for v in model.trainable_variables]
