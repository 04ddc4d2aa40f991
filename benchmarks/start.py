"""What a program waits for before it computes: import, build, load_weights, the first step.

    python benchmarks/start.py --rounds 5

Each measurement is a fresh process, in turn with its peer's: PyTorch for import and build, plain
Keras for the first training step. CPU-seconds, all threads together, since a start is mostly one
thread and what else the machine does would show in wall clock.
"""

import json
import statistics
import subprocess
import sys

from absl import app, flags
from interleaved import markdown, write

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
sys.path.insert(0, "benchmarks")
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
trainer = trainer.build(recipe, preprocessing_of("cifar10"), (32, 32, 3), 10)
images, labels = np.zeros((128, 32, 32, 3), "uint8"), np.zeros(128, "int64")
def steps(n):
    t = mark()
    for _ in range(n):
        trainer.model.train_on_batch(images, labels)
    return mark() - t
first, then = steps(1), steps(3) / 3
print(json.dumps({{"first step": first - then}}))
"""
STOCK_STEP = """
import json, numpy as np, keras, keras_wrn
keras.config.set_dtype_policy("mixed_bfloat16")
model = keras_wrn.WideResNet({depth}, {width}, classifier_activation=None)
model.compile(keras.optimizers.SGD(0.1, 0.9, nesterov=True),
              keras.losses.SparseCategoricalCrossentropy(from_logits=True))
images, labels = np.zeros((128, 32, 32, 3), "float32"), np.zeros(128, "int64")
def steps(n):
    t = mark()
    for _ in range(n):
        model.train_on_batch(images, labels)
    return mark() - t
first, then = steps(1), steps(3) / 3
print(json.dumps({{"first step, stock Keras": first - then}}))
"""


def main(argv: list[str]) -> None:
    """Run every program in turn, and print the medians."""
    del argv
    programs = {name: f"t = mark(); {code}; took = mark() - t" for name, code in IMPORTS.items()}
    for network, codes in {
        "28-10": (OURS, TORCH),
        "16-4": (OURS, FIRST_STEP, STOCK_STEP),
    }.items():
        depth, width = map(int, network.split("-"))
        for code in codes:
            programs[f"WRN-{network} {codes.index(code)}"] = code.format(depth=depth, width=width)
    found: dict[str, list[float]] = {}
    for _ in range(flags.FLAGS.rounds):
        for name, code in programs.items():
            for what, seconds in _run(name, code).items():
                found.setdefault(what, []).append(seconds)
    rows = [
        [what, f"{statistics.median(of):.2f}", f"{min(of):.2f} to {max(of):.2f}", len(of)]
        for what, of in found.items()
    ]
    print(markdown(["what", "CPU-seconds, median", "range", "n"], rows))
    write(flags.FLAGS.json, {"cpu_seconds": found})


def _run(name: str, code: str) -> dict[str, float]:
    """What one fresh process measured of itself."""
    if name in IMPORTS:
        code += f"\nimport json; print(json.dumps({{{name!r}: took}}))"
    done = subprocess.run(
        [sys.executable, "-c", SET_UP + code], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"{name}: not measured: {done.stderr.strip().splitlines()[-1]}")
        return {}
    network = name.rsplit(" ", 1)[0] + ": " if name.startswith("WRN") else ""
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return {network + what: seconds for what, seconds in answer.items()}


if __name__ == "__main__":
    flags.DEFINE_integer("rounds", 5, "fresh processes of each")
    flags.DEFINE_string("json", None, "write the figures there")
    app.run(main)
