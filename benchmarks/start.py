"""The time before a program computes: import, build, load_weights, the first step.

    python benchmarks/start.py --rounds 5

Each measurement is a fresh process, in turn with its peers: PyTorch's network, and plain Keras for
import, weights and the first training step. `import` is of keras and keras_wrn's builder, because
`import keras_wrn` alone imports nothing. The clock is CPU-seconds over all threads, because a start
is mostly single-threaded, and other processes would disturb the wall clock. Ratios are within a
round; below 1 is less than the peer's.
"""

from absl import flags
from interleaved import by_pair, in_a_fresh_process, parse_network, run, spread, write

from keras_wrn.system import markdown

SET_UP = """
import time
def mark():
    return time.process_time()
"""
# A peer's row has our row's name, a comma and the peer's name.
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
print(json.dumps({{"build": built, "load weights": ours}}))
"""
STOCK_LOAD = """
import json, pathlib, tempfile
from keras_wrn import WideResNet
model = WideResNet({depth}, {width})
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "w.weights.h5")
    model.save_weights(path)
    t = mark(); model.load_weights(path); stock = mark() - t
print(json.dumps({{"load weights, stock Keras": stock}}))
"""
TORCH = """
import json, pathlib, tempfile, torch, torch_peer
t = mark(); model = torch_peer.WideResNet({depth}, {width}); built = mark() - t
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "w.pt")
    torch.save(model.state_dict(), path)
    t = mark(); model.load_state_dict(torch.load(path)); loaded = mark() - t
print(json.dumps({{"build, PyTorch": built, "load weights, PyTorch": loaded}}))
"""
# The end of the programs below, which define `step`, begin at `t` and name their `peer`.
STEPS = """
def steps(n):
    begin = mark()
    for _ in range(n):
        step()
    return mark() - begin
first = steps(1)
total = mark() - t
then = steps(3) / 3
print(json.dumps({{"build to first step" + peer: total - then, "first step" + peer: first - then}}))
"""
FIRST_STEP = (
    """
import json, numpy as np, keras
from keras_wrn.training import model as trainer
from keras_wrn.images.preprocessing import preprocessing_of
from keras_wrn.training.recipe import Recipe
peer = ""
recipe = Recipe(depth={depth}, width={width}, precision="mixed_bfloat16")
t = mark()
model = trainer.build(recipe, preprocessing_of("cifar10"), (32, 32, 3), 10).model
images, labels = np.zeros((128, 32, 32, 3), "uint8"), np.zeros(128, "int64")
def step():
    model.train_on_batch(images, labels)
"""
    + STEPS
)
STOCK_STEP = (
    """
import json, numpy as np, keras, keras_wrn
peer = ", stock Keras"
keras.config.set_dtype_policy("mixed_bfloat16")
t = mark()
model = keras_wrn.WideResNet({depth}, {width}, classifier_activation=None)
model.compile(keras.optimizers.SGD(0.1, 0.9, nesterov=True),
              keras.losses.SparseCategoricalCrossentropy(from_logits=True))
images, labels = np.zeros((128, 32, 32, 3), "float32"), np.zeros(128, "int64")
def step():
    model.train_on_batch(images, labels)
"""
    + STEPS
)
TORCH_STEP = (
    """
import json, torch, torch_peer
peer = ", PyTorch"
t = mark()
step = torch_peer.training_run({depth}, {width}, 128, 1, bfloat16=True, channels_last=True)
"""
    + STEPS
)


def measure() -> None:
    """Run every program in turn, and print the medians and the ratios."""
    programs = {name: f"t = mark(); {code}; took = mark() - t" for name, code in IMPORTS.items()}
    for network, codes in {
        "28-10": (OURS, STOCK_LOAD, TORCH),
        "16-4": (OURS, STOCK_LOAD, TORCH, FIRST_STEP, STOCK_STEP, TORCH_STEP),
    }.items():
        depth, width = parse_network(network)
        for i, code in enumerate(codes):
            programs[f"WRN-{network} {i}"] = code.format(depth=depth, width=width)
    found: dict[str, list[float | None]] = {}
    for number in range(flags.FLAGS.rounds):
        for name, code in programs.items():
            for what, seconds in _run(name, code).items():
                # None stands for rounds in which the program failed.
                rounds = found.setdefault(what, [])
                rounds += [None] * (number - len(rounds)) + [seconds]
    header = ["what", "CPU-seconds, median", "range", "n", *(f"against {peer}" for peer in PEERS)]
    print(markdown.table(header, table(found)))
    write({"cpu_seconds": found})


def table(found: dict[str, list[float | None]]) -> list[list[object]]:
    """A row for each measurement: its seconds, and ratios to its peers in the same rounds."""
    rows: list[list[object]] = []
    for what, rounds in found.items():
        seconds = [value for value in rounds if value is not None]
        middle, least, most = spread(seconds)
        ratios = [
            by_pair(rounds, found[f"{what}, {peer}"]) if f"{what}, {peer}" in found else "-"
            for peer in PEERS
        ]
        rows.append([what, f"{middle:.2f}", f"{least:.2f} to {most:.2f}", len(seconds), *ratios])
    return rows


def _run(name: str, code: str) -> dict[str, float]:
    """The figures that a fresh process measures of itself; empty if it fails."""
    if name in IMPORTS:
        code += f"\nimport json; print(json.dumps({{{name!r}: took}}))"
    answer = in_a_fresh_process(name, SET_UP + code) or {}
    network = name.rsplit(" ", 1)[0] + ": " if name.startswith("WRN") else ""
    return {network + what: seconds for what, seconds in answer.items()}


if __name__ == "__main__":
    flags.DEFINE_integer("rounds", 5, "fresh processes of each program", lower_bound=1)
    run(measure)
