"""Out-of-distribution scores in an exported graph, with their thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import Preprocessing
from keras_wrn.insight.out_of_distribution import (
    NEIGHBOURS,
    energy,
    fit_nearest_neighbours,
    max_softmax,
    neighbours,
    unit,
)
from keras_wrn.insight.outputs import open_reader, read
from keras_wrn.insight.separation import TPR, threshold_at

if TYPE_CHECKING:
    import keras

NAMES = ("max_softmax", "energy", "knn")


@dataclass(frozen=True, eq=False)
class ExportedScores:
    """Scores of a network; each is higher for images like those of the data set.

    Attributes:
        thresholds: by name, in the order of the columns of the output "scores". A share `tpr` of
            the images of the data set is at or above each.
        tpr: true-positive rate, between 0 and 1.
        measured_on: number of images behind the thresholds.
        bank: features of length 1 that "knn" looks among, float32 (m, planes), or None.
        k: which neighbour "knn" takes.
    """

    thresholds: dict[str, float]
    tpr: float
    measured_on: int
    bank: np.ndarray | None = None
    k: int = NEIGHBOURS

    def in_graph(self, logits: Any, features: Any) -> dict[str, Any]:
        """Compute "scores", float32 (n, scores), and "is_known", int32: 1 from the threshold on."""
        import tensorflow as tf

        columns = {
            "max_softmax": lambda: tf.reduce_max(tf.nn.softmax(logits), axis=1),
            "energy": lambda: tf.reduce_logsumexp(logits, axis=1),
            "knn": lambda: self._neighbour(features),
        }
        scores = tf.stack([columns[name]() for name in self.thresholds], axis=1)
        least = tf.constant(list(self.thresholds.values()), tf.float32)
        return {"scores": scores, "is_known": tf.cast(scores >= least, tf.int32)}

    def _neighbour(self, features: Any) -> Any:
        import tensorflow as tf

        length = tf.maximum(tf.norm(features, axis=1, keepdims=True), 1e-10)
        cosines = tf.matmul(features / length, tf.constant(self.bank), transpose_b=True)
        nearest = tf.math.top_k(cosines, self.k).values[:, -1]
        return -tf.sqrt(tf.maximum(0.0, 2 - 2 * nearest))


def fit_scores(
    model: keras.Model,
    preprocessing: Preprocessing,
    names: Sequence[str],
    images: np.ndarray,
    reference: np.ndarray | None = None,
    *,
    tpr: float = TPR,
) -> ExportedScores:
    """Choose the thresholds of scores, for `export`.

    Args:
        model: the classifier that is exported.
        preprocessing: of the model.
        names: of "max_softmax", "energy" and "knn".
        images: of the data set, uint8 (n, height, width, channels), that the network was not
            trained on.
        reference: training images, for "knn".
        tpr: share of `images` that each threshold lets through.

    Returns:
        What `export` takes.

    Raises:
        InputError: an unknown score, no images, or a rate that is not between 0 and 1.

    Source: Hendrycks and Gimpel, arXiv:1610.02136; Liu et al., arXiv:2010.03759; Sun et al.,
    arXiv:2204.06507.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        raise InputError(f"Scores must be of {', '.join(NAMES)}. Received: {', '.join(unknown)}.")
    if not 0 < tpr < 1:
        raise InputError(f"`tpr` must be between 0 and 1. Received: tpr={tpr!r}.")
    reader = open_reader(model, preprocessing)
    outputs, bank, k = read(reader, images), None, NEIGHBOURS
    scores = {
        "max_softmax": lambda: max_softmax(outputs.logits),
        "energy": lambda: energy(outputs.logits),
    }
    if "knn" in names:
        if reference is None:
            raise InputError("The score knn needs `reference`: training images.")
        bank = unit(read(reader, reference).features)
        k = neighbours(len(bank))
        by_neighbour = fit_nearest_neighbours(bank, k)
        scores["knn"] = lambda: by_neighbour(outputs)
    thresholds = {name: float(threshold_at(scores[name](), tpr)) for name in names}
    return ExportedScores(thresholds, tpr, len(images), bank, k)
