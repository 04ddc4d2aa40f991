"""Train a small network as one of several workers on this machine; a program of its own.

python worker_runs.py INDEX PORTS FOLDER TASK[,TASK]: PORTS with commas between; one port is one
process. `sam` and `whole` run undisturbed; `stop` sends SIGTERM to worker 1 in step 15, `kill` goes
on and sends it SIGKILL in step 21; `finish` goes on with a killed run.
"""

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

INDEX, FOLDER = int(sys.argv[1]), Path(sys.argv[3])
PORTS, TASKS = (words.split(",") for words in (sys.argv[2], sys.argv[4]))
addresses = [f"127.0.0.1:{port}" for port in PORTS]
task = {"type": "worker", "index": INDEX}
os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})

import numpy as np
from absl import logging
from alike_recipe import ALIKE

from keras_wrn.cli.program import status_of
from keras_wrn.errors import Interrupted
from keras_wrn.training import pictures, workers
from keras_wrn.training import run as training
from keras_wrn.training.run_keeper import RunKeeper

ALIKE = dataclasses.replace(ALIKE, batch_size=96)
WHOLE = dataclasses.replace(
    ALIKE, epochs=2, drop_epochs=(2,), synchronized_bn=False, pad=2, dropout=0.3, average=0.9
)
RECIPES = {"sam": dataclasses.replace(ALIKE, sam=0.05)}
count_step = RunKeeper.on_train_batch_end


DISTURBED = {"stop": (15, signal.SIGTERM), "kill": (21, signal.SIGKILL)}


def disturbed(step, number):
    def count_or_signal(self, batch, logs=None):
        if INDEX == 1 and self.step + 1 == step:
            os.kill(os.getpid(), number)
        count_step(self, batch, logs)

    return count_or_signal


def train():
    for task in TASKS:
        RunKeeper.on_train_batch_end = (
            disturbed(*DISTURBED[task]) if task in DISTURBED else count_step
        )
        name = "disturbed" if task in ("stop", "kill", "finish") else task
        save_every = 0 if task == "kill" else 1e6
        try:
            training.train(RECIPES.get(task, WHOLE), FOLDER / name, save_every=save_every)
        except Interrupted as stop:
            print(stop, flush=True)


def show_matrix(counts, names):
    print(json.dumps({"confusion": counts.tolist()}))
    return np.zeros((1, 1, 3), np.uint8)


if __name__ == "__main__":
    logging.set_verbosity("info")
    training._draw = lambda *_: None
    pictures.confusion_matrix = show_matrix
    workers.START_SECONDS = float(os.environ.get("START_SECONDS", "60"))
    status = status_of(train, "train")
    sys.stdout.flush()
    # TensorFlow's threads wait for a worker that is lost.
    os._exit(status)
