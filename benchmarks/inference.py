"""What each export format is worth: speed, latency, file size and test error on real weights.

    python benchmarks/inference.py RUN --images 10000 --threads 1

RUN is the folder of a finished run or of published weights. Writes every format of
`keras-wrn export`, runs each on its own engine over the data set's test images, and times all of
them in turn, with float32 Keras and PyTorch (its own network, random weights) as peers. Speeds are
ratios to float32 Keras in one run.
"""

import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from absl import app, flags
from interleaved import Timings, interleave, markdown, said, write

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


class Engine(NamedTuple):
    """A way to classify: uint8 images (n, 32, 32, 3) to probabilities (n, classes)."""

    classify: Callable[[Any], Any]
    megabytes: float | None


def main(argv: list[str]) -> None:
    """Write the files, check their answers, time them, print a table."""
    try:
        if len(argv) != 2:
            raise InputError("Give one run folder, such as saved_models/wrn-16-4-cifar10.")
        _run(argv[1])
    except InputError as error:
        print(f"{argv[0]}: {error}", file=sys.stderr)
        sys.exit(2)


def _run(folder: str) -> None:
    options = flags.FLAGS
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from keras_wrn import datasets
    from keras_wrn.runs import load_trained

    trained = load_trained(folder)
    data = datasets.load(trained.card["dataset"])
    images, labels = (part[: options.images] for part in data.test)
    with tempfile.TemporaryDirectory() as scratch:
        engines = keras_engines(trained) | file_engines(trained, data, Path(scratch))
        probabilities = {name: in_batches(of, images) for name, of in engines.items()}
        torch = {} if trained.card["network"].get("depth") is None else torch_engines(trained)
        engines |= torch
        throughput = _timed(engines, images[: options.batch_size], repeats=options.repeats)
        single = _timed(engines, images[:1], repeats=20 * options.repeats)
        latencies = {name: latency(of, images[:1]) for name, of in engines.items()}
    said_by = probabilities[BASE].argmax(1)
    rows, facts = [], []
    for name, engine in engines.items():
        answer = probabilities[name].argmax(1) if name in probabilities else None
        fact = {
            "engine": name,
            "throughput": throughput.ratio(name, BASE),
            "single": single.ratio(name, BASE),
            "latency_ms": latencies[name],
            "megabytes": engine.megabytes,
            "error": None if answer is None else float((answer != labels).mean()),
            "agreement": None if answer is None else float((answer == said_by).mean()),
        }
        facts.append(fact)
        p50, p99 = fact["latency_ms"]
        base50 = latencies[BASE][0]
        rows.append(
            [
                name,
                said(fact["throughput"]),
                said(fact["single"]),
                f"{p50 / base50:.2f} / {p99 / base50:.2f}",
                "" if engine.megabytes is None else f"{engine.megabytes:.2f}",
                "random weights" if answer is None else f"{fact['error']:.2%}",
                "" if answer is None else f"{fact['agreement']:.2%}",
            ]
        )
    header = ["engine", f"images/s at batch {options.batch_size}", "images/s at batch 1"]
    header += ["latency p50 / p99 at batch 1", "MB", "test error", "top-1 agreement"]
    print(f"{trained.card['name']}, {len(labels):,} test images, {options.threads} thread(s);")
    print(f"speeds and latencies are ratios to {BASE}, n = {options.rounds} rounds\n")
    print(markdown(header, rows))
    write(options.json, {"network": trained.card["name"], "n": len(labels), "rows": facts})


def keras_engines(trained: Any) -> dict[str, Engine]:
    """The network in graphs of TensorFlow: as it is, and as training's clone in bfloat16."""
    import tensorflow as tf

    from keras_wrn.evaluation import with_preprocessing
    from keras_wrn.training_clone import training_clone

    clones = {
        BASE: trained.model,
        "Keras bfloat16, fused BN": training_clone(trained.model, precision="mixed_bfloat16"),
    }
    engines = {}
    for name, model in clones.items():
        full = with_preprocessing(model, trained.preprocessing)
        spec = [tf.TensorSpec((None, *full.input_shape[1:]), tf.uint8)]
        graph = tf.function(lambda x, full=full: full(x, training=False), input_signature=spec)
        engines[name] = Engine(lambda x, graph=graph: graph(x).numpy(), None)
    return engines


