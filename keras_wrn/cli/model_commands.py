"""The commands `evaluate` and `predict`, and what all commands on a model share."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_wrn.cli.program import PartialAnswer, start_keras
from keras_wrn.errors import InputError
from keras_wrn.weights.card import read_card
from keras_wrn.weights.description import is_described, read_description
from keras_wrn.weights.files import is_keyword

if TYPE_CHECKING:
    import argparse

    from keras_wrn.images.preprocessing import Preprocessing
    from keras_wrn.inference.prediction import Predictions
    from keras_wrn.inference.trained import Trained

MODEL = "a run folder, or --model 16-4 --weights cifar10 in its place"


def add_evaluate(commands: Any) -> None:
    """Add `evaluate` to the command line."""
    parser = add_model_command(commands, "evaluate", "[run]", "measure a model on a test set")
    parser.description = "Measure top-1 and top-5 error, NLL and calibration on a test set."
    parser.add_argument("--data_dir", help="folder of the data set's files")
    parser.add_argument("--batch_size", type=int, default=250, help="images per step (250)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(answer=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> str:
    trained, rest = load(arguments, measures=True)
    if rest:
        raise InputError(f"evaluate takes one model. Received also: {', '.join(rest)}.")
    from keras_wrn.inference.evaluation import evaluate
    from keras_wrn.inference.own_images import check_classes, images_of

    data = images_of(trained, "test", dataset=arguments.dataset, data_dir=arguments.data_dir)
    check_classes(data, trained)
    metrics = evaluate(
        trained.model, *data.test, trained.preprocessing, batch_size=arguments.batch_size
    )
    if arguments.json:
        return json.dumps(metrics)
    return (
        f"{trained.card['name']} on {data.name}, {metrics['n']:,} test images\n"
        f"  top-1 error                {metrics['error']:8.2%}\n"
        f"  top-5 error                {metrics['top5_error']:8.2%}\n"
        f"  negative log-likelihood    {metrics['nll']:8.4f}\n"
        f"  expected calibration error {metrics['ece']:8.2%}"
    )


def add_predict(commands: Any) -> None:
    """Add `predict` to the command line."""
    parser = add_model_command(
        commands, "predict", "[run] image [image ...]", "classify image files"
    )
    parser.description = "Name the most probable classes of image files."
    parser.add_argument("--top", type=int, default=5, help="classes to name (5)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(answer=_predict)


def _predict(arguments: argparse.Namespace) -> str | PartialAnswer:
    trained, files = load(arguments)
    if not files:
        raise InputError("predict needs image files, after the run folder if there is one.")
    from keras_wrn.inference.prediction import predict_all, unreadable_listed

    answer = predict_all(trained.model, files, trained.preprocessing, arguments.top)
    text = _as_json(files, answer) if arguments.json else _as_text(files, answer)
    return PartialAnswer(text, unreadable_listed(answer)) if answer.unreadable else text


def _as_json(files: list[str], answer: Predictions) -> str:
    keys, entries = ("class_index", "class_name", "probability"), []
    for i, (file, classes) in enumerate(zip(files, answer.predictions, strict=True)):
        entry: dict[str, Any] = {"file": file}
        entry["predictions"] = [dict(zip(keys, values, strict=True)) for values in classes]
        if i in answer.unreadable:
            entry["error"] = answer.unreadable[i]
        entries.append(entry)
    return json.dumps(entries)


def _as_text(files: list[str], answer: Predictions) -> str:
    width = max(len(name) for classes in answer.predictions for _, name, _ in classes)
    lines = []
    for i, (file, classes) in enumerate(zip(files, answer.predictions, strict=True)):
        if i not in answer.unreadable:
            lines.append(file)
            lines += [f"  {name:<{width}} {probability:8.2%}" for _, name, probability in classes]
    return "\n".join(lines)


def add_model_command(
    commands: Any, name: str, paths: str, summary: str, *, first: str = MODEL
) -> Any:
    """Add a command that takes a model; `first` describes its first path. Returns its parser."""
    parser = commands.add_parser(name, help=summary, usage=f"keras-wrn {name} [options] {paths}")
    parser.add_argument("paths", nargs="*", metavar=paths.split(maxsplit=1)[0], help=first)
    parser.add_argument("--model", help="depth and width of a network, such as 16-4; see list")
    parser.add_argument(
        "--weights",
        help="published weights, such as cifar10, a .weights.h5 or .safetensors file, or without "
        "--model what convert wrote, what publish wrote (.safetensors) and any .keras file",
    )
    data = "data set whose statistics and classes a .weights.h5 file has (cifar10)"
    if name in ("evaluate", "assess"):
        data += "; test set, or a folder of class sub-folders (the model's own data set)"
    parser.add_argument("--dataset", help=data)
    parser.add_argument(
        "--preprocessing", help="of a file: a JSON file with its mean, std, size and class_names"
    )
    parser.add_argument(
        "--calibrated", action="store_true", help="with the temperature in the model's card"
    )
    return parser


def load(arguments: argparse.Namespace, *, measures: bool = False) -> tuple[Trained, list[str]]:
    """Load the model that the arguments name.

    Args:
        arguments: of the command line.
        measures: whether --dataset may name a test set too.

    Returns:
        The model, and the remaining positional arguments.
    """
    file = Path(arguments.weights) if arguments.weights else None
    is_file = file is not None and not is_keyword(arguments.weights)
    named = arguments.model is not None or (file is not None and is_described(file))
    if arguments.weights is not None and not named:
        raise InputError(
            "--weights needs --model, such as --model 16-4, except for a .keras file and for what "
            f"convert and publish wrote. Received: --weights {arguments.weights}."
        )
    if not named and not arguments.paths:
        raise InputError(f"A model is needed: {MODEL}.")
    if arguments.dataset and not measures and not is_file:
        raise InputError(
            "--dataset is for a .weights.h5 file; runs and published weights come with their own. "
            f"Received: --dataset {arguments.dataset}."
        )
    if arguments.preprocessing and not is_file:
        raise InputError("--preprocessing is for a file of --weights; others come with their own.")
    if not named:
        # Checked before Keras starts, so that a wrong folder is refused at once.
        read_card(Path(arguments.paths[0]))
    start_keras()
    from keras_wrn.inference.trained import load_file, load_model, load_trained

    calibrated = arguments.calibrated
    if not named:
        return load_trained(arguments.paths[0], calibrated=calibrated), arguments.paths[1:]
    weights = arguments.weights or "cifar10"
    dataset = _trained_on(arguments, file)
    if not calibrated and file is not None and is_described(file):
        return load_file(file, dataset, name=arguments.model), arguments.paths
    model = load_model(arguments.model, weights, dataset or "cifar10", calibrated=calibrated)
    return model, arguments.paths


def _trained_on(arguments: argparse.Namespace, file: Path | None) -> str | Preprocessing | None:
    """The preprocessing of a file, or the data set that has it; None: its own."""
    from keras_wrn.images.preprocessing import PREPROCESSING
    from keras_wrn.weights.description import read_preprocessing

    if arguments.preprocessing:
        return read_preprocessing(Path(arguments.preprocessing))
    own = read_description(file) if file is not None and is_described(file) else None
    if own and own["preprocessing"]:
        # A test set may be another data set than the one that the network was trained on.
        return arguments.dataset if arguments.dataset in PREPROCESSING else None
    if arguments.dataset:
        return arguments.dataset
    if file is None or not is_described(file):
        return "cifar10"
    classes = own["network"].get("classes", 0) if own else 0
    assumed = {100: "cifar100", 1000: "imagenet"}.get(classes, "cifar10")
    sys.stderr.write(
        f"{file} does not say how its images are normalised: mean, std and class names of "
        f"{assumed} are assumed. --dataset and --preprocessing say otherwise.\n"
    )
    return assumed
