"""Losses and errors of a run, computed from logits."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

Loss = Callable[[Any, Any], Any]


def error(y_true: Any, y_pred: Any) -> Any:
    """Compute the top-1 error of each image, 0 or 1, which the paper reports.

    Args:
        y_true: labels (n,) or (n, 1), or shares of classes (n, classes). The class with the larger
            share is the right one.
        y_pred: logits (n, classes).
    """
    return ops.cast(
        ops.not_equal(ops.argmax(y_pred, axis=-1), ops.argmax(_shares(y_true, y_pred), axis=-1)),
        "float32",
    )


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """Make the cross entropy of logits with labels (n,) or shares of classes (n, classes)."""

    def loss(y_true: Any, y_pred: Any) -> Any:
        return keras.losses.categorical_crossentropy(
            _shares(y_true, y_pred), y_pred, from_logits=True, label_smoothing=label_smoothing
        )

    return loss


def distillation(labels_loss: Loss, teacher_share: float, temperature: float) -> Loss:
    """Make the loss of a student from logits (n, 2 * classes): its own, then its teacher's.

    (1 - share) * labels_loss + share * T^2 * KL(teacher's softmax at T, student's at T).

    Args:
        labels_loss: loss of labels and the student's logits.
        teacher_share: in [0, 1].
        temperature: T > 0.

    Source: Hinton et al. 2015, arXiv:1503.02531, section 2. T^2 makes the gradients independent
    of T in size.
    """

    def loss(y_true: Any, y_pred: Any) -> Any:
        student, teacher = ops.split(y_pred, 2, axis=-1)
        soft, hard = (ops.log_softmax(logits / temperature) for logits in (student, teacher))
        divergence = ops.sum(ops.exp(hard) * (hard - soft), axis=-1)
        from_teacher = temperature**2 * divergence
        return (1 - teacher_share) * labels_loss(y_true, student) + teacher_share * from_teacher

    return loss


def student_error(y_true: Any, y_pred: Any) -> Any:
    """Compute `error` from logits (n, 2 * classes): the student's, then the teacher's."""
    return error(y_true, ops.split(y_pred, 2, axis=-1)[0])


class ConfusionMatrix(keras.metrics.Metric):
    """Count images by true and predicted class, on the device; shows nothing by itself.

    Args:
        classes: number of classes. Of wider logits the first ones count, the student's.

    Attributes:
        counts: float32 (classes, classes); row i, column j: images of class i taken for j.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(name="confusion")
        self.classes = classes
        self.counts = self.add_variable((classes, classes), "zeros", "float32", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: labels (n,) or (n, 1), and logits (n, classes or more)."""
        taken_for = ops.argmax(y_pred[:, : self.classes], axis=-1)
        pairs = ops.cast(ops.reshape(y_true, [-1]), "int32") * self.classes
        pairs = pairs + ops.cast(taken_for, "int32")
        one = ops.ones_like(pairs, "float32")
        added = ops.segment_sum(one, pairs, num_segments=self.classes**2)
        self.counts.assign_add(ops.reshape(added, (self.classes, self.classes)))

    def result(self) -> dict[str, Any]:
        """Return no figure: a matrix fits neither a log line nor history.csv."""
        return {}


def _shares(y_true: Any, y_pred: Any) -> Any:
    """Convert labels (n,) or (n, 1) to shares of classes (n, classes); keep shares."""
    classes = y_pred.shape[-1]
    if len(y_true.shape) == 2 and y_true.shape[1] == classes and classes > 1:
        return y_true
    return ops.one_hot(ops.cast(ops.reshape(y_true, [-1]), "int32"), classes)
