"""Locks between processes, by flock; they end with the process, however it ends."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from keras_wrn.system.console import note

fcntl: Any
try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None


def take(file: IO[str], *, wait: bool = False) -> bool:
    """Lock an open file; closing it unlocks it.

    Args:
        file: the file.
        wait: until another process unlocks it.

    Returns:
        False if another process has the lock.

    Raises:
        OSError: the system has no such locks: Windows, some network drives.
    """
    if fcntl is None:
        raise OSError(errno.ENOLCK, "this system has no flock")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def is_at(file: IO[str], path: Path) -> bool:
    """Whether an open file still has this path; its last owner may have removed it."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


@contextlib.contextmanager
def exclusive(path: Path, waiting: str) -> Iterator[bool]:
    """Let one process at a time do something; the others wait.

    Args:
        path: of the lock, an empty file that is removed afterwards.
        waiting: what is said once to a process that waits.

    Yields:
        Whether the lock is held; False where the system has none.

    Raises:
        OSError: the folder cannot be written; the error names the folder.
    """
    while True:
        try:
            opened = path.open("a", encoding="utf-8")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path.parent)) from error
        with opened as file:
            held = _wait_for(file, waiting)
            if held and not is_at(file, path):
                continue  # its last owner has just removed it
            try:
                yield held
            finally:
                with contextlib.suppress(OSError):  # Windows keeps open files
                    path.unlink()
            return


def _wait_for(file: IO[str], waiting: str) -> bool:
    with contextlib.suppress(OSError):
        if not take(file):
            note(waiting)
            take(file, wait=True)
        return True
    return False
