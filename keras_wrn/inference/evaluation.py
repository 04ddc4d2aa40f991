"""Evaluate a classifier: top-1 and top-5 error, log-likelihood and calibration error.

The metrics are NumPy functions of the softmax probabilities, in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import AnyPreprocessing, preprocessing_of
from keras_wrn.inference.classifier import class_probabilities

if TYPE_CHECKING:
    import keras


def evaluate(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    preprocessing: AnyPreprocessing,
    *,
    batch_size: int = 250,
) -> dict[str, Any]:
    """Evaluate a classifier on labelled images.

    Args:
        model: a classifier that ends in a softmax and takes normalised images.
        images: uint8 (n, height, width, channels), values 0 to 255.
        labels: integers (n,), 0 to classes - 1.
        preprocessing: the statistics that the model was trained with: a name ("cifar10"), the card
            of a network or a `Preprocessing`.
        batch_size: images per step.

    Returns:
        A dictionary: "n", the number of images; "error" and "top5_error", fractions from 0 to 1;
        "nll", the mean negative log-likelihood in nats; "ece", the expected calibration error, a
        fraction from 0 to 1.

    Raises:
        InputError: images, labels and model do not fit each other, or the model's output is not a
            distribution.

    Example:
        >>> data = keras_wrn.datasets.load("cifar10")  # doctest: +SKIP
        >>> model = keras_wrn.WideResNet16_4(weights="cifar10")  # doctest: +SKIP
        >>> keras_wrn.evaluate(model, *data.test, "cifar10")  # doctest: +SKIP
        {'n': 10000, 'error': 0.0476, 'top5_error': 0.0022, 'nll': 0.231, 'ece': 0.078}
    """
    images, statistics = np.asarray(images), preprocessing_of(preprocessing)
    labels = checked_labels(labels, len(images), model.output_shape[-1])
    probabilities = class_probabilities(model, images, statistics, batch_size=batch_size)
    return measures(probabilities, labels)


def measures(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Compute the metrics of `evaluate` from probabilities (n, classes) and labels (n,)."""
    return {
        "n": len(labels),
        "error": top_k_error(probabilities, labels, 1),
        "top5_error": top_k_error(probabilities, labels, 5),
        "nll": negative_log_likelihood(probabilities, labels),
        "ece": expected_calibration_error(probabilities, labels),
    }


def top_k_error(probabilities: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Return the fraction of images whose class is not among the k most probable ones.

    Equal probabilities are ranked by class number, so a network that gives all classes the same
    probability has the error of chance.

    Args:
        probabilities: (n, classes).
        labels: integers (n,).
        k: number of guesses; from the number of classes on, the error is 0.

    Returns:
        The error, a fraction from 0 to 1.

    Example:
        >>> top_k_error(np.array([[0.7, 0.2, 0.1], [0.5, 0.1, 0.4]]), np.array([0, 2]), 1)
        0.5
    """
    true_class = np.take_along_axis(probabilities, labels[:, None], axis=1)
    before = np.arange(probabilities.shape[1]) < labels[:, None]
    rank = np.sum((probabilities > true_class) | ((probabilities == true_class) & before), axis=1)
    return float(np.mean(rank >= k))


def negative_log_likelihood(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of -log p(true class), in nats.

    A float32 softmax can underflow to 0. Such a probability is replaced by float32's smallest
    normal number, so one image adds 87.3 at most and not infinity.

    Args:
        probabilities: (n, classes).
        labels: integers (n,).

    Example:
        >>> round(negative_log_likelihood(np.array([[0.5, 0.5]]), np.array([0])), 4)
        0.6931
    """
    true_class = np.take_along_axis(probabilities, labels[:, None], axis=1).astype(np.float64)
    return float(-np.mean(np.log(np.maximum(true_class, np.finfo(np.float32).tiny))))


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15
) -> float:
    """Return the mean distance between confidence and accuracy.

    Images are sorted by their top-1 probability into equal bins ((m-1)/bins, m/bins]. The mean
    over the bins is weighted by their numbers of images.

    Args:
        probabilities: (n, classes).
        labels: integers (n,).
        bins: number of bins.

    Returns:
        The error, a fraction from 0 to 1.

    Example:
        >>> expected_calibration_error(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]))
        0.0

    Source: Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599, eq. 3.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    bin_index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    # A bin's |accuracy - confidence|, summed over its images, is its weighted distance times n.
    gaps = np.bincount(bin_index, weights=right - confidence, minlength=bins)
    return float(np.sum(np.abs(gaps)) / len(labels))


def checked_labels(labels: np.ndarray, n: int, classes: int) -> np.ndarray:
    """Return labels as int64 (n,); raises InputError unless they are from 0 to classes - 1."""
    labels = np.asarray(labels)
    if labels.shape == (n, 1):
        # The shape of CIFAR's labels in keras.datasets.
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
