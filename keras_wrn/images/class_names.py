"""Class indices into words.

ImageNet's 1,000 names are Keras' own list; those of the other data sets stand in the table of
`preprocessing.py`.
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
        probabilities: (n, classes), as `model.predict` gives them.
        top: how many classes per image; all of them where the data set has fewer.
        dataset: whose class names, by name, by the card of a network or as a `Preprocessing`.

    Returns:
        Per image a list of (class index, class name, probability), best first.

    Raises:
        InputError: unknown data set, a shape that does not fit its classes, a NaN, or `top` < 1.

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
    # Stable, so that equal probabilities come in the order of their classes.
    best = np.argsort(-values, axis=1, kind="stable")[:, :top]
    return [
        [(int(index), names[index], float(line[index])) for index in order]
        for line, order in zip(values, best, strict=True)
    ]


def class_names(preprocessing: Preprocessing) -> tuple[str, ...]:
    """The names of the classes; ImageNet's from Keras, which raises InputError offline."""
    names = preprocessing.class_names
    is_imagenet = preprocessing.mean == PREPROCESSING["imagenet"].mean
    return _imagenet_names() if not names and is_imagenet else names


@functools.cache
def _imagenet_names() -> tuple[str, ...]:
    from keras.applications import imagenet_utils

    # The certain prediction of each class in turn: Keras' list of names, by its public function.
    try:
        certain = imagenet_utils.decode_predictions(np.eye(1000, dtype="float32"), top=1)
    except Exception as error:  # get_file raises a bare Exception when it cannot download
        told = "The names of the ImageNet classes come from Keras, which downloads"
        where = "imagenet_class_index.json into ~/.keras/models"
        raise InputError(f"{told} {where}. That failed: {error}") from error
    return tuple(name for [(_, name, _)] in certain)
