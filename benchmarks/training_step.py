"""How fast a training step is against plain Keras: ratios from interleaved runs on this machine.

    python benchmarks/training_step.py --network 16-4 --precision mixed_bfloat16

Times `model.fit` over resident images: ours (`train`'s model: fused batch normalisation, crop and
flip on the device) and the same network of stock layers with Keras' SGD, in turn, and prints the
median of the ratios pair by pair with their range. Augmentation is part of our time and not of
the peer's.
"""

import json
import statistics
import time
from collections.abc import Callable

from absl import app, flags


def speed(fit: Callable[[], object], images: int) -> float:
    """Images per second of one call."""
    start = time.perf_counter()
    fit()
    return images / (time.perf_counter() - start)


def main(argv: list[str]) -> None:
    """Build both, warm both up, and time them in turn."""
    del argv
    import keras
    import numpy as np

    from keras_wrn import trainer
    from keras_wrn.preprocessing import preprocessing_of
    from keras_wrn.recipe import Recipe
    from keras_wrn.run_folder import hardware, versions
    from keras_wrn.wide_resnet import WideResNet

    options = flags.FLAGS
    depth, width = options.network.split("-")
    recipe = Recipe(
        depth=int(depth),
        width=float(width),
        precision=options.precision,
        batch_size=options.batch_size,
    )
    rng = np.random.default_rng(0)
    count = options.batch_size * options.steps
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, count)
    ours = trainer.build(recipe, preprocessing_of("cifar10"), (32, 32, 3), options.steps).model

    keras.config.set_dtype_policy(options.precision)
    peer = WideResNet(recipe.depth, recipe.width, classifier_activation=None)
    keras.config.set_dtype_policy("float32")
    peer.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    normalised = images.astype("float32") / 127.5 - 1

    def fit(model: keras.Model, pixels: np.ndarray) -> Callable[[], object]:
        return lambda: model.fit(pixels, labels, batch_size=options.batch_size, verbose=0)

    runs = {"keras_wrn": fit(ours, images), "stock Keras": fit(peer, normalised)}
    for run in runs.values():
        run()
    pairs = [{name: speed(run, count) for name, run in runs.items()} for _ in range(options.pairs)]
    ratios = sorted(pair["keras_wrn"] / pair["stock Keras"] for pair in pairs)
    print(
        f"WRN-{options.network}, {options.precision}, batch {options.batch_size}: keras_wrn is "
        f"{statistics.median(ratios):.2f} times as fast as stock Keras "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}, n = {len(ratios)}) on {hardware()}"
    )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump({"pairs": pairs, "hardware": hardware(), "versions": versions()}, file)


if __name__ == "__main__":
    flags.DEFINE_string("network", "16-4", "depth and width")
    flags.DEFINE_string("precision", "mixed_bfloat16", "float32 or mixed_bfloat16")
    flags.DEFINE_integer("batch_size", 128, "images a step")
    flags.DEFINE_integer("steps", 6, "steps of one timing")
    flags.DEFINE_integer("pairs", 5, "timings of each")
    flags.DEFINE_string("json", None, "write the figures there")
    app.run(main)
