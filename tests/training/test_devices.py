"""Two devices at once train as one does, and each draws its own augmentation."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

if keras.config.backend() != "tensorflow":
    pytest.skip("MirroredStrategy is TensorFlow's", allow_module_level=True)

REPOSITORY = Path(__file__).parents[2]
PROGRAM = """
import contextlib, json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
import numpy as np
from absl import logging
logging.set_verbosity("info")
from keras_wrn.training import losses, run as training
from keras_wrn.training.recipe import Recipe
from keras_wrn.training.sharpness_aware import SharpnessAwareModel

found, strategies = {}, []
finish = training._finish

def look(training_model, *rest):
    states = [v for v in training_model.model.variables if v.name == "seed_generator_state"]
    copies = [getattr(state._value, "values", [state._value]) for state in states]
    found.setdefault("seeds", [[copy.numpy().tolist() for copy in group] for group in copies])
    strategies.append(training_model.model.distribute_strategy)
    return finish(training_model, *rest)

recipe = Recipe(dataset="digits", depth=10, width=1, epochs=1, drop_epochs=(), batch_size=32,
                train_images=192, learning_rate=0.02, pad=0, flip=False, synchronized_bn=True)
training._draw, training._finish = lambda *_: None, look
training.train(recipe, sys.argv[2])
training.device_scope = lambda _: contextlib.nullcontext(1)
training.train(recipe, sys.argv[1])

with strategies[0].scope():  # a second strategy would take the first one's messages for its own
    images = keras.Input((3,))
    front = keras.Model(images, keras.layers.Rescaling(1.0)(images))
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model = SharpnessAwareModel(front, network, rho=1e-6)
    model.compile(keras.optimizers.SGD(0.0), losses.cross_entropy(), jit_compile=False)
x, y = np.random.default_rng(1).normal(size=(8, 3)).astype("float32"), np.arange(8) % 2
found["sam"] = model.fit(x, y, batch_size=8, verbose=0).history["loss"][0]
found["plain"] = float(np.mean(losses.cross_entropy()(y, network(x))))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The run on one device and that on two, in folders of these names, and what was seen."""
    folder = tmp_path_factory.mktemp("runs")
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder / "1"), str(folder / "2")],
        check=False,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert program.returncode == 0, program.stderr
    assert "training on 2 devices" in program.stderr
    return folder, json.loads(program.stdout.splitlines()[-1])


def loss_and_weights(folder):
    arrays = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    with h5py.File(folder / "model.weights.h5") as file:
        file.visititems(keep)
    with (folder / "history.csv").open(newline="") as file:
        return float(next(csv.DictReader(file))["loss"]), arrays


def test_two_devices_train_as_one_does(found):
    (one, ours), (two, theirs) = (loss_and_weights(found[0] / count) for count in ("1", "2"))
    assert two == pytest.approx(one, abs=2e-3)
    # Sums over two devices round differently: these were not both runs on one.
    assert any((theirs[name] != array).any() for name, array in ours.items())
    for name, array in ours.items():
        if "moving" not in name:
            np.testing.assert_allclose(theirs[name], array, atol=0.02, err_msg=name)


def test_each_device_draws_for_itself(found):
    seeds = found[1]["seeds"]
    assert seeds
    for (first, of_first), (second, of_second) in seeds:
        assert second == first + 1 and of_first == of_second > 0


def test_the_loss_of_sharpness_aware_steps_is_of_all_devices(found):
    assert found[1]["sam"] == pytest.approx(found[1]["plain"], rel=1e-4)
