"""The logits of a test set: computed once, measured, and published with the weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.system.files import write_whole

if TYPE_CHECKING:
    from keras_wrn.inference.trained import Trained
    from keras_wrn.weights.card import Card

LOGITS_FILE = "logits.npz"
_TOLERANCE = 1e-3  # of the error, or one image: float16 and another backend turn a tie


class Outputs(NamedTuple):
    """What a network says of n test images.

    Attributes:
        logits: float32 or float16 (n, classes).
        probabilities: float32 (n, classes); empty if read from a file.
        labels: the true classes, integers (n,), in the order of the test set.
    """

    logits: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray


def compute(trained: Trained, images: np.ndarray, labels: np.ndarray) -> Outputs:
    """Run a network over its test images.

    Args:
        trained: the network, which ends in a softmax.
        images: uint8 (n, height, width, channels).
        labels: integers (n,).

    Returns:
        The logits and their softmax, from one pass.

    Raises:
        InputError: images and labels do not fit the network, or it diverged in training.
    """
    import keras

    from keras_wrn.applications import build_network
    from keras_wrn.inference.classifier import check_distribution, checked_images, run_batches
    from keras_wrn.inference.evaluation import checked_labels
    from keras_wrn.system.backend import float32

    labels = checked_labels(labels, len(images), trained.model.output_shape[-1])
    images = checked_images(images, trained.model, trained.preprocessing)
    with float32():
        network = build_network(trained.card["network"], classifier_activation=None)
        softmax = keras.layers.Softmax()(network.output)
        both = keras.Model(network.input, [network.output, softmax])
    for own, value in zip(network.variables, trained.model.variables, strict=True):
        own.assign(keras.ops.convert_to_numpy(value))  # a copy: a step of JAX deletes its own
    logits, probabilities = run_batches(both, images, trained.preprocessing)
    check_distribution(probabilities)
    return Outputs(logits, probabilities, labels)


def write_logits(path: Path, outputs: Outputs) -> None:
    """Write the arrays `logits`, float16 (n, classes), and `labels`, uint16 (n,)."""
    logits, labels = outputs.logits.astype(np.float16), outputs.labels.astype(np.uint16)

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez_compressed(file, logits=logits, labels=labels)

    write_whole(path, write)


def read_logits(path: Path) -> Outputs:
    """Read what `write_logits` wrote; raises InputError if the file holds something else."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            logits, labels = arrays["logits"], arrays["labels"]
        if logits.ndim != 2 or labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu":
            raise ValueError(f"logits of shape {logits.shape}, labels of shape {labels.shape}")
    except Exception as error:  # a damaged archive can raise any exception
        raise InputError(f"{path} is damaged: {error}") from error
    return Outputs(logits, np.empty(0, np.float32), labels.astype(np.int64))


def check_logits(outputs: Outputs, card: Card) -> None:
    """Raise InputError if logits have another test error than a card says."""
    metrics = card.metrics or {}
    error = float(np.mean(outputs.logits.argmax(axis=1) != outputs.labels))
    expected = metrics.get("error")
    same_count = len(outputs.labels) == metrics.get("n")
    tolerance = max(_TOLERANCE, 1.5 / max(1, len(outputs.labels)))
    if not same_count or expected is None or abs(error - expected) > tolerance:
        raise InputError(
            f"The logits must be those of the card's test set. Received: a test error of "
            f"{error:.2%} on {len(outputs.labels):,} images, and the card says n="
            f"{metrics.get('n')}, error={expected}."
        )
