"""Publish a finished run: round its weights to float16, measure them again, write the card."""

from __future__ import annotations

import dataclasses
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
from keras_wrn.weights.card import (
    CARD_FILE,
    HELD_OUT,
    HISTORY_FILE,
    TEST_SET,
    WEIGHTS_FILE,
    read_card,
)
from keras_wrn.weights.published import folder_name

CURVES_FILE = "curves.png"
_LARGEST = 100_000_000  # bytes; git hosts refuse larger files
_CONFUSIONS = 3  # named on the card


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
    full test set: the card's figures are those of the published file. The folder appears under
    its name only when it is complete.

    Args:
        run: the run folder.
        home: the folder for the new folder, such as "saved_models".
        data_dir: where the data set's files are; default ~/.keras/datasets.
        intended_use: what the network is for; default a sentence for its data set.
        known_failures: known weaknesses, added to those that are measured here.
        licence: the licence of the weights.

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
    from keras_wrn.networks.recognition import architecture, count_parameters
    from keras_wrn.weights.files import write_float16

    run, home = Path(run), Path(home)
    with float32():
        trained = load_trained(run)
    if trained.preprocessing.whitening is not None:
        raise InputError(
            f"{run} was trained on whitened images. `preprocess_input` does not whiten, so that "
            "users would give its published weights the wrong images. Use the run folder itself: "
            "evaluate, predict and export take it. Or train without `whitening`."
        )
    if not (run / HISTORY_FILE).is_file():
        raise InputError(f"{run} has no {HISTORY_FILE}, which is published with the weights.")
    before = read_card(run)
    keyword = Path(before.dataset).name
    network = architecture(trained.model)
    target = home / folder_name(network, keyword)
    if target.exists():
        raise InputError(
            f"{target} exists, and published weights are never overwritten. Remove it first."
        )
    data = images_of(trained, "test", data_dir=data_dir)
    check_classes(data, trained)

    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".publish-", dir=home) as temporary:
        folder = Path(temporary) / target.name
        folder.mkdir()
        weights = folder / WEIGHTS_FILE
        write_float16(run / WEIGHTS_FILE, weights)
        metrics, confusions = _measure(trained, weights, data)
        card = dataclasses.replace(
            before,
            architecture=network,
            weights=keyword,
            metrics=metrics,
            measured_by="keras_wrn: the stored float16 file through a float32 network, on all "
            f"{metrics['n']:,} test images",
            measured_on=datetime.date.today().isoformat(),
            measured_with=versions(),
            metrics_of=TEST_SET,
            # Figures of held-out images do not compare with those of the test set.
            metrics_before_rounding=None if before.metrics_of == HELD_OUT else before.metrics,
            runs=1,
            weights_dtype="float16",
            weights_bytes=weights.stat().st_size,
            weights_sha256=sha256(weights),
            multiply_adds=multiply_adds(trained.model),
            training_flop=training_flop(trained.card),
            licence=licence,
            intended_use=intended_use or _intended_use(data, before.preprocessing["size"]),
            known_failures=[*known_failures, *confusions, *_limits(data)],
            parameters=count_parameters(trained.model),
        )
        write_json(folder / CARD_FILE, card.to_dict())
        shutil.copyfile(run / HISTORY_FILE, folder / HISTORY_FILE)
        has_curves = _add_curves(run, folder, f"{network} on {keyword}")
        (folder / README_FILE).write_text(readme(card, has_curves=has_curves), encoding="utf-8")
        if weights.stat().st_size > _LARGEST:
            logging.warning("%s is above 100 MB: too large for most git hosts", target)
        folder.rename(target)
    return target


def _measure(trained: Any, weights: Path, data: Any) -> tuple[dict[str, Any], list[str]]:
    """Measure the stored file; name the classes that it confuses most often."""
    from keras_wrn.inference.classifier import class_probabilities
    from keras_wrn.inference.evaluation import checked_labels, measures
    from keras_wrn.weights.loading import load_exactly

    load_exactly(trained.model, weights)
    images, labels = data.test
    names = data.class_names
    labels = checked_labels(labels, len(images), len(names))
    probabilities = class_probabilities(trained.model, images, trained.preprocessing)
    counts = np.zeros((len(names), len(names)), int)  # true class, predicted class
    np.add.at(counts, (labels, probabilities.argmax(axis=1)), 1)
    totals = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    worst = np.argsort(-counts, axis=None, kind="stable")[:_CONFUSIONS]
    confusions = [
        f"Of {totals[true]:,} test images of {names[true]}, {counts[true, predicted]} are taken "
        f"for {names[predicted]}."
        for true, predicted in zip(*np.unravel_index(worst, counts.shape), strict=True)
        if counts[true, predicted]
    ]
    return measures(probabilities, labels), confusions


def _intended_use(data: Any, size: int) -> str:
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


def _add_curves(run: Path, folder: Path, title: str) -> bool:
    """Copy or draw the training curves; False if they cannot be drawn."""
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
