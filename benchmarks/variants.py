"""Other ways to make the same training step: batch sizes, layout, recomputation.

    python benchmarks/variants.py --networks 16-4,40-1

Times, in turn, per image: `train`'s step (`fit` over uint8 images in memory) in batches of other
sizes, with ten steps per call, and compiled by XLA; stock layers with channels first against stock
layers with channels last; and the blocks' gradients with each block recomputed in the backward
pass, against kept activations. The last uses TensorFlow's own operations, because keras.RematScope
refuses layers that are called with `training` in TensorFlow graphs. training_step.py has PyTorch's
layouts, settings.py has environment variables and threads.
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
    training_model,
    with_range,
    write,
)

from keras_wrn.system import markdown

PLAIN, LAST = "as it is", "stock layers, channels last"
XLA, FIRST = "compiled by XLA", "stock layers, channels first"
KEPT, RECOMPUTED = "blocks alone, kept", "blocks alone, each computed again"
AT_ONCE = 10
SEVERAL = f"{AT_ONCE} steps a call"
PEERS = {FIRST: LAST, RECOMPUTED: KEPT}  # the peer of all others is PLAIN


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
        for way in timings.seconds:
            if way in (PLAIN, *PEERS.values()):
                continue
            peer = PEERS.get(way, PLAIN)
            ratios = (timings.ratio(way, peer, clock) for clock in ("seconds", "cpu_seconds"))
            rows.append([f"WRN-{name}", way, peer, *map(with_range, ratios)])
            print(rows[-1], flush=True)
        facts.append({"network": name, **dataclasses.asdict(timings)})
        write({"rows": facts})
    print(f"\n{options.precision}, batch {options.batch_size}, n = {options.rounds} rounds:\n")
    header = ["network", "way", "against", "times as fast", "in CPU-seconds"]
    print(markdown.table(header, rows))
    print(f"\n{company(every)}")


def _steps(depth: int, width: int, batch: int, way: str) -> Callable[[], Spent]:
    """A function that trains on --images images in one of the ways; it returns time per image."""
    import numpy as np

    from keras_wrn.training import model as model_file
    from keras_wrn.training.batches import InOrder, untuned
    from keras_wrn.training.clone import training_clone
    from keras_wrn.training.recipe import Recipe

    options = flags.FLAGS
    at_once = AT_ONCE if way == SEVERAL else 1
    steps = max(1, options.images // (batch * at_once)) * at_once
    recipe = Recipe(depth=depth, width=width, precision=options.precision, batch_size=batch)
    clone = {FIRST: channels_first_clone, LAST: stock_clone}.get(way, training_clone)
    with mock.patch.object(model_file, "training_clone", clone):
        model = training_model(recipe, steps)
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
    """A function that computes all blocks of a network and their gradients on one batch."""
    import tensorflow as tf

    options = flags.FLAGS
    kind = tf.bfloat16 if options.precision == "mixed_bfloat16" else tf.float32
    channels = [16, 16 * width, 32 * width, 64 * width]
    blocks = []
    for group in (1, 2, 3):
        for number in range((depth - 4) // 6):
            into, out = channels[group - (number == 0)], channels[group]
            stride = 2 if group > 1 and number == 0 else 1
            shapes = [(3, 3, into, out), (3, 3, out, out)]
            shapes += [(1, 1, into, out)] if number == 0 else []
            blocks.append(
                (stride, [0.05 * tf.random.normal(shape, dtype=kind) for shape in shapes])
            )
    start = tf.random.normal((options.batch_size, 32, 32, channels[0]), dtype=kind)

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
        kernels = [kernel for _, block_kernels in blocks for kernel in block_kernels]
        with tf.GradientTape() as tape:
            tape.watch(kernels)
            x = start
            for stride, block_kernels in blocks:
                x = block_of(stride)(x, *block_kernels)
            total = tf.reduce_sum(x)
        return [tf.reduce_sum(gradient) for gradient in tape.gradient(total, kernels)]

    return lambda: [value.numpy() for value in gradients()]


def stock_clone(network: Any, *, precision: str, synchronized: bool) -> Any:
    """A copy of the network with Keras' own layers, in a precision."""
    return _clone(network, network.input_shape[1:], precision, {})


def channels_first_clone(network: Any, *, precision: str, synchronized: bool) -> Any:
    """The same with channels first; the images are transposed once."""
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
    flags.DEFINE_integer("batch_size", 128, "images per step", lower_bound=1)
    flags.DEFINE_list("batch_sizes", ["32", "64", "256", "512"], "images per step, to compare")
    flags.DEFINE_integer("images", 1280, "images per timing", lower_bound=1)
    flags.DEFINE_integer("rounds", 5, "timings of each way", lower_bound=1)
    run(measure)
