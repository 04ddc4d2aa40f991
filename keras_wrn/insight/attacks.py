"""FGSM and PGD: small changes of images that a classifier gets wrong.

These attacks are no AutoAttack. They follow one gradient from one start, so that a network which
hides its gradients looks robust; the error that they find is a lower bound of the true one.
Compare defences by AutoAttack (Croce & Hein, arXiv:2003.01690).
"""

from __future__ import annotations

import numbers
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import AnyPreprocessing, preprocess_input, preprocessing_of
from keras_wrn.inference.classifier import run_batches
from keras_wrn.inference.evaluation import checked_labels
from keras_wrn.insight.gradients import full_batches, gradient_function
from keras_wrn.insight.graph import logits_function

_NORMS = ("linf", "l2")
_TINY = 1e-12  # foolbox's, below which a gradient counts as zero


class Attack(NamedTuple):
    """An attack that follows the gradient of the cross-entropy."""

    steps: int
    step_size: float  # a multiple of epsilon / steps
    random_start: bool  # at a random point of the ball, or at the image


# PGD's step size is that of Madry et al., section 5.
ATTACKS = {
    "fgsm": Attack(1, 1.0, False),
    "pgd-20": Attack(20, 2.5, True),
    "pgd-100": Attack(100, 2.5, True),
}


def attack(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    preprocessing: AnyPreprocessing,
    *,
    method: str = "pgd-20",
    epsilon: float = 8.0,
    norm: str = "linf",
    seed: int = 0,
    batch_size: int = 100,
) -> np.ndarray:
    """Change images so that a classifier's loss grows.

    This is no AutoAttack: the error on the result is a lower bound (see the module).

    Args:
        model: a classifier of normalised images that ends in a softmax or in logits.
        images: uint8 or float on 0..255, (n, height, width, channels).
        labels: the true classes, integers, (n,).
        preprocessing: the statistics that the model was trained with, as in `evaluate`. The
            normalisation is inside: epsilon counts in the pixels' own unit.
        method: "fgsm", "pgd-20" or "pgd-100".
        epsilon: the largest change of an image, in pixel values of 255: of each value for
            "linf", of the Euclidean norm over the image for "l2" (the customary 0.5 of images
            in [0, 1] is 127.5).
        norm: "linf" or "l2".
        seed: of the random start; equal seeds give equal images, whatever the batch size.
        batch_size: images a step.

    Returns:
        The changed images, float32 on 0..255, not rounded, of the shape of `images`.

    Raises:
        InputError: images, labels and model do not fit each other, or an argument is unknown.

    Example:
        >>> model = keras_wrn.WideResNet(10, 1, input_shape=(8, 8, 3))
        >>> images = np.full((2, 8, 8, 3), 100, "uint8")
        >>> changed = attack(model, images, np.array([3, 4]), "cifar10", method="fgsm")
        >>> bool(np.abs(changed - images).max() <= 8)
        True

    Source: Goodfellow et al., arXiv:1412.6572; Madry et al., arXiv:1706.06083.
    """
    kind = _checked(method, epsilon, norm)
    images, labels = _checked_data(model, images, labels)
    gradient = _loss_gradient(model, preprocessing)
    random = np.random.default_rng(seed)
    changed = np.empty(images.shape, np.float32)
    for rows, part in full_batches(len(images), batch_size, "Attacking images"):
        clean, own, kept = np.float32(images[rows]), labels[rows], part.stop - part.start
        noise = np.zeros_like(clean)
        if kind.random_start:
            noise[:kept] = _random_point(random, (kept, *clean.shape[1:]), epsilon, norm)
        points = np.clip(clean + noise, 0, 255)
        for _ in range(kind.steps):
            _, slopes = gradient(points, own)
            points = points + _direction(slopes, norm) * (kind.step_size * epsilon / kind.steps)
            points = np.clip(clean + _project(points - clean, epsilon, norm), 0, 255)
        changed[part] = points[:kept]
    return changed


