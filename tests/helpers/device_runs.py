"""Train small networks on several logical devices of this CPU; a program of its own.

python device_runs.py DEVICES FOLDER TASK: `kill` starts a run and ends by SIGKILL after a saved
state, `finish` goes on with it, `whole` is the same run undisturbed, and `alike` and `sam` are runs
whose figures must not depend on the number of devices.
"""

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

DEVICES = int(sys.argv[1])
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"  # JAX reads it

import keras
import numpy as np

ON_TENSORFLOW = keras.config.backend() == "tensorflow"
if ON_TENSORFLOW:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * DEVICES
    tf.config.set_logical_device_configuration(cpu, logical)

from absl import logging
from alike_recipe import ALIKE

from keras_wrn.training import pictures
from keras_wrn.training import run as training
from keras_wrn.training.run_keeper import RunKeeper

# JAX has batch statistics over all devices anyway.
ALIKE = dataclasses.replace(ALIKE, synchronized_bn=ON_TENSORFLOW)
# Three steps: TensorFlow's sums are wrong by 1e-4, in another way on every processor and number of
# devices, and each step makes it more.
SHORT = dataclasses.replace(ALIKE, batch_size=300)
SAM = dataclasses.replace(SHORT, sam=0.05)
STEPS = 5  # of an epoch
KILLED = dataclasses.replace(
    ALIKE, epochs=2, drop_epochs=(2,), synchronized_bn=False, pad=2, dropout=0.3, average=0.9
)
KILLED_IN_STEP = STEPS + 3
count_step, fit = RunKeeper.on_train_batch_end, training._fit


def count_or_die(self, batch, logs=None):
    if self.step + 1 == KILLED_IN_STEP:
        os.kill(os.getpid(), signal.SIGKILL)
    count_step(self, batch, logs)


def fit_and_show_seeds(training_model, *rest):
    fit(training_model, *rest)
    states = [v for v in training_model.model.variables if v.name == "seed_generator_state"]
    copies = [getattr(state.value, "values", [state.value]) for state in states]
    print(json.dumps({"seeds": [[np.array(copy).tolist() for copy in group] for group in copies]}))


def show_matrix(counts, names):
    print(json.dumps({"confusion": counts.tolist()}))
    return np.zeros((1, 1, 3), np.uint8)


if __name__ == "__main__":
    logging.set_verbosity("info")
    pictures.confusion_matrix = show_matrix
    training._draw, training._fit = lambda *_: None, fit_and_show_seeds
    for task in sys.argv[3:]:
        recipe = {"alike": SHORT, "sam": SAM}.get(task, KILLED)
        if task == "kill":
            RunKeeper.on_train_batch_end = count_or_die
        name = "killed" if task in ("kill", "finish") else task
        training.train(recipe, Path(sys.argv[2], name), save_every=0 if task == "kill" else 1e6)
