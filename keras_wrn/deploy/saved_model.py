"""Export a network as a SavedModel for TF Serving, with its preprocessing."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_wrn.errors import InputError
from keras_wrn.images.class_names import class_names
from keras_wrn.images.preprocessing import AnyPreprocessing, Preprocessing, preprocessing_of
from keras_wrn.images.tensorflow_reader import test_image
from keras_wrn.inference.classifier import file_shape, with_preprocessing
from keras_wrn.system.console import say

if TYPE_CHECKING:
    import keras


def export(
    model: keras.Model,
    directory: str | os.PathLike[str],
    preprocessing: AnyPreprocessing,
    *,
    version: int | None = 1,
) -> Path:
    """Write directory/version/saved_model.pb, the layout that TF Serving watches.

    Signature "serving_default": takes `images`, uint8 (n, height, width, channels), as stored;
    returns `probabilities`, float32 (n, classes), and `class_index`, int64 (n,).

    Signature "serving_bytes": takes `image_bytes`, strings (n,), each a whole JPEG, PNG, GIF, BMP
    (24 or 32 bits, uncompressed) or WebP (not animated) file; returns `probabilities`,
    `top5_scores`, float32 (n, 5), `top5_classes`, int64 (n, 5), and `top5_labels`, strings (n, 5),
    best first (k if the model has k < 5 classes). Images are turned, resized and cropped as in
    `keras_wrn.predict`, with the same pixels to 1 of 255. Other files are refused: the error
    InvalidArgument says which of `image_bytes` it is. Keras downloads ImageNet's class names once;
    offline, a message is printed and the labels are the numbers of the classes.

    Both signatures answer a batch of no images with no rows.

    The folder of the version appears when it is complete. A failure leaves nothing behind.

    Args:
        model: a classifier that ends in a softmax and takes normalised images.
        directory: the folder of the served model; created if it does not exist.
        preprocessing: the statistics, size and class names that the model was trained with: a name
            ("cifar10"), the card of a network or a `Preprocessing`.
        version: a whole number from 1; None: the next free one.

    Returns:
        The folder of the version.

    Raises:
        InputError: the version exists, the model and its preprocessing do not fit, or Keras does
            not run on TensorFlow.
        OSError: the folder cannot be written.

    Example:
        >>> run = keras_wrn.load_trained("runs/wrn-16-1")  # doctest: +SKIP
        >>> keras_wrn.export(run.model, "served/wrn", run.preprocessing)  # doctest: +SKIP
        PosixPath('served/wrn/1')
    """
    require_tensorflow("A SavedModel")
    target = version_folder(Path(directory), version)
    write_version(_archive(model, preprocessing_of(preprocessing)), target)
    return target


def require_tensorflow(file: str) -> None:
    """Raise InputError if Keras does not run on TensorFlow, which writes `file`."""
    import keras

    if keras.config.backend() != "tensorflow":
        raise InputError(
            f"{file} can be written with TensorFlow only: pip install "
            "'keras-wide-resnet[tf-cpu]', set KERAS_BACKEND=tensorflow and export again; the "
            f"weights are the same. Received: KERAS_BACKEND={keras.config.backend()}."
        )


def write_version(archive: keras.export.ExportArchive, target: Path) -> None:
    """Write an archive into a new folder, whole or not at all.

    Raises:
        OSError: the folder cannot be written. No half of it remains.
    """
    import tensorflow as tf

    directory = target.parent
    created = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # TF Serving ignores folders whose name is not a number.
        with tempfile.TemporaryDirectory(
            prefix=".export-", dir=directory, ignore_cleanup_errors=True
        ) as temporary:
            archive.write_out(f"{temporary}/{target.name}", verbose=False)
            Path(temporary, target.name).rename(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            for folder in created:
                folder.rmdir()
        if isinstance(error, tf.errors.OpError):
            # TensorFlow has its own errors for a full disk; the system's reason ends them.
            reason = error.message.rsplit("; ", 1)[-1].split(" [Op:")[0]
            raise OSError(f"{target} could not be written: {reason}.") from error
        raise


def with_one_image(images: Any) -> Any:
    """Add an image to a batch of none, on which TensorFlow's fused kernels fail.

    Args:
        images: a tensor (n, height, width, channels) of the graph.
    """
    import tensorflow as tf

    missing = tf.cast(tf.equal(tf.shape(images)[0], 0), tf.int32)
    return tf.pad(images, [[0, missing], [0, 0], [0, 0], [0, 0]])


def image_name(number: Any) -> Any:
    """The name of an image of `image_bytes` in errors, as a string scalar of the graph."""
    import tensorflow as tf

    return tf.strings.join(["image_bytes[", tf.strings.as_string(number), "]"])


def version_folder(directory: Path, version: int | None) -> Path:
    """Return the folder of a new version; None: the next free one.

    Raises:
        InputError: the version is not a whole number from 1, or exists.
    """
    existing = {int(entry.name) for entry in directory.glob("*") if entry.name.isdecimal()}
    if version is None:
        version = max(existing, default=0) + 1
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise InputError(f"`version` must be a whole number from 1. Received: {version!r}.")
    if version in existing:
        raise InputError(
            f"`version` must be new, a served model is never overwritten. Received: "
            f"version={version}, which {directory} has. Next free: {max(existing) + 1}."
        )
    return directory / str(version)


def _labels(preprocessing: Preprocessing, classes: int) -> list[str]:
    """The names of the classes, or their numbers if there are no names."""
    try:
        names = class_names(preprocessing)
    except InputError as error:
        say(f"The labels are numbers. {error}")
        names = ()
    return list(names) if len(names) == classes else [str(index) for index in range(classes)]


def _archive(model: keras.Model, preprocessing: Preprocessing) -> keras.export.ExportArchive:
    import keras
    import tensorflow as tf

    full = with_preprocessing(model, preprocessing)
    shape, resize = file_shape(model, preprocessing)
    classes = full.output_shape[-1]
    labels = tf.constant(_labels(preprocessing, classes))

    def classify(images: Any) -> Any:
        count = tf.shape(images)[0]
        return tf.cast(full(with_one_image(images), training=False), tf.float32)[:count]

    def serving_default(images: Any) -> dict[str, Any]:
        probabilities = classify(images)
        return {
            "probabilities": probabilities,
            "class_index": tf.argmax(probabilities, axis=-1, output_type=tf.int64),
        }

    def decode(numbered: tuple[Any, Any]) -> Any:
        number, encoded = numbered
        return test_image(
            encoded,
            shape,
            resize=resize,
            interpolation=preprocessing.interpolation,
            source=image_name(number),
            pillow=False,
        )

    def serving_bytes(image_bytes: Any) -> dict[str, Any]:
        pixels = tf.TensorSpec(shape, tf.uint8)
        numbered = (tf.range(tf.size(image_bytes)), image_bytes)
        probabilities = classify(tf.map_fn(decode, numbered, fn_output_signature=pixels))
        scores, indices = tf.math.top_k(probabilities, k=min(5, classes))
        return {
            "probabilities": probabilities,
            "top5_scores": scores,
            "top5_classes": tf.cast(indices, tf.int64),
            "top5_labels": tf.gather(labels, indices),
        }

    archive = keras.export.ExportArchive()
    archive.track(full)
    images = tf.TensorSpec((None, *shape), tf.uint8, name="images")
    archive.add_endpoint("serving_default", serving_default, input_signature=[images])
    encoded = tf.TensorSpec((None,), tf.string, name="image_bytes")
    archive.add_endpoint("serving_bytes", serving_bytes, input_signature=[encoded])
    return archive
