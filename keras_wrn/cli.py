"""The command line: `keras-wrn evaluate | predict | export | publish | convert | list`.

The only place of the package that prints. Keras is imported when a command needs it, so that
`--help` and `list` answer at once. What the user can mend is one sentence and exit status 2.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags, logging
from absl.flags import argparse_flags

from keras_wrn.backend import quiet_stderr, quiet_tensorflow, require_keras
from keras_wrn.errors import InputError

if TYPE_CHECKING:
    import argparse

    from keras_wrn.runs import Trained

_MODEL = "a run folder, or --model 16-4 --weights cifar10 in its place"


def run() -> None:
    """Start the command line; the entry point of `keras-wrn`."""
    # absl.app would turn on what TensorFlow has to say about every file that it writes.
    flags.FLAGS.verbosity = logging.WARNING
    app.run(main, flags_parser=lambda argv: parse(argv[1:]))


def main(arguments: argparse.Namespace) -> int:
    """Do what the arguments ask for.

    Args:
        arguments: as parsed; `command` is the function to call with them.

    Returns:
        The exit status: 0, or 2 for something that the user can mend.
    """
    try:
        arguments.command(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of a pipe, such as head, has seen enough. Python would complain once more
        # when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (InputError, OSError) as error:
        print(f"keras-wrn: {_sentence(error)}", file=sys.stderr)
        return 2
    return 0


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the words of a command line, without the program's name; see `main`."""
    parser = argparse_flags.ArgumentParser(
        prog="keras-wrn", description="Wide Residual Networks for Keras."
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    evaluate = _add_model_command(commands, "evaluate", _evaluate, "[run]")
    evaluate.description = "Measure top-1 and top-5 error, NLL and calibration on a test set."
    evaluate.add_argument("--data_dir", help="where the data set's files are")
    evaluate.add_argument("--batch_size", type=int, default=250, help="images a step (250)")
    evaluate.add_argument("--json", action="store_true", help="print JSON")

    predict = _add_model_command(commands, "predict", _predict, "[run] image [image ...]")
    predict.description = "Name the most probable classes of image files."
    predict.add_argument("--top", type=int, default=5, help="classes to name (5)")
    predict.add_argument("--json", action="store_true", help="print JSON")

    export = _add_model_command(commands, "export", _export, "[run] folder")
    export.description = (
        "Write folder/version/saved_model.pb for TF Serving, with the preprocessing inside."
    )
    export.add_argument("--version", type=int, help="a new number (default: the next free one)")

    publish = commands.add_parser("publish", help="make published weights out of a finished run")
    publish.set_defaults(command=_publish)
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
    convert.set_defaults(command=_convert)
    convert.add_argument("checkpoint", help=".pt, .safetensors, .npz or .h5; hf://owner/repo/file")
    convert.add_argument("target", help="the .keras file to write, or .weights.h5")
    convert.add_argument("--dialect", help="whose names it has (default: seen from the names)")
    convert.add_argument("--key_map", help="a JSON file: layer in the checkpoint -> layer here")

    listing = commands.add_parser("list", help="name the networks and the published weights")
    listing.set_defaults(command=_list)
    listing.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(argv)


def _add_model_command(commands: Any, name: str, function: Any, paths: str) -> Any:
    """Add a command that takes a model, and the arguments that say which."""
    helps = {
        "evaluate": "measure a model on a test set",
        "predict": "classify image files",
        "export": "write a SavedModel for TF Serving",
    }
    parser = commands.add_parser(
        name, help=helps[name], usage=f"keras-wrn {name} [options] {paths}"
    )
    parser.set_defaults(command=function)
    parser.add_argument("paths", nargs="*", metavar=paths.split(maxsplit=1)[0], help=_MODEL)
    parser.add_argument("--model", help="depth and width of a network, such as 16-4; see list")
    parser.add_argument(
        "--weights", help="published weights, such as cifar10, or a .weights.h5 file"
    )
    data = "whose statistics and classes a .weights.h5 file has (cifar10)"
    if name == "evaluate":
        data += "; test set, or a folder of class sub-folders (the model's own data set)"
    parser.add_argument("--dataset", help=data)
    return parser


def _evaluate(arguments: argparse.Namespace) -> None:
    trained, rest = _load(arguments)
    if rest:
        raise InputError(f"evaluate takes one model. Received also: {', '.join(rest)}.")
    from keras_wrn import datasets
    from keras_wrn.evaluation import evaluate

    name = arguments.dataset or trained.card["dataset"]
    data = datasets.load(name, arguments.data_dir, size=trained.preprocessing.size)
    if data.class_names != trained.preprocessing.class_names:
        raise InputError(
            f"The model must have the classes of the data set. Received: {data.name} with "
            f"{_some(data.class_names)} for a model with "
            f"{_some(trained.preprocessing.class_names)}."
        )
    metrics = evaluate(
        trained.model, *data.test, trained.preprocessing, batch_size=arguments.batch_size
    )
    if arguments.json:
        print(json.dumps(metrics))
        return
    print(f"{trained.card['name']} on {data.name}, {metrics['n']:,} test images")
    print(f"  top-1 error                {metrics['error']:8.2%}")
    print(f"  top-5 error                {metrics['top5_error']:8.2%}")
    print(f"  negative log-likelihood    {metrics['nll']:8.4f}")
    print(f"  expected calibration error {metrics['ece']:8.2%}")


def _predict(arguments: argparse.Namespace) -> None:
    trained, files = _load(arguments)
    if not files:
        raise InputError("predict needs image files, after the run folder if there is one.")
    from keras_wrn.prediction import predict

    predictions = predict(trained.model, files, trained.preprocessing, arguments.top)
    if arguments.json:
        keys = ("class_index", "class_name", "probability")
        answers = [[dict(zip(keys, best, strict=True)) for best in of] for of in predictions]
        pairs = zip(files, answers, strict=True)
        print(json.dumps([{"file": file, "predictions": of} for file, of in pairs]))
        return
    width = max(len(name) for of in predictions for _, name, _ in of)
    for file, of in zip(files, predictions, strict=True):
        print(file)
        for _, name, probability in of:
            print(f"  {name:<{width}} {probability:8.2%}")


def _export(arguments: argparse.Namespace) -> None:
    trained, rest = _load(arguments)
    if len(rest) != 1:
        received = ", ".join(rest) or "none"
        raise InputError(f"export needs one folder to write to. Received: {received}.")
    from keras_wrn.exporting import export

    target = export(trained.model, rest[0], trained.preprocessing, version=arguments.version)
    print(f"{trained.card['name']} written to {target}")


def _publish(arguments: argparse.Namespace) -> None:
    from keras_wrn.runs import read_card

    read_card(Path(arguments.run))
    _start_keras()
    from keras_wrn.publishing import publish

    folder = publish(
        arguments.run,
        arguments.folder,
        data_dir=arguments.data_dir,
        intended_use=arguments.intended_use,
        known_failures=arguments.known_failure,
    )
    metrics = read_card(folder)["metrics"]
    print(f"{folder}: test error {metrics['error']:.2%} on {metrics['n']:,} images")


def _convert(arguments: argparse.Namespace) -> None:
    from keras_wrn.converted import check_target

    check_target(arguments.target)
    _start_keras()
    from keras_wrn.converters import convert_checkpoint

    checkpoint, key_map = arguments.checkpoint, arguments.key_map
    print(convert_checkpoint(checkpoint, arguments.dialect, key_map=key_map).save(arguments.target))


def _list(arguments: argparse.Namespace) -> None:
    from keras_wrn.networks import NETWORKS
    from keras_wrn.published import list_weights, table

    weights = list_weights()
    if arguments.json:
        networks = {
            key: {"parameters": of.parameters, "classes": of.classes, "block": of.block}
            | {"function": of.builder, "arguments": dict(of.arguments)}
            for key, of in NETWORKS.items()
        }
        print(json.dumps({"networks": networks, "published": weights}))
        return
    print(f"{'--model':<17}{'function':<25}{'residual blocks':<30}{'classes':>7}{'parameters':>13}")
    for key, of in NETWORKS.items():
        given = "".join(f"({name}={value})" for name, value in of.arguments)
        print(f"{key:<17}{of.builder + given:<25}{of.block:<30}{of.classes:>7}{of.parameters:>13,}")
    print("\nParameters are the trainable ones, with so many classes. Any other depth of 6N + 4")
    print("and any other width of the B(3,3) networks can be given too, such as --model 10-1.")
    print(f"\nPublished weights, for --model with --weights:\n{table(weights)}")
    print("\n* on ImageNet's validation images, published by its owner and not measured here; the")
    print("others on the full test set. imagenet stands for a network's best. --json shows all.")


def _load(arguments: argparse.Namespace) -> tuple[Trained, list[str]]:
    """The model that was named, and the positional arguments that are left."""
    named = arguments.model is not None
    if arguments.weights is not None and not named:
        raise InputError("--weights needs --model, such as --model 16-4.")
    if not named and not arguments.paths:
        raise InputError(f"A model is needed: {_MODEL}.")
    from keras_wrn.runs import load_model, load_trained, read_card

    if not named:
        # Read here too, so that a wrong folder is told at once and not after Keras' start.
        read_card(Path(arguments.paths[0]))
        _start_keras()
        return load_trained(arguments.paths[0]), arguments.paths[1:]
    _start_keras()
    weights = arguments.weights or "cifar10"
    return load_model(arguments.model, weights, arguments.dataset or "cifar10"), arguments.paths


def _start_keras() -> None:
    quiet_tensorflow()
    try:
        with quiet_stderr():
            require_keras()
    except ModuleNotFoundError:
        raise
    except ImportError as error:
        raise InputError(str(error)) from error


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return " ".join(str(error).split())


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:3])
    return f"{len(names)} classes ({shown}{', ...' if len(names) > 3 else ''})"
