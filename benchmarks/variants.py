"""Whether another way to make the same training step would pay: batches, layout, recomputation.

    python benchmarks/variants.py --networks 16-4,40-1

Times, in turn, images per second of `train`'s step (`fit` over resident uint8 images) in batches of
other sizes, ten steps a call, and compiled by XLA; with planes before rows and columns (channels
first), against the same layers, stock ones, with planes last; and the blocks' gradients by
TensorFlow's own operations where each block is computed again in the backward pass, against the
same where what it needs is kept (keras.RematScope does not take layers that are told `training` in
TensorFlow's graphs). PyTorch's layouts are in training_step.py, environment variables and threads
in settings.py.
"""

import dataclasses
from collections.abc import Callable
from typing import Any
from unittest import mock

from absl import flags
from interleaved import (
    Spent,
    company,
    fit_timed,
    interleave,
    parse_network,
    parse_sizes,
    run,
    said,
    write,
)

from keras_wrn.system import markdown

PLAIN, LAST = "as it is", "stock layers, planes last"
XLA, FIRST = "compiled by XLA", "stock layers, planes first"
KEPT, RECOMPUTED = "blocks alone, kept", "blocks alone, each computed again"
AT_ONCE = 10
SEVERAL = f"{AT_ONCE} steps a call"
PEERS = {FIRST: LAST, RECOMPUTED: KEPT}  # of all others the peer is PLAIN


def measure() -> None:
    """Time every way for each network and print a table."""
    options = flags.FLAGS
    networks = {name: parse_network(name) for name in options.networks}
    sizes = parse_sizes(options.batch_sizes)
    rows, facts, every = [], [], []
    for name, (depth, width) in networks.items():
        ways = (PLAIN, SEVERAL, XLA, LAST, FIRST)
        variants = {way: _steps(depth, width, options.batch_size, way) for way in ways}
        variants |= {f"batch {size}": _steps(depth, width, size, PLAIN) for size in sizes}
        variants |= {way: _blocks(depth, width, way == RECOMPUTED) for way in (KEPT, RECOMPUTED)}
        timings = interleave(variants, options.rounds, may_fail={XLA, FIRST})
        every.append(timings)
        for of in timings.seconds:
            if of in (PLAIN, *PEERS.values()):
                continue
            peer = PEERS.get(of, PLAIN)
            ratios = (timings.ratio(of, peer, clock) for clock in ("seconds", "cpu_seconds"))
            rows.append([f"WRN-{name}", of, peer, *map(said, ratios)])
            print(rows[-1], flush=True)
        facts.append({"network": name, **dataclasses.asdict(timings)})
        write({"rows": facts})
    print(f"\n{options.precision}, batch {options.batch_size}, n = {options.rounds} rounds:\n")
    header = ["network", "way", "against", "times as fast", "in CPU-seconds"]
    print(markdown.table(header, rows))
    print(f"\n{company(every)}")


