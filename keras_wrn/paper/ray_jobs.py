"""The runs of the paper's rows on a Ray cluster: one task for each run.

Ray queues the tasks, places them on nodes, and starts one again whose process or node has ended.
A run's folder has its state, so that it goes on wherever it is started again.
"""

import os
import secrets
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import logging

from keras_wrn.errors import Interrupted
from keras_wrn.paper import jobs
from keras_wrn.system import ray_cluster
from keras_wrn.system.console import quiet_tensorflow
from keras_wrn.training.run_lock import FolderInUseError, refuse_if_locked

RETRIES = 3  # of a run whose process or node has ended
STOP_SECONDS = 120.0  # for the runs to save their states
FOLDER_SECONDS = 30.0  # for a network drive to show what another machine has written
# A run's last process may outlive its node's connection or its driver by seconds.
LOCK_SECONDS = 60.0


def train_on_ray(
    planned: Sequence[jobs.PlannedRun],
    address: str,
    logs: Path,
    *,
    gpus_per_run: int = 1,
    data_dir: str | None = None,
    shared: bool = False,
) -> list[str]:
    """Train runs as tasks of a Ray cluster; finished ones are passed over, stopped ones resumed.

    A table of all runs is shown as `jobs.train_in_processes` does. SIGTERM and Ctrl-C stop all, and
    the same command goes on with them.

    Args:
        planned: of `jobs.plan`. All nodes see their folders under the same path.
        address: "auto" for the cluster of this machine, or HOST:PORT of a cluster's head.
        logs: folder for one log of each run, on the drive of the runs.
        gpus_per_run: GPUs of each run; 0: one processor.
        data_dir: folder of the data sets on each node; default ~/.keras/datasets.
        shared: pass over runs that another process trains.

    Returns:
        A sentence for each run that failed.

    Raises:
        InputError: Ray is not installed, the cluster cannot be joined, or no node has the GPUs.
        Interrupted: a signal came; the states are saved.
    """
    ray = ray_cluster.join(address)
    try:
        ray_cluster.require_gpus(ray, "gpus_per_run", gpus_per_run)
        logs.mkdir(parents=True, exist_ok=True)
        mark = logs / f".shared-{secrets.token_hex(8)}"
        mark.touch()
        data_dir = data_dir and str(Path(data_dir).expanduser().resolve())
        try:
            return _train_all(ray, planned, logs, mark.resolve(), gpus_per_run, data_dir, shared)
        finally:
            mark.unlink()
    finally:
        ray.shutdown()


def _train_all(
    ray: Any,
    planned: Sequence[jobs.PlannedRun],
    logs: Path,
    mark: Path,
    gpus_per_run: int,
    data_dir: str | None,
    shared: bool,
) -> list[str]:
    import keras

    # A process for each run frees its GPU at the end. What a node's SIGTERM stopped starts again.
    start = ray.remote(
        num_gpus=gpus_per_run, max_calls=1, max_retries=RETRIES, retry_exceptions=[Interrupted]
    )(_train_one)
    environment = {"KERAS_BACKEND": keras.config.backend()}
    if not gpus_per_run:  # TensorFlow would take all processors for each run
        environment |= dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    running, failures = {}, []
    for run in planned:
        if not run.is_finished():
            run_there = jobs.PlannedRun(run.row, run.recipe, run.folder.resolve())
            log = logs.resolve() / f"{run.row.folder.replace('/', '-')}-seed{run.recipe.seed}.log"
            task = start.remote(run_there, environment, mark, log, data_dir, shared)
            running[task] = f"{run.row.folder}, seed {run.recipe.seed}", log
    with jobs.noted_signals() as caught:
        shown, next_table = "", 0.0
        while running and not caught:
            if time.monotonic() >= next_table:
                shown = jobs.show_progress(planned, shown)
                next_table = time.monotonic() + jobs.SHOWN_EVERY
            for task in ray.wait(list(running), timeout=0.5)[0]:
                failures += _result(ray, task, *running.pop(task))
        for task in running:
            ray.cancel(task)  # Ctrl-C for a running one
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=STOP_SECONDS)
        jobs.show_progress(planned, shown)
    if caught:
        raise Interrupted(caught[0], None)
    return list(dict.fromkeys(failures))  # the runs of a row may fail alike


def _train_one(
    run: jobs.PlannedRun,
    environment: dict[str, str],
    mark: Path,
    log: Path,
    data_dir: str | None,
    shared: bool,
) -> list[str]:
    """Train a run on the node that Ray has chosen, in a process that ends with it."""
    os.environ.update(environment)  # before Keras is imported
    quiet_tensorflow()
    deadline = time.monotonic() + FOLDER_SECONDS
    while not mark.exists():
        if time.monotonic() > deadline:
            return [
                f"All nodes must share the work folder. {socket.gethostname()} does not see "
                f"{mark.parent}: give a folder on a shared drive with --workdir."
            ]
        time.sleep(0.5)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    logging.set_verbosity(logging.INFO)
    if not shared:
        _wait_for_lock(run.folder)
    return jobs.train_runs([run], data_dir=data_dir, shared=shared)


def _wait_for_lock(folder: Path) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while time.monotonic() < deadline:
        try:
            refuse_if_locked(folder)
        except FolderInUseError as error:
            logging.info("waiting: %s", error)
            time.sleep(2)
        else:
            return


def _result(ray: Any, task: Any, name: str, log: Path) -> list[str]:
    """What a finished task returned; or a sentence, if it or its nodes failed."""
    try:
        return ray.get(task)
    except ray.exceptions.RayError as error:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{error}\n")
        return [f"{name} failed: {ray_cluster.last_sentence(str(error))}; {log} says why."]
