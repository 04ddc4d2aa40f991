"""What a program waits for before it computes: import, build, load_weights, the first step.

    python benchmarks/start.py --rounds 5

Each measurement is a fresh process, in turn with its peer's: PyTorch for import and build, plain
Keras for the first training step. CPU-seconds, all threads together, since a start is mostly one
thread and what else the machine does would show in wall clock.
"""

import statistics
from pathlib import Path

from absl import flags
from interleaved import in_a_fresh_process, markdown, parse_network, run, write

SET_UP = """
import os, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
def mark():
    return time.process_time()
"""
IMPORTS = {
    "import keras_wrn": "import keras_wrn",
    "import keras": "import keras",
    "import tensorflow": "import tensorflow",
    "import torch": "import torch",
}
OURS = """
import json, pathlib, tempfile, keras, numpy as np, keras_wrn
t = mark(); model = keras_wrn.WideResNet({depth}, {width}); built = mark() - t
path = pathlib.Path(tempfile.mkdtemp(), "w.weights.h5")
model.save_weights(path)
from keras_wrn.weights import load_exactly
t = mark(); load_exactly(model, path); ours = mark() - t
t = mark(); model.load_weights(path); kerass = mark() - t
print(json.dumps({{"build": built, "load weights, by name": ours, "load weights, Keras": kerass}}))
"""
TORCH = """
import json, sys
sys.path.insert(0, {here!r})
import torch, torch_peer
t = mark(); model = torch_peer.WideResNet({depth}, {width})
print(json.dumps({{"build, PyTorch": mark() - t}}))
"""
FIRST_STEP = """
import json, numpy as np, keras
from keras_wrn import trainer
from keras_wrn.preprocessing import preprocessing_of
from keras_wrn.recipe import Recipe
recipe = Recipe(depth={depth}, width={width}, precision="mixed_bfloat16")
t = mark()
trainer = trainer.build(recipe, preprocessing_of("cifar10"), (32, 32, 3), 10)
images, labels = np.zeros((128, 32, 32, 3), "uint8"), np.zeros(128, "int64")
def steps(n):
    begin = mark()
    for _ in range(n):
        trainer.model.train_on_batch(images, labels)
    return mark() - begin
first = steps(1)
whole = mark() - t
then = steps(3) / 3
print(json.dumps({{"build to first step": whole - then, "first step": first - then}}))
"""
STOCK_STEP = """
import json, numpy as np, keras, keras_wrn
keras.config.set_dtype_policy("mixed_bfloat16")
t = mark()
model = keras_wrn.WideResNet({depth}, {width}, classifier_activation=None)
model.compile(keras.optimizers.SGD(0.1, 0.9, nesterov=True),
              keras.losses.SparseCategoricalCrossentropy(from_logits=True))
images, labels = np.zeros((128, 32, 32, 3), "float32"), np.zeros(128, "int64")
def steps(n):
    begin = mark()
    for _ in range(n):
        model.train_on_batch(images, labels)
    return mark() - begin
first = steps(1)
whole = mark() - t
then = steps(3) / 3
print(json.dumps({{"build to first step, stock Keras": whole - then,
                  "first step, stock Keras": first - then}}))
"""

# What does the same elsewhere.
PEERS = {
    "import keras_wrn": "import keras",
    "import keras": "import torch",
    "WRN-28-10: build": "WRN-28-10: build, PyTorch",
    "WRN-28-10: load weights, by name": "WRN-28-10: load weights, Keras",
    "WRN-16-4: load weights, by name": "WRN-16-4: load weights, Keras",
    "WRN-16-4: build to first step": "WRN-16-4: build to first step, stock Keras",
    "WRN-16-4: first step": "WRN-16-4: first step, stock Keras",
}


def measure(arguments: list[str]) -> None:
    """Run every program in turn, and print the medians."""
    del arguments
    programs = {name: f"t = mark(); {code}; took = mark() - t" for name, code in IMPORTS.items()}
    for network, codes in {
        "28-10": (OURS, TORCH),
        "16-4": (OURS, FIRST_STEP, STOCK_STEP),
    }.items():
        depth, width = parse_network(network)
        here = str(Path(__file__).parent)
        for i, code in enumerate(codes):
            programs[f"WRN-{network} {i}"] = code.format(depth=depth, width=width, here=here)
    found: dict[str, list[float]] = {}
    for _ in range(flags.FLAGS.rounds):
        for name, code in programs.items():
            for what, seconds in _run(name, code).items():
                found.setdefault(what, []).append(seconds)
    rows = []
    for what, of in found.items():
        row = [what, f"{statistics.median(of):.2f}", f"{min(of):.2f} to {max(of):.2f}", len(of)]
        peer = found.get(PEERS.get(what, ""))
        row.append(f"{statistics.median(of) / statistics.median(peer):.2f}" if peer else "")
        rows.append(row)
    print(markdown(["what", "CPU-seconds, median", "range", "n", "of its peer's"], rows))
    write({"cpu_seconds": found})


def _run(name: str, code: str) -> dict[str, float]:
    """What one fresh process measured of itself."""
    if name in IMPORTS:
        code += f"\nimport json; print(json.dumps({{{name!r}: took}}))"
    answer = in_a_fresh_process(name, SET_UP + code) or {}
    network = name.rsplit(" ", 1)[0] + ": " if name.startswith("WRN") else ""
    return {network + what: seconds for what, seconds in answer.items()}


if __name__ == "__main__":
    flags.DEFINE_integer("rounds", 5, "fresh processes of each", lower_bound=1)
    run(measure)
