"""Several workers train as one process does, stop together, and go on exactly."""

import contextlib
import csv
import inspect
import json
import os
import re
import socket
import subprocess
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import pytest

from keras_wrn.errors import InputError
from keras_wrn.training import run as training
from keras_wrn.training import workers
from keras_wrn.training.recipe import Recipe

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
    try:
        logs = [process.communicate(timeout=300)[0] for process in processes]
    finally:  # none waits for another that has failed
        for process in processes:
            process.kill()
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


def together(work):
    """What each of two workers, which are threads here, raises."""
    barrier, numbers = threading.Barrier(2, timeout=30), {}

    class Thread(workers.Cluster):
        def sum(self, value):
            numbers[self.index] = float(value)
            barrier.wait()
            total = round(sum(numbers.values()))
            barrier.wait()
            return total

    def raised(index):
        try:
            work(Thread(("a:1", "b:2"), index, None))
        except (InputError, OSError) as error:
            return str(error)
        return None

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(raised, range(2)))


def test_a_worker_with_other_data_is_noticed_by_all():
    data = {"train": {"cat": {"images": 4}}}
    assert together(lambda worker: worker.require_same_run({"seed": 1}, data)) == [None, None]
    found = together(lambda worker: worker.require_same_run({"seed": worker.index}, data))
    assert found[0] == found[1] and "Of 2, 1 differ from the first one" in found[0]


def test_a_refusal_by_the_chief_ends_all(monkeypatch, tmp_path):
    (tmp_path / "foreign.txt").write_text("no run")
    feed, current = types.SimpleNamespace(fingerprint={}), threading.local()

    def enter(worker):
        current.worker = worker
        with contextlib.ExitStack() as opened:
            training._open_folder(opened, tmp_path, Recipe(), feed)

    monkeypatch.setattr(workers, "cluster", lambda: current.worker)
    first, second = together(enter)
    assert "holds no run of keras_wrn" in first
    assert second == f"The first worker cannot use {tmp_path}. Its log says why."


def test_a_file_that_the_chief_wrote_last_is_waited_for(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "_answers", lambda _: False)
    monkeypatch.setattr(workers, "_POLL_SECONDS", 0.01)
    worker, file = workers.Cluster(("a:1", "b:2"), 1, None), tmp_path / "card.json"
    threading.Timer(0.2, file.touch).start()
    worker.wait_for(file)
    monkeypatch.setattr(workers, "SHOWN_SECONDS", 0.1)
    with pytest.raises(InputError, match="Another worker of this run has ended"):
        worker.wait_for(tmp_path / "other.json")


@pytest.mark.parametrize("answers", [True, False])
def test_an_error_of_its_own_is_not_blamed_on_another_worker(monkeypatch, answers):
    class InternalError(Exception):
        pass

    monkeypatch.setattr(workers, "_answers", lambda _: answers)
    monkeypatch.setattr(workers, "_NOTICED_SECONDS", 0.1)
    monkeypatch.setattr(workers, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(workers, "cluster", lambda: workers.Cluster(("a:1", "b:2"), 1, None))
    expected = InternalError if answers else InputError
    with pytest.raises(expected), workers.lost_workers_named():
        raise InternalError("NCCL cannot start")


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
