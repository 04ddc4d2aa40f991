"""FGSM and PGD stay in their ball, raise the loss, and find what foolbox finds."""

from pathlib import Path

import keras
import numpy as np
import pytest

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.insight.attacks import ATTACKS, _random_point, attack, robust_error
from keras_wrn.insight.graph import logits_function

BACKEND = keras.backend.backend()
LABELS = np.array([0, 1, 2, 3, 4])


@pytest.fixture
def network():
    return keras_wrn.WideResNet(10, 1, input_shape=(8, 8, 3))


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), "uint8")


def loss(network, images):
    probabilities = network.predict_on_batch(keras_wrn.preprocess_input(images, "cifar10"))
    return -np.log(np.take_along_axis(probabilities, LABELS[:, None], axis=1))[:, 0]


@pytest.mark.parametrize("method", ["fgsm", "pgd-20"])
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 4.0), ("l2", 60.0)])
def test_the_change_is_in_the_ball_and_raises_the_loss(network, images, method, norm, epsilon):
    options = {"method": method, "norm": norm, "epsilon": epsilon}
    changed = attack(network, images, LABELS, "cifar10", **options)
    change = changed - images
    sizes = {
        "linf": np.abs(change).max(axis=(1, 2, 3)),
        "l2": np.linalg.norm(change.reshape(5, -1), axis=1),
    }
    assert changed.dtype == np.float32
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert (sizes[norm] <= epsilon * (1 + 1e-5)).all()
    assert sizes[norm].max() > 0.9 * epsilon
    assert (loss(network, changed) > loss(network, images)).all()


def test_more_steps_find_a_larger_loss(network, images):
    means = []
    for method in ("fgsm", "pgd-20"):
        changed = attack(network, images, LABELS, "cifar10", method=method, epsilon=16)
        means.append(loss(network, changed).mean())
    assert means[0] < means[1]


def test_the_seed_fixes_the_images_whatever_the_batch(network, images):
    options = {"method": "pgd-20", "norm": "l2", "epsilon": 60}
    one, two, other = (
        attack(network, images, LABELS, "cifar10", seed=seed, batch_size=size, **options)
        for seed, size in ((1, 5), (1, 2), (2, 5))
    )
    np.testing.assert_allclose(one, two, atol=0.05)
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_starts_are_uniform_in_the_ball(norm):
    points = _random_point(np.random.default_rng(0), (20_000, 1, 1, 2), 3.0, norm).reshape(-1, 2)
    size = np.abs(points).max(axis=1) if norm == "linf" else np.linalg.norm(points, axis=1)
    assert size.max() <= 3
    # The share within half the radius of a ball of two dimensions is a quarter.
    assert np.mean(size < 1.5) == pytest.approx(0.25, abs=0.01)


def test_the_network_may_end_in_logits(images):
    logits = keras_wrn.WideResNet(10, 1, input_shape=(8, 8, 3), classifier_activation=None)
    softmax = keras_wrn.WideResNet(10, 1, input_shape=(8, 8, 3))
    softmax.set_weights(logits.get_weights())
    one, two = (
        attack(model, images, LABELS, "cifar10", method="fgsm") for model in (logits, softmax)
    )
    np.testing.assert_array_equal(one, two)


def test_the_error_counts_what_is_wrong_already(network, images):
    found = robust_error(network, images, LABELS, "cifar10", method="fgsm", epsilon=1, batch_size=2)
    probabilities = network.predict_on_batch(keras_wrn.preprocess_input(images, "cifar10"))
    assert found["clean_error"] == np.mean(probabilities.argmax(axis=1) != LABELS)
    assert found["error"] >= found["clean_error"]
    assert (found["n"], found["method"], found["epsilon"]) == (5, "fgsm", 1.0)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"method": "pgd"}, "must be one of fgsm, pgd-20, pgd-100. Received: 'pgd'"),
        ({"norm": "l1"}, "must be 'linf' or 'l2'. Received: norm='l1'"),
        ({"epsilon": 0}, "must be a positive number, in pixel values of 255. Received: epsilon=0"),
        ({"images": np.ones((5, 8, 8))}, "Received: float64 of shape"),
        ({"images": np.ones((5, 8, 8, 3))}, "multiply images in .0, 1. by 255"),
        ({"images": np.full((5, 9, 8, 3), 7)}, r"the model's shape, \(n, 8, 8, 3\). Received: "),
        ({"batch_size": -1}, "`batch_size` must be a whole number from 1. Received: -1"),
        ({"labels": np.array([0, 1, 2, 3, 10])}, "must lie between 0 and 9"),
    ],
)
def test_wrong_input_gets_a_sentence(network, images, wrong, sentence):
    arguments = {"images": images, "labels": LABELS, "preprocessing": "cifar10"} | wrong
    with pytest.raises(InputError, match=sentence):
        attack(network, **arguments)


def first_test_images(count):
    """Images of CIFAR-10's test set, and the published WRN-16-1."""
    try:
        data = keras_wrn.datasets.load("cifar10", split="test", most=count)
    except InputError:
        pytest.skip("CIFAR-10 is not under ~/.keras/datasets")
    folder = Path(keras_wrn.__file__).parents[1] / "saved_models" / "wrn-16-1-cifar10"
    return keras_wrn.load_trained(folder), *data.test


def foolbox_error(foolbox, network, images, labels, method, norm, epsilon):
    """The error under foolbox's attack of the same steps; normalisation is in its model."""
    kind, attacks = ATTACKS[method], foolbox.attacks
    if method == "fgsm":
        theirs = attacks.FGSM() if norm == "linf" else attacks.FGM()
    else:
        steps = {"steps": kind.steps, "abs_stepsize": kind.step_size * epsilon / kind.steps}
        theirs = (attacks.LinfPGD if norm == "linf" else attacks.L2PGD)(**steps)
    wrapper = foolbox.PyTorchModel if BACKEND == "torch" else foolbox.TensorFlowModel
    if BACKEND == "torch":
        network.eval()
    model = wrapper(network, bounds=(0, 255), device="cpu" if BACKEND == "torch" else None)
    images = keras.ops.convert_to_tensor(images.astype("float32"))
    classes = keras.ops.convert_to_tensor(labels.astype("int64"))
    *_, fooled = theirs(model, images, classes, epsilons=epsilon)
    return float(keras.ops.convert_to_numpy(keras.ops.mean(keras.ops.cast(fooled, "float32"))))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("method", "norm", "epsilon"),
    [
        ("fgsm", "linf", 1.0),
        ("fgsm", "l2", 40.0),
        ("pgd-20", "linf", 0.5),
        ("pgd-20", "l2", 20.0),
    ],
)
def test_errors_equal_foolbox_s(method, norm, epsilon):
    """Within 0.3 points on 400 images of CIFAR-10: one image more or less."""
    foolbox = pytest.importorskip("foolbox", reason="foolbox is a reference, never needed")
    if BACKEND == "jax":
        pytest.skip("foolbox takes Keras' models on TensorFlow and PyTorch")
    trained, images, labels = first_test_images(400)
    options = {"method": method, "norm": norm, "epsilon": epsilon}
    ours = robust_error(trained.model, images, labels, trained.preprocessing, **options)["error"]
    start = keras.Input((32, 32, 3))
    normalised = keras_wrn.preprocess_input(start, trained.preprocessing)
    network = keras.Model(start, logits_function(trained.model)(normalised))
    other = foolbox_error(foolbox, network, images, labels, **options)
    print(f"{method} {norm} {epsilon:g}: {ours:.4f}, foolbox {other:.4f}")
    assert abs(ours - other) <= 0.003
    assert 0.15 < ours < 0.95
