"""Classify uint8 images: pixels in, class probabilities out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.system.console import progress

if TYPE_CHECKING:
    import keras

    from keras_wrn.images.preprocessing import Preprocessing


def with_preprocessing(model: keras.Model, preprocessing: Preprocessing) -> keras.Model:
    """Put the normalisation layer in front of a classifier.

    Exports are made of this model. Evaluation and prediction use the same layer, so an exported
    model cannot differ from the measured one.

    Args:
        model: a classifier of normalised images.
        preprocessing: the statistics that the model was trained with.

    Returns:
        A model with the weights of `model`, from uint8 (n, height, width, channels), named
        "images", to the output of `model`.

    Raises:
        InputError: `model` is not a classifier or does not fit `preprocessing`.
    """
    import keras

    from keras_wrn.images.preprocessing import normalization

    images = keras.Input(shape_of(model, preprocessing), dtype="uint8", name="images")
    return keras.Model(
        images, model(normalization(preprocessing)(images)), name="with_preprocessing"
    )


def shape_of(model: keras.Model, preprocessing: Preprocessing) -> tuple[int, int, int]:
    """Return height, width and channels of a classifier's images.

    Raises:
        InputError: `model` is not a classifier or does not fit `preprocessing`.
    """
    channels = len(preprocessing.mean)
    shape = tuple(model.input_shape[1:])
    if len(shape) != 3 or shape[-1] != channels:
        raise InputError(
            "`model` must take images with the channels that `preprocessing` has. "
            f"Received: model.input_shape={model.input_shape}, channels={channels}."
        )
    if len(model.output_shape) != 2:
        raise InputError(
            "`model` must be a classifier, built with include_top=True. "
            f"Received: model.output_shape={model.output_shape}."
        )
    names = preprocessing.class_names
    if names and len(names) != model.output_shape[-1]:
        raise InputError(
            "`preprocessing` must name as many classes as `model` has. "
            f"Received: {len(names)} names for {model.output_shape[-1]} classes."
        )
    height, width = (side or preprocessing.size for side in shape[:2])
    if preprocessing.whitening is not None:
        from keras_wrn.images.whitening_layer import check_shape

        check_shape((None, height, width, channels), preprocessing.whitening)
    return height, width, channels


def file_shape(
    model: keras.Model, preprocessing: Preprocessing
) -> tuple[tuple[int, int, int], int | None]:
    """Return how image files are read for a classifier.

    Returns:
        (height, width, channels) of its images, and the pixels of the shorter side before the crop
        or None: in proportion, if the network takes another size than `preprocessing` states.

    Raises:
        InputError: `model` does not fit `preprocessing`, or takes neither grey nor RGB images.
    """
    height, width, channels = shape_of(model, preprocessing)
    if channels not in (1, 3):
        raise InputError(
            "`model` must take grey or RGB images, with 1 or 3 channels, so that image files "
            f"can be decoded for it. Received: {channels} channels."
        )
    return (height, width, channels), resized_side(preprocessing, (height, width, channels))


def resized_side(preprocessing: Preprocessing, shape: tuple[int, int, int]) -> int | None:
    """The pixels of the shorter side of a file before the crop, in proportion; None: no crop."""
    resize = preprocessing.resize
    return resize and resize * min(shape[:2]) // preprocessing.size


def class_probabilities(
    model: keras.Model,
    images: np.ndarray,
    preprocessing: Preprocessing,
    *,
    batch_size: int = 250,
) -> np.ndarray:
    """Compute the class probabilities of images.

    Args:
        model: a classifier that ends in a softmax and takes normalised images.
        images: uint8 (n, height, width, channels).
        preprocessing: the statistics that the model was trained with.
        batch_size: images per step.

    Returns:
        Probabilities, float32 (n, classes).

    Raises:
        InputError: the images do not fit the model, or its output is not a distribution.
    """
    images = checked_images(images, model, preprocessing)
    (probabilities,) = run_batches(model, images, preprocessing, batch_size)
    probabilities = probabilities.astype(np.float32, copy=False)
    check_distribution(probabilities)
    return probabilities


def checked_images(
    images: np.ndarray, model: keras.Model, preprocessing: Preprocessing, name: str = "images"
) -> np.ndarray:
    """Return images as an array; raises InputError if they do not fit a classifier."""
    images = np.asarray(images)
    shape = shape_of(model, preprocessing)
    if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
        wanted = ", ".join(str(side) for side in shape)
        raise InputError(
            f"`{name}` must be uint8 of shape (n, {wanted}), with n at least 1. "
            f"Received: {images.dtype} of shape {images.shape}."
        )
    return images


def check_batch_size(batch_size: int) -> None:
    """Raise InputError if a batch size is no whole number from 1."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"`batch_size` must be a whole number from 1. Received: {batch_size!r}.")


def run_batches(
    model: keras.Model, images: np.ndarray, preprocessing: Preprocessing, batch_size: int = 250
) -> list[np.ndarray]:
    """Run a model over images, in batches of one shape.

    Args:
        model: takes normalised images.
        images: uint8 (n, height, width, channels).
        preprocessing: the statistics that the model was trained with.
        batch_size: images per step.

    Returns:
        An array of n rows for each output of the model, in the output's dtype.

    Raises:
        InputError: `batch_size` is not a whole number from 1.
    """
    from keras_wrn.images.preprocessing import normalization

    check_batch_size(batch_size)
    batch_size = min(batch_size, len(images))
    normalise, parts = normalization(preprocessing), []
    with progress("Images", len(images)) as advance:
        for start in range(0, len(images), batch_size):
            part = images[start : start + batch_size]
            # The last batch is padded: compiling for another shape takes JAX longer than a data
            # set.
            if missing := batch_size - len(part):
                part = np.concatenate([part, np.zeros((missing, *part.shape[1:]), np.uint8)])
            # `predict_on_batch` keeps its compiled step from one call to the next.
            outputs = model.predict_on_batch(normalise(part))
            outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
            parts.append([output[: batch_size - missing] for output in outputs])
            advance(batch_size - missing)
    return [np.concatenate(output) for output in zip(*parts, strict=True)]


def check_distribution(probabilities: np.ndarray) -> None:
    """Raise InputError if probabilities (n, classes) are not finite or not distributions."""
    finite = np.isfinite(probabilities).all(axis=1)
    if not finite.all():
        raise InputError(
            "The model's output must be finite; a network that diverged in training cannot "
            f"be used. Received: NaN or infinity for {np.sum(~finite)} of {len(finite)} images."
        )
    # bfloat16 keeps 8 bits, so the sum of a softmax may differ from 1 by half a per cent.
    sums = probabilities.sum(axis=1)
    if probabilities.min() < 0 or np.abs(sums - 1).max() > 0.02:
        raise InputError(
            '`model` must return probabilities: build it with classifier_activation="softmax". '
            f"Received: rows that sum to between {sums.min():.3g} and {sums.max():.3g}."
        )
