"""Speed, latency, file size and test error of each export format.

    python benchmarks/inference.py saved_models/wrn-16-1-digits --threads 1
    python benchmarks/inference.py --network 28-10 --batch_sizes 32,1

The argument is a run folder or published weights; --network is a network with random weights,
whose speed is the same. Writes every format of `keras-wrn export`, runs each on its own engine over
the data set's test images, and times all in turn with float32 Keras and PyTorch as peers (PyTorch's
own network, random weights, ready images). Ratios are to float32 Keras, and to the fastest PyTorch
of the same precision (of any precision for int8), in the same rounds. The limit is a loop of the
CPU's widest multiply-adds, in the rounds of the largest batch.
"""

import dataclasses
import importlib.util
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags
from engines import (
    BASE,
    Engine,
    against_torch,
    fastest_torch,
    file_engines,
    keras_engines,
    peer_of,
    torch_engines,
)
from instruction_peak import PEAK, PRECISIONS, Unavailable, peak_run
from interleaved import (
    Timings,
    company,
    interleave,
    parse_network,
    parse_sizes,
    run,
    with_range,
    write,
)

from keras_wrn.errors import InputError
from keras_wrn.system import markdown


def measure(arguments: list[str]) -> None:
    """Write the files, measure their errors and their times, and print the tables."""
    options = flags.FLAGS
    if len(arguments) != (not options.network):
        raise InputError("Give one run folder, or --network such as --network 16-4.")
    sizes = parse_sizes(options.batch_sizes)
    import tensorflow as tf

    from keras_wrn.training.cost import multiply_adds

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    name, model, preprocessing, (images, labels), calibration, network = _load(arguments)
    if network is None:
        print("PyTorch: not measured: its network has the paper's blocks and 32x32 images only")
    elif importlib.util.find_spec("torch") is None:
        print('PyTorch is not installed: pip install -e ".[bench]"')
        network = None
    with tempfile.TemporaryDirectory() as scratch:
        engines = keras_engines(model, preprocessing)
        files = file_engines(model, preprocessing, calibration, Path(scratch), options.threads)
        engines |= files
        known = {key: _in_batches(engine, images, max(sizes)) for key, engine in engines.items()}
        limits = _limits()
        timings = {}
        for size in sizes:
            every, batch = engines | _torch(network, size), batch_of(images, size)
            timings[size] = _timed(every, batch, limits if size == max(sizes) else {})
        timed = set.intersection(*(set(each.seconds) for each in timings.values()))
        engines |= {key: peer for key, peer in _torch(network, 1).items() if key in timed}
        latencies = _latencies(engines, images[:1])
    facts = [
        _facts(key, engine, known, labels, timings, latencies)
        | {"pytorch": {size: against_torch(key, engines, timings[size]) for size in sizes}}
        for key, engine in engines.items()
    ]
    print(f"{name}, {options.threads} thread(s), n = {options.rounds} rounds; ratios to {BASE}\n")
    print(speeds(facts, sizes), "\n")
    for line in _best(engines, timings):
        print(line)
    flop = {precision: flop for precision, (_, flop) in limits.items()}
    print(shares(engines, timings[max(sizes)], 2 * multiply_adds(model), flop))
    print(company(timings.values()), "\n")
    if not options.network:
        print(f"{len(labels):,} test images\n\n{_answers(facts)}")
    seconds = {size: dataclasses.asdict(each) for size, each in timings.items()}
    write({"name": name, "rows": facts, "an_image": seconds, "flop_of_limits": flop})


def _load(arguments: list[str]) -> tuple[str, Any, Any, Any, Any, tuple[int, int] | None]:
    """Name, model, preprocessing, test and calibration images, PyTorch's depth and width."""
    import keras_wrn
    from keras_wrn import datasets
    from keras_wrn.images.preprocessing import PREPROCESSING
    from keras_wrn.inference.own_images import images_of

    options = flags.FLAGS
    if options.network:
        depth, width = parse_network(options.network)
        model = keras_wrn.WideResNet(depth, width)
        name = f"WRN-{depth}-{width} with random weights"
        data = datasets.load("digits")
        calibration = data.train.images[: options.calibration]
        return name, model, PREPROCESSING["digits"], data.test, calibration, (depth, width)
    trained = keras_wrn.load_trained(arguments[0])
    test = images_of(trained, "test", most=options.images).test
    calibration = images_of(trained, "train", most=options.calibration).train.images
    peer = peer_of(trained.card["network"])
    return trained.card["name"], trained.model, trained.preprocessing, test, calibration, peer


def _torch(network: tuple[int, int] | None, batch: int) -> dict[str, Engine]:
    if network is None:
        return {}
    return torch_engines(*network, batch, flags.FLAGS.threads, flags.FLAGS.compile)


def _limits() -> dict[str, tuple[Callable[[], object], float]]:
    """The loop of multiply-adds and its FLOP, for each precision that the CPU has."""
    limits = {}
    for precision in PRECISIONS:
        try:
            limits[precision] = peak_run(precision, flags.FLAGS.threads)
        except Unavailable as reason:
            print(f"{PEAK}, {precision}: not measured: {reason}", flush=True)
    return limits


def _in_batches(engine: Engine, images: Any, size: int) -> Any:
    """The probabilities of all images, in batches of one size; the last is padded."""
    import numpy as np

    size = min(size, len(images))
    parts = []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        filled = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), np.uint8)])
        parts.append(engine.classify(filled)[: len(part)])
    return np.concatenate(parts)


