"""Messages to the user, and silence while TensorFlow starts."""

import contextlib
import functools
import os
import sys
import tempfile
from collections.abc import Iterator

from absl import logging


def quiet_tensorflow() -> None:
    """Limit TensorFlow's log to errors, unless the user has set TF_CPP_MIN_LOG_LEVEL."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back standard error, and show it only if something fails.

    TensorFlow's C++ code writes four lines about oneDNN when it is imported, at any log level.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


@functools.cache
def note(text: str) -> None:
    """Print a sentence to standard error, once in a program."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def say(text: str) -> None:
    """Print a message where Keras prints its own; Keras has no public function for it.

    That is standard output, or the log after `keras.config.disable_interactive_logging()`.
    """
    import keras

    if keras.config.is_interactive_logging_enabled():
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    else:
        logging.info("%s", text)
