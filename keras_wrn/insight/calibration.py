"""Calibration: how far confidence is from accuracy, and the temperature that brings them together.

All functions take NumPy arrays and compute in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.inference.evaluation import (
    expected_calibration_error,
    negative_log_likelihood,
)

BINS = 15
_GRID = 1000  # intervals of [0, 1] on which smECE smooths: 2e-4 from the exact integral
_NEWTON_STEPS = 100
_SHARPEST = 1e4  # 1 / temperature, beyond which only mistakes of rounding are left


class Bin(NamedTuple):
    """A bar of a reliability diagram: images, their mean confidence and their accuracy."""

    n: int
    confidence: float
    accuracy: float


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return float64 probabilities, (n, classes), of logits (n, classes)."""
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    np.exp(shifted, out=shifted)
    return shifted / shifted.sum(axis=1, keepdims=True)


def calibration(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the figures of calibration.

    Args:
        probabilities: (n, classes).
        labels: integers, (n,).

    Returns:
        "nll" in nats; "brier", 0 to 2; "ece", with 15 bins of equal width, "ece_equal_mass", with
        15 bins of equal numbers of images, and "smece", fractions between 0 and 1.

    Example:
        >>> calibration(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]))["brier"]
        0.375
    """
    return {
        "nll": negative_log_likelihood(probabilities, labels),
        "brier": brier_score(probabilities, labels),
        "ece": expected_calibration_error(probabilities, labels, BINS),
        "ece_equal_mass": equal_mass_calibration_error(probabilities, labels),
        "smece": smooth_calibration_error(probabilities, labels),
    }


def brier_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean squared distance between probabilities and the one-hot label.

    The squares are summed over the classes, so that the score lies between 0 and 2.

    Example:
        >>> brier_score(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]))
        1.0

    Source: Brier, "Verification of forecasts expressed in terms of probability", 1950.
    """
    values = np.asarray(probabilities, np.float64)
    own = np.take_along_axis(values, labels[:, None], axis=1)[:, 0]
    return float(np.mean(np.sum(values**2, axis=1) - 2 * own + 1))


def equal_mass_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS
) -> float:
    """Return the calibration error with bins that hold equal numbers of images.

    Args:
        probabilities: (n, classes).
        labels: integers, (n,).
        bins: number of bins; their sizes differ by one image at most.

    Returns:
        The error, between 0 and 1.

    Example:
        >>> probabilities = np.array([[0.5, 0.5], [0.75, 0.25]])
        >>> equal_mass_calibration_error(probabilities, np.array([1, 0]), bins=2)
        0.375

    Source: Nixon et al., "Measuring Calibration in Deep Learning", arXiv:1904.01685, of the
    top-1 probability alone.
    """
    confidence, right = _confidence_and_hits(probabilities, labels)
    # Images of one confidence count alike, wherever the end of a bin falls among them.
    values, group, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    gaps = np.bincount(group, right) / counts - values
    parts = np.array_split(np.repeat(gaps, counts), bins)
    return float(sum(abs(part.sum()) for part in parts) / len(labels))


