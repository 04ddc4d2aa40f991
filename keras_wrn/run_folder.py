"""The folder of a training run: whose it is, and files that are whole or not there."""

import collections
import csv
import hashlib
import json
import os
import platform
import sys
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.errors import InputError

RECIPE_FILE = "recipe.json"
CARD_FILE = "card.json"
HISTORY_FILE = "history.csv"
WEIGHTS_FILE = "model.weights.h5"
STATE_FILE = "state.npz"
PREVIOUS_STATE_FILE = "state.previous.npz"
LOG_FOLDER = "logs"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name and rename it: it is there whole, or not at all.

    Args:
        path: the file.
        write: called with the temporary path, which ends as `path` does.
    """
    part = path.with_name(f".part-{os.getpid()}-{path.name}")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON that a person can read, whole."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


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


def versions() -> dict[str, str]:
    """What the run was made with."""
    import keras

    import keras_wrn

    found = {"python": platform.python_version(), "keras_wrn": keras_wrn.__version__}
    found["backend"] = keras.config.backend()
    for package in ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> str:
    """The processor, and the accelerators that Keras has where it runs already, in words."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    found = collections.Counter(_accelerators())
    return ", ".join(
        [f"{os.cpu_count()} x {model}", *(f"{n} x {name}" for name, n in found.items())]
    )


def _accelerators() -> list[str]:
    """The name of each; without Keras, and so without a backend, none is looked for."""
    keras = sys.modules.get("keras")
    backend = keras.config.backend() if keras else None
    if backend == "tensorflow":
        import tensorflow as tf

        devices = [d for d in tf.config.get_visible_devices() if d.device_type in ("GPU", "TPU")]
        details = [tf.config.experimental.get_device_details(device) for device in devices]
        return [d.get("device_name", v.device_type) for d, v in zip(details, devices, strict=True)]
    if backend == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    return []


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of ours, or say that it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: it holds no JSON object.")
    return content
