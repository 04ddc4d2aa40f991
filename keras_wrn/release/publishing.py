"""From a finished run to published weights: rounded to float16, measured again, with a card."""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from keras_wrn.errors import InputError
from keras_wrn.release.readme import README_FILE, readme
from keras_wrn.system.backend import float32
from keras_wrn.system.files import sha256, write_json
from keras_wrn.system.machine import versions
from keras_wrn.training.cost import multiply_adds, training_flop
from keras_wrn.weights.card import CARD_FILE, HISTORY_FILE, TEST_SET, WEIGHTS_FILE, metrics_of
from keras_wrn.weights.published import folder_name

CURVES_FILE = "curves.png"
_LARGEST = 100_000_000  # bytes; more than that git hosts refuse
_CONFUSIONS = 3  # shown on the card


def publish(
    run: str | os.PathLike[str],
    home: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    intended_use: str | None = None,
    known_failures: Sequence[str] = (),
    licence: str = "Apache-2.0",
) -> Path:
    """Make a folder of published weights out of a finished run.

    The weights are rounded to float16, read back into a float32 network, and measured on the
    full test set: the card's figures are those of the file that is published. The folder
    appears under its name when it is complete, and not before.

    Args:
        run: the run folder.
        home: where the folder shall be, such as "saved_models".
        data_dir: where the data set's files are; default ~/.keras/datasets.
        intended_use: what the network is for; a sentence for its data set by default.
        known_failures: what it is known to do badly, beside what is measured here.
        licence: under which the weights may be used.

    Returns:
        The new folder: model.weights.h5, card.json, README.md, history.csv and curves.png.

    Raises:
        InputError: the run is not finished or has whitened images, the folder exists, or the
            data is missing.
        OSError: the folder cannot be written.

    Example:
        >>> publish("runs/wrn-16-4", "saved_models")  # doctest: +SKIP
        PosixPath('saved_models/wrn-16-4-cifar10')
    """
    from keras_wrn.inference.own_images import check_classes, images_of
    from keras_wrn.inference.trained import load_trained
    from keras_wrn.networks.recognition import architecture
    from keras_wrn.weights.files import write_float16

    run, home = Path(run), Path(home)
    with float32():
        trained = load_trained(run)
    if trained.preprocessing.whitening is not None:
        raise InputError(
            f"{run} sees whitened images. Published weights are loaded by name, and "
            "`preprocess_input` knows a data set's mean and standard deviation only, so that they "
            "would be used with the wrong images. Use the run folder itself: evaluate, predict "
            "and export take it. Or train without `whitening`."
        )
    if not (run / HISTORY_FILE).is_file():
        raise InputError(f"{run} has no {HISTORY_FILE}, which is published with the weights.")
    keyword = Path(trained.card["dataset"]).name
    network = architecture(trained.model)
    target = home / folder_name(network, keyword)
    if target.exists():
        raise InputError(
            f"{target} exists, and published weights are never overwritten. Remove it first."
        )
    data = images_of(trained, "test", data_dir=data_dir)
    check_classes(data, trained)

    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".publish-", dir=home) as beside:
        folder = Path(beside) / target.name
        folder.mkdir()
        weights = folder / WEIGHTS_FILE
        write_float16(run / WEIGHTS_FILE, weights)
        metrics, confusions = _measure(trained, weights, data)
        card = trained.card | {
            "architecture": network,
            "weights": keyword,
            "metrics": metrics,
            "measured_by": "keras_wrn: the stored float16 file through a float32 network, on all "
            f"{metrics['n']:,} test images",
            "measured_on": datetime.date.today().isoformat(),
            "measured_with": versions(),
            "metrics_of": TEST_SET,
            "metrics_before_rounding": _before_rounding(trained.card),
            "runs": 1,
            "weights_dtype": "float16",
            "weights_bytes": weights.stat().st_size,
            "weights_sha256": sha256(weights),
            "multiply_adds": multiply_adds(trained.model),
            "training_flop": training_flop(trained.card),
            "licence": licence,
            "intended_use": intended_use or _intended_use(trained.card, data),
            "known_failures": [*known_failures, *confusions, *_limits(data)],
        }
        card.setdefault(
            "parameters", sum(int(np.prod(v.shape)) for v in trained.model.trainable_variables)
        )
        write_json(folder / CARD_FILE, card)
        shutil.copyfile(run / HISTORY_FILE, folder / HISTORY_FILE)
        has_curves = _curves(run, folder, f"{network} on {keyword}")
        (folder / README_FILE).write_text(readme(card, has_curves=has_curves), encoding="utf-8")
        if weights.stat().st_size > _LARGEST:
            logging.warning("%s is above 100 MB: too large for most git hosts", target)
        folder.rename(target)
    return target


def _measure(trained: Any, weights: Path, data: Any) -> tuple[dict[str, Any], list[str]]:
    """The figures of the stored file, and which classes it confuses the most."""
    from keras_wrn.inference.classifier import class_probabilities
    from keras_wrn.inference.evaluation import checked_labels, measures
    from keras_wrn.weights.loading import load_exactly

    load_exactly(trained.model, weights)
    images, labels = data.test
    classes = len(data.class_names)
    labels = checked_labels(labels, len(images), classes)
    probabilities = class_probabilities(trained.model, images, trained.preprocessing)
    predicted = probabilities.argmax(axis=1)
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, predicted), 1)
    of_class = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    worst = np.argsort(-counts, axis=None, kind="stable")[:_CONFUSIONS]
    names = data.class_names
    confusions = [
        f"Of {of_class[true]:,} test images of {names[true]}, {counts[true, said]} are taken for "
        f"{names[said]}."
        for true, said in zip(*np.unravel_index(worst, counts.shape), strict=True)
        if counts[true, said]
    ]
    return measures(probabilities, labels), confusions


def _before_rounding(card: dict[str, Any]) -> dict[str, Any] | None:
    """What training measured, unless that was on other images."""
    return card.get("metrics") if metrics_of(card) == TEST_SET else None


def _intended_use(card: dict[str, Any], data: Any) -> str:
    size = card["preprocessing"]["size"]
    return (
        f"Classifying {size}x{size} images into the {len(data.class_names)} classes of "
        f"{data.name}, comparing methods on that data set, and starting other training from it."
    )


def _limits(data: Any) -> list[str]:
    return [
        f"It knows its {len(data.class_names)} classes only, and names one of them, often with "
        "high confidence, for an image of anything else.",
        "Corrupted images, adversarial changes and images from other sources: not measured.",
    ]


def _curves(run: Path, folder: Path, title: str) -> bool:
    """Put the training curves into the folder; False where they cannot be drawn."""
    if (run / CURVES_FILE).is_file():
        shutil.copyfile(run / CURVES_FILE, folder / CURVES_FILE)
        return True
    from keras_wrn.training.pictures import learning_curves

    try:
        learning_curves(folder / HISTORY_FILE, folder / CURVES_FILE, title)
    except InputError as error:
        logging.warning("no curves: %s", error)
        return False
    return True
