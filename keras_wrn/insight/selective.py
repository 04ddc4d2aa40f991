"""Classification that may abstain: risk against coverage, and conformal sets of classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from keras_wrn.errors import InputError


class RiskCoverage(NamedTuple):
    """Error of the most confident images, against their share of all.

    Attributes:
        coverage: shares of the images, 1/n to 1.
        risk: the error among them, 0 to 1.
        aurc: the area under the curve, the mean of the risks.
    """

    coverage: np.ndarray
    risk: np.ndarray
    aurc: float


def risk_coverage(confidence: np.ndarray, right: np.ndarray) -> RiskCoverage:
    """Return the curve of risk against coverage.

    Images of equal confidence count with their mean error, so that their order changes nothing.

    Args:
        confidence: (n,), higher for what is kept first.
        right: booleans, (n,), whether the class is right.

    Returns:
        The curve, n points, and the area under it.

    Example:
        >>> risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, True])).risk
        array([0.        , 0.        , 0.33333333, 0.25      ])

    Source: Geifman and El-Yaniv, arXiv:1705.08500; the area: Geifman et al., arXiv:1805.08206.
    """
    _, group, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    mean_error = np.bincount(group, weights=~right) / sizes
    kept = np.arange(1, len(right) + 1)
    risk = np.cumsum(np.repeat(mean_error, sizes)) / kept
    return RiskCoverage(kept / len(right), risk, float(risk.mean()))


def conformal_threshold(probabilities: np.ndarray, labels: np.ndarray, level: float) -> float:
    """Return the probability that a class must have to enter a conformal set.

    Args:
        probabilities: (n, classes), of calibration images.
        labels: integers, (n,).
        level: the share of sets that shall hold the true class, in (0, 1).

    Returns:
        The threshold: the set of an image is all classes at or above it. 0 where the calibration
        images are too few for the level.

    Raises:
        InputError: `level` is not between 0 and 1.

    Example:
        >>> probabilities = np.array([[0.75, 0.25], [0.5, 0.5], [0.875, 0.125], [0.625, 0.375]])
        >>> conformal_threshold(probabilities, np.zeros(4, int), 0.6)
        0.625

    Source: Sadinle et al., "Least Ambiguous Set-Valued Classifiers", arXiv:1609.00451; split
    conformal prediction.
    """
    if not 0 < level < 1:
        raise InputError(f"`level` must be between 0 and 1. Received: level={level!r}.")
    own = np.sort(np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0])[::-1]
    # Rounded, because 0.95 * 20 must not become 19.000000000000004.
    rank = int(np.ceil(round(level * (len(own) + 1), 9)))
    return float(own[rank - 1]) if rank <= len(own) else 0.0
