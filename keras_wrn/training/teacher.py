"""Knowledge distillation: a network that is learnt from, beside the labels."""

from pathlib import Path

import keras

from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import Preprocessing
from keras_wrn.inference.trained import load_trained
from keras_wrn.training.clone import training_clone


def load_teacher(folder: str | Path, preprocessing: Preprocessing, precision: str) -> keras.Model:
    """Load the network of a run to learn from: normalised images to logits, never trained.

    Args:
        folder: a finished run, or a folder of published weights.
        preprocessing: the student's; the teacher sees the same augmented, normalised images.
        precision: of its layers, as `training_clone` takes it.

    Raises:
        InputError: no finished run, or one of another image size, other classes or statistics
            than the student's.

    Source: Hinton et al. 2015, arXiv:1503.02531.
    """
    trained = load_trained(folder)
    theirs = trained.preprocessing
    size = preprocessing.size
    if trained.model.input_shape[1:3] != (size, size):
        height, width = trained.model.input_shape[1:3]
        raise InputError(
            f"`teacher` must take the student's images, of {size}x{size} pixels. "
            f"Received: {folder}, for images of {height}x{width}."
        )
    if theirs.whitening is not None or (theirs.mean, theirs.std) != (
        preprocessing.mean,
        preprocessing.std,
    ):
        raise InputError(
            "`teacher` must have been trained with the student's statistics: mean "
            f"{preprocessing.mean}, std {preprocessing.std}. Received: {folder} with mean "
            f"{theirs.mean}, std {theirs.std}{', whitened' if theirs.whitening else ''}."
        )
    if theirs.class_names != preprocessing.class_names:
        raise InputError(
            "`teacher` must tell the student's classes apart, "
            f"{len(preprocessing.class_names)} that begin with {preprocessing.class_names[:3]}. "
            f"Received: {folder} with {len(theirs.class_names)} that begin with "
            f"{theirs.class_names[:3]}."
        )
    clone = training_clone(trained.model, precision=precision)
    clone.get_layer("predictions").activation = keras.activations.linear
    # A name of its own: teacher and student may be of one architecture.
    teacher = keras.Model(clone.input, clone.output, name="teacher")
    teacher.trainable = False
    return teacher
