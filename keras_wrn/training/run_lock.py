"""A lock on a run folder: two processes must not train in it."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from absl import logging

from keras_wrn.errors import InputError
from keras_wrn.system import locks

LOCK_FILE = ".lock"


class FolderInUseError(InputError):
    """Another process trains in a folder."""


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Hold the lock of a folder, which ends with the process, however it ends.

    The lock is flock's, on a file that says who holds it. Where a system has no such locks
    (Windows, some network drives), the folder is not locked, and the log says so.

    Args:
        workdir: the folder, which exists.

    Raises:
        FolderInUseError: another process holds the lock.
        OSError: the folder cannot be written; the error names the folder.
    """
    path = workdir / LOCK_FILE
    while True:
        try:
            file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(workdir)) from error
        with file:
            if not _take(file):
                raise _in_use(workdir, path)
            if not locks.is_at(file, path):
                continue  # its last owner has just removed it
            file.truncate(0)
            owner = {"process": os.getpid(), "host": socket.gethostname(), "since": _now()}
            file.write(json.dumps(owner))
            file.flush()
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # Windows keeps open files
                    path.unlink()
            return


def refuse_if_locked(workdir: Path) -> None:
    """Raise FolderInUseError if a process holds the lock of a folder."""
    path = workdir / LOCK_FILE
    # On NFS a lock is of a file that is open for writing.
    with contextlib.suppress(OSError), path.open("r+", encoding="utf-8") as file:
        if not _take(file):
            raise _in_use(workdir, path)


def _take(file: IO[str]) -> bool:
    """Lock a file, if nobody else has; closing it unlocks it."""
    try:
        for seconds in (0.05, 0.1):  # to look whether a file is locked locks it for a moment
            if locks.take(file):
                return True
            time.sleep(seconds)
        return locks.take(file)
    except OSError as error:
        log = logging.info if locks.fcntl is None else logging.warning
        log("%s cannot be locked: %s. Train from one process only", file.name, error)
        return True


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


def _in_use(workdir: Path, path: Path) -> FolderInUseError:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        who = f"process {owner['process']} on {owner['host']}, since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        who = "a process that has just started"
    return FolderInUseError(
        f"Another process trains in {workdir}: {who}. Wait for it or stop it, or give another "
        "folder for another run."
    )