def _steps(depth: int, width: int, batch: int, way: str) -> Callable[[], Spent]:
    """A function that trains on --images images in one of the ways; what one image takes."""
    import numpy as np

    from keras_wrn.images.preprocessing import preprocessing_of
    from keras_wrn.training import model as trainer
    from keras_wrn.training.batches import InOrder, untuned
    from keras_wrn.training.clone import training_clone
    from keras_wrn.training.recipe import Recipe

    options = flags.FLAGS
    at_once = AT_ONCE if way == SEVERAL else 1
    steps = max(1, options.images // (batch * at_once)) * at_once
    recipe = Recipe(depth=depth, width=width, precision=options.precision, batch_size=batch)
    of_way = {FIRST: planes_first_clone, LAST: stock_clone}
    clone = of_way.get(way, training_clone)
    with mock.patch.object(trainer, "training_clone", clone):
        model = trainer.build(recipe, preprocessing_of("cifar10"), (32, 32, 3), steps).model
    model.steps_per_execution = at_once
    model.jit_compile = way == XLA
    count = batch * (steps + at_once)  # the first call is not timed
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    batches = untuned(InOrder(images, np.arange(count) % 10, batch))

    def fit() -> Spent:
        spent = fit_timed(model, batches, shuffle=False)
        return Spent(*(seconds / (batch * steps) for seconds in spent))

    return fit


def _blocks(depth: int, width: int, again: bool) -> Callable[[], object]:
    """A function that computes all blocks of the network, and their gradients, on one batch."""
    import tensorflow as tf

    options = flags.FLAGS
    kind = tf.bfloat16 if options.precision == "mixed_bfloat16" else tf.float32
    planes = [16, 16 * width, 32 * width, 64 * width]
    blocks = []
    for group in (1, 2, 3):
        for number in range((depth - 4) // 6):
            into, out = planes[group - (number == 0)], planes[group]
            stride = 2 if group > 1 and number == 0 else 1
            shapes = [(3, 3, into, out), (3, 3, out, out)]
            shapes += [(1, 1, into, out)] if number == 0 else []
            blocks.append(
                (stride, [0.05 * tf.random.normal(shape, dtype=kind) for shape in shapes])
            )
    start = tf.random.normal((options.batch_size, 32, 32, planes[0]), dtype=kind)

    def normalised(x: Any) -> Any:
        ones = tf.ones(x.shape[-1])
        return tf.nn.relu(tf.compat.v1.nn.fused_batch_norm(x, ones, 0 * ones)[0])

    def block_of(stride: int) -> Callable[..., Any]:
        def block(x: Any, first: Any, second: Any, projection: Any = None) -> Any:
            before = normalised(x)
            y = tf.nn.conv2d(before, first, stride, "SAME")
            y = tf.nn.conv2d(normalised(y), second, 1, "SAME")
            return y + (
                x if projection is None else tf.nn.conv2d(before, projection, stride, "SAME")
            )

        return tf.recompute_grad(block) if again else block

    @tf.function(jit_compile=False)
    def gradients() -> Any:
        kernels = [kernel for _, of_block in blocks for kernel in of_block]
        with tf.GradientTape() as tape:
            tape.watch(kernels)
            x = start
            for stride, of_block in blocks:
                x = block_of(stride)(x, *of_block)
            total = tf.reduce_sum(x)
        return [tf.reduce_sum(of) for of in tape.gradient(total, kernels)]

    return lambda: [of.numpy() for of in gradients()]


def stock_clone(network: Any, *, precision: str, synchronized: bool) -> Any:
    """The network again, of Keras' own layers, in a precision."""
    return _clone(network, network.input_shape[1:], precision, {})


def planes_first_clone(network: Any, *, precision: str, synchronized: bool) -> Any:
    """The same with planes before rows and columns; the images are turned, once."""
    import keras

    height, width, channels = network.input_shape[1:]
    turned = {"data_format": "channels_first", "axis": 1}
    inner = _clone(network, (channels, height, width), precision, turned)
    images = keras.Input((height, width, channels))
    return keras.Model(images, inner(keras.layers.Permute((3, 1, 2))(images)))


def _clone(network: Any, shape: tuple[int, ...], precision: str, changes: dict[str, Any]) -> Any:
    import keras

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        config |= {key: value for key, value in changes.items() if key in config}
        if layer.name != "predictions":
            config["dtype"] = precision
        return layer.__class__.from_config(config)

    twin = keras.models.clone_model(network, keras.Input(shape), clone)
    twin.set_weights(network.get_weights())
    return twin


if __name__ == "__main__":
    flags.DEFINE_list("networks", ["16-4", "40-1"], "depths and widths, such as 16-4,40-2")
    flags.DEFINE_enum("precision", "mixed_bfloat16", ["float32", "mixed_bfloat16"], "of all")
    flags.DEFINE_integer("batch_size", 128, "images a step", lower_bound=1)
    flags.DEFINE_list("batch_sizes", ["32", "64", "256", "512"], "images a step, to compare")
    flags.DEFINE_integer("images", 1280, "images of one timing", lower_bound=1)
    flags.DEFINE_integer("rounds", 5, "timings of each", lower_bound=1)
    run(measure)