def robust_error(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    preprocessing: AnyPreprocessing,
    *,
    method: str = "pgd-20",
    epsilon: float = 8.0,
    norm: str = "linf",
    seed: int = 0,
    batch_size: int = 100,
) -> dict[str, Any]:
    """Measure the error of a classifier under an attack; arguments and errors as of `attack`.

    Returns:
        A dictionary: "n"; "method", "epsilon" and "norm"; "error" under the attack and
        "clean_error", fractions. An image that is wrong unchanged counts as wrong under attack.

    Example:
        >>> model = keras_wrn.WideResNet(10, 1, input_shape=(8, 8, 3))
        >>> images = np.zeros((2, 8, 8, 3), "uint8")
        >>> found = robust_error(model, images, np.array([0, 1]), "cifar10", method="fgsm")
        >>> found["n"], found["error"] >= found["clean_error"]
        (2, True)
    """
    options: dict[str, Any] = {"method": method, "epsilon": epsilon, "norm": norm}
    sampling: dict[str, Any] = {"seed": seed, "batch_size": batch_size}
    changed = attack(model, images, labels, preprocessing, **options, **sampling)
    images, labels = _checked_data(model, images, labels)
    statistics = preprocessing_of(preprocessing)
    wrong, fooled = (
        run_batches(model, pixels, statistics, batch_size)[0].argmax(axis=1) != labels
        for pixels in (images, changed)
    )
    fooled |= wrong
    errors = {"error": float(fooled.mean()), "clean_error": float(wrong.mean())}
    return {"n": len(labels), **options, **errors}


def _checked(method: str, epsilon: float, norm: str) -> Attack:
    if method not in ATTACKS:
        raise InputError(f"`method` must be one of {', '.join(ATTACKS)}. Received: {method!r}.")
    if norm not in _NORMS:
        raise InputError(f"`norm` must be 'linf' or 'l2'. Received: norm={norm!r}.")
    is_number = isinstance(epsilon, numbers.Real) and not isinstance(epsilon, bool)
    if not is_number or not 0 < epsilon < float("inf"):
        raise InputError(
            "`epsilon` must be a positive number, in pixel values of 255. "
            f"Received: epsilon={epsilon!r}."
        )
    return ATTACKS[method]


def _checked_data(
    model: keras.Model, images: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    images = np.asarray(images)
    if images.ndim != 4 or not len(images) or images.dtype.kind not in "uif":
        raise InputError(
            "`images` must be numbers on 0..255 of shape (n, height, width, channels), n at least "
            f"1. Received: {images.dtype} of shape {images.shape}."
        )
    if images.min() < 0 or images.max() > 255 or 0 < images.max() <= 1:
        raise InputError(
            "`images` must be on 0..255; multiply images in [0, 1] by 255. "
            f"Received: values from {images.min():g} to {images.max():g}."
        )
    wanted = model.input_shape[1:]
    if any(side not in (None, size) for side, size in zip(wanted, images.shape[1:], strict=True)):
        raise InputError(
            f"`images` must have the model's shape, (n, {str(tuple(wanted))[1:]}. Received: "
            f"{images.shape}."
        )
    return images, checked_labels(labels, len(images), model.output_shape[-1])


def _loss_gradient(model: keras.Model, preprocessing: AnyPreprocessing) -> Any:
    """Cross-entropy and its gradient with respect to images on 0..255."""
    network = logits_function(model)

    def loss(pixels: Any, labels: Any) -> Any:
        logits = network(preprocess_input(pixels, preprocessing))
        rows = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
        return -ops.take_along_axis(rows, labels[:, None], axis=-1)[:, 0]

    return gradient_function(loss)


def _lengths(vectors: np.ndarray) -> np.ndarray:
    """The Euclidean norm of each image, (n, 1, 1, 1)."""
    return np.sqrt(np.sum(np.square(vectors), axis=(1, 2, 3), keepdims=True))


def _direction(slopes: np.ndarray, norm: str) -> np.ndarray:
    """The step of length 1 that raises the loss most."""
    return np.sign(slopes) if norm == "linf" else slopes / np.maximum(_lengths(slopes), _TINY)


def _project(change: np.ndarray, epsilon: float, norm: str) -> np.ndarray:
    """The nearest change within the ball."""
    if norm == "linf":
        return np.clip(change, -epsilon, epsilon)
    return change * np.minimum(1, epsilon / np.maximum(_lengths(change), _TINY))


def _random_point(
    random: np.random.Generator, shape: tuple[int, ...], epsilon: float, norm: str
) -> np.ndarray:
    """Points that are uniform in the ball, one for each image in order."""
    if norm == "linf":
        return random.uniform(-epsilon, epsilon, shape)
    n, size = shape[0], int(np.prod(shape[1:]))
    # The last two of size + 2 coordinates are left off: what remains is uniform in the ball.
    points = random.normal(size=(n, size + 2))
    points /= np.sqrt(np.sum(points**2, axis=1, keepdims=True))
    return epsilon * points[:, :size].reshape(shape)
