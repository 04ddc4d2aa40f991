"""A trained network as one file for an inference engine: LiteRT, ONNX Runtime or OpenVINO.

The preprocessing is inside, as in the SavedModel. Weights and activations can be brought to 8 bits,
which is worth 2 to 4 times the speed on CPUs; docs/inference.md has what it costs in accuracy.
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

from keras_wrn.errors import InputError
from keras_wrn.inference.classifier import with_preprocessing
from keras_wrn.system.console import quiet_stderr

if TYPE_CHECKING:
    import keras

    from keras_wrn.images.preprocessing import Preprocessing

# What each format's file ends with, what it can be quantised to, and the packages that write it.
FORMATS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "litert": (".tflite", ("dynamic", "int8"), ("tensorflow",)),
    "onnx": (".onnx", ("int8",), ("tensorflow", "tf2onnx", "onnx")),
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
    """Write a network for an inference engine: `images` in, `probabilities` out.

    `images` are uint8 (n, height, width, channels) as stored, for any n; `probabilities` float32
    (n, classes).

    Args:
        model: a classifier that ends in a softmax and takes normalised images.
        path: the file to write, which must not exist: .tflite, .onnx, or .xml (OpenVINO writes a
            .bin with the weights beside it, which must not exist either).
        preprocessing: the statistics and size that the model was trained with.
        file_format: "litert", "onnx" or "openvino".
        quantize: None for float32; "dynamic" (LiteRT alone) for 8-bit weights, and activations
            that are measured as they come; "int8" for 8-bit weights and activations whose ranges
            are measured once on `calibration`.
        calibration: uint8 training images, (n, height, width, channels), some hundreds; needed for
            "int8" alone.

    Returns:
        The file.

    Raises:
        InputError: a format or quantisation that does not exist, no calibration images where they
            are needed, a path that exists or ends otherwise, or a missing package.

    Example:
        >>> run = keras_wrn.load_trained("runs/wrn-16-1")  # doctest: +SKIP
        >>> export_file(run.model, "wrn.tflite", run.preprocessing, file_format="litert",
        ...             quantize="dynamic")  # doctest: +SKIP
        PosixPath('wrn.tflite')
    """
    path = Path(path)
    check(path, file_format, quantize)
    classifier = _classifier(model, preprocessing)
    calibration = _checked(calibration, classifier) if quantize == "int8" else None
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as beside:
        part = Path(beside, path.name)
        with quiet_stderr(), warnings.catch_warnings():
            # Keras looks for an attribute of old NumPy before it converts to ONNX.
            warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
            _WRITERS[file_format](classifier, part, quantize, calibration)
        for written in sorted(Path(beside).iterdir()):  # .bin before .xml
            written.replace(path.with_name(written.name))
    return path


def check(path: Path, file_format: str, quantize: str | None) -> None:
    """Raise InputError where `export_file` cannot do what it is asked for."""
    if file_format not in FORMATS:
        raise InputError(
            f"The format must be one of {', '.join(FORMATS)}. Received: {file_format!r}."
        )
    suffix, levels, packages = FORMATS[file_format]
    if quantize is not None and quantize not in levels:
        raise InputError(
            f"{file_format} can be quantised to {' or '.join(levels)}. Received: {quantize!r}."
        )
    if path.suffix != suffix:
        raise InputError(f"A file of {file_format} must end in {suffix}. Received: {path}.")
    files = [path, path.with_suffix(".bin")] if file_format == "openvino" else [path]
    if there := [file for file in files if file.exists()]:
        raise InputError(f"{there[0]} exists. Give a new name, or delete it.")
    if quantize == "int8" and file_format != "litert":
        packages = (*packages, "onnxruntime", "tf2onnx", "onnx")
    missing = sorted({name for name in packages if importlib.util.find_spec(name) is None})
    if missing:
        raise InputError(
            f"Writing {file_format} needs {', '.join(missing)}, not installed here. Run: "
            'pip install "keras-wide-resnet[tf-cpu,engines]"'
        )
    import keras

    if keras.config.backend() != "tensorflow":
        raise InputError(
            "These files can be written with KERAS_BACKEND=tensorflow; the weights are the same. "
            f"Received: KERAS_BACKEND={keras.config.backend()}."
        )


def _classifier(model: keras.Model, preprocessing: Preprocessing) -> keras.Model:
    """`with_preprocessing`, with outputs by name."""
    import keras

    full = with_preprocessing(model, preprocessing)
    images = keras.Input(full.input_shape[1:], dtype="uint8", name="images")
    if preprocessing.whitening is None:
        # The same arithmetic by a layer whose numbers become constants of the graph; ONNX takes
        # those of keras.layers.Normalization for further inputs.
        mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
        scale = keras.layers.Rescaling(
            (1 / std).tolist(), (-mean / std).tolist(), dtype="float32", name="normalization"
        )
        probabilities = model(scale(images))
    else:
        probabilities = full(images)
    return keras.Model(images, {"probabilities": probabilities}, name="classifier")


def _checked(calibration: np.ndarray | None, classifier: keras.Model) -> np.ndarray:
    if calibration is None or not len(calibration):
        raise InputError("`quantize` to int8 needs `calibration`: some hundred training images.")
    calibration = np.asarray(calibration)
    shape = classifier.input_shape[1:]
    if calibration.dtype != np.uint8 or calibration.shape[1:] != tuple(shape):
        raise InputError(
            f"`calibration` must be uint8 images of shape (n, {', '.join(map(str, shape))}). "
            f"Received: {calibration.dtype} of shape {calibration.shape}."
        )
    return calibration


def _write_litert(
    classifier: keras.Model, path: Path, quantize: str | None, calibration: np.ndarray | None
) -> None:
    import tensorflow as tf

    options: dict[str, Any] = {}
    if quantize is not None:
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if calibration is not None:
        images = calibration

        def representative() -> Iterator[list[np.ndarray]]:
            return ([images[i : i + 1]] for i in range(len(images)))

        options["representative_dataset"] = representative
    classifier.export(str(path), format="litert", verbose=False, **options)


def _write_onnx(
    classifier: keras.Model, path: Path, quantize: str | None, calibration: np.ndarray | None
) -> None:
    if calibration is None:
        _export_onnx(classifier, path)
    else:
        # ONNX Runtime has 8-bit kernels for operations whose outputs are of 8 bits too.
        _write_int8_onnx(classifier, path, calibration, products_alone=False)


def _write_int8_onnx(
    classifier: keras.Model, path: Path, calibration: np.ndarray, *, products_alone: bool
) -> None:
    """Write pairs of quantise and dequantise around all operations, or what goes into products."""
    import onnx
    from onnxruntime import quantization

    starts = range(0, len(calibration), _CALIBRATION_BATCH)
    batches = [calibration[i : i + _CALIBRATION_BATCH] for i in starts]

    class Reader(quantization.CalibrationDataReader):
        """The calibration images, batch by batch."""

        def __init__(self) -> None:
            self.batches = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            """The next batch by the input's name, or None at the end."""
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch}

    with tempfile.TemporaryDirectory() as scratch:
        plain, folded = Path(scratch, "plain.onnx"), Path(scratch, "folded.onnx")
        _export_onnx(classifier, plain)
        # Folds batch normalisation into the convolutions that it follows.
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
        # OpenVINO reads the ranges from ONNX' pairs of quantise and dequantise. What goes into a
        # convolution follows a ReLU, so its 8 bits need no zero point; the sums of the residual
        # branches would, and stay in floating point: faster, and closer (docs/inference.md). So
        # does the stem: OpenVINO 2026.4 adds wrongly to one of 8 bits whose output is a shortcut.
        ranges = Path(scratch, "int8.onnx")
        _write_int8_onnx(classifier, ranges, calibration, products_alone=True)
        openvino.save_model(openvino.convert_model(ranges), path, compress_to_fp16=False)


_WRITERS = {"litert": _write_litert, "onnx": _write_onnx, "openvino": _write_openvino}
