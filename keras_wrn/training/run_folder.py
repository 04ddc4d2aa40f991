"""The files of an unfinished run: whose folder it is, its history, its saved state."""

import contextlib
import csv
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from keras_wrn.errors import InputError
from keras_wrn.system.files import PART, read_json, remove_parts, sha256, write_json, write_whole
from keras_wrn.training.fingerprint import changes
from keras_wrn.training.run_lock import LOCK_FILE, locked, refuse_if_locked
from keras_wrn.weights.card import HISTORY_FILE, RECIPE_FILE

STATE_FILE = "state.npz"
PREVIOUS_STATE_FILE = "state.previous.npz"
DATA_FILE = "data.json"
SHOWN = 5  # classes that a message about changed data names
# What the learning curves need.
_CURVES = ("epoch", "loss", "error", "val_loss", "val_error", "learning_rate")


@contextlib.contextmanager
def open_run(
    workdir: Path,
    recipe: dict[str, Any],
    defaults: dict[str, Any],
    data: dict[str, Any] | None = None,
) -> Iterator[None]:
    """Make a run's folder, or resume in it, and hold its lock.

    Files that a killed process left half written are removed.

    Args:
        workdir: the folder.
        recipe: the run's options, as JSON stores them, kept in recipe.json.
        defaults: values for options newer than the stored run.
        data: the fingerprint of the run's data, kept in data.json.

    Raises:
        InputError: the folder holds another run, files that are no run, or a run on other data;
            or another process trains in it.
        OSError: the folder cannot be written.
    """
    check_run(workdir, recipe, defaults)
    workdir.mkdir(parents=True, exist_ok=True)
    with locked(workdir):
        _check_files(workdir, recipe, defaults)
        if data is not None and (workdir / DATA_FILE).exists():
            _check_data(workdir, data)
        remove_parts(workdir)
        if not (workdir / RECIPE_FILE).exists():
            write_json(workdir / RECIPE_FILE, recipe)
        if data is not None and not (workdir / DATA_FILE).exists():
            write_json(workdir / DATA_FILE, data)
        yield


def check_run(workdir: Path, recipe: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Check that a folder is free for a run, or holds this very run; write nothing.

    Args:
        workdir: the folder.
        recipe: the run's options, as JSON stores them.
        defaults: values for options newer than the stored run.

    Raises:
        InputError: the folder holds another run, or files that are no run; or another process
            trains in it.
    """
    refuse_if_locked(workdir)
    _check_files(workdir, recipe, defaults)


def _check_files(workdir: Path, recipe: dict[str, Any], defaults: dict[str, Any]) -> None:
    recipe_path = workdir / RECIPE_FILE
    if recipe_path.exists():
        difference = first_difference({**defaults, **read_json(recipe_path)}, recipe)
        if difference:
            raise InputError(
                f"The work folder {workdir} already holds another run: {difference}. "
                "Give another folder, or the same recipe to resume that run."
            )
        return
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"The work folder {workdir} is a file. Give the path of a folder.")
    ours = (PART, LOCK_FILE)
    if workdir.exists() and not all(path.name.startswith(ours) for path in workdir.iterdir()):
        raise InputError(
            f"The work folder {workdir} is not empty and holds no run of keras_wrn. "
            "Give a new or an empty folder."
        )


def first_difference(theirs: dict[str, Any], recipe: dict[str, Any]) -> str:
    """Say how the options of a stored run differ from those of this one; "" if they do not."""
    for key, value in theirs.items():
        if value != recipe.get(key):
            return f"{key} is {value!r} there and {recipe.get(key)!r} here"
    return ""


def _check_data(workdir: Path, data: dict[str, Any]) -> None:
    changed = changes(read_json(workdir / DATA_FILE), data)
    if changed:
        more = f", and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise InputError(
            f"The data have changed since the run in {workdir} began: "
            f"{', '.join(changed[:SHOWN])}{more}. Restore them to resume that run, or give "
            "another folder."
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
    facts = {**facts, **_identity(workdir)}
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
        InputError: both the state and the one before it are damaged, or the state belongs to
            another recipe or other data than the folder.
    """
    damaged: list[str] = []
    for name in (STATE_FILE, PREVIOUS_STATE_FILE):
        path = workdir / name
        if not path.exists():
            continue
        try:
            with path.open("rb") as stream, np.load(stream) as file:
                facts = json.loads(file["facts"].tobytes())
                arrays = [file[f"v{i:05d}"] for i in range(len(file.files) - 1)]
        except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
            damaged.append(f"{path} ({error})")
            continue
        if damaged:
            logging.warning("%s is damaged; the state before it is used", damaged[0])
        _check_identity(path, facts)
        return arrays, facts
    if damaged:
        raise InputError(
            f"The saved state of this run is damaged: {'; '.join(damaged)}. "
            "Delete it to start the run from its beginning."
        )
    return None


def _identity(workdir: Path) -> dict[str, Any]:
    """Whose a state is: the recipe, and the SHA-256 of the data's fingerprint, of its folder."""
    recipe, data = workdir / RECIPE_FILE, workdir / DATA_FILE
    found: dict[str, Any] = {"recipe": read_json(recipe)} if recipe.exists() else {}
    return {**found, "data": sha256(data)} if data.exists() else found


def _check_identity(path: Path, facts: dict[str, Any]) -> None:
    """Refuse a state that another run's folder has written; older states do not say whose."""
    expected = _identity(path.parent)
    ours, theirs = expected.get("recipe", {}), facts.get("recipe", {})
    difference = first_difference({**ours, **theirs}, ours) if ours else ""
    if not difference and facts.get("data", expected.get("data")) != expected.get("data"):
        difference = f"its data were other data than {DATA_FILE} describes"
    if difference:
        raise InputError(
            f"{path} is the state of another run: {difference}. Remove it, and "
            f"{PREVIOUS_STATE_FILE} if there is one, to start this run from its beginning."
        )


def check_shapes(workdir: Path, arrays: list[np.ndarray], expected: list[tuple[int, ...]]) -> None:
    """Raise InputError if a saved state has other arrays than the network and its optimiser."""
    found = [array.shape for array in arrays]
    if found == expected:
        return
    difference = f"{len(found)} arrays there and {len(expected)} here"
    if len(found) == len(expected):
        pair = next((a, b) for a, b in zip(found, expected, strict=True) if a != b)
        difference = f"an array of shape {pair[0]} there and {pair[1]} here"
    raise InputError(
        f"The state saved in {workdir} is of another network: {difference}. Remove {STATE_FILE} "
        f"and {PREVIOUS_STATE_FILE} to start this run from its beginning."
    )


def forget_state(workdir: Path) -> None:
    """Remove the state of a finished run."""
    for name in (STATE_FILE, PREVIOUS_STATE_FILE):
        (workdir / name).unlink(missing_ok=True)
