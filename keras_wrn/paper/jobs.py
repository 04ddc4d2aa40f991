"""The runs of the paper's rows: which there are, and training them in one process or in several."""

import contextlib
import csv
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import logging

from keras_wrn.errors import InputError, Interrupted
from keras_wrn.paper.reproduction import folder_of, recipe_for
from keras_wrn.paper.scale import Scale
from keras_wrn.paper.tables import Row
from keras_wrn.system import markdown
from keras_wrn.system.files import read_json
from keras_wrn.training.recipe import Recipe
from keras_wrn.training.run_lock import FolderInUseError, refuse_if_locked
from keras_wrn.weights.card import CARD_FILE

SHOWN_EVERY = 10.0  # seconds between two tables
_TO_THE_TOP = "\x1b[H\x1b[J"  # of a terminal, which is cleared


@dataclass(frozen=True)
class PlannedRun:
    """A run of a row: its recipe with its seed, and its folder."""

    row: Row
    recipe: Recipe
    folder: Path

    def is_finished(self) -> bool:
        """Whether its folder has a card."""
        return (self.folder / CARD_FILE).exists()


def plan(
    rows: Sequence[Row],
    workdir: Path,
    *,
    runs: int | None = None,
    scale: Scale | None = None,
    precision: str = "",
    part: tuple[int, int] = (1, 1),
) -> list[PlannedRun]:
    """List the runs of rows, the first seed of all rows before the second.

    Args:
        rows: of `select`. Those that share their runs are trained once.
        workdir: the folder of all runs.
        runs: runs per row; None: as many as behind the paper's number, and one if scaled.
        scale: how the rows are scaled down, if at all.
        precision: as `Recipe.precision`; "" for the recipe's own.
        part: (i, n): every n-th run from the i-th on, for one of n machines.

    Example:
        >>> from keras_wrn.paper.reproduction import select
        >>> rows = select(["table4"], ["28-10"])
        >>> [run.folder.as_posix() for run in plan(rows, Path("runs"), runs=2, part=(2, 2))]
        ['runs/table4/28-10-cifar100/seed1', 'runs/table4/28-10-cifar100/seed2']
    """
    counts = {row.folder: runs or (1 if scale else row.runs) for row in rows if row.recipe}
    planned: dict[Path, PlannedRun] = {}
    for seed in range(1, max(counts.values(), default=0) + 1):
        for row in rows:
            recipe = recipe_for(row, scale)
            if recipe is None or seed > counts[row.folder]:
                continue
            recipe = dataclasses.replace(recipe, seed=seed, precision=precision or recipe.precision)
            folder = folder_of(row, workdir, scale) / f"seed{seed}"
            planned.setdefault(folder, PlannedRun(row, recipe, folder))
    return list(planned.values())[part[0] - 1 :: part[1]]


def train_runs(
    planned: Sequence[PlannedRun], *, data_dir: str | None = None, shared: bool = False
) -> list[str]:
    """Train runs; finished ones are passed over, stopped ones resumed.

    Args:
        planned: of `plan`.
        data_dir: folder of the data sets; default ~/.keras/datasets.
        shared: pass over runs that another process trains.

    Returns:
        A sentence for each row that could not be trained, for example because data are missing.
    """
    import keras

    from keras_wrn.training.run import train

    failures: dict[str, str] = {}
    for run in planned:
        name = run.row.folder
        if name in failures or run.is_finished():
            continue
        logging.info("%s, seed %d", name, run.recipe.seed)
        keras.backend.clear_session()
        try:
            train(run.recipe, run.folder, data_dir=data_dir)
        except FolderInUseError as error:
            if not shared:
                failures[name] = f"{name}: {error}"
        except InputError as error:
            failures[name] = f"{name}: {error}"
        if name in failures:
            logging.error("%s", failures[name])
    return list(failures.values())