def batch_of(images: Any, size: int) -> Any:
    """A batch of `size` images, repeated if there are fewer."""
    import numpy as np

    return np.resize(images, (size, *images.shape[1:]))


def _timed(
    engines: dict[str, Engine],
    images: Any,
    limits: dict[str, tuple[Callable[[], object], float]],
) -> Timings:
    """Seconds per image of each engine, and per run of each limit.

    In a round, each engine classifies --images_per_round images, at any batch size.
    """
    repeats = max(1, flags.FLAGS.images_per_round // len(images))

    def timed(engine: Engine) -> Callable[[], object]:
        return lambda: [engine.classify(images) for _ in range(repeats)]

    variants: dict[str, Callable[[], object]] = {name: timed(engines[name]) for name in engines}
    variants |= {f"{PEAK}, {precision}": run for precision, (run, _) in limits.items()}
    may_fail = [name for name, engine in engines.items() if not engine.answers]
    timings = interleave(variants, flags.FLAGS.rounds, may_fail=may_fail)
    for clock in (timings.seconds, timings.cpu_seconds):
        for name in engines.keys() & clock.keys():
            clock[name] = [seconds / (repeats * len(images)) for seconds in clock[name]]
    return timings


def _latencies(engines: dict[str, Engine], image: Any) -> dict[str, tuple[float, float]]:
    """Median and 99th percentile of calls with one image, in milliseconds, in turn."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for engine in engines.values():
        engine.classify(image)  # the first call may compile
    for _ in range(flags.FLAGS.latency_calls):
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.classify(image)
            times[name].append(1000 * (time.perf_counter() - start))
    return {
        name: (statistics.median(calls), sorted(calls)[math.ceil(0.99 * len(calls)) - 1])
        for name, calls in times.items()
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
            size: 1 / statistics.median(each.seconds[name]) for size, each in timings.items()
        },
        "ratio": {size: each.ratio(name, BASE) for size, each in timings.items()},
        "latency_ms": latencies[name],
        "megabytes": engine.megabytes,
        "error": None if answer is None else float((answer != labels).mean()),
        "agreement": None if answer is None else float((answer == known[BASE].argmax(1)).mean()),
    }


def shares(
    engines: dict[str, Engine], timings: Timings, flop_an_image: int, limits: dict[str, float]
) -> str:
    """The fastest engine's share of the limit, for each precision with a limit.

    PyTorch is left out; the other ratios show its speed.

    Args:
        engines: name -> engine.
        timings: seconds per image of each engine, and of the limits.
        flop_an_image: FLOP of the network for one image.
        limits: precision -> FLOP of one run of the limit.
    """
    found = []
    for precision, flop in limits.items():
        best = timings.fastest(
            key
            for key, engine in engines.items()
            if engine.answers and engine.precision == precision
        )
        if best:
            ratio = timings.ratio(best, f"{PEAK}, {precision}")
            share = tuple(speed * flop_an_image / flop for speed in ratio)
            found.append(f"{precision}: {best} {with_range(share, '.0%')}")
    return f"Share of the rate of {PEAK}: {'; '.join(found) or 'not measured'}"


def _best(engines: dict[str, Engine], timings: dict[int, Timings]) -> list[str]:
    lines = []
    for size, each in timings.items():
        best = (fastest_torch(precision, engines, each) for precision in ("float32", "bfloat16"))
        lines.append(f"PyTorch's fastest, batch {size}: {'; '.join(filter(None, best)) or '-'}")
    return lines


def speeds(facts: list[dict[str, Any]], sizes: list[int]) -> str:
    """A Markdown table of sizes of files, speeds and latencies."""
    header = ["engine", "MB"]
    for size in sizes:
        header += [f"images/s, batch {size}", "ratio", "times as fast as PyTorch's fastest"]
    rows = []
    for fact in facts:
        row = [fact["engine"], f"{fact['megabytes']:.2f}" if fact["megabytes"] else "-"]
        for size in sizes:
            row += [f"{fact['images_per_second'][size]:,.0f}", with_range(fact["ratio"][size])]
            row.append(with_range(fact["pytorch"][size]) if fact["pytorch"][size] else "-")
        rows.append([*row, *(f"{milliseconds:.2f}" for milliseconds in fact["latency_ms"])])
    return markdown.table([*header, "one image, ms: p50", "p99"], rows)


def _answers(facts: list[dict[str, Any]]) -> str:
    rows = [
        [fact["engine"], f"{fact['error']:.2%}", f"{fact['agreement']:.2%}"]
        for fact in facts
        if fact["error"] is not None
    ]
    return markdown.table(["engine", "test error", f"top-1 agreement with {BASE}"], rows)


if __name__ == "__main__":
    flags.DEFINE_string("network", None, "depth and width of a network with random weights")
    flags.DEFINE_integer("images", 10_000, "test images for the error", lower_bound=1)
    flags.DEFINE_integer("calibration", 512, "training images for int8", lower_bound=1)
    flags.DEFINE_integer("threads", 1, "threads of every engine", lower_bound=1)
    flags.DEFINE_list("batch_sizes", ["128", "32", "1"], "images per call")
    flags.DEFINE_integer("images_per_round", 256, "images per timing", lower_bound=1)
    flags.DEFINE_integer("rounds", 5, "timings of each engine", lower_bound=1)
    flags.DEFINE_integer("latency_calls", 200, "calls with one image", lower_bound=1)
    flags.DEFINE_bool("compile", True, "time PyTorch's compiled network too")
    run(measure, takes_arguments=True)
