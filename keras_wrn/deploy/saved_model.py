"""Export a network as a SavedModel for TF Serving, with its preprocessing."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from keras_wrn.deploy.checking import require_tensorflow
from keras_wrn.errors import InputError
from keras_wrn.images.class_names import class_names
from keras_wrn.images.preprocessing import AnyPreprocessing, Preprocessing, preprocessing_of
from keras_wrn.system.console import progress, say

if TYPE_CHECKING:
    import keras
    import numpy as np

    from keras_wrn.deploy.exported_scores import ExportedScores


def export(
    model: keras.Model,
    directory: str | os.PathLike[str],
    preprocessing: AnyPreprocessing,
    *,
    version: int | None = 1,
    temperature: float = 1.0,
    batching: bool = False,
    feature_maps: bool = False,
    scores: ExportedScores | None = None,
    engine: str | None = None,
    calibration: np.ndarray | None = None,
) -> Path:
    """Write directory/version/saved_model.pb, the layout that TF Serving watches.

    The signatures "serving_default" and "features" take `images`, uint8 (n, height, width,
    channels), as stored. "serving_bytes" takes `image_bytes`, strings (n,), each a whole JPEG, PNG,
    GIF, BMP (24 or 32 bits, uncompressed) or WebP (not animated) file; images are turned, resized
    and cropped as in `keras_wrn.predict`, with the same pixels to 1 of 255.

    All return `logits` and `probabilities`, float32 (n, classes). "serving_default" adds
    `class_index`, int64 (n,); "features" adds `features`, float32 (n, planes), the mean of the last
    maps; and "serving_bytes" adds `top5_scores`, float32 (n, 5), `top5_classes`, int64 (n, 5), and
    `top5_labels`, strings (n, 5), best first (k if the model has k < 5 classes), and `valid`, int32
    (n,): 0 for a file of another kind or a damaged one, whose probabilities are all alike. So one
    damaged image leaves the others of its batch alone. A batch of no images has no rows.

    Beside the graph stand labels.txt, serving.md (signatures, an example, versions) and, where
    tensorflow-serving-api is installed, TF Serving's warm-up requests. Keras downloads ImageNet's
    class names once; offline, a message is printed and the labels are the numbers of the classes.

    The folder of the version appears when it is complete and has answered as the model does: no
    probability differs by more than 0.001. The largest difference is printed. A failure leaves
    nothing behind. The graph computes in float32, whatever the model's precision.

    Args:
        model: a classifier of normalised images that ends in a linear layer, with a softmax or
            without, or an ensemble.
        directory: the folder of the served model; created if it does not exist.
        preprocessing: the statistics, size and class names that the model was trained with: a name
            ("cifar10"), the card of a network or a `Preprocessing`.
        version: a whole number from 1; None: the next free one.
        temperature: the probabilities are the softmax of the logits divided by it.
        batching: compute the images of several requests at once, in batches of at most 32, with
            TensorFlow's batcher in the graph. Not for TF Serving, which has its own.
        feature_maps: return the maps of groups 2 and 3 too, as `group2` and `group3` of "features",
            float32 (n, rows, columns, planes).
        scores: of `exported_scores.fit_scores`, to tell images of the data set from others: every
            signature then returns `scores`, float32 (n, scores), and `is_known`, int32 (n, scores),
            1 from a score's threshold on. serving.md has the names and thresholds.
        engine: a faster engine for `keras-wrn serve --engine`, whose file goes beside the graph:
            "openvino-int8", or any other of `serving_files.ENGINES`.
        calibration: for an engine of int8, as in `engines.export_file`.

    Returns:
        The folder of the version.

    Raises:
        InputError: the version exists, the model and its preprocessing do not fit, Keras does
            not run on TensorFlow, or the written graph answers otherwise than the model.
        OSError: the folder cannot be written.

    Example:
        >>> run = keras_wrn.load_trained("runs/wrn-16-1")  # doctest: +SKIP
        >>> keras_wrn.export(run.model, "served/wrn", run.preprocessing)  # doctest: +SKIP
        PosixPath('served/wrn/1')

    Source of the temperature: Guo et al., arXiv:1706.04599, section 4.2.
    """
    require_tensorflow("A SavedModel")
    import tensorflow as tf

    from keras_wrn.deploy import serving_files
    from keras_wrn.deploy.serving_graph import archive_of

    if not 0 < temperature < math.inf:
        raise InputError(f"`temperature` must be a number above 0. Received: {temperature!r}.")
    if engine is not None:
        serving_files.check_engine(engine)
    target = version_folder(Path(directory), version)
    row = preprocessing_of(preprocessing)
    labels = _labels(row, model.output_shape[-1])
    bar = contextlib.ExitStack()

    def complete(folder: Path) -> None:
        advance(1)
        loaded = tf.saved_model.load(str(folder))
        advance(1)
        difference = serving_files.check(loaded.signatures, model, row, temperature)
        bar.close()  # an engine's file has its own
        serving_files.write(
            folder,
            loaded.signatures,
            labels,
            temperature=temperature,
            batching=batching,
            scores=scores,
        )
        if engine is not None:
            serving_files.export_beside(folder, model, row, engine, calibration, temperature)
        say(f"Largest difference of a probability from Keras: {difference:.2g}")

    with bar:
        advance = bar.enter_context(progress("Exporting", 4))
        archive = archive_of(
            model,
            row,
            labels,
            temperature=temperature,
            batching=batching,
            feature_maps=feature_maps,
            scores=scores,
        )
        advance(1)
        write_version(archive, target, complete)
    return target


def write_version(
    archive: keras.export.ExportArchive,
    target: Path,
    complete: Callable[[Path], None] = lambda folder: None,
) -> None:
    """Write an archive into a new folder, whole or not at all.

    Args:
        archive: what is written.
        target: the folder of the version.
        complete: called with the written folder before it appears as `target`.

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
            written = Path(temporary, target.name)
            archive.write_out(str(written), verbose=False)
            complete(written)
            written.rename(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            for folder in created:
                folder.rmdir()
        if isinstance(error, tf.errors.OpError):
            # TensorFlow has its own errors for a full disk; the system's reason ends them.
            reason = error.message.rsplit("; ", 1)[-1].split(" [Op:")[0]
            raise OSError(f"{target} could not be written: {reason}.") from error
        raise


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
