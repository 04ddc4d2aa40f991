"""Train a small network as one of several workers on this machine; a program of its own.

python worker_runs.py INDEX PORTS FOLDER TASK[,TASK]: PORTS with commas between; one port is one
process. `sam` and `whole` run undisturbed; `stop` sends SIGTERM to worker 1 in step 15, `kill`
SIGKILL to worker 1 there; `finish` goes on with a stopped or killed run.
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
from keras_wrn.training import pictures, workers
from keras_wrn.training import run as training
from keras_wrn.training.run_keeper import RunKeeper

ALIKE = dataclasses.replace(ALIKE, batch_size=96)
WHOLE = dataclasses.replace(
    ALIKE, epochs=2, drop_epochs=(2,), synchronized_bn=False, pad=2, dropout=0.3, average=0.9
)
RECIPES = {"sam": dataclasses.replace(ALIKE, sam=0.05)}
count_step = RunKeeper.on_train_batch_end


def disturbed(self, batch, logs=None):
    if INDEX == 1 and self.step + 1 == 15:
        os.kill(os.getpid(), signal.SIGTERM if "stop" in TASKS else signal.SIGKILL)
    count_step(self, batch, logs)


def train():
    for task in TASKS:
        name = "disturbed" if task in ("stop", "kill", "finish") else task
        save_every = 0 if task == "kill" else 1e6
        training.train(RECIPES.get(task, WHOLE), FOLDER / name, save_every=save_every)


def show_matrix(counts, names):
    print(json.dumps({"confusion": counts.tolist()}))
    return np.zeros((1, 1, 3), np.uint8)


if __name__ == "__main__":
    logging.set_verbosity("info")
    training._draw = lambda *_: None
    pictures.confusion_matrix = show_matrix
    workers.START_SECONDS = float(os.environ.get("START_SECONDS", "60"))
    if {"stop", "kill"} & set(TASKS):
        RunKeeper.on_train_batch_end = disturbed
    status = status_of(train, "train")
    sys.stdout.flush()
    # TensorFlow's threads wait for a worker that is lost.
    os._exit(status)