def smooth_calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return smECE, a calibration error that no choice of bins changes.

    The differences between accuracy and confidence are smoothed along the confidence by a Gaussian
    that is reflected at 0 and 1; the error is the integral of their absolute value, at the
    width of the Gaussian that equals this integral.

    Args:
        probabilities: (n, classes).
        labels: integers, (n,).

    Returns:
        The error, between 0 and 1.

    Example:
        >>> values = np.array([[0.75, 0.25]] * 400)
        >>> round(smooth_calibration_error(values, np.zeros(400, int)), 2)
        0.25

    Source: Blasiok and Nakkiran, "Smooth ECE", arXiv:2309.12236, section 3.
    """
    confidence, right = _confidence_and_hits(probabilities, labels)
    place = confidence * _GRID
    left = np.minimum(place.astype(int), _GRID - 1)
    share = place - left
    gaps = (right - confidence) / len(labels)
    mass = np.bincount(left, gaps * (1 - share), _GRID + 1)
    mass += np.bincount(left + 1, gaps * share, _GRID + 1)
    # Cosines are the waves that a reflected Gaussian only scales.
    wave = np.arange(_GRID + 1)
    cosines = np.cos(np.pi / _GRID * np.outer(wave, wave))
    strength = cosines @ mass
    strength[1:] *= 2
    weights = np.full(_GRID + 1, 1 / _GRID)
    weights[[0, -1]] /= 2

    def error(width: float) -> float:
        # Waves of more than 8 / (pi * width) are damped below 1e-13.
        kept = wave[: int(8 / (np.pi * max(width, 1e-6))) + 1]
        damped = strength[: len(kept)] * np.exp(-0.5 * (np.pi * width * kept) ** 2)
        return float(weights @ np.abs(cosines[:, : len(kept)] @ damped))

    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if error(middle) > middle else (low, middle)
    return error(high)


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Return the bars of a reliability diagram, with bins of equal width.

    Args:
        probabilities: (n, classes).
        labels: integers, (n,).
        bins: number of bins; bar m is of confidence in ((m-1)/bins, m/bins].

    Returns:
        The bars; those without images have n = 0 and zeros.

    Example:
        >>> reliability(np.array([[0.75, 0.25]] * 2), np.array([0, 1]), 2)[1]
        Bin(n=2, confidence=0.75, accuracy=0.5)
    """
    confidence, right = _confidence_and_hits(probabilities, labels)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    divisor = np.maximum(counts, 1)
    confident = np.bincount(bin_of, confidence, bins) / divisor
    accurate = np.bincount(bin_of, right, bins) / divisor
    bars = zip(counts.tolist(), confident.tolist(), accurate.tolist(), strict=True)
    return [Bin(*bar) for bar in bars]


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Fit the temperature that logits are divided by, by the likelihood of held-out labels.

    The likelihood is convex in 1 / temperature; Newton's method inside a bracket finds its minimum.

    Args:
        logits: (n, classes), of images that the network was not trained on.
        labels: integers, (n,).

    Returns:
        The temperature: above 1 for a network that is too sure, below 1 for one that is not
        sure enough.

    Raises:
        InputError: no temperature is best: no label is wrong, or the labels do not fit the logits.

    Example:
        >>> logits = np.array([[4.0, 0.0]] * 4)
        >>> round(fit_temperature(logits, np.array([0, 0, 0, 1])), 3)  # 4 / log(3)
        3.641

    Source: Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599, section 4.2.
    """
    values = np.asarray(logits, np.float64)
    values = values - values.max(axis=1, keepdims=True)
    own = np.take_along_axis(values, labels[:, None], axis=1)[:, 0].mean()

    def slope_and_curvature(sharpness: float) -> tuple[float, float]:
        weights = np.exp(sharpness * values)
        weights /= weights.sum(axis=1, keepdims=True)
        mean = np.sum(weights * values, axis=1)
        square = np.sum(weights * values**2, axis=1)
        return float(mean.mean() - own), float(np.mean(square - mean**2))

    low, high = 1 / _SHARPEST, _SHARPEST
    if slope_and_curvature(low)[0] >= 0:
        raise InputError(
            "The labels must fit the logits. Received: labels to which the network gives no more "
            "probability than to the other classes; no temperature improves that."
        )
    if slope_and_curvature(high)[0] <= 0:
        raise InputError(
            f"A temperature is fitted to mistakes. Received: {len(labels)} images without a clear "
            "one, so that the lower the temperature, the higher the likelihood. Give more images."
        )
    sharpness = 1.0
    for _ in range(_NEWTON_STEPS):
        slope, curvature = slope_and_curvature(sharpness)
        low, high = (sharpness, high) if slope < 0 else (low, sharpness)
        step = sharpness - slope / curvature if curvature > 0 else 0.0
        following = step if low < step < high else float(np.sqrt(low * high))
        if abs(following - sharpness) <= 1e-10 * sharpness:
            break
        sharpness = following
    return 1 / following


def _confidence_and_hits(
    probabilities: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The top-1 probability of each image, and 1.0 where the class is right, else 0.0."""
    right = probabilities.argmax(axis=1) == labels
    return probabilities.max(axis=1).astype(np.float64), right.astype(np.float64)
