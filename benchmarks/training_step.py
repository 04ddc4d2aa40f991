"""How fast a training step is against PyTorch and against plain Keras, and how near the limit.

    python benchmarks/training_step.py --networks 16-4,40-2,40-1 --precision mixed_bfloat16

Times, in turn: ours (`model.fit` of `train`'s model over resident uint8 images: fused batch
normalisation, crop and flip and normalisation in the step), the same network of stock layers
with Keras' SGD on ready images, and PyTorch's with its SGD on one ready batch, channels last and
first. Augmentation is part of our time alone. The limit is a matrix product of the same precision,
timed in the same rounds.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from absl import app, flags
from interleaved import Timings, interleave, markdown, said, write

OURS, STOCK = "keras_wrn", "stock Keras"
TORCH = {"PyTorch channels last": True, "PyTorch channels first": False}
MATRIX, SIDE = "matrix product", 3072


def main(argv: list[str]) -> None:
    """Measure each network and print a table."""
    del argv
    options = flags.FLAGS
    rows, facts = [], []
    for network in options.networks:
        depth, width = map(int, network.split("-"))
        timings, gflop, parts = measure(depth, width)
        peers = [name for name in timings.seconds if name in TORCH]
        best = min(peers, key=lambda name: min(timings.seconds[name]), default=None)
        share = _share_of_limit(timings, gflop)
        rows.append(
            [
                f"WRN-{network}",
                said(timings.ratio(OURS, best)) if best else "not measured",
                best or "",
                said(timings.ratio(OURS, STOCK)),
                f"{share:.0%}",
            ]
        )
        facts.append({"network": network, **parts, **dataclasses.asdict(timings)})
        print(f"WRN-{network}: {rows[-1]}", flush=True)
    header = ["network", "against PyTorch", "its faster layout", "against stock Keras"]
    print(f"\n{options.precision}, batch {options.batch_size}, n = {options.rounds} rounds:\n")
    print(markdown([*header, "share of the matrix product's rate"], rows))
    write(options.json, {"precision": options.precision, "rows": facts})


def measure(depth: int, width: int) -> tuple[Timings, float, dict[str, Any]]:
    """Time all variants of one network; returns also the GFLOP of one of their runs."""
    options = flags.FLAGS
    count = options.batch_size * options.steps
    variants = keras_runs(depth, width, count)
    bfloat16 = options.precision == "mixed_bfloat16"
    try:
        import torch_peer
    except ModuleNotFoundError:
        print("PyTorch is not installed: pip install torch")
    else:
        for name, channels_last in TORCH.items():
            variants[name] = torch_peer.training_run(
                depth,
                width,
                options.batch_size,
                options.steps,
                bfloat16=bfloat16,
                channels_last=channels_last,
            )
    variants[MATRIX] = matrix_run(bfloat16)
    from keras_wrn.cost import FLOP_OF_TRAINING, multiply_adds
    from keras_wrn.wide_resnet import WideResNet

    gflop = FLOP_OF_TRAINING * multiply_adds(WideResNet(depth, width)) * count / 1e9
    return interleave(variants, options.rounds), gflop, {"gflop": gflop, "images": count}


def keras_runs(depth: int, width: int, count: int) -> dict[str, Callable[[], object]]:
    """Ours and plain Keras'."""
    import keras
    import numpy as np

    from keras_wrn import trainer
    from keras_wrn.preprocessing import preprocessing_of
    from keras_wrn.recipe import Recipe
    from keras_wrn.wide_resnet import WideResNet

    options = flags.FLAGS
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, count)
    recipe = Recipe(
        depth=depth, width=width, precision=options.precision, batch_size=options.batch_size
    )
    ours = trainer.build(recipe, preprocessing_of("cifar10"), (32, 32, 3), options.steps).model
    keras.config.set_dtype_policy(options.precision)
    stock = WideResNet(depth, width, classifier_activation=None)
    keras.config.set_dtype_policy("float32")
    stock.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    ready = images.astype("float32") / 127.5 - 1

    def fit(model: keras.Model, pixels: np.ndarray) -> Callable[[], object]:
        return lambda: model.fit(pixels, labels, batch_size=options.batch_size, verbose=0)

    return {OURS: fit(ours, images), STOCK: fit(stock, ready)}


def matrix_run(bfloat16: bool) -> Callable[[], object]:
    """A product of two square matrices, in a graph of TensorFlow."""
    import tensorflow as tf

    matrix = tf.random.normal((SIDE, SIDE), dtype=tf.bfloat16 if bfloat16 else tf.float32)
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)))
    return lambda: product().numpy()


def _share_of_limit(timings: Timings, gflop: float) -> float:
    """Our rate over the matrix product's, the median over the rounds."""
    ratio = timings.ratio(OURS, MATRIX)[0]
    return ratio * gflop / (2 * SIDE**3 / 1e9)


if __name__ == "__main__":
    flags.DEFINE_list("networks", ["16-4"], "depths and widths, such as 16-4,40-2")
    flags.DEFINE_enum("precision", "mixed_bfloat16", ["float32", "mixed_bfloat16"], "of all")
    flags.DEFINE_integer("batch_size", 128, "images a step")
    flags.DEFINE_integer("steps", 6, "steps of one timing")
    flags.DEFINE_integer("rounds", 5, "timings of each")
    flags.DEFINE_string("json", None, "write the figures there")
    app.run(main)
