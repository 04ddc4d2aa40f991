"""Runs as tasks of a Ray cluster: what is refused, and what survives a kill."""

import importlib.util
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from paper_runs import row_of

from keras_wrn.errors import InputError
from keras_wrn.paper import jobs, ray_jobs
from keras_wrn.training.run_lock import locked

REPOSITORY = Path(__file__).parents[2]
PROGRAM = REPOSITORY / "recipes" / "reproduce.py"
ROW = "table6 --rows 16-4 --datasets cifar10 --scale digits --narrow 16 --runs 4".split()
# Saves a state every second; Python runs it in every process of the cluster.
OFTEN = """
import sys
from importlib.abc import MetaPathFinder

class Often(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "keras_wrn.training.run":
            from keras_wrn.training import run_keeper
            run_keeper.SAVE_EVERY = 1.0

sys.meta_path.insert(0, Often())
"""


@pytest.fixture
def run(tmp_path):
    [planned] = jobs.plan([row_of("table2", "b33")], tmp_path / "runs", runs=1)
    return planned


def test_ray_that_is_not_installed_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r'--ray needs "ray\[default\]".*pip install'):
        ray_jobs.train_on_ray([run], "auto", tmp_path)


def test_a_node_without_the_shared_folder_says_so(run, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_jobs, "FOLDER_SECONDS", 0.0)
    mark, log = tmp_path / "jobs" / ".shared", tmp_path / "jobs" / "a.log"
    [failure] = ray_jobs._train_one(run, {}, mark, log, None, False)
    assert failure.startswith("All nodes must share the work folder. ")
    assert str(mark.parent) in failure and not run.folder.exists()


def test_a_run_waits_for_its_last_process(run, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    run.folder.mkdir(parents=True)
    ray_jobs._wait_for_lock(run.folder)
    assert not pauses
    monkeypatch.setattr(ray_jobs, "LOCK_SECONDS", 0.05)
    with locked(run.folder):
        ray_jobs._wait_for_lock(run.folder)
    assert pauses


needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed: pip install ray[default]"
)


def wait(condition, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


def kill_training(cluster, node):
    """End the process that trains on a node, with SIGKILL."""
    [process] = cluster.processes("ray::_train_one", node)
    os.kill(process, signal.SIGKILL)


@needs_ray
@pytest.mark.slow
def test_runs_survive_kills_of_a_process_a_node_and_the_driver(tmp_path, monkeypatch):
    from ray_cluster import ADDRESS, two_nodes

    (tmp_path / "often").mkdir()
    (tmp_path / "often" / "sitecustomize.py").write_text(OFTEN)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'often'}{os.pathsep}{REPOSITORY}")
    monkeypatch.chdir(REPOSITORY)
    command = [sys.executable, PROGRAM, *ROW, "--workdir"]
    runs = tmp_path / "ray" / "scaled-digits-narrow-16" / "table6" / "16-4-cifar10"
    logs = tmp_path / "ray" / "jobs"

    def unfinished():
        """The seeds of runs that have a state."""
        return {int(state.parent.name[4:]) for state in runs.glob("seed*/state.npz")}

    def times_resumed(seed):
        [log] = [*logs.glob(f"*-seed{seed}.log")] or [None]
        return log.read_text().count("resuming after step") if log else 0

    def resumed():
        """The seeds of runs that went on from a state."""
        return {seed for seed in (1, 2, 3, 4) if times_resumed(seed)}

    with two_nodes() as cluster:
        status, _, errors = cluster.run(*command, tmp_path / "none", "--ray", "127.0.0.1:1")
        assert status == 2 and "127.0.0.1:1 cannot be joined: " in errors
        on_ray = [*command, tmp_path / "ray", "--ray", ADDRESS]
        status, _, errors = cluster.run(*on_ray, "--gpus_per_run", "2")
        assert status == 2 and "must be at most 1, the GPUs of the largest of 2 nodes" in errors

        driver, began = cluster.start(*on_ray), time.monotonic()

        def say(event):
            print(f"{time.monotonic() - began:4.0f} s: {event}", flush=True)

        wait(lambda: len(unfinished()) == 2)  # one GPU a node: two runs at once
        disturbed = unfinished()
        say(f"runs {disturbed} train")
        [process] = cluster.processes("ray::_train_one", node=0)
        os.kill(process, signal.SIGKILL)
        wait(lambda: len(resumed()) == 1)
        say(f"the process on node 0 was killed; run {resumed()} has gone on")
        wait(lambda: len(unfinished()) == 2)
        disturbed = resumed() | unfinished()
        say(f"node 1 is killed; runs {unfinished()} train")
        cluster.kill(1)
        wait(lambda: disturbed <= resumed())
        say(f"runs {resumed()} have gone on")
        wait(lambda: len(unfinished()) == 1)
        [last], times = unfinished(), times_resumed(*unfinished())
        driver.kill()
        say(f"the driver is killed; run {last} trains")
        status, _, errors = cluster.run(*on_ray)
        say("a second driver has ended")
        assert status == 0, errors
        assert "| trains | " in errors and "| finished | 20 of 20 |" in errors
        assert times_resumed(last) == times + 1
        status, *_ = cluster.run(*command, tmp_path / "local")
        assert status == 0
    ours, theirs = (
        [json.loads(card.read_text())["weights_sha256"] for card in sorted(tmp_path.glob(cards))]
        for cards in ("ray/*/*/*/seed*/card.json", "local/*/*/*/seed*/card.json")
    )
    assert len(set(ours)) == 4 and ours == theirs
