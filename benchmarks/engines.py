"""The engines that `inference.py` times: Keras, PyTorch, and every file that `export` writes.

This file is not a program.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from interleaved import Timings

from keras_wrn.errors import InputError

BASE = "Keras float32"
FILES = (
    ("LiteRT float32", "litert", None),
    ("LiteRT dynamic", "litert", "dynamic"),
    ("LiteRT int8", "litert", "int8"),
    ("ONNX Runtime float32", "onnx", None),
    ("ONNX Runtime int8", "onnx", "int8"),
    ("OpenVINO float32", "openvino", None),
    ("OpenVINO int8", "openvino", "int8"),
)
# Arguments of `torch_peer.inference_run`.
TORCH = {
    "PyTorch float32": {"channels_last": True},
    "PyTorch float32, channels first": {"channels_last": False},
    "PyTorch float32, compiled": {"channels_last": True, "compiled": True},
    "PyTorch bfloat16": {"channels_last": True},
    "PyTorch bfloat16 by autocast": {"channels_last": True, "autocast": True},
    "PyTorch bfloat16, compiled": {"channels_last": True, "compiled": True},
}


class Engine(NamedTuple):
    """A way to classify.

    Attributes:
        classify: uint8 images (n, height, width, channels) to probabilities (n, classes).
        precision: of its arithmetic: "float32", "bfloat16" or "int8".
        megabytes: size of its file, if it has one.
        answers: whether it has the network's weights; PyTorch's are random.
    """

    classify: Callable[[Any], Any]
    precision: str = "float32"
    megabytes: float | None = None
    answers: bool = True


def keras_engines(model: Any, preprocessing: Any) -> dict[str, Engine]:
    """The network in TensorFlow graphs, in float32 and bfloat16, and as users call it."""
    import tensorflow as tf

    from keras_wrn.inference.classifier import class_probabilities, with_preprocessing
    from keras_wrn.training.clone import training_clone

    full = with_preprocessing(model, preprocessing)
    clone = training_clone(model, precision="mixed_bfloat16")

    def graph(network: Any, precision: str = "float32") -> Engine:
        spec = [tf.TensorSpec((None, *network.input_shape[1:]), tf.uint8)]
        compute = tf.function(lambda x: network(x, training=False), input_signature=spec)
        return Engine(lambda x: compute(x).numpy(), precision)

    return {
        BASE: graph(full),
        "Keras bfloat16, fused BN": graph(with_preprocessing(clone, preprocessing), "bfloat16"),
        "what keras_wrn.predict computes": Engine(
            lambda x: class_probabilities(model, x, preprocessing)
        ),
        "Keras, eagerly": Engine(lambda x: full(x, training=False).numpy()),
    }


def torch_engines(
    depth: int, width: int, batch: int, threads: int, compiled: bool
) -> dict[str, Engine]:
    """PyTorch's network of the same depth and width, with random weights, for one batch size.

    Networks that were compiled before are dropped.
    """
    import torch
    import torch_peer

    torch.set_num_threads(threads)
    torch_peer.forget()

    def engine(precision: str, how: dict[str, bool]) -> Engine:
        predict = torch_peer.inference_run(
            depth, width, batch, bfloat16=precision == "bfloat16", **how
        )
        return Engine(lambda images: predict(), precision, answers=False)

    return {
        name: engine("bfloat16" if "bfloat16" in name else "float32", how)
        for name, how in TORCH.items()
        if compiled or not how.get("compiled")
    }


def peer_of(network: dict[str, Any]) -> tuple[int, int] | None:
    """Depth and width of PyTorch's network; None if it has no such blocks or image size."""
    alike = network.get("block") == "B(3,3)" and network["width"] == int(network["width"])
    alike = alike and network.get("blocks_per_group") is None
    alike = alike and network.get("input_shape") == [32, 32, 3]
    return (network["depth"], int(network["width"])) if alike else None


def fastest_torch(precision: str, engines: dict[str, Engine], timings: Timings) -> str | None:
    """PyTorch's fastest variant of a precision; for int8, which it has not, of any."""
    return timings.fastest(
        name
        for name, engine in engines.items()
        if not engine.answers and precision in (engine.precision, "int8")
    )


def against_torch(
    name: str, engines: dict[str, Engine], timings: Timings
) -> tuple[float, float, float] | None:
    """The speed of an engine over PyTorch's fastest, with range; None for PyTorch's own."""
    peer = fastest_torch(engines[name].precision, engines, timings)
    return timings.ratio(name, peer) if peer and engines[name].answers else None


def file_engines(
    model: Any, preprocessing: Any, calibration: Any, folder: Path, threads: int
) -> dict[str, Engine]:
    """Every export format whose engine is installed."""
    engines = {}
    for name, file_format, quantize in FILES:
        try:
            for found, engine in _file_engine(
                name, file_format, quantize, model, preprocessing, calibration, folder, threads
            ):
                engines[found] = engine
        except (ImportError, InputError) as error:
            print(f"{name}: not measured: {error}", file=sys.stderr, flush=True)
    return engines


def _file_engine(
    name: str,
    file_format: str,
    quantize: str | None,
    model: Any,
    preprocessing: Any,
    calibration: Any,
    folder: Path,
    threads: int,
) -> Iterator[tuple[str, Engine]]:
    from keras_wrn.deploy.engines import FORMATS, export_file

    path = folder / f"{name.replace(' ', '-')}{FORMATS[file_format][0]}"
    export_file(
        model,
        path,
        preprocessing,
        file_format=file_format,
        quantize=quantize,
        calibration=calibration if quantize == "int8" else None,
    )
    size = sum(part.stat().st_size for part in folder.glob(f"{path.stem}.*")) / 1e6
    precision = "int8" if quantize else "float32"
    if file_format == "litert":
        yield name, Engine(_litert(path, threads), precision, size)
    elif file_format == "onnx":
        yield name, Engine(_onnx(path, threads), precision, size)
    elif quantize:
        yield name, Engine(_openvino(path, threads), precision, size)
    else:
        yield name, Engine(_openvino(path, threads, "f32"), precision, size)
        yield "OpenVINO bfloat16", Engine(_openvino(path, threads, "bf16"), "bfloat16", size)


def _litert(path: Path, threads: int) -> Callable[[Any], Any]:
    interpreters: dict[int, Any] = {}
    module = importlib.import_module("ai_edge_litert.interpreter")

    def classify(images: Any) -> Any:
        # One interpreter per batch size, because a change of size plans its memory again.
        if len(images) not in interpreters:
            made = module.Interpreter(str(path), num_threads=threads)
            made.resize_tensor_input(made.get_input_details()[0]["index"], images.shape)
            made.allocate_tensors()
            interpreters[len(images)] = made
        interpreter = interpreters[len(images)]
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

    return classify


def _onnx(path: Path, threads: int) -> Callable[[Any], Any]:
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    session = runtime.InferenceSession(str(path), options)
    return lambda images: session.run(["probabilities"], {"images": images})[0]


def _openvino(path: Path, threads: int, precision: str | None = None) -> Callable[[Any], Any]:
    openvino = importlib.import_module("openvino")
    config: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads}
    if precision:
        config["INFERENCE_PRECISION_HINT"] = precision
    model = openvino.Core().compile_model(str(path), "CPU", config)
    return lambda images: model({"images": images})["probabilities"].copy()
