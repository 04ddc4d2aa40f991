"""Peak memory of training and of inference against PyTorch and plain Keras.

    python benchmarks/memory.py --network 16-4 --precision mixed_bfloat16

Each row is a fresh process that makes three steps, or predicts three times, on one batch: the peak
of its resident memory in MB, what the framework takes to import included and named apart.
"""

import statistics
from pathlib import Path

from absl import flags
from interleaved import in_a_fresh_process, markdown, parse_network, parse_sizes, run, write

PEAK = """
import json, os, resource, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.insert(0, {here!r})
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
depth, width, batch, precision = {depth}, {width}, {batch}, {precision!r}
"""
KERAS = """
import numpy as np, keras
imported = peak()
from keras_wrn import trainer
from keras_wrn.preprocessing import preprocessing_of
from keras_wrn.recipe import Recipe
from keras_wrn.training_clone import training_clone
from keras_wrn.wide_resnet import WideResNet
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
END = "\nprint(json.dumps([imported, peak()]))"


def measure(arguments: list[str]) -> None:
    """Run every program in turn, and print the medians."""
    del arguments
    options = flags.FLAGS
    depth, width = parse_network(options.network)
    sizes = parse_sizes(options.batch_sizes)
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.rounds):
        for batch in sizes:
            for (who, what), code in PROGRAMS.items():
                start = PEAK.format(
                    here=str(Path(__file__).parent),
                    depth=depth,
                    width=width,
                    batch=batch,
                    precision=options.precision,
                )
                if figures := in_a_fresh_process(f"{who}, {what}", start + code + END):
                    found.setdefault(f"{what}, batch {batch}, {who}", []).append(figures)
    rows = []
    for name, figures in found.items():
        imported, peak = (statistics.median(of) for of in zip(*figures, strict=True))
        rows.append([name, f"{peak:,.0f}", f"{peak - imported:,.0f}", len(figures)])
    print(f"WRN-{options.network}, {options.precision}; medians\n")
    print(markdown(["what", "MB at most", "over its import", "n"], rows))
    write({"megabytes": found})


if __name__ == "__main__":
    flags.DEFINE_string("network", "16-4", "depth and width")
    flags.DEFINE_list("batch_sizes", ["128", "32", "1"], "images a step")
    flags.DEFINE_enum("precision", "float32", ["float32", "mixed_bfloat16"], "of all")
    flags.DEFINE_integer("rounds", 3, "fresh processes of each", lower_bound=1)
    run(measure)