def train_in_processes(
    planned: Sequence[PlannedRun], command: Sequence[str], jobs: int, logs: Path
) -> list[str]:
    """Train runs in several processes at once, each on its own processors.

    Each process takes the first run that is neither finished nor trained by another. A table of
    all runs is shown on standard error meanwhile: in a terminal over and over, elsewhere when a run
    begins or ends. SIGTERM and Ctrl-C stop all, and the same command goes on with them.

    Args:
        planned: of `plan`.
        command: trains them with `shared`, in one process.
        jobs: number of processes.
        logs: folder for job1.log, job2.log and so on.

    Returns:
        A sentence for each process that failed.

    Raises:
        Interrupted: a signal came; all states are saved.
    """
    logs.mkdir(parents=True, exist_ok=True)
    files = [logs / f"job{number}.log" for number in range(1, jobs + 1)]
    with noted_signals() as caught:
        workers: list[Any] = []
        shown, next_table = "", 0.0
        try:
            for number, file in enumerate(files):
                workers.append(_start(command, file, number, jobs))
            while not caught and any(worker.poll() is None for worker in workers):
                if time.monotonic() >= next_table:
                    shown = show_progress(planned, shown)
                    next_table = time.monotonic() + SHOWN_EVERY
                time.sleep(0.2)
        finally:  # after a signal, or a table that nobody can read any more
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait()
    show_progress(planned, shown)
    if caught:
        raise Interrupted(caught[0], None)
    return [
        f"Process {number} ended with status {worker.returncode}; {file} says why."
        for number, (worker, file) in enumerate(zip(workers, files, strict=True), start=1)
        if worker.returncode
    ]


@contextlib.contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Collect SIGTERM, SIGINT and a closed terminal's SIGHUP; yields their numbers."""
    caught: list[int] = []
    names = ("SIGTERM", "SIGINT", "SIGHUP")  # Windows has no SIGHUP
    kinds = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {kind: signal.signal(kind, lambda number, _: caught.append(number)) for kind in kinds}
    try:
        yield caught
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _start(command: Sequence[str], file: Path, number: int, jobs: int) -> Any:
    """Start process `number` of `jobs`, counted from 0, on its share of processors and GPUs."""
    environment = dict(os.environ)
    if gpus := _gpus():
        # As many for each, a power of two as batches are, so that all runs are of one kind.
        each = 1 << (max(1, len(gpus) // jobs).bit_length() - 1)
        first = number * each % len(gpus)
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[first : first + each])
        if jobs > len(gpus):  # several on one GPU, where none may take all of its memory
            environment["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
            environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    with file.open("ab") as log:
        # In a session of its own, Ctrl-C reaches it as one signal, from here.
        worker = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    if hasattr(os, "sched_setaffinity"):
        processors = sorted(os.sched_getaffinity(0))
        share = processors[number % len(processors) :: jobs]
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            os.sched_setaffinity(worker.pid, share)
    return worker


def _gpus() -> list[str]:
    """The GPUs that CUDA_VISIBLE_DEVICES names; without it, all that there are."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu for gpu in visible.split(",") if gpu]
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):  # there is no driver, or no GPU
        return []


def show_progress(planned: Sequence[PlannedRun], shown: str) -> str:
    """Print the table of all runs if there is news; returns what was shown, for the next call."""
    rows = [(f"{run.row.folder}, seed {run.recipe.seed}", *_progress(run)) for run in planned]
    text = markdown.table(("run", "state", "epoch", "error, %", "hours to go"), rows)
    if sys.stderr.isatty():
        print(f"{_TO_THE_TOP}{text}", file=sys.stderr, flush=True)
        return text
    news = "\n".join(state for _, state, *_ in rows)
    if news != shown:
        print(text, file=sys.stderr, flush=True)
    return news


def _progress(run: PlannedRun) -> tuple[str, str, str, str]:
    """State, epoch, error in percent and hours to go, in words."""
    epochs = run.recipe.epochs
    with contextlib.suppress(OSError, InputError, KeyError, TypeError):
        error = read_json(run.folder / CARD_FILE)["metrics"]["error"]
        return "finished", f"{epochs} of {epochs}", f"{100 * error:.2f}", ""
    try:
        refuse_if_locked(run.folder)
        state = "stopped" if run.folder.is_dir() else "waiting"
    except FolderInUseError:
        state = "trains"
    try:
        with (run.folder / "history.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        done, seconds = int(rows[-1]["epoch"]), float(rows[-1]["seconds"])
        error, hours = 100 * float(rows[-1]["error"]), seconds / done * (epochs - done) / 3600
    except (OSError, IndexError, KeyError, ValueError):
        return state, f"0 of {epochs}", "", ""
    return state, f"{done} of {epochs}", f"{error:.2f} in training", f"{hours:.2f}"