def torch_engines(trained: Any) -> dict[str, Engine]:
    """PyTorch's own network of the same depth and width."""
    import torch
    import torch_peer

    torch.set_num_threads(flags.FLAGS.threads)
    network = trained.card["network"]
    depth, width = network["depth"], int(network["width"])
    engines = {}
    for name, bfloat16 in (("PyTorch float32", False), ("PyTorch bfloat16", True)):
        runs: dict[int, Callable[[], object]] = {}

        def classify(x: Any, runs: Any = runs, bfloat16: bool = bfloat16) -> None:
            if len(x) not in runs:
                runs[len(x)] = torch_peer.inference_run(
                    depth, width, len(x), 1, bfloat16=bfloat16, channels_last=True
                )
            runs[len(x)]()

        engines[name] = Engine(classify, None)
    return engines


def file_engines(trained: Any, data: Any, folder: Path) -> dict[str, Engine]:
    """Every export format on its own engine."""
    import numpy as np

    from keras_wrn.inference_files import FORMATS, export_file

    chosen = np.random.default_rng(0).permutation(len(data.train.images))[: flags.FLAGS.calibration]
    calibration = data.train.images[np.sort(chosen)]
    opened = {"litert": _litert, "onnx": _onnx, "openvino": _openvino}
    engines = {}
    for name, file_format, quantize in FILES:
        path = folder / f"{name.replace(' ', '-')}{FORMATS[file_format][0]}"
        export_file(
            trained.model,
            path,
            trained.preprocessing,
            file_format=file_format,
            quantize=quantize,
            calibration=calibration if quantize == "int8" else None,
        )
        size = sum(part.stat().st_size for part in folder.glob(f"{path.stem}.*")) / 1e6
        if file_format == "openvino" and quantize is None:
            engines[name] = Engine(_openvino(path, "f32"), size)
            engines["OpenVINO bfloat16"] = Engine(_openvino(path, "bf16"), size)
            continue
        engines[name] = Engine(opened[file_format](path), size)
    return engines


def _litert(path: Path) -> Callable[[Any], Any]:
    interpreters: dict[int, Any] = {}
    module = importlib.import_module("ai_edge_litert.interpreter")

    def classify(images: Any) -> Any:
        # An interpreter keeps one batch size; to change it is to plan its memory anew.
        if len(images) not in interpreters:
            made = module.Interpreter(str(path), num_threads=flags.FLAGS.threads)
            made.resize_tensor_input(made.get_input_details()[0]["index"], images.shape)
            made.allocate_tensors()
            interpreters[len(images)] = made
        interpreter = interpreters[len(images)]
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

    return classify


def _onnx(path: Path) -> Callable[[Any], Any]:
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = flags.FLAGS.threads
    session = runtime.InferenceSession(str(path), options)
    return lambda images: session.run(["probabilities"], {"images": images})[0]


def _openvino(path: Path, precision: str | None = None) -> Callable[[Any], Any]:
    openvino = importlib.import_module("openvino")
    config: dict[str, Any] = {"INFERENCE_NUM_THREADS": flags.FLAGS.threads}
    if precision:
        config["INFERENCE_PRECISION_HINT"] = precision
    model = openvino.Core().compile_model(str(path), "CPU", config)
    return lambda images: model({"images": images})["probabilities"].copy()


def in_batches(engine: Engine, images: Any) -> Any:
    """The probabilities of all images, in whole batches of one size."""
    import numpy as np

    size = min(flags.FLAGS.batch_size, len(images))
    parts = []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        filled = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), np.uint8)])
        parts.append(engine.classify(filled)[: len(part)])
    return np.concatenate(parts)


def _timed(engines: dict[str, Engine], images: Any, repeats: int) -> Timings:
    def run(engine: Engine) -> Callable[[], object]:
        return lambda: [engine.classify(images) for _ in range(repeats)]

    return interleave({name: run(of) for name, of in engines.items()}, flags.FLAGS.rounds)


def latency(engine: Engine, image: Any) -> tuple[float, float]:
    """Median and 99th percentile of single calls, in milliseconds."""
    times = []
    for _ in range(flags.FLAGS.latency_calls):
        start = time.perf_counter()
        engine.classify(image)
        times.append(1000 * (time.perf_counter() - start))
    times.sort()
    return statistics.median(times), times[int(0.99 * (len(times) - 1))]


if __name__ == "__main__":
    flags.DEFINE_integer("images", 10_000, "test images for the error")
    flags.DEFINE_integer("calibration", 512, "training images for int8")
    flags.DEFINE_integer("threads", 1, "of every engine")
    flags.DEFINE_integer("batch_size", 64, "images a call")
    flags.DEFINE_integer("repeats", 3, "calls of one timing")
    flags.DEFINE_integer("rounds", 5, "timings of each")
    flags.DEFINE_integer("latency_calls", 200, "single images for the percentiles")
    flags.DEFINE_string("json", None, "write the figures there")
    app.run(main)
