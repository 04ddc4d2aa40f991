"""Classify image files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from keras_wrn.errors import InputError
from keras_wrn.images.class_names import class_names, decode_predictions
from keras_wrn.images.pillow_reader import read_images
from keras_wrn.images.preprocessing import AnyPreprocessing, preprocessing_of
from keras_wrn.inference.classifier import class_probabilities

if TYPE_CHECKING:
    import keras


def predict(
    model: keras.Model,
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    preprocessing: AnyPreprocessing,
    top: int = 5,
) -> list[list[tuple[int, str, float]]]:
    """Classify image files.

    All files are read before the network runs. Each is resized and cropped as `preprocessing`
    states.

    Args:
        model: a classifier that ends in a softmax and takes normalised images.
        paths: one image file or several, in any format that Pillow reads.
        preprocessing: the statistics, size and class names that the model was trained with: a name
            ("cifar10"), the card of a network or a `Preprocessing`.
        top: number of classes per file; all of them if the model has fewer.

    Returns:
        For each file a list of (class index, class name, probability), best first.

    Raises:
        InputError: a file is missing or not an image, `top` is below 1, or ImageNet's class names
            cannot be downloaded.

    Example:
        >>> model = keras_wrn.WideResNet16_4(weights="cifar10")  # doctest: +SKIP
        >>> keras_wrn.predict(model, "frog.png", "cifar10", top=2)  # doctest: +SKIP
        [[(6, 'frog', 0.937), (1, 'automobile', 0.009)]]
    """
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise InputError(f"`top` must be a whole number from 1. Received: {top!r}.")
    # ImageNet's names may have to be downloaded, which may fail: before the network runs.
    statistics = preprocessing_of(preprocessing)
    named = replace(statistics, class_names=class_names(statistics))
    files = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not files:
        return []
    images = read_images(files, named.size, resize=named.resize, interpolation=named.interpolation)
    probabilities = class_probabilities(model, images, named)
    return decode_predictions(probabilities, top=top, dataset=named)
