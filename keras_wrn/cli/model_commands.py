"""The commands on a model: `evaluate`, `predict` and `export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_wrn.errors import InputError
from keras_wrn.system.backend import require_keras
from keras_wrn.system.console import quiet_stderr, quiet_tensorflow
from keras_wrn.weights.card import read_card
from keras_wrn.weights.files import is_keyword

if TYPE_CHECKING:
    import argparse

    from keras_wrn.inference.trained import Trained

CALIBRATION_IMAGES = 512  # of the training images, for int8


def evaluate_command(arguments: argparse.Namespace) -> str:
    """Measure a model on its test set."""
    trained, rest = _load(arguments)
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


def predict_command(arguments: argparse.Namespace) -> str:
    """Name the most probable classes of image files."""
    trained, files = _load(arguments)
    if not files:
        raise InputError("predict needs image files, after the run folder if there is one.")
    from keras_wrn.inference.prediction import predict

    predictions = predict(trained.model, files, trained.preprocessing, arguments.top)
    if arguments.json:
        keys = ("class_index", "class_name", "probability")
        answers = [[dict(zip(keys, best, strict=True)) for best in of] for of in predictions]
        pairs = zip(files, answers, strict=True)
        return json.dumps([{"file": file, "predictions": of} for file, of in pairs])
    width = max(len(name) for of in predictions for _, name, _ in of)
    lines = []
    for file, of in zip(files, predictions, strict=True):
        lines.append(file)
        lines += [f"  {name:<{width}} {probability:8.2%}" for _, name, probability in of]
    return "\n".join(lines)


def export_command(arguments: argparse.Namespace) -> str:
    """Write a SavedModel, or a file for another engine."""
    to_file = arguments.format != "saved_model"
    _check_export(arguments, to_file)
    trained, rest = _load(arguments)
    if len(rest) != 1:
        received = ", ".join(rest) or "none"
        wanted = "file" if to_file else "folder"
        raise InputError(f"export needs one {wanted} to write to. Received: {received}.")
    if not to_file:
        from keras_wrn.deploy.saved_model import export

        target = export(trained.model, rest[0], trained.preprocessing, version=arguments.version)
    else:
        from keras_wrn.deploy import engines

        engines.check(Path(rest[0]), arguments.format, arguments.quantize)
        target = engines.export_file(
            trained.model,
            rest[0],
            trained.preprocessing,
            file_format=arguments.format,
            quantize=arguments.quantize,
            calibration=_calibration(arguments, trained) if arguments.quantize == "int8" else None,
        )
    return f"{trained.card['name']} written to {target}"


def _check_export(arguments: argparse.Namespace, to_file: bool) -> None:
    if to_file and arguments.version is not None:
        raise InputError("--version is for a SavedModel; give a file a new name instead.")
    if not to_file and arguments.quantize:
        raise InputError("A SavedModel is not quantised. Add --format litert, onnx or openvino.")
    for name in ("calibration", "data_dir"):
        if getattr(arguments, name) is not None and arguments.quantize != "int8":
            raise InputError(f"--{name} is for --quantize int8.")


def _calibration(arguments: argparse.Namespace, trained: Trained) -> Any:
    """Training images that stand for all, the same each time."""
    from keras_wrn.inference.own_images import images_of

    of, where = arguments.calibration, arguments.data_dir
    data = images_of(trained, "train", dataset=of, data_dir=where, most=CALIBRATION_IMAGES)
    return data.train.images


def _load(arguments: argparse.Namespace) -> tuple[Trained, list[str]]:
    """The model that was named, and the positional arguments that are left."""
    named = arguments.model is not None
    if arguments.weights is not None and not named:
        raise InputError("--weights needs --model, such as --model 16-4.")
    if not named and not arguments.paths:
        raise InputError(f"A model is needed: {MODEL}.")
    weights = arguments.weights or "cifar10"
    if arguments.dataset and arguments.command != "evaluate" and (not named or is_keyword(weights)):
        raise InputError(
            "--dataset is for a .weights.h5 file; runs and published weights come with their own. "
            f"Received: --dataset {arguments.dataset}."
        )
    if not named:
        # Read here too: a wrong folder is named at once, not after Keras' start.
        read_card(Path(arguments.paths[0]))
    start_keras()
    from keras_wrn.inference.trained import load_model, load_trained

    if not named:
        return load_trained(arguments.paths[0]), arguments.paths[1:]
    return load_model(arguments.model, weights, arguments.dataset or "cifar10"), arguments.paths


def start_keras() -> None:
    """Import Keras quietly; raises InputError where no backend can start."""
    quiet_tensorflow()
    try:
        with quiet_stderr():
            require_keras()
    except ModuleNotFoundError:
        raise
    except ImportError as error:
        raise InputError(str(error)) from error


MODEL = "a run folder, or --model 16-4 --weights cifar10 in its place"


def add_model_command(commands: Any, name: str, paths: str) -> Any:
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
