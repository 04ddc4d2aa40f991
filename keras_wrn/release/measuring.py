"""Measure a run's weights as they will be published, and write their card."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.inference.evaluation import measures
from keras_wrn.inference.own_images import check_classes, images_of
from keras_wrn.networks.recognition import architecture, count_parameters
from keras_wrn.release.logits import Outputs, compute
from keras_wrn.system.files import sha256
from keras_wrn.system.machine import versions
from keras_wrn.training.cost import multiply_adds, training_flop
from keras_wrn.weights.card import (
    HELD_OUT,
    HISTORY_FILE,
    TEST_SET,
    WEIGHTS_FILE,
    Card,
    read_card,
)
from keras_wrn.weights.files import write_float16
from keras_wrn.weights.loading import load_exactly

if TYPE_CHECKING:
    from keras_wrn.datasets.loading import Dataset
    from keras_wrn.inference.trained import Trained

_CONFUSIONS = 3  # named on the card


def test_set_of(trained: Trained, data_dir: Any) -> Dataset:
    """The test set of a run; raises InputError if the run cannot be published."""
    run = trained.path
    if trained.preprocessing.whitening is not None:
        raise InputError(
            f"{run} was trained on whitened images. `preprocess_input` does not whiten, so that "
            "users would give its published weights the wrong images. Use the run folder itself: "
            "evaluate, predict and export take it. Or train without `whitening`."
        )
    if not (run / HISTORY_FILE).is_file():
        raise InputError(f"{run} has no {HISTORY_FILE}, which is published with the weights.")
    data = images_of(trained, "test", data_dir=data_dir)
    check_classes(data, trained)
    return data


def round_and_measure(trained: Trained, data: Any, weights: Path) -> tuple[Card, Outputs]:
    """Write a run's weights as float16, read them back, and measure them.

    Args:
        trained: the run; its network gets the rounded weights.
        data: what `test_set_of` returned.
        weights: the file to write.

    Returns:
        The card of the file, and what the network says of the test images.

    Raises:
        InputError: a weight does not fit into float16, or the network diverged.
    """
    before = read_card(trained.path)
    write_float16(trained.path / WEIGHTS_FILE, weights)
    load_exactly(trained.model, weights)
    outputs = compute(trained, *data.test)
    metrics = measures(outputs.probabilities, outputs.labels)
    card = dataclasses.replace(
        before,
        architecture=architecture(trained.model),
        weights=Path(before.dataset).name,
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
        intended_use=_intended_use(data, before.preprocessing["size"]),
        known_failures=[*_confusions(outputs, data.class_names), *_limits(data)],
        parameters=count_parameters(trained.model),
    )
    return card, outputs


def _confusions(outputs: Outputs, names: Sequence[str]) -> list[str]:
    """Name the classes that are confused most often."""
    counts = np.zeros((len(names), len(names)), int)  # true class, predicted class
    np.add.at(counts, (outputs.labels, outputs.probabilities.argmax(axis=1)), 1)
    totals = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    worst = np.argsort(-counts, axis=None, kind="stable")[:_CONFUSIONS]
    return [
        f"Of {totals[true]:,} test images of {names[true]}, {counts[true, predicted]} are taken "
        f"for {names[predicted]}."
        for true, predicted in zip(*np.unravel_index(worst, counts.shape), strict=True)
        if counts[true, predicted]
    ]


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
