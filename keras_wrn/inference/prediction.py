"""Image files in, the most probable classes out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from keras_wrn.errors import InputError
from keras_wrn.images.pillow_reader import read_images

if TYPE_CHECKING:
    import keras

    from keras_wrn.images.preprocessing import AnyPreprocessing


def predict(
    model: keras.Model,
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    preprocessing: AnyPreprocessing,
    top: int = 5,
) -> list[list[tuple[int, str, float]]]:
    """Classify image files.

    All files are read before the network runs, and it runs once for all of them.

    Args:
        model: a classifier that ends in a softmax and takes normalised images.
        paths: one image file or several: PNG, JPEG or whatever else Pillow reads.
        preprocessing: the statistics, size and class names the model was trained with: by name
            ("cifar10"), by the card of a network or as a `Preprocessing`.
        top: classes to return for each file; all of them where the model has fewer.

    Returns:
        For each file a list of (class index, class name, probability), best first.

    Raises:
        InputError: a file is missing or is no image, or `top` is below 1; or the names of
            ImageNet's classes cannot be had.

    Example:
        >>> model = keras_wrn.WideResNet16_4(weights="cifar10")  # doctest: +SKIP
        >>> keras_wrn.predict(model, "frog.png", "cifar10", top=2)  # doctest: +SKIP
        [[(6, 'frog', 0.937), (1, 'automobile', 0.009)]]
    """
    from keras_wrn.images.class_names import class_names, decode_predictions
    from keras_wrn.images.preprocessing import preprocessing_of
    from keras_wrn.inference.classifier import class_probabilities

    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise InputError(f"`top` must be a whole number from 1. Received: {top!r}.")
    # First, because ImageNet's may have to be fetched.
    statistics = preprocessing_of(preprocessing)
    named = replace(statistics, class_names=class_names(statistics))
    files = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not files:
        return []
    images = read_images(
        files,
        named.size,
        resize=named.resize,
        interpolation=named.interpolation,
    )
    probabilities = class_probabilities(model, images, named)
    top = min(top, probabilities.shape[1])
    return decode_predictions(probabilities, top=top, dataset=named)
