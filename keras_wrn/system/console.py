"""Messages to the user, progress bars, and silence while TensorFlow starts."""

import contextlib
import functools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO, TextIO

from absl import logging

_SHORT = 1.0  # seconds of work that no bar is shown for
_bar = threading.Lock()  # held by the work that may show a bar
_held_back: list[IO[str]] = []  # standard error, while `quiet_stderr` holds it back


def quiet_tensorflow() -> None:
    """Limit TensorFlow's log to errors, unless the user has set TF_CPP_MIN_LOG_LEVEL."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back standard error, and show it only if something fails.

    TensorFlow's C++ code writes four lines about oneDNN when it is imported, at any log level.
    """
    if sys.stderr is None:  # as in programs without a console
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    encoding = getattr(sys.stderr, "encoding", None)
    with tempfile.TemporaryFile() as held, open(kept, "w", encoding=encoding, closefd=False) as out:
        _held_back.append(out if sys.stderr.isatty() else sys.stderr)  # where bars are drawn
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            _held_back.pop()
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


@functools.cache
def note(text: str) -> None:
    """Print a sentence to standard error, once in a program."""
    _write(sys.stderr, text)


def say(text: str) -> None:
    """Print a message where Keras prints its own; Keras has no public function for it.

    That is standard output, or the log after `keras.config.disable_interactive_logging()`.
    """
    keras = sys.modules.get("keras")  # nothing else is worth starting it
    if keras is None or keras.config.is_interactive_logging_enabled():
        _write(sys.stdout, text)
    else:
        logging.info("%s", text)


def _write(stream: TextIO | None, text: str) -> None:
    """Write a line, with escapes for what the stream's encoding does not have."""
    if stream is None:  # as in programs without a console
        return
    try:
        stream.write(f"{text}\n")
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(f"{text.encode(encoding, 'backslashreplace').decode(encoding)}\n")
    stream.flush()


@contextlib.contextmanager
def progress(
    what: str, total: int | None, *, done: int = 0, unit: str = ""
) -> Iterator[Callable[[int], object]]:
    """Show a bar with the time to go, on standard error if it is a terminal.

    Work of less than a second shows none, nor does work inside other work that has one. The bar
    goes away when the work is done.

    Args:
        what: is done, such as "Evaluating".
        total: steps; None: not known.
        done: steps that were done before.
        unit: "bytes" for a download.

    Yields:
        A function to call with the number of steps that have just been done.

    Example:
        >>> with progress("Counting", 3) as advance:
        ...     for _ in range(3):
        ...         advance(1)
    """
    stream = _held_back[-1] if _held_back else sys.stderr
    if stream is None or not stream.isatty() or not _bar.acquire(blocking=False):
        yield lambda _: None
        return
    try:
        from rich import progress as rich
        from rich.console import Console

        console = Console(file=stream)
        bar = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(),
            rich.DownloadColumn() if unit == "bytes" else rich.MofNCompleteColumn(),
            rich.TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        task, begun = bar.add_task(what, total=total, completed=done), time.monotonic()

        def advance(steps: int) -> None:
            bar.advance(task, steps)
            if console.is_interactive and time.monotonic() - begun > _SHORT:
                bar.start()  # does nothing the second time

        try:
            yield advance
        finally:
            bar.live.stop()
    finally:
        _bar.release()


@contextlib.contextmanager
def hub_bars() -> Iterator[None]:
    """Let the bars of huggingface_hub, which is installed, be seen on a terminal only."""
    from huggingface_hub import utils

    hides = not (sys.stderr and sys.stderr.isatty()) and not utils.are_progress_bars_disabled()
    if hides:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        if hides:
            utils.enable_progress_bars()
