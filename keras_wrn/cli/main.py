"""The command line: `keras-wrn evaluate | predict | export | publish | convert | list`.

The only place of the package that prints. Keras is imported when a command needs it, so that
`--help` and `list` answer at once. What the user can mend is one sentence and exit status 2.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from absl import app, flags, logging
from absl.flags import argparse_flags

from keras_wrn.cli.model_commands import (
    add_model_command,
    evaluate_command,
    export_command,
    predict_command,
)
from keras_wrn.cli.weights_commands import convert_command, list_command, publish_command
from keras_wrn.errors import InputError

if TYPE_CHECKING:
    import argparse


def run() -> None:
    """Start the command line; the entry point of `keras-wrn`."""
    # absl.app would turn on what TensorFlow has to say about every file that it writes.
    flags.FLAGS.verbosity = logging.WARNING
    app.run(main, flags_parser=lambda argv: parse(argv[1:]))


def main(arguments: argparse.Namespace) -> int:
    """Do what the arguments ask for.

    Args:
        arguments: as parsed; `command` is the name of what to do.

    Returns:
        The exit status: 0, or 2 for something that the user can mend.
    """
    try:
        # Standard output is for the answer; what Keras and others say on the way goes beside it.
        with contextlib.redirect_stdout(sys.stderr):
            answer = _COMMANDS[arguments.command](arguments)
        print(answer, flush=True)
    except BrokenPipeError:
        # The reader of a pipe, such as head, has seen enough. Python would complain once more
        # when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (InputError, OSError) as error:
        print(f"keras-wrn: {_sentence(error)}", file=sys.stderr)
        return 2
    return 0


_COMMANDS = {
    "evaluate": evaluate_command,
    "predict": predict_command,
    "export": export_command,
    "publish": publish_command,
    "convert": convert_command,
    "list": list_command,
}


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return " ".join(str(error).split())


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the words of a command line, without the program's name; see `main`."""
    parser = argparse_flags.ArgumentParser(
        prog="keras-wrn", description="Wide Residual Networks for Keras."
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    evaluate = add_model_command(commands, "evaluate", "[run]")
    evaluate.description = "Measure top-1 and top-5 error, NLL and calibration on a test set."
    evaluate.add_argument("--data_dir", help="where the data set's files are")
    evaluate.add_argument("--batch_size", type=int, default=250, help="images a step (250)")
    evaluate.add_argument("--json", action="store_true", help="print JSON")

    predict = add_model_command(commands, "predict", "[run] image [image ...]")
    predict.description = "Name the most probable classes of image files."
    predict.add_argument("--top", type=int, default=5, help="classes to name (5)")
    predict.add_argument("--json", action="store_true", help="print JSON")

    export = add_model_command(commands, "export", "[run] folder|file")
    export.description = (
        "Write folder/version/saved_model.pb for TF Serving, or one file for LiteRT (.tflite), "
        "ONNX Runtime (.onnx) or OpenVINO (.xml), with the preprocessing inside."
    )
    export.add_argument("--version", type=int, help="a new number (default: the next free one)")
    export.add_argument(
        "--format", default="saved_model", help="saved_model (default), litert, onnx or openvino"
    )
    export.add_argument(
        "--quantize", help="dynamic (litert: 8-bit weights), or int8 (activations too)"
    )
    export.add_argument(
        "--calibration",
        help="for int8: whose training images to measure (the model's own data set)",
    )
    export.add_argument("--data_dir", help="for int8: where that data set's files are")

    publish = commands.add_parser("publish", help="make published weights out of a finished run")
    publish.set_defaults(command="publish")
    publish.description = (
        "Round a run's weights to float16, measure them again on the full test set, and write "
        "folder/name/ with the weights, their card and a README."
    )
    publish.add_argument("run", help="the run folder")
    publish.add_argument("folder", help="where name/ shall be, such as saved_models")
    publish.add_argument("--data_dir", help="where the data set's files are")
    publish.add_argument("--intended_use", help="a sentence for the card")
    publish.add_argument("--known_failure", action="append", default=[], help="may be repeated")

    convert = commands.add_parser("convert", help="make a Keras model of another's checkpoint")
    convert.set_defaults(command="convert")
    convert.add_argument("checkpoint", help=".pt, .safetensors, .npz or .h5; hf://owner/repo/file")
    convert.add_argument("target", help="the .keras file to write, or .weights.h5")
    convert.add_argument("--dialect", help="whose names it has (default: seen from the names)")
    convert.add_argument("--key_map", help="a JSON file: layer in the checkpoint -> layer here")

    listing = commands.add_parser("list", help="name the networks and the published weights")
    listing.set_defaults(command="list")
    form = listing.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="the published weights in Markdown")
    arguments, rest = parser.parse_known_args(argv)
    # argparse takes the paths in one piece: those behind an option are left over.
    if any(word.startswith("-") for word in rest) or (rest and "paths" not in arguments):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.paths = [*arguments.paths, *rest]
    return arguments
