"""What a program waits for before it computes: import, build, load_weights, the first step.

    python benchmarks/start.py --rounds 5

Each measurement is a fresh process, in turn with its peers': PyTorch's network, and plain Keras,
for import, weights and the first training step. `import` is of keras with keras_wrn's builder,
since `import keras_wrn` alone imports nothing. CPU-seconds, all threads together, since a start
is mostly one thread and what else the machine does would show in wall clock. Ratios are within a
round: below 1 is less than the peer needs.
"""

from pathlib import Path

from absl import flags
from interleaved import by_pair, in_a_fresh_process, parse_network, run, spread, write

from keras_wrn.system import markdown

SET_UP = """
import os, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
def mark():
    return time.process_time()
"""
# A peer's row is called like ours, with its name behind.
PEERS = ("PyTorch", "stock Keras")
IMPORTS = {
    "import": "import keras, keras_wrn; keras_wrn.WideResNet",
    "import, stock Keras": "import keras",
    "import, TensorFlow": "import tensorflow",
    "import, PyTorch": "import torch",
}
OURS = """
import json, pathlib, tempfile, keras, numpy as np
from keras_wrn import WideResNet
from keras_wrn.weights.loading import load_exactly
t = mark(); model = WideResNet({depth}, {width}); built = mark() - t
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "w.weights.h5")
    model.save_weights(path)
    t = mark(); load_exactly(model, path); ours = mark() - t
    t = mark(); model.load_weights(path); stock = mark() - t
print(json.dumps({{"build": built, "load weights": ours, "load weights, stock Keras": stock}}))
"""
TORCH = """
import json, pathlib, sys, tempfile
sys.path.insert(0, {here!r})
import torch, torch_peer
t = mark(); model = torch_peer.WideResNet({depth}, {width}); built = mark() - t
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "w.pt")
    torch.save(model.state_dict(), path)
    t = mark(); model.load_state_dict(torch.load(path)); loaded = mark() - t
print(json.dumps({{"build, PyTorch": built, "load weights, PyTorch": loaded}}))
"""
FIRST_STEP = """
import json, numpy as np, keras
from keras_wrn.training import model as trainer
from keras_wrn.images.preprocessing import preprocessing_of
from keras_wrn.training.recipe import Recipe
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

TORCH_STEP = """
import json, sys
sys.path.insert(0, {here!r})
import torch, torch_peer
t = mark()
step = torch_peer.training_run({depth}, {width}, 128, 1, bfloat16=True, channels_last=True)
def steps(n):
    begin = mark()
    for _ in range(n):
        step()
    return mark() - begin
first = steps(1)
whole = mark() - t
then = steps(3) / 3
print(json.dumps({{"build to first step, PyTorch": whole - then,
                  "first step, PyTorch": first - then}}))
"""


def measure() -> None:
    """Run every program in turn, and print the medians and the ratios."""
    programs = {name: f"t = mark(); {code}; took = mark() - t" for name, code in IMPORTS.items()}
    for network, codes in {
        "28-10": (OURS, TORCH),
        "16-4": (OURS, TORCH, FIRST_STEP, STOCK_STEP, TORCH_STEP),
    }.items():
        depth, width = parse_network(network)
        here = str(Path(__file__).parent)
        for i, code in enumerate(codes):
            programs[f"WRN-{network} {i}"] = code.format(depth=depth, width=width, here=here)
    found: dict[str, list[float | None]] = {}
    for number in range(flags.FLAGS.rounds):
        for name, code in programs.items():
            for what, seconds in _run(name, code).items():
                # A round in which the program failed has a None.
                of = found.setdefault(what, [])
                of += [None] * (number - len(of)) + [seconds]
    header = ["what", "CPU-seconds, median", "range", "n", *(f"against {peer}" for peer in PEERS)]
    print(markdown.table(header, table(found)))
    write({"cpu_seconds": found})


def table(found: dict[str, list[float | None]]) -> list[list[object]]:
    """A row for each: its seconds, and what they are of its peers' in the same rounds."""
    rows: list[list[object]] = []
    for what, of in found.items():
        seconds = [value for value in of if value is not None]
        middle, least, most = spread(seconds)
        ratios = [
            by_pair(of, found[f"{what}, {peer}"]) if f"{what}, {peer}" in found else "-"
            for peer in PEERS
        ]
        rows.append([what, f"{middle:.2f}", f"{least:.2f} to {most:.2f}", len(seconds), *ratios])
    return rows


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
