"""The command line: `keras-wrn`, with one module for each kind of command.

Keras is imported when a command needs it, so that `--help` and `list` answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import Any

from absl import app, flags, logging
from absl.flags import argparse_flags

from keras_wrn.cli.assess_command import add_assess
from keras_wrn.cli.audit_command import add_audit
from keras_wrn.cli.doctor_command import add_doctor
from keras_wrn.cli.export_command import add_export
from keras_wrn.cli.model_commands import add_evaluate, add_predict
from keras_wrn.cli.program import PartialAnswer, status_of
from keras_wrn.cli.serve_command import add_serve
from keras_wrn.cli.weights_commands import add_convert, add_list, add_publish

# Each function adds a command's arguments, and the function that answers it.
GROUPS = {
    "Use a model": (add_evaluate, add_predict, add_assess, add_audit),
    "Hand a model on": (add_export, add_serve, add_publish),
    "Find and convert": (add_list, add_convert, add_doctor),
}
EXAMPLES = {
    "evaluate": "keras-wrn evaluate RUN",
    "predict": "keras-wrn predict --model 16-4 --weights cifar10 cat.jpg",
    "assess": "keras-wrn assess RUN --out svhn,noise --html page.html",
    "audit": "keras-wrn audit theirs.keras",
    "export": "keras-wrn export RUN served/wrn",
    "serve": "keras-wrn serve served",
    "publish": "keras-wrn publish RUN published",
    "list": "keras-wrn list",
    "convert": "keras-wrn convert theirs.pth wrn.keras",
    "doctor": "keras-wrn doctor",
}


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
        prog="keras-wrn",
        usage="keras-wrn COMMAND ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(
        required=True, metavar="COMMAND", help=argparse.SUPPRESS, prog="keras-wrn"
    )
    overview = ["Wide Residual Networks for Keras."]
    for title, functions in GROUPS.items():
        overview += ["", f"{title}:"]
        for add in functions:
            listed = _Listed(commands)
            add(listed)
            overview.append(f"  {listed.name:<9} {listed.summary}\n            {listed.example}")
    parser.description = "\n".join(overview)
    parser.epilog = "keras-wrn COMMAND --help has the options of a command."
    _complete(parser)
    arguments, rest = parser.parse_known_args(argv)
    # argparse takes the paths in one piece: those behind an option are left over.
    if any(word.startswith("-") for word in rest) or (rest and "paths" not in arguments):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.paths = [*arguments.paths, *rest]
    return arguments


class _Listed:
    """What a command's function adds itself to: it notes what the overview shows."""

    name = summary = example = ""

    def __init__(self, commands: Any) -> None:
        self._commands = commands

    def add_parser(self, name: str, *, help: str, **options: Any) -> Any:
        """Add a command; `help` is its line in the overview."""
        self.name, self.summary, self.example = name, help, EXAMPLES[name]
        return self._commands.add_parser(name, epilog=f"example: {self.example}", **options)


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, where argcomplete is installed."""
    if "_ARGCOMPLETE" in os.environ:
        with contextlib.suppress(ImportError):
            import argcomplete

            argcomplete.autocomplete(parser)
