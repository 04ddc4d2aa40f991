"""The command line: `keras-wrn evaluate | predict | export | publish | convert | list`.

The only place of the package that prints. Keras is imported when a command needs it, so that
`--help` and `list` answer at once. What the user can mend is one sentence and exit status 2.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags, logging

from keras_wrn.backend import quiet_stderr, quiet_tensorflow, require_keras
from keras_wrn.cli_arguments import MODEL, parse
from keras_wrn.errors import InputError
from keras_wrn.keywords import is_keyword

if TYPE_CHECKING:
    import argparse

    from keras_wrn.runs import Trained

CALIBRATION_IMAGES = 512  # of the training images, for int8


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


def _evaluate(arguments: argparse.Namespace) -> str:
    trained, rest = _load(arguments)
    if rest:
        raise InputError(f"evaluate takes one model. Received also: {', '.join(rest)}.")
    from keras_wrn.evaluation import evaluate
    from keras_wrn.run_images import check_classes, images_of

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


def _predict(arguments: argparse.Namespace) -> str:
    trained, files = _load(arguments)
    if not files:
        raise InputError("predict needs image files, after the run folder if there is one.")
    from keras_wrn.prediction import predict

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


def _export(arguments: argparse.Namespace) -> str:
    to_file = arguments.format != "saved_model"
    _check_export(arguments, to_file)
    trained, rest = _load(arguments)
    if len(rest) != 1:
        received = ", ".join(rest) or "none"
        wanted = "file" if to_file else "folder"
        raise InputError(f"export needs one {wanted} to write to. Received: {received}.")
    if not to_file:
        from keras_wrn.exporting import export

        target = export(trained.model, rest[0], trained.preprocessing, version=arguments.version)
    else:
        from keras_wrn import inference_files

        inference_files.check(Path(rest[0]), arguments.format, arguments.quantize)
        target = inference_files.export_file(
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
    from keras_wrn.run_images import images_of

    of, where = arguments.calibration, arguments.data_dir
    data = images_of(trained, "train", dataset=of, data_dir=where, most=CALIBRATION_IMAGES)
    return data.train.images


def _publish(arguments: argparse.Namespace) -> str:
    from keras_wrn.cards import read_card

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
    return f"{folder}: test error {metrics['error']:.2%} on {metrics['n']:,} images"


def _convert(arguments: argparse.Namespace) -> str:
    from keras_wrn.converted import check_target

    check_target(arguments.target)
    _start_keras()
    from keras_wrn.converters import convert_checkpoint

    checkpoint, key_map = arguments.checkpoint, arguments.key_map
    return convert_checkpoint(checkpoint, arguments.dialect, key_map=key_map).save(arguments.target)


def _list(arguments: argparse.Namespace) -> str:
    from keras_wrn.networks import NETWORKS
    from keras_wrn.published_list import list_weights, markdown, table

    weights = list_weights()
    if arguments.json:
        networks = {
            key: {"parameters": of.parameters, "classes": of.classes, "block": of.block}
            | {"function": of.builder, "arguments": dict(of.arguments)}
            for key, of in NETWORKS.items()
        }
        return json.dumps({"networks": networks, "published": weights})
    if arguments.markdown:
        return markdown(weights)
    heads = (
        f"{'--model':<17}{'function':<25}{'residual blocks':<30}{'classes':>7}{'parameters':>13}"
    )
    lines = [heads]
    for key, of in NETWORKS.items():
        call = of.builder + "".join(f"({name}={value})" for name, value in of.arguments)
        lines.append(f"{key:<17}{call:<25}{of.block:<30}{of.classes:>7}{of.parameters:>13,}")
    lines += [
        "\nParameters are the trainable ones, with so many classes. Any other depth of 6N + 4",
        "and any other width of the B(3,3) networks can be given too, such as --model 10-1.",
        f"\nPublished weights, for --model with --weights:\n{table(weights)}",
        "\n* on ImageNet's validation images, published by its owner and not measured here; the",
        "others on the full test set. imagenet stands for a network's best. --json shows all.",
    ]
    return "\n".join(lines)


_COMMANDS = {
    "evaluate": _evaluate,
    "predict": _predict,
    "export": _export,
    "publish": _publish,
    "convert": _convert,
    "list": _list,
}


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
    from keras_wrn.cards import read_card
    from keras_wrn.runs import load_model, load_trained

    if not named:
        # Read here too, so that a wrong folder is told at once and not after Keras' start.
        read_card(Path(arguments.paths[0]))
        _start_keras()
        return load_trained(arguments.paths[0]), arguments.paths[1:]
    _start_keras()
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
