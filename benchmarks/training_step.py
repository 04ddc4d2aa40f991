"""How fast a training step is against PyTorch and against plain Keras, and how near the limit.

    python benchmarks/training_step.py --networks 16-4,40-2,40-1 --precision mixed_bfloat16

Times, in turn: ours (`model.fit` of `train`'s model over resident uint8 images: crop, flip and
normalisation in the step, on the training clone), the same without each of the clone's two
layers, the same network of stock layers with Keras' SGD on ready images, and PyTorch's with its
fused SGD on one ready batch: channels last, channels first, and compiled. Augmentation is part of
our time alone. The limits are a matrix product of the same precision, and a loop of the CPU's
widest multiply-adds, in the same rounds.

Ratios are of wall clock, but for the column in CPU-seconds, which with several threads include
what these wait for one another; `--threads 1` has no such thing. Keras reads its batches without
tf.data's tuning thread (keras_wrn/untuned.py), whose end would be part of every timing.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from unittest import mock

from absl import flags
from instruction_peak import Unavailable, peak_run
from interleaved import Timings, interleave, markdown, parse_network, run, said, write

OURS, STOCK = "keras_wrn", "stock Keras"
STOCK_NORM, STOCK_CONV = "stock batch normalisation", "stock weight gradient"
# Whether the images are channels last, and whether the network is compiled.
TORCH = {
    "PyTorch channels last": (True, False),
    "PyTorch channels first": (False, False),
    "PyTorch compiled": (True, True),
}
MATRIX, SIDE = "matrix product", 4096
PEAK = "multiply-adds alone"
Builder = Callable[[], Callable[[], object]]  # makes what is timed


def measure(arguments: list[str]) -> None:
    """Time each network and print a table."""
    del arguments
    options = flags.FLAGS
    networks = {name: parse_network(name) for name in options.networks}
    if options.threads:
        _hold_to(options.threads)
    rows, facts = [], []
    for name, (depth, width) in networks.items():
        timings, gflop, limits = _time(depth, width)
        best = timings.fastest(TORCH)
        rows.append(
            [
                f"WRN-{name}",
                said(timings.ratio(OURS, best)) if best else "not measured",
                best or "",
                said(timings.ratio(OURS, best, "cpu_seconds")) if best else "not measured",
                *(
                    said(timings.ratio(OURS, other)) if other in timings.seconds else "-"
                    for other in (STOCK, STOCK_NORM, STOCK_CONV)
                ),
                *(_share(timings, gflop, limit, limits) for limit in (MATRIX, PEAK)),
            ]
        )
        facts.append(
            {"network": name, "gflop": gflop, "limits": limits, **dataclasses.asdict(timings)}
        )
        print(f"WRN-{name}: {rows[-1]}", flush=True)
    header = ["network", "against PyTorch", "its fastest", "in CPU-seconds", f"against {STOCK}"]
    header += [f"against {STOCK_NORM}", f"against {STOCK_CONV}"]
    header += [f"share of the rate of a {MATRIX}", f"of {PEAK}"]
    threads = f"{options.threads} thread(s)" if options.threads else "all cores"
    print(
        f"\n{options.precision}, batch {options.batch_size}, {threads}, "
        f"n = {options.rounds} rounds:\n"
    )
    print(markdown(header, rows))
    write({"rows": facts})


def _time(depth: int, width: int) -> tuple[Timings, float, dict[str, float]]:
    """Time all variants; also the GFLOP of one of their runs, and those of the limits'."""
    from keras_wrn.cost import FLOP_OF_TRAINING, multiply_adds
    from keras_wrn.wide_resnet import WideResNet

    options = flags.FLAGS
    bfloat16 = options.precision == "mixed_bfloat16"
    count = options.batch_size * options.steps
    builders = keras_steps(depth, width) | torch_steps(depth, width)
    variants = {of: build() for of, build in builders.items()}
    limits = {}
    variants[MATRIX], limits[MATRIX] = matrix_run(bfloat16)
    try:
        variants[PEAK], peak = peak_run(bfloat16, options.threads)
        limits[PEAK] = peak / 1e9
    except Unavailable as reason:
        print(f"{PEAK}: not measured: {reason}", flush=True)
    gflop = FLOP_OF_TRAINING * multiply_adds(WideResNet(depth, width)) * count / 1e9
    return interleave(variants, options.rounds), gflop, limits


