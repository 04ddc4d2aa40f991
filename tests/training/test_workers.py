"""Several workers train as one process does, stop together, and go on exactly."""

import csv
import inspect
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from keras_wrn.errors import InputError
from keras_wrn.training import workers

if keras.config.backend() != "tensorflow":
    pytest.skip("several workers train on TensorFlow only", allow_module_level=True)

REPOSITORY = Path(__file__).parents[2]
PROGRAM = REPOSITORY / "tests" / "helpers" / "worker_runs.py"
CLOCKS = {"seconds", "images_per_second"}


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ",".join(ports)


def run(folder, tasks, count=2, started=None):
    """The status and the log of each worker."""
    ports = free_ports(count)
    processes = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(index), ports, str(folder), tasks],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, "START_SECONDS": "2" if started else "60"},
        )
        for index in range(started or count)
    ]
    logs = [process.communicate(timeout=300)[0] for process in processes]
    return [process.returncode for process in processes], logs


def history(folder):
    with (folder / "history.csv").open(newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k not in CLOCKS} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of the runs of two workers, and their logs."""
    folder = tmp_path_factory.mktemp("two")
    statuses, logs = run(folder, "whole,sam")
    assert statuses == [0, 0]
    return folder, logs


@pytest.mark.slow
def test_two_workers_train_and_validate_as_one_process_does(undisturbed, tmp_path):
    folder, logs = undisturbed
    assert run(tmp_path, "sam", count=1)[0] == [0]
    [ours], [theirs] = history(folder / "sam"), history(tmp_path / "sam")
    # In one process too, another order of the images in a batch changes the losses by 1e-4.
    for key, close in (("loss", 5e-4), ("val_loss", 1e-3), ("error", 1e-4), ("val_error", 1e-4)):
        assert float(ours[key]) == pytest.approx(float(theirs[key]), rel=close), key
    card = json.loads((folder / "sam" / "card.json").read_text())
    assert card["hardware"].startswith("2 workers, the first of ")
    # Each image of the validation is in the confusion matrix once, which all workers know.
    found = [re.findall(r'^{"confusion".*', log, re.MULTILINE)[-1] for log in logs]
    ours, theirs = (json.loads(line)["confusion"] for line in found)
    assert ours == theirs and sum(map(sum, ours)) == 361


@pytest.mark.slow
def test_stopped_and_killed_workers_go_on_bit_equal(undisturbed, tmp_path):
    folder, whole = tmp_path / "disturbed", undisturbed[0] / "whole"
    statuses, logs = run(tmp_path, "stop,kill")
    # SIGTERM to one stops both, at the same step. They go on.
    assert all("stopped by signal 15 after step 20" in log for log in logs)
    assert all("resuming after step 20" in log for log in logs)
    # A worker that is killed ends the other in a sentence.
    assert statuses == [2, -9]
    assert "Another worker of this run has ended, so this one does too." in logs[0]
    assert "Traceback" not in logs[0]
    assert run(tmp_path, "finish")[0] == [0, 0]
    assert history(folder) == history(whole)
    cards = [json.loads((each / "card.json").read_text()) for each in (folder, whole)]
    assert cards[0]["weights_sha256"] == cards[1]["weights_sha256"]


def test_a_worker_that_never_starts_is_named(tmp_path):
    statuses, logs = run(tmp_path, "whole", started=1)
    assert statuses == [2]
    assert "No answer from 127.0.0.1:" in logs[0] and "within 2 seconds" in logs[0]
    assert "Traceback" not in logs[0]


def test_the_chief_is_the_first_and_one_worker_is_none():
    cluster = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}
    text = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1}})
    assert workers._read_config(text) == (("a:1", "b:2", "c:3"), 2)
    assert workers._read_config("") == ((), 0)
    assert workers.cluster() is None and workers.is_chief()


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}},
        {"cluster": {"worker": ["a:1", "b"]}, "task": {"type": "worker", "index": 0}},
        {"cluster": {"worker": ["a:1"], "ps": ["b:2"]}, "task": {"type": "worker", "index": 0}},
        {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "evaluator", "index": 0}},
    ],
)
def test_a_wrong_tf_config_is_a_sentence(config):
    text = config if isinstance(config, str) else json.dumps(config)
    with pytest.raises(InputError, match='TF_CONFIG must be {"cluster": .* Received: '):
        workers._read_config(text)


def test_keras_still_needs_what_devices_adds():
    """When this fails, try without `ReplicatedModel`'s methods that name these lines."""
    from keras.src.backend.tensorflow import trainer

    means = inspect.getsource(trainer.reduce_per_replica)
    assert 'strategy.reduce("MEAN", v, axis=0)' in means
    build = inspect.getsource(trainer.TensorFlowTrainer._maybe_symbolic_build)
    assert "self.distribute_strategy.reduce(" in build
