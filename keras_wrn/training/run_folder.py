"""The files of an unfinished run: whose folder it is, its history, its saved state."""

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
# What the learning curves need.
_CURVES = ("epoch", "loss", "error", "val_loss", "val_error", "learning_rate")


def open_run(workdir: Path, recipe: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Make a run's folder and its recipe.json, or resume in it; arguments as in `check_run`."""
    check_run(workdir, recipe, defaults)
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / RECIPE_FILE).exists():
        write_json(workdir / RECIPE_FILE, recipe)


def check_run(workdir: Path, recipe: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Check that a folder is free for a run, or holds this very run; write nothing.

    Args:
        workdir: the folder.
        recipe: the run's options, as JSON stores them.
        defaults: values for options newer than the stored run.

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
                "Give another folder, or the same recipe to resume that run."
            )
        return
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"The work folder {workdir} is a file. Give the path of a folder.")
    if workdir.exists() and any(workdir.iterdir()):
        raise InputError(
            f"The work folder {workdir} is not empty and holds no run of keras_wrn. "
            "Give a new or an empty folder."
        )


def write_history(workdir: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """Write history.csv atomically: a row per epoch, an empty field where nothing was measured."""

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            for row in rows:
                writer.writerow(
                    {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
                )

    write_whole(workdir / HISTORY_FILE, write)


def read_history(path: Path) -> dict[str, np.ndarray]:
    """Read the learning curves of a history.csv.

    Returns:
        Column -> floats (epochs,), NaN where nothing was measured. The columns are epoch, loss,
        error, val_loss, val_error and learning_rate; errors are fractions.

    Raises:
        InputError: the file is missing, has no epoch, lacks a column or is damaged.
    """
    if not path.is_file():
        raise InputError(f"There is no history to draw: {path} does not exist.")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = [name for name in _CURVES if not rows or name not in rows[0]]
    if missing:
        lack = f"has no column {', '.join(missing)}" if rows else "has no epoch yet"
        raise InputError(f"There is no history to draw: {path} {lack}.")
    blank = ("", "NA")  # Keras' CSVLogger writes NA
    try:
        return {
            name: np.array([np.nan if row[name] in blank else float(row[name]) for row in rows])
            for name in _CURVES
        }
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}.") from error


def save_state(workdir: Path, arrays: list[np.ndarray], facts: dict[str, Any]) -> None:
    """Store the state of an unfinished run; the state before it stays beside it."""
    path = workdir / STATE_FILE
    named: dict[str, Any] = {f"v{i:05d}": array for i, array in enumerate(arrays)}
    named["facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez(file, **named)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            path.replace(workdir / PREVIOUS_STATE_FILE)

    write_whole(path, write)


def load_state(workdir: Path) -> tuple[list[np.ndarray], dict[str, Any]] | None:
    """Load the newest undamaged state of a run; None if there is none.

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
    """Remove the state of a finished run."""
    for name in (STATE_FILE, PREVIOUS_STATE_FILE):
        (workdir / name).unlink(missing_ok=True)
