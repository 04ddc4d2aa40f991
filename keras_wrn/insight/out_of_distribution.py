"""Scores that tell images of the data set from others, of logits and pooled features.

Every score is higher for images that look more like those of the data set. `logits` are float
(n, classes), `features` float (n, d), scores float (n,).
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import normalization
from keras_wrn.insight.calibration import softmax
from keras_wrn.insight.ensembles import log_sum_exp
from keras_wrn.insight.gradients import full_batches, gradient_function
from keras_wrn.insight.outputs import Head, Outputs, Reader

Score = Callable[[Outputs], np.ndarray]
NEIGHBOURS = 50
ODIN_TEMPERATURE = 1000.0
_BLOCK = 1000  # images whose distances are in memory at once


def max_softmax(logits: np.ndarray) -> np.ndarray:
    """Return the top-1 probability. Source: Hendrycks and Gimpel, arXiv:1610.02136."""
    return softmax(logits).max(axis=1)


def max_logit(logits: np.ndarray) -> np.ndarray:
    """Return the largest logit. Source: Hendrycks et al., arXiv:1911.11132."""
    return np.asarray(logits, np.float64).max(axis=1)


def energy(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the negative free energy, T log sum exp(logit / T).

    Example:
        >>> energy(np.log([[1.0, 3.0]])).round(4)
        array([1.3863])

    Source: Liu et al., "Energy-based Out-of-distribution Detection", arXiv:2010.03759.
    """
    return temperature * log_sum_exp(np.asarray(logits, np.float64) / temperature)


def odin(logits: np.ndarray, temperature: float = ODIN_TEMPERATURE) -> np.ndarray:
    """Return the top-1 probability at a high temperature.

    ODIN's second part changes the images before they are read: see `perturb`.

    Source: Liang et al., "Enhancing The Reliability of Out-of-distribution Image Detection in
    Neural Networks", arXiv:1706.02690.
    """
    return max_softmax(np.asarray(logits, np.float64) / temperature)


def perturb(
    reader: Reader,
    images: np.ndarray,
    epsilon: float,
    temperature: float = ODIN_TEMPERATURE,
) -> np.ndarray:
    """Step along the sign of the gradient of the top-1 log-probability.

    Images of the data set gain more probability by the step than others do.

    Args:
        reader: of the classifier; of an ensemble the mean of the logits counts.
        images: uint8 or float on 0..255, (n, height, width, channels).
        epsilon: the step, in pixel values of 255; the paper's 0.0014 of images in [0, 1] is 0.357.
        temperature: that the logits are divided by.

    Returns:
        float32 images of the same shape, not clipped, which `outputs.read_pixels` takes.

    Raises:
        InputError: `epsilon` is not above 0.

    Example:
        >>> from keras_wrn.insight.outputs import open_reader
        >>> from keras_wrn.images.preprocessing import PREPROCESSING
        >>> opened = open_reader(keras_wrn.WideResNet(10, 1), PREPROCESSING["digits"])
        >>> perturb(opened, np.zeros((2, 32, 32, 3), "uint8"), 0.357).shape
        (2, 32, 32, 3)

    Source: Liang et al., arXiv:1706.02690, section 3.
    """
    if not 0 < epsilon < 255:
        raise InputError(f"`epsilon` must be between 0 and 255. Received: epsilon={epsilon!r}.")
    normalise, head = normalization(reader.preprocessing), reader.head

    def confidence(pixels: object) -> object:
        features = reader.features(normalise(pixels), training=False)
        features = features if isinstance(features, (list, tuple)) else [features]
        logits = ops.concatenate([ops.cast(each, "float32") for each in features], axis=-1)
        logits = ops.add(ops.matmul(logits, head.kernel), head.bias) / temperature
        return ops.max(keras.activations.log_softmax(logits, axis=-1), axis=-1)

    # JAX cannot compile layers that draw, whose state changes.
    gradient = gradient_function(confidence, compiled=not reader.dropout_passes)
    changed = images.astype(np.float32)
    for rows, part in full_batches(len(images), reader.batch_size, "Changing images"):
        signs = np.sign(gradient(images[rows])[1])[: part.stop - part.start]
        changed[part] += np.float32(epsilon) * signs
    return changed


def fit_nearest_neighbours(features: np.ndarray, k: int = NEIGHBOURS) -> Score:
    """Make the score of k nearest neighbours: minus the distance to the k-th.

    Args:
        features: (m, d), of images of the data set. They are brought to length 1.
        k: which neighbour.

    Returns:
        The score, a function of `Outputs`.

    Raises:
        InputError: fewer features than k.

    Example:
        >>> score = fit_nearest_neighbours(np.array([[1.0, 0.0], [0.0, 2.0]]), k=2)
        >>> score(Outputs(np.zeros((1, 2)), np.array([[5.0, 0.0]]))).round(4)
        array([-1.4142], dtype=float32)

    Source: Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors",
    arXiv:2204.06507.
    """
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= len(features):
        raise InputError(
            f"`k` must be a whole number from 1 to the number of images, {len(features)}. "
            f"Received: k={k!r}."
        )
    bank = unit(features).T

    def score(outputs: Outputs) -> np.ndarray:
        queries, place = unit(outputs.features), bank.shape[1] - k
        parts = [
            np.partition(queries[start : start + _BLOCK] @ bank, place, axis=1)[:, place]
            for start in range(0, len(queries), _BLOCK)
        ]
        # The squared distance of two vectors of length 1 is 2 - 2 cos.
        return -np.sqrt(np.maximum(0, 2 - 2 * np.concatenate(parts)))

    return score