def _hold_to(threads: int) -> None:
    """Let both frameworks have so many threads."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    with contextlib.suppress(ModuleNotFoundError):
        import torch

        torch.set_num_threads(threads)


def keras_steps(depth: int, width: int) -> dict[str, Builder]:
    """Functions that build the steps of ours, ours without its faster layers, and plain Keras."""
    import keras
    import numpy as np

    from keras_wrn import trainer, training_clone
    from keras_wrn.batches import InOrder
    from keras_wrn.preprocessing import preprocessing_of
    from keras_wrn.recipe import Recipe
    from keras_wrn.untuned import untuned
    from keras_wrn.wide_resnet import WideResNet

    options = flags.FLAGS
    count = options.batch_size * options.steps
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, count)
    recipe = Recipe(
        depth=depth, width=width, precision=options.precision, batch_size=options.batch_size
    )

    def fit(model: keras.Model, pixels: np.ndarray) -> Callable[[], object]:
        batches = untuned(InOrder(pixels, labels, options.batch_size))
        return lambda: model.fit(batches, shuffle=False, verbose=0)

    def ours() -> Callable[[], object]:
        built = trainer.build(recipe, preprocessing_of("cifar10"), (32, 32, 3), options.steps)
        return fit(built.model, images)

    def ours_with(stock_layer: str, of_ours: str) -> Callable[[], object]:
        """Ours, with Keras' own layer in the place of one of the training clone's."""
        with mock.patch.object(training_clone, of_ours, getattr(keras.layers, stock_layer)):
            return ours()

    def stock() -> Callable[[], object]:
        keras.config.set_dtype_policy(options.precision)
        model = WideResNet(depth, width, classifier_activation=None)
        keras.config.set_dtype_policy("float32")
        model.compile(
            keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        return fit(model, images.astype("float32") / 127.5 - 1)

    steps = {
        OURS: ours,
        STOCK: stock,
        STOCK_NORM: lambda: ours_with("BatchNormalization", "FusedBatchNormalization"),
    }
    if options.precision == "mixed_bfloat16":
        steps[STOCK_CONV] = lambda: ours_with("Conv2D", "FlatGradientConv2D")
    return steps


def torch_steps(depth: int, width: int) -> dict[str, Builder]:
    """Functions that build PyTorch's steps; none where it is not installed."""
    try:
        import torch_peer
    except ModuleNotFoundError:
        print('PyTorch is not installed: pip install -e ".[bench]"')
        return {}
    options = flags.FLAGS
    return {
        name: functools.partial(
            torch_peer.training_run,
            depth,
            width,
            options.batch_size,
            options.steps,
            bfloat16=options.precision == "mixed_bfloat16",
            channels_last=channels_last,
            compiled=compiled,
        )
        for name, (channels_last, compiled) in TORCH.items()
        if options.compile or not compiled
    }


def matrix_run(bfloat16: bool) -> tuple[Callable[[], object], float]:
    """Products of two square matrices in a graph of TensorFlow, and their GFLOP."""
    import tensorflow as tf

    repeats = flags.FLAGS.products
    matrix = tf.random.normal((SIDE, SIDE), dtype=tf.bfloat16 if bfloat16 else tf.float32)
    product = tf.function(lambda: tf.matmul(matrix, matrix)[0, 0])
    gflop = 2 * SIDE**3 * repeats / 1e9
    return lambda: [product().numpy() for _ in range(repeats)], gflop


def _share(timings: Timings, gflop: float, limit: str, limits: dict[str, float]) -> str:
    """Our rate over a limit's, with its range."""
    if limit not in limits:
        return "not measured"
    share = [f"{ratio * gflop / limits[limit]:.0%}" for ratio in timings.ratio(OURS, limit)]
    return f"{share[0]} ({share[1]} to {share[2]})"


if __name__ == "__main__":
    flags.DEFINE_list("networks", ["16-4"], "depths and widths, such as 16-4,40-2")
    flags.DEFINE_enum("precision", "mixed_bfloat16", ["float32", "mixed_bfloat16"], "of all")
    flags.DEFINE_integer("batch_size", 128, "images a step", lower_bound=1)
    flags.DEFINE_integer("steps", 6, "steps of one timing", lower_bound=1)
    flags.DEFINE_integer("rounds", 5, "timings of each", lower_bound=1)
    flags.DEFINE_integer("threads", 0, "of every variant; 0 for as many as cores", lower_bound=0)
    flags.DEFINE_integer("products", 10, "matrix products of one timing", lower_bound=1)
    flags.DEFINE_bool("compile", True, "time PyTorch's compiled network too: minutes to compile")
    run(measure)
