"""What the package says unasked: what it downloads, and which weights it leaves out."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from absl import logging


def quiet_tensorflow() -> None:
    """Ask TensorFlow for warnings and errors only, unless the user has asked for more."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what is written to standard error, and show it only if something fails.

    TensorFlow's C++ code says four lines about oneDNN when it is imported, whatever the log
    level is.
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


def say(text: str) -> None:
    """Say something where Keras says such things, for which it has no public function.

    That is standard output, or the log after `keras.config.disable_interactive_logging()`.
    """
    import keras

    if keras.config.is_interactive_logging_enabled():
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    else:
        logging.info("%s", text)
