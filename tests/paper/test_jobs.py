"""Runs shared out: over parts, over processes that find their own work, and told to stop."""

import csv
import os
import pickle
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from paper_runs import row_of, write_card

from keras_wrn.errors import Interrupted
from keras_wrn.paper import jobs
from keras_wrn.paper.reproduction import select
from keras_wrn.training import run as training
from keras_wrn.training.run_lock import locked

# A process that takes runs as `train_runs` does, and stops as a training run does.
WORKER = """
import pathlib, signal, sys, time
folder, word = pathlib.Path(sys.argv[1]), sys.argv[2]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
import os
(folder / f"{os.getpid()}.cpus").write_text(str(sorted(os.sched_getaffinity(0))))
(folder / f"{os.getpid()}.gpus").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
print("hello")
if word == "fail":
    sys.exit("the disk is full")
time.sleep(0.5 if word == "short" else 60)
"""


def test_parts_hold_every_run_once():
    rows = select(["table4", "table6"])
    everything = jobs.plan(rows, Path("runs"), runs=3)
    folders = [run.folder for run in everything]
    assert len(set(folders)) == len(folders)
    parts = [jobs.plan(rows, Path("runs"), runs=3, part=(i, 7)) for i in range(1, 8)]
    assert sorted(run.folder for part in parts for run in part) == sorted(folders)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert [run.recipe.seed for run in everything] == sorted(run.recipe.seed for run in everything)


@pytest.fixture
def planned(tmp_path):
    return jobs.plan([row_of("table2", "b33")], tmp_path / "runs", runs=3)


def test_a_run_of_another_process_is_passed_over_or_named(planned, monkeypatch):
    trained = []

    def train(recipe, folder, **_):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            trained.append(recipe.seed)

    monkeypatch.setattr(training, "train", train)
    planned[0].folder.mkdir(parents=True)
    with locked(planned[0].folder):
        assert jobs.train_runs(planned, shared=True) == []
        (failure,) = jobs.train_runs(planned)
    assert trained == [2, 3]
    assert failure.startswith("table2/b33-cifar10: Another process trains in")


def test_finished_runs_are_passed_over_whatever_their_precision(planned, monkeypatch):
    trained = []
    monkeypatch.setattr(training, "train", lambda recipe, *_, **__: trained.append(recipe.seed))
    planned[0].folder.mkdir(parents=True)
    (planned[0].folder / "card.json").write_text("{}")
    assert jobs.train_runs(planned) == [] and trained == [2, 3]


def test_progress_is_read_from_the_folders(planned):
    write_card(planned[0].folder.parents[2], planned[0].row, 1, 5.5)
    planned[1].folder.mkdir(parents=True)
    rows = [{"epoch": 50, "error": 0.25, "seconds": 3600.0}]
    with (planned[1].folder / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with locked(planned[1].folder):
        states = [jobs._progress(run) for run in planned]
    assert states == [
        ("finished", "200 of 200", "5.50", ""),
        ("trains", "50 of 200", "25.00 in training", "3.00"),
        ("waiting", "0 of 200", "", ""),
    ]
    assert jobs._progress(planned[1])[0] == "stopped"


needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system cannot pin processes"
)


@needs_affinity
def test_no_process_outlives_a_parent_that_fails(planned, tmp_path, monkeypatch):
    started, start = [], jobs._start

    def keep(*words):
        started.append(start(*words))
        return started[-1]

    monkeypatch.setattr(jobs, "_start", keep)
    monkeypatch.setattr(jobs, "show_progress", lambda *_: 1 / 0)
    command = [sys.executable, "-c", WORKER, str(tmp_path), "long"]
    with pytest.raises(ZeroDivisionError):
        jobs.train_in_processes(planned, command, 2, tmp_path / "logs")
    assert len(started) == 2 and all(worker.returncode is not None for worker in started)


def test_an_interruption_travels_between_processes():
    copy = pickle.loads(pickle.dumps(Interrupted(15, 3)))
    assert (copy.signal, copy.step, str(copy)) == (15, 3, "stopped by signal 15 after step 3")


@needs_affinity
def test_processes_have_their_own_processors_and_gpus(planned, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4")  # each gets as many
    command = [sys.executable, "-c", WORKER, str(tmp_path), "short"]
    assert jobs.train_in_processes(planned, command, 2, tmp_path / "logs") == []
    assert sorted(file.read_text() for file in tmp_path.glob("*.gpus")) == ["0,1", "2,3"]
    assert [(tmp_path / "logs" / f"job{i}.log").read_text() for i in (1, 2)] == ["hello\n"] * 2
    assert "| table2/b33-cifar10, seed 1 | waiting | 0 of 200 |" in capfd.readouterr().err


@needs_affinity
def test_all_gpus_are_divided_where_none_are_named(planned, tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nprintf '0\\n1\\n2\\n'\n")
    (tmp_path / "nvidia-smi").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    command = [sys.executable, "-c", WORKER, str(tmp_path), "short"]
    assert jobs.train_in_processes(planned, command, 2, tmp_path / "logs") == []
    assert sorted(file.read_text() for file in tmp_path.glob("*.gpus")) == ["0", "1"]


@needs_affinity
def test_a_process_that_fails_is_named_with_its_log(planned, tmp_path):
    command = [sys.executable, "-c", WORKER, str(tmp_path), "fail"]
    failures = jobs.train_in_processes(planned, command, 2, tmp_path / "logs")
    log = tmp_path / "logs" / "job1.log"
    assert failures[0] == f"Process 1 ended with status 1; {log} says why."
    assert "the disk is full" in log.read_text() and len(failures) == 2


@needs_affinity
def test_a_signal_stops_all_and_waits_for_them(planned, tmp_path):
    def stop():
        while len(list(tmp_path.glob("*.gpus"))) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    command = [sys.executable, "-c", WORKER, str(tmp_path), "long"]
    start = time.monotonic()
    with pytest.raises(Interrupted, match="^stopped by signal 15$") as stopped:
        jobs.train_in_processes(planned, command, 2, tmp_path / "logs")
    assert time.monotonic() - start < 30 and stopped.value.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
