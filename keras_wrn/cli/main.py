"""The command line: `keras-wrn`, with one module for each kind of command.

Keras is imported when a command needs it, so that `--help` and `list` answer at once.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from absl import app, flags, logging
from absl.flags import argparse_flags

from keras_wrn.cli.assess_command import add_assess
from keras_wrn.cli.audit_command import add_audit
from keras_wrn.cli.export_command import add_export
from keras_wrn.cli.model_commands import add_evaluate, add_predict
from keras_wrn.cli.program import PartialAnswer, status_of
from keras_wrn.cli.serve_command import add_serve
from keras_wrn.cli.weights_commands import add_convert, add_list, add_publish

if TYPE_CHECKING:
    import argparse

# Each adds a command's arguments, and the function that answers it.
COMMANDS = (
    add_evaluate,
    add_assess,
    add_audit,
    add_predict,
    add_export,
    add_serve,
    add_publish,
    add_convert,
    add_list,
)


def run() -> None:
    """Start the command line; the entry point of `keras-wrn`."""
    # absl's default shows what TensorFlow logs about every file that it writes.
    flags.FLAGS.verbosity = logging.WARNING
    app.run(main, flags_parser=lambda argv: parse(argv[1:]))


def main(arguments: argparse.Namespace) -> int:
    """Do what the arguments ask for, and print the answer.

    Args:
        arguments: of `parse`; `answer` is the function of the command.

    Returns:
        The exit status: 0, or 2 for something that the user can mend.
    """

    def answer() -> str | PartialAnswer:
        # Standard output is for the answer; what Keras and others print goes to standard error.
        with contextlib.redirect_stdout(sys.stderr):
            return arguments.answer(arguments)

    return status_of(answer, "keras-wrn")


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the words of a command line, without the program's name; see `main`."""
    parser = argparse_flags.ArgumentParser(
        prog="keras-wrn", description="Wide Residual Networks for Keras."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for add in COMMANDS:
        add(commands)
    arguments, rest = parser.parse_known_args(argv)
    # argparse takes the paths in one piece: those behind an option are left over.
    if any(word.startswith("-") for word in rest) or (rest and "paths" not in arguments):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.paths = [*arguments.paths, *rest]
    return arguments
