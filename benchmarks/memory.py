"""Peak memory of training and of inference against PyTorch and plain Keras.

    python benchmarks/memory.py --network 16-4 --precision mixed_bfloat16

Each row is a fresh process that makes three training steps, or predicts three times, on one batch.
It shows the peak of resident memory in MB, and the part above the import of the framework. Ratios
are of peaks within a round; below 1 is less than the peer's. keras_wrn's inference is that of
`predict` and `evaluate`; the clone that `train` steps is measured too.
"""

import statistics

from absl import flags
from interleaved import (
    PEAK_MEMORY,
    by_pair,
    in_a_fresh_process,
    parse_network,
    parse_sizes,
    run,
    write,
)

from keras_wrn.system import markdown

PEAK = (
    PEAK_MEMORY
    + """
import json
depth, width, batch, precision = {depth}, {width}, {batch}, {precision!r}
"""
)
KERAS = """
import numpy as np, keras
imported = peak()
from keras_wrn.training import model as trainer
from keras_wrn.images.preprocessing import preprocessing_of
from keras_wrn.training.recipe import Recipe
from keras_wrn.training.clone import training_clone
from keras_wrn.applications.wide_resnet import WideResNet
images, labels = np.zeros((batch, 32, 32, 3), "uint8"), np.zeros(batch, "int64")
"""
STOCK = """
keras.config.set_dtype_policy(precision)
model = WideResNet(depth, width, classifier_activation=None)
"""
TORCH = """
import torch, torch_peer
imported = peak()
how = dict(bfloat16=precision != "float32", channels_last=True)
"""
PROGRAMS = {
    ("keras_wrn", "training"): KERAS
    + """
recipe = Recipe(depth=depth, width=width, precision=precision, batch_size=batch)
model = trainer.build(recipe, preprocessing_of("cifar10"), (32, 32, 3), 10).model
for _ in range(3):
    model.train_on_batch(images, labels)
""",
    ("stock Keras", "training"): KERAS
    + STOCK
    + """
model.compile(keras.optimizers.SGD(0.1, 0.9, nesterov=True),
              keras.losses.SparseCategoricalCrossentropy(from_logits=True))
for _ in range(3):
    model.train_on_batch(images.astype("float32"), labels)
""",
    ("PyTorch", "training"): TORCH
    + """
torch_peer.training_run(depth, width, batch, 3, **how)()
""",
    ("keras_wrn", "inference"): KERAS
    + """
from keras_wrn.inference.classifier import class_probabilities
keras.config.set_dtype_policy(precision)
model = WideResNet(depth, width)
for _ in range(3):
    class_probabilities(model, images, preprocessing_of("cifar10"), batch_size=batch)
""",
    ("keras_wrn's training clone", "inference"): KERAS
    + """
model = training_clone(WideResNet(depth, width), precision=precision)
for _ in range(3):
    model.predict_on_batch(images.astype("float32"))
""",
    ("stock Keras", "inference"): KERAS
    + STOCK
    + """
for _ in range(3):
    model.predict_on_batch(images.astype("float32"))
""",
    ("PyTorch", "inference"): TORCH
    + """
predict = torch_peer.inference_run(depth, width, batch, **how)
for _ in range(3):
    predict()
""",
}
PEERS = ("PyTorch", "stock Keras")
END = "\nprint(json.dumps([imported, peak()]))"


def measure() -> None:
    """Run every program in turn, and print the medians and the ratios."""
    options = flags.FLAGS
    depth, width = parse_network(options.network)
    sizes = parse_sizes(options.batch_sizes)
    found: dict[str, list[tuple[float, float] | None]] = {}
    for _ in range(options.rounds):
        for batch in sizes:
            for (who, what), code in PROGRAMS.items():
                start = PEAK.format(
                    depth=depth, width=width, batch=batch, precision=options.precision
                )
                figures = in_a_fresh_process(f"{who}, {what}", start + code + END)
                found.setdefault(f"{what}, batch {batch}, {who}", []).append(figures)
    print(f"WRN-{options.network}, {options.precision}; medians\n")
    header = ["what", "MB at most", "over its import", *(f"against {peer}" for peer in PEERS), "n"]
    print(markdown.table(header, table(found)))
    write({"megabytes": found})


def table(found: dict[str, list[tuple[float, float] | None]]) -> list[list[object]]:
    """A row for each program that was measured.

    Args:
        found: "what, batch size, who" -> MB after import and at the peak, one pair per round;
            None where the program failed.
    """
    peaks = {name: [pair and pair[1] for pair in figures] for name, figures in found.items()}
    rows: list[list[object]] = []
    for name, figures in found.items():
        measured = [pair for pair in figures if pair is not None]
        if not measured:
            continue
        what, who = name.rsplit(", ", 1)
        imported, peak = (statistics.median(values) for values in zip(*measured, strict=True))
        ratios = [
            "-" if who == peer else by_pair(peaks[name], peaks.get(f"{what}, {peer}", []))
            for peer in PEERS
        ]
        rows.append([name, f"{peak:,.0f}", f"{peak - imported:,.0f}", *ratios, len(measured)])
    return rows


if __name__ == "__main__":
    flags.DEFINE_string("network", "16-4", "depth and width")
    flags.DEFINE_list("batch_sizes", ["128", "32", "1"], "images per step")
    flags.DEFINE_enum("precision", "float32", ["float32", "mixed_bfloat16"], "of all")
    flags.DEFINE_integer("rounds", 3, "fresh processes of each program", lower_bound=1)
    run(measure)
