"""The words that `keras-wrn` understands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from absl.flags import argparse_flags

if TYPE_CHECKING:
    import argparse

MODEL = "a run folder, or --model 16-4 --weights cifar10 in its place"


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the words of a command line, without the program's name; see `main`."""
    parser = argparse_flags.ArgumentParser(
        prog="keras-wrn", description="Wide Residual Networks for Keras."
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    evaluate = _add_model_command(commands, "evaluate", "[run]")
    evaluate.description = "Measure top-1 and top-5 error, NLL and calibration on a test set."
    evaluate.add_argument("--data_dir", help="where the data set's files are")
    evaluate.add_argument("--batch_size", type=int, default=250, help="images a step (250)")
    evaluate.add_argument("--json", action="store_true", help="print JSON")

    predict = _add_model_command(commands, "predict", "[run] image [image ...]")
    predict.description = "Name the most probable classes of image files."
    predict.add_argument("--top", type=int, default=5, help="classes to name (5)")
    predict.add_argument("--json", action="store_true", help="print JSON")

    export = _add_model_command(commands, "export", "[run] folder|file")
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


def _add_model_command(commands: Any, name: str, paths: str) -> Any:
    """Add a command that takes a model, and the arguments that say which."""
    helps = {
        "evaluate": "measure a model on a test set",
        "predict": "classify image files",
        "export": "write a SavedModel for TF Serving, or a file for another engine",
    }
    parser = commands.add_parser(
        name, help=helps[name], usage=f"keras-wrn {name} [options] {paths}"
    )
    parser.set_defaults(command=name)
    parser.add_argument("paths", nargs="*", metavar=paths.split(maxsplit=1)[0], help=MODEL)
    parser.add_argument("--model", help="depth and width of a network, such as 16-4; see list")
    parser.add_argument(
        "--weights", help="published weights, such as cifar10, or a .weights.h5 file"
    )
    data = "whose statistics and classes a .weights.h5 file has (cifar10)"
    if name == "evaluate":
        data += "; test set, or a folder of class sub-folders (the model's own data set)"
    parser.add_argument("--dataset", help=data)
    return parser
