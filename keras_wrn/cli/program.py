"""The shell of every program: a quiet start, one sentence for a mistake, an exit status."""

import os
import signal
import sys
from collections.abc import Callable
from typing import NamedTuple

from absl import app, logging

from keras_wrn.errors import InputError, Interrupted
from keras_wrn.system.backend import not_installed, require_keras
from keras_wrn.system.console import quiet_stderr, quiet_tensorflow
from keras_wrn.system.huge_pages import restart_with_huge_pages


def run(main: Callable[[list[str]], str | None], *, trains: bool = False) -> None:
    """Parse absl's flags, do a program's work, and exit.

    Args:
        main: the work. It gets the arguments that are not flags, and returns what to print.
        trains: whether the program trains: it logs its progress, and starts again in large pages.
    """
    if trains:
        restart_with_huge_pages()

    def start(argv: list[str]) -> int:
        if trains:
            logging.set_verbosity(logging.INFO)
        return status_of(lambda: main(argv[1:]), argv[0])

    app.run(start)


def refuse_words(words: list[str]) -> None:
    """Raise InputError if there are arguments that are not flags, which would be ignored."""
    if words:
        raise InputError(
            "Only flags are taken: --name=value, and --name or --noname for what is on or off. "
            f"Received: {' '.join(words)}."
        )


class PartialAnswer(NamedTuple):
    """An answer to print, and a sentence about what has none: the exit status is 2."""

    answer: str
    complaint: str


def status_of(work: Callable[[], str | PartialAnswer | None], name: str) -> int:
    """Do a program's work and print its answer; a mistake is one sentence on standard error.

    Args:
        work: returns what to print, or None; or a `PartialAnswer`.
        name: of the program, for the sentence.

    Returns:
        The exit status: 0; 2 for what the user can mend; 128 + n if signal n stopped the work.
        Other exceptions are bugs: they are raised, with their traceback.
    """
    try:
        answer = work()
        if isinstance(answer, PartialAnswer):
            _print(answer.answer)
            print(f"{name}: {answer.complaint}", file=sys.stderr)
            return 2
        if answer is not None:
            _print(answer)
    except Interrupted as stop:
        print(f"{stop}; the same command goes on from there", file=sys.stderr)
        return 128 + stop.signal
    except KeyboardInterrupt:
        complain(name, "stopped by Ctrl-C.")
        return 128 + signal.SIGINT
    except (InputError, ImportError, OSError) as error:
        complain(name, _sentence(error))
        return 2
    return 0


def complain(name: str, sentence: str) -> None:
    """Say what went wrong, on standard error."""
    print(f"{name}: {sentence}", file=sys.stderr)


def start_keras() -> None:
    """Import Keras without the log of TensorFlow's C++ code, which is shown if it fails.

    Raises:
        ImportError: no backend can start; the message says what to install.
    """
    quiet_tensorflow()
    with quiet_stderr():
        require_keras()


def _print(answer: str) -> None:
    if hasattr(sys.stdout, "reconfigure"):  # a name of a file may hold what cannot be shown
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print(answer, flush=True)
    except BrokenPipeError:
        # The reader of a pipe, such as head, has seen enough. Python would complain once more
        # when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _sentence(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        if package in ("", "keras_wrn"):
            raise error
        return not_installed("This program", package)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return " ".join(str(error).split())
