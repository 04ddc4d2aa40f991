"""Export a network as a file for LiteRT, ONNX Runtime or OpenVINO, with its preprocessing.

Weights and activations can be quantised to 8 bits, which is 2 to 4 times as fast on CPUs.
docs/inference.md has the cost in accuracy.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_wrn.deploy.checking import (
    check_file,
    expected_answers,
    in_float32,
    require_tensorflow,
    sample_images,
)
from keras_wrn.errors import InputError
from keras_wrn.inference.classifier import checked_images, with_preprocessing
from keras_wrn.system.backend import float32
from keras_wrn.system.console import progress, quiet_stderr

if TYPE_CHECKING:
    import keras

    from keras_wrn.images.preprocessing import Preprocessing

# Of each format: the suffix of its file, its quantisations, and the packages that write it.
FORMATS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "litert": (".tflite", ("dynamic", "int8"), ("tensorflow",)),
    "onnx": (".onnx", ("int8",), ("tensorflow", "tf2onnx", "onnx", "onnxruntime")),
    "openvino": (".xml", ("int8",), ("tensorflow", "openvino", "scipy")),
}
_CALIBRATION_BATCH = 32
_PRODUCTS = ("Conv", "Gemm", "MatMul")


def export_file(
    model: keras.Model,
    path: str | os.PathLike[str],
    preprocessing: Preprocessing,
    *,
    file_format: str,
    quantize: str | None = None,
    calibration: np.ndarray | None = None,
) -> Path:
    """Write a network for an inference engine.

    The exported network takes `images`, uint8 (n, height, width, channels) for any n, and returns
    `probabilities`, float32 (n, classes). It computes in float32, whatever the model's precision.

    Before the file appears under its name, the engine has loaded it and answered for four images.
    No probability differs from Keras' in float32 by more than 0.001; with 8 bits, the differences
    of an image add up to 1 at most, on average (of 2 that are possible).

    Args:
        model: a classifier that ends in a softmax and takes normalised images.
        path: a new file: .tflite, .onnx, or .xml (OpenVINO writes the weights into a new .bin
            beside it).
        preprocessing: the statistics and size that the model was trained with.
        file_format: "litert", "onnx" or "openvino".
        quantize: None for float32; "dynamic" (LiteRT only) for 8-bit weights, with the ranges of
            activations measured in every run; "int8" for 8-bit weights and activations, with
            ranges measured once on `calibration`.
        calibration: for "int8", some hundred training images, uint8 (n, height, width, channels).

    Returns:
        The file.

    Raises:
        InputError: an unknown format or quantisation, missing or wrong calibration images, a path
            that exists or has another suffix, a missing package, a model that does not return
            probabilities, or a file that the engine does not run or runs otherwise than Keras.

    Example:
        >>> run = keras_wrn.load_trained("runs/wrn-16-1")  # doctest: +SKIP
        >>> export_file(run.model, "wrn.tflite", run.preprocessing, file_format="litert",
        ...             quantize="dynamic")  # doctest: +SKIP
        PosixPath('wrn.tflite')
    """
    path = Path(path)
    check(path, file_format, quantize)
    with float32():  # whatever policy is set now
        classifier = _classifier(in_float32(model), preprocessing)
    if quantize != "int8":
        calibration = None
    elif calibration is None:
        raise InputError("`quantize` to int8 needs `calibration`: some hundred training images.")
    else:
        calibration = checked_images(calibration, model, preprocessing, name="calibration")
    images = sample_images(classifier, calibration)
    expected = expected_answers(classifier, images)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as temporary:
        part = Path(temporary, path.name)
        with float32(), quiet_stderr(), warnings.catch_warnings():
            # Keras reads an attribute of old NumPy before it converts to ONNX.
            warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
            _WRITERS[file_format](classifier, part, quantize, calibration)
            check_file(part, file_format, images, expected, eight_bits=quantize is not None)
        for written in sorted(Path(temporary).iterdir()):  # .bin before .xml
            written.replace(path.with_name(written.name))
    return path


def check(path: Path, file_format: str, quantize: str | None) -> None:
    """Raise InputError if `export_file` cannot write this file."""
    _check_known(file_format, quantize)
    if path.suffix != (suffix := FORMATS[file_format][0]):
        raise InputError(f"A file of {file_format} must end in {suffix}. Received: {path}.")
    files = [path, path.with_suffix(".bin")] if file_format == "openvino" else [path]
    if existing := [file for file in files if file.exists()]:
        raise InputError(f"{existing[0]} exists. Give a new name, or delete it.")
    _check_packages(file_format, quantize)


def check_format(file_format: str, quantize: str | None) -> None:
    """Raise InputError if there is no such format, or a package to write it is missing."""
    _check_known(file_format, quantize)
    _check_packages(file_format, quantize)


def _check_packages(file_format: str, quantize: str | None) -> None:
    packages = FORMATS[file_format][2]
    if quantize == "int8" and file_format != "litert":
        packages = (*packages, "onnxruntime", "tf2onnx", "onnx")
    missing = sorted({name for name in packages if importlib.util.find_spec(name) is None})
    if missing:
        raise InputError(
            f"Writing {file_format} needs {', '.join(missing)}, not installed here. Run: "
            'pip install "keras-wide-resnet[tf-cpu,engines]"'
        )
    require_tensorflow(f"A file of {file_format}")


def _check_known(file_format: str, quantize: str | None) -> None:
    if file_format not in FORMATS:
        raise InputError(
            f"The format must be one of {', '.join(FORMATS)}. Received: {file_format!r}."
        )
    levels = FORMATS[file_format][1]
    if quantize is not None and quantize not in levels:
        raise InputError(
            f"{file_format} can be quantised to {' or '.join(levels)}. Received: {quantize!r}."
        )


def _classifier(model: keras.Model, preprocessing: Preprocessing) -> keras.Model:
    """`with_preprocessing` with a named output."""
    import keras

    full = with_preprocessing(model, preprocessing)
    images = keras.Input(full.input_shape[1:], dtype="uint8", name="images")
    if preprocessing.whitening is None:
        # Rescaling does the same arithmetic with constants in the graph. Normalization's weights
        # would become inputs of an ONNX graph.
        mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
        scale = keras.layers.Rescaling(
            (1 / std).tolist(), (-mean / std).tolist(), dtype="float32", name="normalization"
        )
        probabilities = model(scale(images))
    else:
        probabilities = full(images)
    return keras.Model(images, {"probabilities": probabilities}, name="classifier")


def _write_litert(
    classifier: keras.Model, path: Path, quantize: str | None, calibration: np.ndarray | None
) -> None:
    import tensorflow as tf

    options: dict[str, Any] = {}
    if quantize is not None:
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if calibration is not None:
        options["representative_dataset"] = lambda: ([batch] for batch in _batches(calibration, 1))
    classifier.export(str(path), format="litert", verbose=False, **options)


def _batches(images: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield images to calibrate with, and show how many are done."""
    with progress("Calibrating", len(images)) as advance:
        for start in range(0, len(images), size):
            yield images[start : start + size]
            advance(len(images[start : start + size]))