def neighbours(images: int) -> int:
    """Choose k for so many images: the paper's 50, at most one image in a hundred.

    In a smaller set the 50th neighbour would be of another class.

    Example:
        >>> neighbours(50_000), neighbours(500)
        (50, 5)
    """
    return max(1, min(NEIGHBOURS, images // 100))


def fit_mahalanobis(features: np.ndarray, labels: np.ndarray) -> Score:
    """Make Mahalanobis' score: minus the squared distance to the nearest class.

    Args:
        features: (m, d), of images of the data set.
        labels: integers, (m,).

    Returns:
        The score, a function of `Outputs`. All classes share one covariance; directions in which
        the features do not vary are left out.

    Example:
        >>> features = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
        >>> score = fit_mahalanobis(features, np.zeros(4, int))
        >>> score(Outputs(np.zeros((1, 1)), np.array([[3.0, 0.0]]))).round(4)
        array([-9.])

    Source: Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and
    Adversarial Attacks", arXiv:1807.03888. Differs: the last features alone, images unchanged.
    """
    values = np.asarray(features, np.float64)
    classes, place = np.unique(labels, return_inverse=True)
    means = np.stack([values[place == number].mean(axis=0) for number in range(len(classes))])
    variances, axes = _principal_axes(values - means[place])
    kept = variances > variances[0] * 1e-10
    whiten = axes[:, kept] / np.sqrt(variances[kept])
    centres = means @ whiten

    def score(outputs: Outputs) -> np.ndarray:
        points = np.asarray(outputs.features, np.float64) @ whiten
        squares = np.sum(points**2, axis=1)[:, None] + np.sum(centres**2, axis=1)
        return -np.min(squares - 2 * points @ centres.T, axis=1)

    return score


def fit_vim(train: Outputs, head: Head) -> Score:
    """Make ViM's score: the energy less a virtual logit, the part of features outside their space.

    Args:
        train: logits and features of images of the data set.
        head: the linear classifier.

    Returns:
        The score, a function of `Outputs`.

    Source: Wang et al., "ViM: Out-Of-Distribution with Virtual-logit Matching", arXiv:2203.10807;
    the space has 1,000 dimensions of 2,048 features, 512 of 768, else half of them.
    """
    kernel = np.asarray(head.kernel, np.float64)
    origin = -np.linalg.pinv(kernel.T) @ np.asarray(head.bias, np.float64)
    centred = np.asarray(train.features, np.float64) - origin
    width = centred.shape[1]
    dimensions = 1000 if width >= 2048 else 512 if width >= 768 else width // 2
    rest = _principal_axes(centred)[1][:, dimensions:]

    def virtual(features: np.ndarray) -> np.ndarray:
        return np.linalg.norm((np.asarray(features, np.float64) - origin) @ rest, axis=1)

    usual = virtual(train.features).mean()
    # Fewer images than dimensions have no part outside the space, but for rounding, and nothing
    # can be scaled to the logits.
    has_rest = usual > 1e-6 * np.linalg.norm(centred, axis=1).mean()
    scale = max_logit(train.logits).mean() / usual if has_rest else 0.0
    return lambda outputs: energy(outputs.logits) - scale * virtual(outputs.features)


def fit_scores(
    train: Outputs, labels: np.ndarray, head: Head, k: int = NEIGHBOURS
) -> dict[str, Score]:
    """Make all scores.

    Args:
        train: logits and features of images of the data set, which are not those scored.
        labels: integers, (m,), of these images.
        head: the linear classifier.
        k: the neighbour of the score "knn".

    Returns:
        Functions of `Outputs` by name; the first four need no `train`.
    """
    return {
        "max_softmax": lambda outputs: max_softmax(outputs.logits),
        "max_logit": lambda outputs: max_logit(outputs.logits),
        "energy": lambda outputs: energy(outputs.logits),
        "odin": lambda outputs: odin(outputs.logits),
        "mahalanobis": fit_mahalanobis(train.features, labels),
        "knn": fit_nearest_neighbours(train.features, k),
        "vim": fit_vim(train, head),
    }


def unit(features: np.ndarray) -> np.ndarray:
    """Features of length 1, float32."""
    values = np.asarray(features, np.float32)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-10)


def _principal_axes(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances, from the largest, and the axes, as columns, of vectors around the origin."""
    variances, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    return variances[::-1], axes[:, ::-1]
