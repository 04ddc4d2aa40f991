"""The speed of a training step against PyTorch and plain Keras, and its share of the limit.

    python benchmarks/training_step.py --networks 16-4,40-2,40-1 --batch_sizes 128,32,1

Times, in turn: ours, `model.fit` of `train`'s model over uint8 images in memory, with crop, flip
and normalisation in the step; ours without each of the training clone's two layers; the network of
stock layers with Keras' SGD on ready images; and PyTorch's with its fused SGD on one ready batch,
channels last, channels first, and compiled. Only our time includes augmentation. The limits are a
matrix product of the same precision, TensorFlow's or PyTorch's, whichever is faster, and a loop of
the CPU's widest multiply-adds, in the same rounds.

Of `fit`, the steps after the first are timed (`fit_timed`). Its start and end are small beside the
390 steps of an epoch but not beside those of a timing, and PyTorch's loop has none. `--steps` are
those of the largest batch; a timing of a smaller batch has as many images, or 200 steps.

Ratios are of wall clock. One column is in CPU-seconds, which include the waiting of several threads
for one another; with `--threads 1` there is none. Keras reads its batches without tf.data's tuning
thread (`batches.untuned`), whose end would be part of every timing.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from unittest import mock

from absl import flags
from instruction_peak import PEAK, Unavailable, peak_run
from interleaved import (
    Timings,
    company,
    fit_timed,
    interleave,
    parse_network,
    parse_sizes,
    run,
    training_model,
    with_range,
    write,
)

from keras_wrn.system import markdown

OURS, STOCK = "keras_wrn", "stock Keras"
STOCK_NORM, STOCK_CONV = "stock batch normalisation", "stock weight gradient"
# Whether the images are channels last, and whether the network is compiled.
TORCH = {
    "PyTorch channels last": (True, False),
    "PyTorch channels first": (False, False),
    "PyTorch compiled": (True, True),
}
MATRIX, SIDE = "matrix product", 4096
MATRICES = {f"{MATRIX}, {library}": library for library in ("TensorFlow", "PyTorch")}
MOST_STEPS = 200  # per timing, unless --steps is more
Builder = Callable[[], Callable[[], object]]  # makes a function to time


def measure() -> None:
    """Time each network at each batch size and print a table."""
    options = flags.FLAGS
    networks = {name: parse_network(name) for name in options.networks}
    sizes = parse_sizes(options.batch_sizes)
    if options.threads:
        _hold_to(options.threads)
    rows, facts, every = [], [], []
    for name, (depth, width) in networks.items():
        for batch in sizes:
            steps = steps_of(batch, max(sizes), options.steps)
            timings, gflop, limits = _time(depth, width, batch, steps)
            rows.append([f"WRN-{name}", batch, *_row(timings, gflop, limits)])
            print(f"WRN-{name}, batch {batch}: {rows[-1]}", flush=True)
            every.append(timings)
            about = {"network": name, "batch_size": batch, "steps": steps, "gflop": gflop}
            facts.append({**about, "limits": limits, **dataclasses.asdict(timings)})
            write({"rows": facts})
    header = ["network", "batch", "against PyTorch", "its fastest", "in CPU-seconds"]
    header += [f"against {other}" for other in (STOCK, STOCK_NORM, STOCK_CONV)]
    header += [f"share of the rate of the fastest {MATRIX}", f"of {PEAK}"]
    threads = f"{options.threads} thread(s)" if options.threads else "all cores"
    print(f"\n{options.precision}, {threads}, n = {options.rounds} rounds:\n")
    print(markdown.table(header, rows))
    print(f"\n{company(every)}")


def steps_of(batch: int, largest: int, steps: int) -> int:
    """Steps per timing: as many images as `steps` of the largest batch, up to MOST_STEPS."""
    return max(steps, min(steps * largest // batch, MOST_STEPS))


def _row(timings: Timings, gflop: float, limits: dict[str, float]) -> list[str]:
    """The cells of one network and batch size."""
    best, product = timings.fastest(TORCH), timings.fastest(MATRICES)
    return [
        with_range(timings.ratio(OURS, best)) if best else "not measured",
        best or "",
        with_range(timings.ratio(OURS, best, "cpu_seconds")) if best else "not measured",
        *(
            with_range(timings.ratio(OURS, other)) if other in timings.seconds else "-"
            for other in (STOCK, STOCK_NORM, STOCK_CONV)
        ),
        f"{_share(timings, gflop, product, limits)}, {MATRICES[product]}",
        _share(timings, gflop, PEAK, limits),
    ]


def _time(
    depth: int, width: int, batch: int, steps: int
) -> tuple[Timings, float, dict[str, float]]:
    """Timings of all variants, the GFLOP of one run, and the GFLOP of each limit."""
    from keras_wrn.applications.wide_resnet import WideResNet
    from keras_wrn.training.cost import FLOP_OF_TRAINING, multiply_adds

    options = flags.FLAGS
    bfloat16 = options.precision == "mixed_bfloat16"
    how = (depth, width, batch, steps, options.precision)
    builders = keras_steps(*how) | torch_steps(*how, compiled=options.compile)
    builders |= matrix_runs(bfloat16)
    variants = {name: make() for name, make in builders.items()}
    limits = {name: 2 * SIDE**3 * options.products / 1e9 for name in MATRICES if name in variants}
    try:
        variants[PEAK], peak = peak_run("bfloat16" if bfloat16 else "float32", options.threads)
        limits[PEAK] = peak / 1e9
    except Unavailable as reason:
        print(f"{PEAK}: not measured: {reason}", flush=True)
    gflop = FLOP_OF_TRAINING * multiply_adds(WideResNet(depth, width)) * batch * steps / 1e9
    return interleave(variants, options.rounds, may_fail=TORCH), gflop, limits


def _hold_to(threads: int) -> None:
    """Limit the threads of both frameworks."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    with contextlib.suppress(ModuleNotFoundError):
        import torch

        torch.set_num_threads(threads)


