import numpy as np
import pytest

from keras_wrn.errors import InputError
from keras_wrn.inference.evaluation import expected_calibration_error, negative_log_likelihood
from keras_wrn.insight import calibration
from keras_wrn.insight.outputs import Outputs
from keras_wrn.insight.sections import Fold, temperature

PEERS_WARN = pytest.mark.filterwarnings("ignore")  # at import, of what they are built on


@pytest.fixture(scope="module")
def underconfident():
    """Logits (2000, 10), and labels drawn from them at a temperature of 0.7."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (2000, 10))
    drawn = calibration.softmax(logits / 0.7).cumsum(axis=1) > rng.random((2000, 1))
    return logits.astype(np.float32), drawn.argmax(axis=1)


def test_softmax_of_large_logits():
    found = calibration.softmax(np.array([[1e4, 1e4 - np.log(3)], [-1e4, -1e4]], np.float32))
    np.testing.assert_allclose(found, [[0.75, 0.25], [0.5, 0.5]], atol=1e-4)
    assert found.dtype == np.float64


def test_brier_score_is_that_of_its_definition(underconfident):
    logits, labels = underconfident
    probabilities = calibration.softmax(logits)
    expected = np.mean(np.sum((probabilities - np.eye(10)[labels]) ** 2, axis=1))
    assert calibration.brier_score(probabilities, labels) == pytest.approx(expected, rel=1e-12)


def test_equal_mass_bins_by_hand():
    confidence = np.array([0.9, 0.6, 0.8, 0.7])
    labels = np.array([0, 1, 0, 0])  # right, wrong, right, right
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    expected = (abs(1 - 0.6 - 0.7) + abs(2 - 0.8 - 0.9)) / 4
    found = calibration.equal_mass_calibration_error(probabilities, labels, bins=2)
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_order_of_images_of_one_confidence_does_not_matter():
    probabilities = np.tile([0.9, 0.1], (300, 1))
    labels = np.zeros(300, int)
    labels[:30] = 1
    assert calibration.equal_mass_calibration_error(probabilities, labels) < 1e-12


def test_smooth_error_is_the_fixed_point_of_its_definition(underconfident):
    logits, labels = (part[:300] for part in underconfident)
    probabilities = calibration.softmax(1.8 * logits)  # overconfident, not everywhere alike
    confidence = probabilities.max(axis=1)
    gaps = (probabilities.argmax(axis=1) == labels) - confidence
    found = calibration.smooth_calibration_error(probabilities, labels)
    # The reflected Gaussian as a sum of Gaussians at the images' mirror places.
    grid = np.linspace(0, 1, 1001)
    mirrored = np.concatenate([confidence + 2 * k for k in range(-2, 3)])
    mirrored = np.concatenate([mirrored, -mirrored])
    kernel = np.exp(-0.5 * ((grid[:, None] - mirrored) / found) ** 2) / found / np.sqrt(2 * np.pi)
    smoothed = kernel @ np.tile(gaps, 10) / len(gaps)
    assert np.mean((np.abs(smoothed)[1:] + np.abs(smoothed)[:-1]) / 2) == pytest.approx(
        found, rel=1e-3
    )


def test_smooth_error_of_a_calibrated_network_is_small(underconfident):
    logits, labels = underconfident
    calibrated = calibration.softmax(logits / 0.7)
    assert calibration.smooth_calibration_error(calibrated, labels) < 0.02
    assert calibration.smooth_calibration_error(calibration.softmax(logits), labels) > 0.05


def test_reliability_bars_are_those_of_the_error(underconfident):
    logits, labels = underconfident
    probabilities = calibration.softmax(logits)
    bars = calibration.reliability(probabilities, labels)
    assert sum(bar.n for bar in bars) == len(labels)
    error = sum(bar.n * abs(bar.confidence - bar.accuracy) for bar in bars) / len(labels)
    assert error == pytest.approx(expected_calibration_error(probabilities, labels), rel=1e-9)


def test_temperature_is_the_best(underconfident):
    logits, labels = underconfident

    def likelihood(temperature):
        return negative_log_likelihood(calibration.softmax(logits / temperature), labels)

    found = calibration.fit_temperature(logits, labels)
    assert found == pytest.approx(0.7, abs=0.03)
    assert likelihood(found) < min(likelihood(found * 1.001), likelihood(found / 1.001))
    scaled = calibration.fit_temperature(logits * 500, labels)
    assert scaled == pytest.approx(found * 500, rel=1e-6)


def test_temperature_needs_mistakes_and_a_network_that_knows_something():
    logits, labels = np.eye(4)[[0, 1, 2, 3]], np.arange(4)
    with pytest.raises(InputError, match="4 images without a clear one"):
        calibration.fit_temperature(logits, labels)
    with pytest.raises(InputError, match="no temperature improves that"):
        calibration.fit_temperature(logits, labels[::-1])


def test_figures_come_from_data_that_the_temperature_was_not_fitted_to(underconfident):
    logits, labels = underconfident
    halves = [
        Fold(Outputs(logits[i::2], logits), labels[i::2], np.arange(1 - i, 2000, 2)) for i in (0, 1)
    ]
    crossed = temperature(logits, labels, halves)
    assert crossed["temperature"] is None  # nothing to keep
    first, second = crossed["temperatures"]
    assert first == calibration.fit_temperature(logits[::2], labels[::2])
    exact = logits.astype(np.float64)
    own = calibration.softmax(exact[1::2] / first), calibration.softmax(exact[::2] / second)
    expected = [negative_log_likelihood(part, labels[start::2]) for part, start in zip(own, (1, 0))]
    assert crossed["after"]["nll"] == pytest.approx(np.mean(expected), rel=1e-9)

    other = Fold(Outputs(logits[1::2], logits), labels[1::2], np.arange(1000))
    held = temperature(logits[::2], labels[::2], [other])
    assert held["temperature"] == second
    assert held["fitted_on"] == "1000 held-out images"


@PEERS_WARN
def test_errors_and_temperature_agree_with_netcal(underconfident):
    metrics = pytest.importorskip("netcal.metrics", reason="netcal is not installed")
    from netcal.scaling import TemperatureScaling

    logits, labels = underconfident
    probabilities = calibration.softmax(logits)
    found = calibration.calibration(probabilities, labels)
    assert found["ece"] == pytest.approx(metrics.ECE(15).measure(probabilities, labels), abs=1e-12)
    peer = metrics.ECE(15, equal_intervals=False).measure(probabilities, labels)
    assert found["ece_equal_mass"] == pytest.approx(peer, abs=2e-3)  # its bins' edges differ
    scaling = TemperatureScaling()
    scaling.fit(probabilities, labels)
    found = calibration.fit_temperature(logits, labels)
    assert found == pytest.approx(1 / float(scaling.temperature[0]), rel=1e-4)


@PEERS_WARN
def test_smooth_error_agrees_with_relplot(underconfident):
    relplot = pytest.importorskip("relplot", reason="relplot is not installed")
    logits, labels = underconfident
    for scale in (1.0, 1.8, 1 / 0.7):
        probabilities = calibration.softmax(scale * logits)
        right = (probabilities.argmax(axis=1) == labels).astype(float)
        peer = relplot.smECE(probabilities.max(axis=1), right)
        found = calibration.smooth_calibration_error(probabilities, labels)
        assert found == pytest.approx(peer, abs=1e-3)  # its grid is 1e-3
