"""What the package says unasked: what it downloads, and which weights it leaves out."""

import sys

from absl import logging


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
