"""What each export format is worth: speed, latency, file size and test error on real weights.

    python benchmarks/inference.py saved_models/wrn-16-1-digits --threads 1
    python benchmarks/inference.py --network 28-10 --batch_sizes 32,1

Takes the folder of a finished run or of published weights, or a network with random weights, whose
speed is the same. Writes every format of `keras-wrn export`, runs each on its own engine over the
data set's test images, and times all in turn with float32 Keras and PyTorch (its own network,
random weights) as peers. Ratios are to float32 Keras in the same rounds.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags
from engines import BASE, Engine, file_engines, keras_engines, torch_engines
from interleaved import (
    Timings,
    interleave,
    markdown,
    parse_network,
    parse_sizes,
    run,
    said,
    write,
)

from keras_wrn.errors import InputError


def measure(arguments: list[str]) -> None:
    """Write the files, check their answers, time them, print the tables."""
    options = flags.FLAGS
    if len(arguments) != (not options.network):
        raise InputError("Give one run folder, or --network such as --network 16-4.")
    sizes = parse_sizes(options.batch_sizes)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    name, model, preprocessing, (images, labels), calibration, network = _load(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        engines = keras_engines(model, preprocessing)
        files = file_engines(model, preprocessing, calibration, Path(scratch), options.threads)
        engines |= files
        known = {of: _in_batches(engine, images, max(sizes)) for of, engine in engines.items()}
        engines |= _torch(network)
        timings = {size: _timed(engines, images[:size]) for size in sizes}
        latencies = _latencies(engines, images[:1])
    facts = [
        _facts(of, engine, known, labels, timings, latencies) for of, engine in engines.items()
    ]
    print(f"{name}, {options.threads} thread(s), n = {options.rounds} rounds; ratios to {BASE}\n")
    print(_speeds(facts, sizes), "\n")
    if not options.network:
        print(f"{len(labels):,} test images\n\n{_answers(facts)}")
    write({"name": name, "rows": facts})


def _load(arguments: list[str]) -> tuple[str, Any, Any, Any, Any, tuple[int, int] | None]:
    """Name, model, preprocessing, test and calibration images, PyTorch's depth and width."""
    import keras_wrn
    from keras_wrn import datasets
    from keras_wrn.preprocessing import PREPROCESSING
    from keras_wrn.run_images import images_of

    options = flags.FLAGS

    if options.network:
        depth, width = parse_network(options.network)
        model = keras_wrn.WideResNet(depth, width)
        name = f"WRN-{depth}-{width} with random weights"
        data = datasets.load("digits")
        calibration = data.train.images[: options.calibration]
        return name, model, PREPROCESSING["digits"], data.test, calibration, (depth, width)
    trained = keras_wrn.load_trained(arguments[0])
    network = trained.card["network"]
    # The peer has the paper's blocks only.
    alike = network.get("block") == "B(3,3)" and network["width"] == int(network["width"])
    alike = alike and network.get("blocks_per_group") is None
    peer = (network["depth"], int(network["width"])) if alike else None
    test = images_of(trained, "test", most=options.images).test
    calibration = images_of(trained, "train", most=options.calibration).train.images
    return trained.card["name"], trained.model, trained.preprocessing, test, calibration, peer


def _torch(network: tuple[int, int] | None) -> dict[str, Engine]:
    if network is None:
        print("PyTorch: not measured: its network has the paper's blocks only")
        return {}
    try:
        return torch_engines(*network, flags.FLAGS.threads, flags.FLAGS.compile)
    except ModuleNotFoundError:
        print('PyTorch is not installed: pip install -e ".[bench]"')
        return {}


def _in_batches(engine: Engine, images: Any, size: int) -> Any:
    """The probabilities of all images, in whole batches of one size."""
    import numpy as np

    size = min(size, len(images))
    parts = []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        filled = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), np.uint8)])
        parts.append(engine.classify(filled)[: len(part)])
    return np.concatenate(parts)


def _timed(engines: dict[str, Engine], images: Any) -> Timings:
    """So many images of each in a round, whatever the batch."""
    repeats = max(1, flags.FLAGS.images_per_round // len(images))

    def timed(engine: Engine) -> Callable[[], object]:
        return lambda: [engine.classify(images) for _ in range(repeats)]

    timings = interleave({name: timed(of) for name, of in engines.items()}, flags.FLAGS.rounds)
    for seconds in (*timings.seconds.values(), *timings.cpu_seconds.values()):
        seconds[:] = [of / (repeats * len(images)) for of in seconds]
    return timings


def _latencies(engines: dict[str, Engine], image: Any) -> dict[str, tuple[float, float]]:
    """Median and 99th percentile of single calls, in milliseconds, the engines in turn."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(flags.FLAGS.latency_calls):
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.classify(image)
            times[name].append(1000 * (time.perf_counter() - start))
    return {
        name: (statistics.median(of), sorted(of)[int(0.99 * (len(of) - 1))])
        for name, of in times.items()
    }


def _facts(
    name: str,
    engine: Engine,
    known: dict[str, Any],
    labels: Any,
    timings: dict[int, Timings],
    latencies: dict[str, tuple[float, float]],
) -> dict[str, Any]:
    answer = known[name].argmax(1) if engine.answers else None
    return {
        "engine": name,
        "images_per_second": {
            size: 1 / statistics.median(of.seconds[name]) for size, of in timings.items()
        },
        "ratio": {size: of.ratio(name, BASE) for size, of in timings.items()},
        "latency_ms": latencies[name],
        "megabytes": engine.megabytes,
        "error": None if answer is None else float((answer != labels).mean()),
        "agreement": None if answer is None else float((answer == known[BASE].argmax(1)).mean()),
    }


def _speeds(facts: list[dict[str, Any]], sizes: list[int]) -> str:
    header = ["engine"]
    for size in sizes:
        header += [f"images/s, batch {size}", "ratio"]
    rows = []
    for fact in facts:
        row = [fact["engine"]]
        for size in sizes:
            row += [f"{fact['images_per_second'][size]:,.0f}", said(fact["ratio"][size])]
        rows.append([*row, *(f"{milliseconds:.2f}" for milliseconds in fact["latency_ms"])])
    return markdown([*header, "one image, ms: p50", "p99"], rows)


def _answers(facts: list[dict[str, Any]]) -> str:
    rows = [
        [
            fact["engine"],
            "-" if fact["megabytes"] is None else f"{fact['megabytes']:.2f}",
            f"{fact['error']:.2%}",
            f"{fact['agreement']:.2%}",
        ]
        for fact in facts
        if fact["error"] is not None
    ]
    return markdown(["engine", "MB", "test error", f"top-1 agreement with {BASE}"], rows)


if __name__ == "__main__":
    flags.DEFINE_string("network", None, "depth and width, for random weights instead of a run's")
    flags.DEFINE_integer("images", 10_000, "test images for the error", lower_bound=1)
    flags.DEFINE_integer("calibration", 512, "training images for int8", lower_bound=1)
    flags.DEFINE_integer("threads", 1, "of every engine", lower_bound=1)
    flags.DEFINE_list("batch_sizes", ["128", "32", "1"], "images a call")
    flags.DEFINE_integer("images_per_round", 256, "images of one timing", lower_bound=1)
    flags.DEFINE_integer("rounds", 5, "timings of each", lower_bound=1)
    flags.DEFINE_integer("latency_calls", 200, "single images for the percentiles", lower_bound=1)
    flags.DEFINE_bool("compile", True, "time PyTorch's compiled network too")
    run(measure)
