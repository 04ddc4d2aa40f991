import numpy as np
import pytest

from keras_wrn.errors import InputError
from keras_wrn.insight import separation


def scores(digits):
    rng = np.random.default_rng(0)
    return rng.normal(1, 1, 300).round(digits), rng.normal(0, 1, 500).round(digits)


@pytest.mark.parametrize("digits", [12, 1], ids=["distinct", "with ties"])
def test_figures_are_those_of_sklearn(digits):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    inside, outside = scores(digits)
    is_inside = np.repeat([1, 0], [len(inside), len(outside)])
    both = np.concatenate([inside, outside])
    found = separation.separation(inside, outside)
    false, true, _ = metrics.roc_curve(is_inside, both, drop_intermediate=False)
    expected = {
        "auroc": metrics.roc_auc_score(is_inside, both),
        "aupr_in": metrics.average_precision_score(is_inside, both),
        "aupr_out": metrics.average_precision_score(1 - is_inside, -both),
        "fpr95": false[np.argmax(true >= 0.95)],
    }
    assert found == pytest.approx(expected, abs=1e-12)


def test_perfect_reversed_and_useless_scores():
    high, low = np.arange(10.0) + 20, np.arange(10.0)
    perfect = {"auroc": 1, "aupr_in": 1, "aupr_out": 1, "fpr95": 0}
    assert separation.separation(high, low) == perfect
    assert separation.separation(low, high)["auroc"] == 0
    assert separation.separation(low, low * 0 + 4.5)["auroc"] == 0.5


def test_threshold_keeps_the_share():
    values = np.random.default_rng(0).random(20)
    found = separation.threshold_at(values, 0.95)
    assert np.sum(values >= found) == 19
    assert separation.threshold_at(values, 1) == values.min()
    with pytest.raises(InputError, match="at most 1"):
        separation.threshold_at(values, 1.5)


@pytest.mark.parametrize("outside", [np.array([]), np.array([np.nan])])
def test_scores_that_say_nothing_are_refused(outside):
    with pytest.raises(InputError, match="`outside` must be one finite score"):
        separation.separation(np.ones(3), outside)
