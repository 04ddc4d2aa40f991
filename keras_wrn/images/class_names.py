"""Name the classes of predictions.

ImageNet's 1,000 names come from Keras; a `Preprocessing` has those of the other data sets.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import (
    PREPROCESSING,
    AnyPreprocessing,
    Preprocessing,
    preprocessing_of,
)


def decode_predictions(
    probabilities: Any,
    top: int = 5,
    dataset: AnyPreprocessing = "cifar10",
) -> list[list[tuple[int, str, float]]]:
    """Name the most probable classes of each image.

    Args:
        probabilities: (n, classes), from `model.predict`; an array, a tensor or nested lists.
        top: number of classes per image; all of them if the data set has fewer.
        dataset: a name ("cifar10"), the card of a network or a `Preprocessing`.

    Returns:
        Per image a list of (class index, class name, probability), best first.

    Raises:
        InputError: an unknown data set, another number of classes, a NaN, `top` below 1, or
            ImageNet's names cannot be downloaded.

    Example:
        >>> decode_predictions([[0, 0, 0, 0.9, 0, 0.1, 0, 0, 0, 0]], top=2)
        [[(3, 'cat', 0.9), (5, 'dog', 0.1)]]
    """
    names = class_names(preprocessing_of(dataset))
    if isinstance(top, bool) or not isinstance(top, (int, np.integer)) or top < 1:
        raise InputError(f"`top` must be a whole number of at least 1. Received: top={top!r}.")
    if hasattr(probabilities, "shape") and not isinstance(probabilities, np.ndarray):
        from keras import ops

        probabilities = ops.convert_to_numpy(probabilities)
    values = np.asarray(probabilities, dtype="float64")
    if values.ndim != 2 or values.shape[1] != len(names):
        raise InputError(
            f"`probabilities` must have shape (n, {len(names)}), one column per class. "
            f"Received: shape {values.shape}."
        )
    if not np.isfinite(values).all():
        raise InputError("`probabilities` holds NaN or infinity: there is no best class.")
    # A stable sort keeps equal probabilities in the order of their classes.
    best = np.argsort(-values, axis=1, kind="stable")[:, :top]
    return [
        [(int(index), names[index], float(row[index])) for index in order]
        for row, order in zip(values, best, strict=True)
    ]


def class_names(preprocessing: Preprocessing) -> tuple[str, ...]:
    """Return the class names; ImageNet's come from Keras, offline with an InputError."""
    names = preprocessing.class_names
    is_imagenet = preprocessing.mean == PREPROCESSING["imagenet"].mean
    return _imagenet_names() if not names and is_imagenet else names


@functools.cache
def _imagenet_names() -> tuple[str, ...]:
    from keras.applications import imagenet_utils

    # Keras' public function names one certain prediction of each class.
    try:
        certain = imagenet_utils.decode_predictions(np.eye(1000, dtype="float32"), top=1)
    except Exception as error:  # get_file raises a bare Exception when it cannot download
        raise InputError(
            "The names of the ImageNet classes come from Keras, which downloads "
            f"imagenet_class_index.json into ~/.keras/models. That failed: {error}"
        ) from error
    return tuple(name for [(_, name, _)] in certain)