def _write_onnx(
    classifier: keras.Model, path: Path, quantize: str | None, calibration: np.ndarray | None
) -> None:
    if calibration is None:
        _export_onnx(classifier, path)
    else:
        # ONNX Runtime's 8-bit kernels have 8-bit outputs.
        _write_int8_onnx(classifier, path, calibration, products_alone=False)


def _write_int8_onnx(
    classifier: keras.Model, path: Path, calibration: np.ndarray, *, products_alone: bool
) -> None:
    """Write pairs of quantise and dequantise around all operations, or the inputs of products."""
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        """The calibration images in batches."""

        def __init__(self) -> None:
            self.batches = _batches(calibration, _CALIBRATION_BATCH)

        def get_next(self) -> dict[str, np.ndarray] | None:
            """The next batch by the input's name, or None at the end."""
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch}

    with tempfile.TemporaryDirectory() as scratch:
        plain, folded = Path(scratch, "plain.onnx"), Path(scratch, "folded.onnx")
        _export_onnx(classifier, plain)
        # This folds batch normalisation into the convolution before it.
        quantization.quant_pre_process(plain, folded, skip_symbolic_shape=True)
        options: dict[str, Any] = {}
        if products_alone:
            nodes = onnx.load(folded).graph.node
            stem = next(node.name for node in nodes if node.op_type == "Conv")
            options = {
                "op_types_to_quantize": list(_PRODUCTS),
                "extra_options": {"OpTypesToExcludeOutputQuantization": list(_PRODUCTS)},
                "nodes_to_exclude": [stem],
            }
        quantization.quantize_static(
            folded,
            path,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            **options,
        )


def _export_onnx(classifier: keras.Model, path: Path) -> None:
    import keras

    images = keras.InputSpec(dtype="uint8", shape=classifier.input_shape, name="images")
    classifier.export(str(path), format="onnx", verbose=False, input_signature=[images])


def _write_openvino(
    classifier: keras.Model, path: Path, quantize: str | None, calibration: np.ndarray | None
) -> None:
    if calibration is None:
        classifier.export(str(path), format="openvino", verbose=False)
        return
    import openvino

    with tempfile.TemporaryDirectory() as scratch:
        # OpenVINO reads the ranges from ONNX' pairs of quantise and dequantise. The input of a
        # convolution follows a ReLU, so its 8 bits need no zero point. The sums of residual
        # branches need one and stay in floating point: faster and more exact (docs/inference.md).
        # The stem stays too: OpenVINO 2026.4 adds wrongly to an 8-bit one with a shortcut.
        ranges = Path(scratch, "int8.onnx")
        _write_int8_onnx(classifier, ranges, calibration, products_alone=True)
        openvino.save_model(openvino.convert_model(ranges), path, compress_to_fp16=False)


_WRITERS = {"litert": _write_litert, "onnx": _write_onnx, "openvino": _write_openvino}