def keras_steps(
    depth: int, width: int, batch: int, steps: int, precision: str
) -> dict[str, Builder]:
    """Builders of our steps, ours without its faster layers, and plain Keras'."""
    import keras
    import numpy as np

    from keras_wrn.applications.wide_resnet import WideResNet
    from keras_wrn.training import clone
    from keras_wrn.training.batches import InOrder, untuned
    from keras_wrn.training.recipe import Recipe

    count = batch * (steps + 1)  # the first is not timed
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, count)
    recipe = Recipe(depth=depth, width=width, precision=precision, batch_size=batch)

    def fit(model: keras.Model, pixels: np.ndarray) -> Callable[[], object]:
        batches = untuned(InOrder(pixels, labels, batch))
        return lambda: fit_timed(model, batches, shuffle=False)

    def ours() -> Callable[[], object]:
        return fit(training_model(recipe, steps), images)

    def ours_with(stock_layer: str, clones_layer: str) -> Callable[[], object]:
        """Ours, with Keras' layer in place of one of the training clone's."""
        with mock.patch.object(clone, clones_layer, getattr(keras.layers, stock_layer)):
            return ours()

    def stock() -> Callable[[], object]:
        keras.config.set_dtype_policy(precision)
        model = WideResNet(depth, width, classifier_activation=None)
        keras.config.set_dtype_policy("float32")
        model.compile(
            keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        return fit(model, images.astype("float32") / 127.5 - 1)

    builders = {
        OURS: ours,
        STOCK: stock,
        STOCK_NORM: lambda: ours_with("BatchNormalization", "FusedBatchNormalization"),
    }
    if precision == "mixed_bfloat16":
        builders[STOCK_CONV] = lambda: ours_with("Conv2D", "ProductGradientConv2D")
    return builders


def torch_steps(
    depth: int, width: int, batch: int, steps: int, precision: str, compiled: bool = True
) -> dict[str, Builder]:
    """Builders of PyTorch's steps; empty if it is not installed."""
    try:
        import torch_peer
    except ModuleNotFoundError:
        print('PyTorch is not installed: pip install -e ".[bench]"')
        return {}
    torch_peer.forget()
    bfloat16 = precision == "mixed_bfloat16"
    make = functools.partial(torch_peer.training_run, depth, width, batch, steps, bfloat16=bfloat16)
    return {
        name: functools.partial(make, channels_last=last, compiled=compile_it)
        for name, (last, compile_it) in TORCH.items()
        if compiled or not compile_it
    }


def matrix_runs(bfloat16: bool) -> dict[str, Builder]:
    """Builders of TensorFlow's and PyTorch's products of square matrices."""
    import tensorflow as tf

    repeats = flags.FLAGS.products

    def of_tensorflow() -> Callable[[], object]:
        matrix = tf.random.normal((SIDE, SIDE), dtype=tf.bfloat16 if bfloat16 else tf.float32)
        product = tf.function(lambda: tf.matmul(matrix, matrix)[0, 0])
        return lambda: [product().numpy() for _ in range(repeats)]

    builders: list[Builder] = [of_tensorflow]
    with contextlib.suppress(ModuleNotFoundError):
        import torch_peer

        builders.append(functools.partial(torch_peer.matrix_run, SIDE, repeats, bfloat16=bfloat16))
    return dict(zip(MATRICES, builders, strict=False))


def _share(timings: Timings, gflop: float, limit: str, limits: dict[str, float]) -> str:
    """Our FLOP rate over a limit's, with range."""
    if limit not in limits:
        return "not measured"
    ratios = timings.ratio(OURS, limit)
    return with_range(tuple(ratio * gflop / limits[limit] for ratio in ratios), ".0%")


if __name__ == "__main__":
    flags.DEFINE_list("networks", ["16-4"], "depths and widths, such as 16-4,40-2")
    flags.DEFINE_enum("precision", "mixed_bfloat16", ["float32", "mixed_bfloat16"], "of all")
    flags.DEFINE_list("batch_sizes", ["128"], "images per step, such as 128,32,1")
    flags.DEFINE_integer("steps", 6, "steps per timing of the largest batch", lower_bound=1)
    flags.DEFINE_integer("rounds", 5, "timings of each variant", lower_bound=1)
    flags.DEFINE_integer("threads", 0, "threads; 0: as many as cores", lower_bound=0)
    flags.DEFINE_integer("products", 10, "matrix products per timing", lower_bound=1)
    flags.DEFINE_bool("compile", True, "time PyTorch compiled too; compiling takes minutes")
    run(measure)
