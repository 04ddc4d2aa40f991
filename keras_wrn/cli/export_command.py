"""The command `export`: write a network for TF Serving, or for another engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_wrn.cli.model_commands import add_model_command, load
from keras_wrn.errors import InputError
from keras_wrn.system.console import say

if TYPE_CHECKING:
    import argparse

    from keras_wrn.deploy.exported_scores import ExportedScores
    from keras_wrn.inference.trained import Trained

REFERENCE_IMAGES = 10_000  # training images that the score knn looks among
CALIBRATION_IMAGES = 512  # training images that int8 activations are measured on


def add_export(commands: Any) -> None:
    """Add `export` to the command line."""
    summary = "write a SavedModel for TF Serving, or a file for another engine"
    parser = add_model_command(commands, "export", "[run] folder|file", summary)
    parser.description = (
        "Write folder/version/saved_model.pb for TF Serving, or one file for LiteRT (.tflite), "
        "ONNX Runtime (.onnx) or OpenVINO (.xml), with the preprocessing inside."
    )
    parser.add_argument("--version", type=int, help="a new number (default: the next free one)")
    parser.add_argument(
        "--batching",
        action="store_true",
        help="compute requests together, with a batcher in the SavedModel (TF Serving has its own)",
    )
    parser.add_argument(
        "--feature_maps",
        action="store_true",
        help="the maps of groups 2 and 3 in the SavedModel's signature features",
    )
    parser.add_argument(
        "--scores",
        help="out-of-distribution scores in the SavedModel, with commas between: max_softmax, "
        "energy, knn; thresholds on the model's own test images",
    )
    parser.add_argument(
        "--tpr", type=float, help="of --scores: share of test images above a threshold (0.95)"
    )
    parser.add_argument(
        "--engine",
        help="write a file beside the SavedModel for keras-wrn serve --engine: openvino-int8, "
        "openvino, onnx, onnx-int8, litert, litert-dynamic or litert-int8",
    )
    parser.add_argument(
        "--format", default="saved_model", help="saved_model (default), litert, onnx or openvino"
    )
    parser.add_argument(
        "--quantize", help="dynamic (litert: 8-bit weights), or int8 (activations too)"
    )
    parser.add_argument(
        "--calibration",
        help="for int8: data set of the calibration images (the model's own data set)",
    )
    parser.add_argument("--data_dir", help="for int8 and --scores: folder of the data set's files")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(answer=_export)


def _export(arguments: argparse.Namespace) -> str:
    to_file = arguments.format != "saved_model"
    _check_export(arguments, to_file)
    # A SavedModel has the logits as they are, and divides them in its graph.
    calibrated, arguments.calibrated = arguments.calibrated, arguments.calibrated and to_file
    trained, rest = load(arguments)
    if len(rest) != 1:
        received = ", ".join(rest) or "none"
        wanted = "file" if to_file else "folder"
        raise InputError(f"export needs one {wanted} to write to. Received: {received}.")
    if not to_file:
        from keras_wrn.deploy.checking import require_tensorflow
        from keras_wrn.deploy.saved_model import export, version_folder
        from keras_wrn.deploy.serving_files import check_engine
        from keras_wrn.inference.trained import temperature_of

        # Before the minutes that thresholds and calibration images may take.
        require_tensorflow("A SavedModel")
        version_folder(Path(rest[0]), arguments.version)
        if arguments.engine:
            check_engine(arguments.engine)

        if "temperature" in trained.card and not calibrated:
            say("The card has a temperature. --calibrated divides the logits by it.")
        target = export(
            trained.model,
            rest[0],
            trained.preprocessing,
            version=arguments.version,
            temperature=temperature_of(trained.card, trained.path) if calibrated else 1.0,
            batching=arguments.batching,
            feature_maps=arguments.feature_maps,
            scores=_scores(arguments, trained) if arguments.scores else None,
            engine=arguments.engine,
            calibration=_calibration(arguments, trained),
        )
    else:
        from keras_wrn.deploy import engines

        engines.check(Path(rest[0]), arguments.format, arguments.quantize)
        target = engines.export_file(
            trained.model,
            rest[0],
            trained.preprocessing,
            file_format=arguments.format,
            quantize=arguments.quantize,
            calibration=_calibration(arguments, trained),
        )
    name = trained.card["name"]
    if arguments.json:
        return json.dumps({"name": name, "format": arguments.format, "path": str(target)})
    return f"{name} written to {target}"


def _check_export(arguments: argparse.Namespace, to_file: bool) -> None:
    if to_file and arguments.version is not None:
        raise InputError("--version is for a SavedModel; give a file a new name instead.")
    for name in ("batching", "feature_maps", "scores", "engine"):
        if to_file and getattr(arguments, name):
            raise InputError(f"--{name} is for a SavedModel. Leave --format away.")
    if not to_file and arguments.quantize:
        raise InputError("A SavedModel is not quantised. Add --format litert, onnx or openvino.")
    for name in ("calibration", "data_dir"):
        is_used = _needs_calibration(arguments) or (name == "data_dir" and arguments.scores)
        if getattr(arguments, name) is not None and not is_used:
            also = " and --scores" if name == "data_dir" else ""
            raise InputError(f"--{name} is for --quantize int8, for an --engine of int8{also}.")
    if arguments.tpr is not None and not arguments.scores:
        raise InputError("--tpr is for --scores: the share of test images above a threshold.")


def _scores(arguments: argparse.Namespace, trained: Trained) -> ExportedScores:
    """Thresholds on the model's own test images, and for knn training images."""
    from keras_wrn.deploy.exported_scores import fit_scores
    from keras_wrn.inference.own_images import images_of

    names = arguments.scores.split(",")
    images = images_of(trained, "test", data_dir=arguments.data_dir).test.images
    reference = None
    if "knn" in names:
        most = {"most": REFERENCE_IMAGES, "data_dir": arguments.data_dir}
        reference = images_of(trained, "train", **most).train.images
    options = {} if arguments.tpr is None else {"tpr": arguments.tpr}
    return fit_scores(trained.model, trained.preprocessing, names, images, reference, **options)


def _needs_calibration(arguments: argparse.Namespace) -> bool:
    return arguments.quantize == "int8" or (arguments.engine or "").endswith("-int8")


def _calibration(arguments: argparse.Namespace, trained: Trained) -> Any:
    """For int8, training images, spread evenly, the same each time."""
    if not _needs_calibration(arguments):
        return None
    from keras_wrn.inference.own_images import images_of

    data = images_of(
        trained,
        "train",
        dataset=arguments.calibration,
        data_dir=arguments.data_dir,
        most=CALIBRATION_IMAGES,
    )
    return data.train.images
