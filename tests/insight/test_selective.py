import numpy as np
import pytest

from keras_wrn.errors import InputError
from keras_wrn.insight import selective
from keras_wrn.insight.outputs import Outputs
from keras_wrn.insight.sections import Fold, conformal


@pytest.fixture(scope="module")
def drawn():
    """Calibrated probabilities (1000, 5) and labels, and their two halves."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(5, 0.4), 1000)
    labels = (probabilities.cumsum(axis=1) > rng.random((1000, 1))).argmax(axis=1)
    return probabilities, labels, (np.arange(500), np.arange(500, 1000))


def test_risk_coverage_is_that_of_its_definition():
    rng = np.random.default_rng(0)
    confidence, right = rng.random(50), rng.random(50) < 0.7
    curve = selective.risk_coverage(confidence, right)
    wrong = ~right[np.argsort(-confidence)]
    np.testing.assert_allclose(curve.risk, [wrong[:k].mean() for k in range(1, 51)])
    np.testing.assert_allclose(curve.coverage, np.arange(1, 51) / 50)
    assert curve.aurc == pytest.approx(np.mean(curve.risk))


def test_equal_confidence_counts_the_same_in_any_order():
    confidence, right = np.ones(4), np.array([True, False, False, True])
    curve = selective.risk_coverage(confidence, right)
    np.testing.assert_allclose(curve.risk, 0.5)
    assert selective.risk_coverage(confidence, right[::-1]).aurc == curve.aurc


def test_a_threshold_for_too_few_images_lets_all_classes_in():
    probabilities = np.full((5, 2), 0.5)
    assert selective.conformal_threshold(probabilities, np.zeros(5, int), 0.9) == 0
    with pytest.raises(InputError, match="between 0 and 1"):
        selective.conformal_threshold(probabilities, np.zeros(5, int), 1)


def test_rounding_moves_no_rank():
    # 0.95 * (19 + 1) is 19: the smallest of 19 probabilities, not none of them.
    own = np.linspace(0.5, 0.9, 19)
    probabilities = np.stack([own, 1 - own], axis=1)
    assert selective.conformal_threshold(probabilities, np.zeros(19, int), 0.95) == 0.5


def folds_of(probabilities, labels, *halves):
    """Each half, fitted to the other."""
    logits = np.log(probabilities)
    return [
        Fold(Outputs(logits[fitted], logits[fitted]), labels[fitted], measured)
        for fitted, measured in (halves, halves[::-1])
    ]


def test_sets_hold_the_true_class_as_often_as_they_say(drawn):
    probabilities, labels, halves = drawn
    figures = conformal(probabilities, labels, folds_of(probabilities, labels, *halves))
    assert figures["calibrated_on"] == "cross-fitted halves of the reported images"
    for level in ("0.9", "0.95"):
        assert figures[level]["coverage"] == pytest.approx(float(level), abs=0.03)
    assert 1 < figures["0.9"]["size"] < figures["0.95"]["size"] < 5


def test_held_out_images_take_the_place_of_halves(drawn):
    probabilities, labels, (fitted, measured) = drawn
    held = probabilities[fitted], labels[fitted]
    outputs = Outputs(np.log(held[0]), held[0])
    folds = [Fold(outputs, held[1], np.arange(len(measured)))]
    figures = conformal(probabilities[measured], labels[measured], folds)
    threshold = selective.conformal_threshold(*held, 0.9)
    sets = probabilities[measured] >= threshold
    assert figures["0.9"]["size"] == pytest.approx(sets.sum(axis=1).mean())
    assert figures["calibrated_on"] == "500 held-out images"


@pytest.mark.filterwarnings("ignore")  # of what crepes is built on
def test_sets_are_those_of_crepes(drawn):
    crepes = pytest.importorskip("crepes", reason="crepes is not installed")
    probabilities, labels, (fitted, measured) = drawn
    peer = crepes.ConformalClassifier()
    peer.fit(1 - probabilities[fitted, labels[fitted]])
    for level in (0.9, 0.95):
        threshold = selective.conformal_threshold(probabilities[fitted], labels[fitted], level)
        expected = peer.predict_set(1 - probabilities[measured], confidence=level, smoothing=False)
        np.testing.assert_array_equal(probabilities[measured] >= threshold, expected == 1)
