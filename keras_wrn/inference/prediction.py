"""Classify images: files, Pillow images and arrays."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.images.class_names import class_names, decode_predictions
from keras_wrn.images.pillow_reader import read_image
from keras_wrn.images.preprocessing import AnyPreprocessing, preprocessing_of
from keras_wrn.inference.classifier import class_probabilities, file_shape
from keras_wrn.system.console import progress

if TYPE_CHECKING:
    import keras

    from keras_wrn.images.pillow_reader import AnyImage

Prediction = list[tuple[int, str, float]]  # class index, class name, probability; best first


class Predictions(NamedTuple):
    """Predictions for each image, and a sentence for each that could not be read.

    Attributes:
        predictions: for each image its best classes; none if it could not be read.
        unreadable: for the position of each such image, what is wrong with it.
    """

    predictions: list[Prediction]
    unreadable: dict[int, str]


def predict(
    model: keras.Model,
    paths: AnyImage | Iterable[AnyImage],
    preprocessing: AnyPreprocessing,
    top: int = 5,
) -> list[Prediction]:
    """Classify images.

    All images are read before the network runs. Each is turned by its EXIF orientation, resized and
    cropped as `preprocessing` states, to the size and the channels (RGB or grey) of the model.

    If some images cannot be read, the others are classified: the unreadable ones have an empty list
    in the result, and a UserWarning says what is wrong with each. `predict_all` returns these
    sentences in place of the warning.

    Args:
        model: a classifier that ends in a softmax and takes normalised images.
        paths: one image or several: files in any format that Pillow reads, Pillow images, or uint8
            arrays (height, width) or (height, width, channels) of 0 to 255; an array (n, height,
            width, channels) is n images.
        preprocessing: the statistics, size and class names that the model was trained with: a name
            ("cifar10"), the card of a network or a `Preprocessing`.
        top: number of classes per image; all of them if the model has fewer.

    Returns:
        For each image a list of (class index, class name, probability), best first.

    Raises:
        InputError: no image can be read, `top` is below 1, the model does not fit `preprocessing`,
            or ImageNet's class names cannot be downloaded.

    Example:
        >>> model = keras_wrn.WideResNet16_4(weights="cifar10")  # doctest: +SKIP
        >>> keras_wrn.predict(model, "frog.png", "cifar10", top=2)  # doctest: +SKIP
        [[(6, 'frog', 0.937), (1, 'automobile', 0.009)]]
    """
    answer = predict_all(model, paths, preprocessing, top)
    if answer.unreadable:
        warnings.warn(unreadable_listed(answer), stacklevel=2)
    return answer.predictions


def unreadable_listed(answer: Predictions) -> str:
    """Say which images could not be read, a line for each."""
    count = f"{len(answer.unreadable)} of {len(answer.predictions)} images could not be read:"
    return "\n  ".join([count, *answer.unreadable.values()])


def predict_all(
    model: keras.Model,
    paths: AnyImage | Iterable[AnyImage],
    preprocessing: AnyPreprocessing,
    top: int = 5,
) -> Predictions:
    """Classify images as `predict` does, and return what is wrong with the unreadable ones."""
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise InputError(f"`top` must be a whole number from 1. Received: {top!r}.")
    # ImageNet's names may have to be downloaded, which may fail: before the network runs.
    statistics = preprocessing_of(preprocessing)
    named = replace(statistics, class_names=class_names(statistics))
    sources = _sources(paths)
    if not sources:
        return Predictions([], {})
    (height, width, channels), resize = file_shape(model, named)
    images, unreadable, sides = [], {}, (height, width)
    with progress("Reading images", len(sources)) as advance:
        for i, source in enumerate(sources):
            options = (sides, channels, resize, named.interpolation)
            try:
                images.append(read_image(source, *options, name=f"Image {i}"))
            except InputError as error:
                unreadable[i] = str(error)
            advance(1)
    predictions: list[Prediction] = [[] for _ in sources]
    if not images:
        if len(sources) == 1:
            raise InputError(unreadable[0])
        raise InputError(unreadable_listed(Predictions(predictions, unreadable)))
    probabilities = class_probabilities(model, np.stack(images), named)
    readable = [i for i in range(len(sources)) if i not in unreadable]
    decoded = decode_predictions(probabilities, top=top, dataset=named)
    for i, prediction in zip(readable, decoded, strict=True):
        predictions[i] = prediction
    return Predictions(predictions, unreadable)


def _sources(paths: AnyImage | Iterable[AnyImage]) -> list[AnyImage]:
    """One image or several as a list; the first axis of an array (n, ...) of images is the list."""
    # A Pillow image has a size, but no length.
    is_pillow = hasattr(paths, "getexif")
    if is_pillow or isinstance(paths, (str, os.PathLike)):
        return [paths]  # type: ignore[list-item]
    if hasattr(paths, "shape"):
        array = np.asarray(paths)
        are_names = array.ndim == 1 and array.dtype.kind in "OU"  # such as a column of a table
        return list(array) if array.ndim == 4 or are_names else [array]
    if not isinstance(paths, Iterable):
        raise InputError(
            "`paths` must be image files, Pillow images or uint8 arrays. "
            f"Received: {type(paths).__name__}."
        )
    return list(paths)
