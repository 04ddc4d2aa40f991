"""Check an exported network: load its file into the engine, and ask it once.

A file that no engine loads, or that answers otherwise than Keras, never appears under its name.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.inference.classifier import check_distribution
from keras_wrn.system.backend import float32

if TYPE_CHECKING:
    import keras

FLOAT_BOUND = 1e-3  # the largest difference of a probability from Keras' in float32
EIGHT_BIT_BOUND = 1.0  # of 8-bit files, the mean sum of an image's differences, which is 2 at most
ASKED = 4  # images
Engine = Callable[[np.ndarray], np.ndarray]  # uint8 images -> probabilities


def require_tensorflow(file: str) -> None:
    """Raise InputError if Keras does not run on TensorFlow, which writes `file`."""
    import keras

    if keras.config.backend() != "tensorflow":
        raise InputError(
            f"{file} can be written with TensorFlow only: pip install "
            "'keras-wide-resnet[tf-cpu]', set KERAS_BACKEND=tensorflow and export again; the "
            f"weights are the same. Received: KERAS_BACKEND={keras.config.backend()}."
        )


def in_float32(model: keras.Model) -> keras.Model:
    """Return a model that computes in float32 with the same weights.

    Engines have no operations for some layers in bfloat16 and float16. Weights of mixed precision
    are float32 already, so the twin computes the same, more exactly.

    Args:
        model: of any dtype policy.

    Returns:
        The model itself if all its layers compute in float32, else a copy.

    Example:
        >>> model = keras_wrn.WideResNet(10, 1)
        >>> in_float32(model) is model
        True
    """
    import keras

    if all(layer.compute_dtype == "float32" for layer in _layers(model)):
        return model

    def clone(layer: Any) -> Any:
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    with float32():
        twin = keras.models.clone_model(model, clone_function=clone, recursive=True)
    twin.set_weights(model.get_weights())
    return twin


def _layers(model: keras.Model) -> Iterator[Any]:
    """Yield the layers of a model and of the models inside it."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)


def sample_images(classifier: keras.Model, calibration: np.ndarray | None) -> np.ndarray:
    """Images to ask with: of the calibration, else random; uint8 (n, height, width, channels)."""
    if calibration is not None:
        return calibration[:ASKED]
    shape = (ASKED, *classifier.input_shape[1:])
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def expected_answers(classifier: keras.Model, images: np.ndarray) -> np.ndarray:
    """What Keras answers. Raises InputError if the answers are no probabilities."""
    import keras

    outputs = classifier(images, training=False)["probabilities"]
    probabilities = keras.ops.convert_to_numpy(outputs).astype(np.float32)
    check_distribution(probabilities)
    return probabilities


def check_file(
    path: Path, file_format: str, images: np.ndarray, expected: np.ndarray, *, eight_bits: bool
) -> None:
    """Load a file into its engine, and compare its answers with Keras'.

    Args:
        path: the file.
        file_format: "litert", "onnx" or "openvino".
        images: uint8 (n, height, width, channels).
        expected: Keras' probabilities, float32 (n, classes).
        eight_bits: whether weights or activations are quantised.

    Raises:
        InputError: the engine does not run the file, or differs by more than `FLOAT_BOUND` at
            most, in 8 bits by more than `EIGHT_BIT_BOUND` in sum, on average over the images.
    """
    try:
        answers = open_engine(path, file_format)(images)
    except Exception as error:  # each engine has its own exceptions
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"The file for {file_format} was not written: its engine does not run it: {reason}"
        ) from error
    difference = np.abs(answers - expected)
    if eight_bits:
        found, bound, how = difference.sum(axis=-1).mean(), EIGHT_BIT_BOUND, " in sum, on average"
    else:
        found, bound, how = difference.max(), FLOAT_BOUND, ""
    if answers.shape != expected.shape or not found <= bound:
        raise InputError(
            f"The file for {file_format} was not written: its probabilities differ from Keras' by "
            f"{found:.2g}{how}; at most {bound:g} is allowed."
        )


def open_engine(path: Path, file_format: str) -> Engine:
    """Load a file into its engine.

    Args:
        path: a file that `engines.export_file` wrote.
        file_format: "litert", "onnx" or "openvino".

    Returns:
        A function of uint8 images (n, height, width, channels) to float32 probabilities
        (n, classes). Several threads may call it.
    """
    return _OPENERS[file_format](path)


def _open_litert(path: Path) -> Engine:
    if importlib.util.find_spec("ai_edge_litert"):
        lite = importlib.import_module("ai_edge_litert.interpreter")
    else:
        import tensorflow as tf

        lite = tf.lite
    runner = lite.Interpreter(str(path)).get_signature_runner("serving_default")
    lock = threading.Lock()

    def ask(images: np.ndarray) -> np.ndarray:
        with lock:
            answers = [runner(images=image[None])["probabilities"] for image in images]
        return np.concatenate(answers)

    return ask


def _open_onnx(path: Path) -> Engine:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0]


def _open_openvino(path: Path) -> Engine:
    import openvino

    # Without the hint, CPUs that have bfloat16 compute in it.
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled, own = openvino.Core().compile_model(str(path), "CPU", hints), threading.local()

    def ask(images: np.ndarray) -> np.ndarray:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        return own.request.infer({"images": images})["probabilities"].copy()

    return ask


_OPENERS = {"litert": _open_litert, "onnx": _open_onnx, "openvino": _open_openvino}
