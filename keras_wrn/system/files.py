"""Files that are whole or absent, JSON, and SHA-256."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from keras_wrn.errors import InputError

PART = ".part-"  # what the names of unfinished files begin with


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name and rename it: it is there whole, or not at all.

    It is on the disk when this returns, so that a power cut leaves no empty file.

    Args:
        path: the file.
        write: called with the temporary path, which has the same suffix.

    Raises:
        OSError: it cannot be written; the error names the file.
    """
    part = path.with_name(f"{PART}{os.getpid()}-{path.name}")
    try:
        with _naming(path, part):
            write(part)
        move_whole(part, path)
    finally:
        part.unlink(missing_ok=True)


def move_whole(part: Path, path: Path) -> None:
    """Give a finished file its name, once it is on the disk.

    Args:
        part: the file, in the same folder.
        path: its name; a file of that name is replaced.

    Raises:
        OSError: it cannot be moved; the error names `path`.
    """
    with _naming(path, part):
        _sync(part, os.O_RDWR)
        _replace(part, path)
        with contextlib.suppress(OSError):  # not every system can open a folder
            _sync(path.parent, os.O_RDONLY)


def _replace(part: Path, path: Path) -> None:
    # On Windows another program that has the file open, such as a virus scanner, holds it.
    for seconds in (0.1, 0.3, 1.0) if os.name == "nt" else ():
        try:
            part.replace(path)
            return
        except PermissionError:
            time.sleep(seconds)
    part.replace(path)


@contextlib.contextmanager
def _naming(path: Path, part: Path) -> Iterator[None]:
    """Let errors of the disk name the file that is wanted, not its part."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and str(error.filename) not in (str(part), str(path)):
            raise
        if error.errno is None:  # NumPy and HDF5 do not always give one
            raise OSError(f"{path} could not be written: {error}") from error
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def remove_parts(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder."""
    for part in folder.glob(f"{PART}*"):
        part.unlink(missing_ok=True)


def _sync(path: Path, mode: int) -> None:
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON, whole or not at all; names of files may hold any bytes."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    content_of_file = text.encode("utf-8", "surrogateescape")
    write_whole(path, lambda part: part.write_bytes(content_of_file))


def keras_home() -> Path:
    """Keras' own folder, without importing Keras."""
    # Path.expanduser raises where the user has no home, as in some containers.
    return Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"))  # noqa: PTH111


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises InputError where the file holds something else."""
    try:
        content = json.loads(path.read_bytes().decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: it holds no JSON object.")
    return content


def sha256(content: Path | bytes) -> str:
    """The SHA-256 of a file or of bytes, in hexadecimal."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(
    content: Path | bytes, expected: str, advice: str, *, name: str | None = None
) -> None:
    """Check that a file is the expected one.

    Args:
        content: the file, or its bytes.
        expected: its SHA-256 in hexadecimal, or the first digits, eight at least.
        advice: what to do about another file, a sentence.
        name: what the message calls the file; default its path.

    Raises:
        InputError: the file has another SHA-256.
    """
    digest = sha256(content)
    if len(expected) < 8 or not digest.startswith(expected):
        raise InputError(
            f"{name or str(content)} is damaged or another file: its sha256 is {digest}, "
            f"and must {'be' if len(expected) == 64 else 'start with'} {expected}. {advice}"
        )
