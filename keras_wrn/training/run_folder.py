"""The folder of a training run: whose it is, and files that are whole or not there."""

import csv
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.system.files import read_json, write_json, write_whole
from keras_wrn.weights.card import HISTORY_FILE, RECIPE_FILE

STATE_FILE = "state.npz"
PREVIOUS_STATE_FILE = "state.previous.npz"
LOG_FOLDER = "logs"


def write_history(workdir: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """Write history.csv, whole: a row an epoch, empty where nothing was measured."""

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            for row in rows:
                writer.writerow(
                    {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
                )

    write_whole(workdir / HISTORY_FILE, write)


def open_run(workdir: Path, recipe: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Make the folder of a run, or go on with the one there; `check_run` says what it refuses."""
    check_run(workdir, recipe, defaults)
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / RECIPE_FILE).exists():
        write_json(workdir / RECIPE_FILE, recipe)


def check_run(workdir: Path, recipe: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Check that a folder is free for a run, or holds this very run; write nothing.

    Args:
        workdir: the folder.
        recipe: what makes the run, as JSON has it.
        defaults: what options were that are newer than the run there: they had no effect on it.

    Raises:
        InputError: the folder holds another run, or files that are no run.
    """
    recipe_path = workdir / RECIPE_FILE
    if recipe_path.exists():
        theirs = {**defaults, **read_json(recipe_path)}
        different = [key for key in theirs if theirs[key] != recipe.get(key)]
        if different:
            first = different[0]
            raise InputError(
                f"The work folder {workdir} already holds another run: {first} is "
                f"{theirs[first]!r} there and {recipe.get(first)!r} here. "
                "Give another folder, or the same recipe to go on with that run."
            )
        return
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"The work folder {workdir} is a file. Give the path of a folder.")
    if workdir.exists() and any(workdir.iterdir()):
        raise InputError(
            f"The work folder {workdir} is not empty and holds no run of ours. "
            "Give a new or an empty folder."
        )


def save_state(workdir: Path, arrays: list[np.ndarray], facts: dict[str, Any]) -> None:
    """Store the state of an unfinished run; the one before it is kept beside it."""
    path = workdir / STATE_FILE
    named: dict[str, Any] = {f"v{i:05d}": array for i, array in enumerate(arrays)}
    named["facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez(file, **named)
            file.flush()
            os.fsync(file.fileno())

    def rotate(part: Path) -> None:
        write(part)
        if path.exists():
            path.replace(workdir / PREVIOUS_STATE_FILE)

    write_whole(path, rotate)


def load_state(workdir: Path) -> tuple[list[np.ndarray], dict[str, Any]] | None:
    """The newest whole state of a run, or None at its beginning.

    Raises:
        InputError: both the state and the one before it are damaged.
    """
    damaged = []
    for name in (STATE_FILE, PREVIOUS_STATE_FILE):
        path = workdir / name
        if not path.exists():
            continue
        try:
            with path.open("rb") as stream, np.load(stream) as file:
                facts = json.loads(file["facts"].tobytes())
                return [file[f"v{i:05d}"] for i in range(len(file.files) - 1)], facts
        except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
            damaged.append(f"{path} ({error})")
    if damaged:
        raise InputError(
            f"The saved state of this run is damaged: {'; '.join(damaged)}. "
            "Delete it to start the run from its beginning."
        )
    return None


def forget_state(workdir: Path) -> None:
    """Remove the state of a run that is finished."""
    for name in (STATE_FILE, PREVIOUS_STATE_FILE):
        (workdir / name).unlink(missing_ok=True)
