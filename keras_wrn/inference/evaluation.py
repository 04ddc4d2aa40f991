"""How good a classifier is: top-1 and top-5 error, NLL and calibration error.

The numbers are computed in float64 from the softmax probabilities, by functions that know
nothing of Keras. The network sees uint8 images; a normalisation layer stands in front of it,
so that a data set is never held in memory as floats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.inference.classifier import class_probabilities

if TYPE_CHECKING:
    import keras

    from keras_wrn.images.preprocessing import AnyPreprocessing

_BINS = 15


def evaluate(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    preprocessing: AnyPreprocessing,
    *,
    batch_size: int = 250,
) -> dict[str, Any]:
    """Measure a classifier on labelled images.

    Args:
        model: a classifier that ends in a softmax and takes normalised images.
        images: uint8, (n, height, width, channels), as stored, 0 to 255.
        labels: integers, (n,), 0 to classes - 1.
        preprocessing: the statistics that the model was trained with: by name ("cifar10"), by the
            card of a network or as a `Preprocessing`.
        batch_size: images a step.

    Returns:
        A dictionary: "n", the number of images; "error" and "top5_error", fractions between
        0 and 1; "nll", the mean negative log-likelihood in nats; "ece", the expected
        calibration error, a fraction between 0 and 1.

    Raises:
        InputError: images, labels and model do not fit each other, or the model's output
            is not a distribution.

    Example:
        >>> data = keras_wrn.datasets.load("cifar10")  # doctest: +SKIP
        >>> model = keras_wrn.WideResNet16_4(weights="cifar10")  # doctest: +SKIP
        >>> keras_wrn.evaluate(model, *data.test, "cifar10")  # doctest: +SKIP
        {'n': 10000, 'error': 0.0476, 'top5_error': 0.0022, 'nll': 0.231, 'ece': 0.078}
    """
    from keras_wrn.images.preprocessing import preprocessing_of

    images, statistics = np.asarray(images), preprocessing_of(preprocessing)
    labels = checked_labels(labels, len(images), model.output_shape[-1])
    probabilities = class_probabilities(model, images, statistics, batch_size=batch_size)
    return measures(probabilities, labels)


def measures(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """The figures that `evaluate` returns, from probabilities (n, classes) and labels (n,)."""
    return {
        "n": len(labels),
        "error": top_k_error(probabilities, labels, 1),
        "top5_error": top_k_error(probabilities, labels, 5),
        "nll": negative_log_likelihood(probabilities, labels),
        "ece": expected_calibration_error(probabilities, labels),
    }


def top_k_error(probabilities: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Return the fraction of images whose class is not among the k most probable ones.

    Equal probabilities count in the order of their class numbers, so that a network that
    says the same of every class is not taken for a perfect one.

    Args:
        probabilities: (n, classes).
        labels: integers, (n,).
        k: how many guesses; with k at or above the number of classes the error is 0.

    Returns:
        The error, between 0 and 1.

    Example:
        >>> top_k_error(np.array([[0.7, 0.2, 0.1], [0.5, 0.1, 0.4]]), np.array([0, 2]), 1)
        0.5
    """
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)
    before = np.arange(probabilities.shape[1]) < labels[:, None]
    rank = np.sum((probabilities > own) | ((probabilities == own) & before), axis=1)
    return float(np.mean(rank >= k))


def negative_log_likelihood(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of -log p(true class), in nats.

    A float32 softmax can underflow to 0; such a probability counts as float32's smallest
    normal number, so that one image cannot make the mean infinite (it adds 87.3 at most).

    Args:
        probabilities: (n, classes).
        labels: integers, (n,).

    Returns:
        The mean over the images.

    Example:
        >>> round(negative_log_likelihood(np.array([[0.5, 0.5]]), np.array([0])), 4)
        0.6931
    """
    own = np.take_along_axis(probabilities, labels[:, None], axis=1).astype(np.float64)
    return float(-np.mean(np.log(np.maximum(own, np.finfo(np.float32).tiny))))


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = _BINS
) -> float:
    """Return the mean distance between confidence and accuracy.

    Predictions are sorted into equal bins ((m-1)/bins, m/bins] of the top-1 probability; the
    bins' distances are averaged with the number of images as weight.

    Args:
        probabilities: (n, classes).
        labels: integers, (n,).
        bins: number of bins.

    Returns:
        The error, between 0 and 1.

    Example:
        >>> expected_calibration_error(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]))
        0.0

    Source: Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599, eq. 3.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    # |sum of accuracy - sum of confidence| of a bin is its weighted distance times n.
    gaps = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.sum(np.abs(gaps)) / len(labels))


def checked_labels(labels: np.ndarray, n: int, classes: int) -> np.ndarray:
    """Return labels as int64, or raise InputError where they are not `n` of 0 to classes - 1."""
    labels = np.asarray(labels)
    if labels.shape == (n, 1):
        # keras.datasets returns CIFAR's labels as a column.
        labels = labels[:, 0]
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise InputError(
            f"`labels` must be one whole number for each of the {n} images. "
            f"Received: {labels.dtype} of shape {labels.shape}."
        )
    if n and not (labels.min() >= 0 and labels.max() < classes):
        raise InputError(
            f"`labels` must lie between 0 and {classes - 1}, the model's classes. "
            f"Received: {labels.min()} to {labels.max()}."
        )
    return labels.astype(np.int64)
