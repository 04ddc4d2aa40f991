"""How well a score separates images of the data set from others: AUROC, AUPR, FPR at 95 % TPR.

A score is higher for images that look more like those of the data set.
"""

from __future__ import annotations

import numpy as np

from keras_wrn.errors import InputError

TPR = 0.95


def separation(inside: np.ndarray, outside: np.ndarray) -> dict[str, float]:
    """Return the figures of out-of-distribution detection.

    Args:
        inside: scores of images of the data set, (n,).
        outside: scores of other images, (m,).

    Returns:
        "auroc"; "aupr_in" and "aupr_out", the average precision where the images of the data
        set, or the others, are what is looked for; "fpr95", the share of the others that is taken
        for the data set where 95 % of its images are. All are fractions between 0 and 1.

    Raises:
        InputError: there are no scores, or some are not finite.

    Example:
        >>> separation(np.array([3.0, 2.0, 4.0, 3.0]), np.array([1.0, 2.0]))["auroc"]
        0.9375

    Source: Hendrycks and Gimpel, arXiv:1610.02136; the last: Liang et al., arXiv:1706.02690.
    """
    for name, scores in (("inside", inside), ("outside", outside)):
        if not len(scores) or not np.isfinite(scores).all():
            raise InputError(
                f"`{name}` must be one finite score or more. Received: {len(scores)} scores, "
                f"{int(np.sum(~np.isfinite(scores)))} of them not finite."
            )
    return {
        "auroc": auroc(inside, outside),
        "aupr_in": average_precision(inside, outside),
        "aupr_out": average_precision(-outside, -inside),
        "fpr95": float(np.mean(outside >= threshold_at(inside, TPR))),
    }


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """Return the probability that an image inside scores higher than one outside; ties count half.

    Example:
        >>> auroc(np.array([1.0, 2.0]), np.array([1.0]))
        0.75
    """
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, "left") + np.searchsorted(ordered, inside, "right")
    return float(below.mean() / (2 * len(outside)))


def average_precision(wanted: np.ndarray, others: np.ndarray) -> float:
    """Return the mean of the precisions at which the wanted images are found.

    Args:
        wanted: scores of what is looked for, (n,).
        others: scores of the rest, (m,).

    Returns:
        The area under the curve of precision against recall, by steps, without interpolation.

    Example:
        >>> average_precision(np.array([3.0, 1.0]), np.array([2.0, 0.0, 0.0]))
        0.8333333333333333
    """
    ascending_wanted, ascending_others = np.sort(wanted), np.sort(others)
    found = len(wanted) - np.searchsorted(ascending_wanted, wanted, "left")
    wrong = len(others) - np.searchsorted(ascending_others, wanted, "left")
    return float(np.mean(found / (found + wrong)))


def threshold_at(inside: np.ndarray, tpr: float) -> float:
    """Return the highest threshold at or above which a share of the images inside lies.

    Args:
        inside: scores, (n,).
        tpr: the share, the true positive rate, in (0, 1].

    Returns:
        One of the scores.

    Raises:
        InputError: `tpr` is not in (0, 1].

    Example:
        >>> threshold_at(np.array([1.0, 2.0, 3.0, 4.0]), 0.75)
        2.0
    """
    if not 0 < tpr <= 1:
        raise InputError(f"`tpr` must be above 0 and at most 1. Received: tpr={tpr!r}.")
    # Rounded, because 0.95 * 20 must not become 19.000000000000004.
    rank = int(np.ceil(round(tpr * len(inside), 9)))
    return float(np.sort(inside)[-rank])
