"""Assess a classifier: one call, one dictionary of figures, one page."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_wrn.datasets.images import spread
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import AnyPreprocessing, Preprocessing, preprocessing_of
from keras_wrn.inference.classifier import checked_images, shape_of
from keras_wrn.inference.evaluation import checked_labels
from keras_wrn.inference.trained import Trained
from keras_wrn.insight import sections
from keras_wrn.insight.attacks import ATTACKS, robust_error
from keras_wrn.insight.calibration import calibration, reliability, softmax
from keras_wrn.insight.corruptions import (
    CORRUPTIONS,
    EXTRA_CORRUPTIONS,
    corrupt,
    corruption_figures,
)
from keras_wrn.insight.out_sets import load_out_sets
from keras_wrn.insight.outputs import Outputs, Reader, open_reader, read
from keras_wrn.insight.page import write_page
from keras_wrn.insight.sections import Assessment
from keras_wrn.system.backend import import_package
from keras_wrn.system.files import write_json
from keras_wrn.system.machine import conditions

Labelled = tuple[np.ndarray, np.ndarray]
LEAST = 20  # images, so that each half can be fitted to
ATTACKED = 100  # images a step at most: the memory of gradients


def assess(
    model: Any,
    data: Labelled,
    preprocessing: AnyPreprocessing | None = None,
    *,
    out: Sequence[str] | Mapping[str, np.ndarray] = (),
    held_out: Labelled | None = None,
    train: Labelled | None = None,
    corruptions: Sequence[str] = (),
    attacks: Sequence[str] = (),
    epsilon: float = 8.0,
    robustness_images: int = 1000,
    label_errors: bool = False,
    flip: bool = False,
    dropout_passes: int = 0,
    odin_epsilon: float = 0.0,
    batch_size: int = 250,
    seed: int = 0,
    name: str = "",
    json: str | os.PathLike[str] | None = None,
    html: str | os.PathLike[str] | None = None,
) -> Assessment:
    """Measure a classifier: error, calibration, abstention, out-of-distribution, robustness.

    Nothing is reported on data that it was fitted to. What needs data to be fitted to, and is
    given none, is fitted to each half of `data` and measured on the other.

    Args:
        model: a classifier that ends in a linear layer and a softmax, an ensemble
            (`keras_wrn.ensemble`) or what `keras_wrn.load_trained` returns.
        data: uint8 images (n, height, width, channels) and integer labels (n,), n from 20.
        preprocessing: the statistics that the model was trained with: by name ("cifar10"), by
            the card of a network or as a `Preprocessing`; None for what `load_trained` returned.
        out: sets of other images: names, folders or files as `insight.out_sets.load_out_sets`
            reads them, or uint8 images by name.
        held_out: images and labels that the network was not trained on, and that are not
            `data`: for the temperature and the thresholds of conformal sets.
        train: images and labels of the training set: for the scores "mahalanobis", "knn" and "vim".
        corruptions: names of `insight.corruptions.CORRUPTIONS`, each at 5 severities.
        attacks: names of `insight.attacks.ATTACKS`.
        epsilon: the largest change by an attack, in pixel values of 255 (L-infinity).
        robustness_images: how many of the images are corrupted and attacked: the first, or spread
            evenly where the images are in the order of their classes, as files are. These are read
            once each, without mirror images and dropout.
        label_errors: look for wrong labels by cleanlab, which must be installed.
        flip: average over each image and its mirror image.
        dropout_passes: average over so many passes with dropout; 0: no dropout.
        odin_epsilon: ODIN's change of the images, in pixel values of 255 (the paper's is 0.357);
            0 leaves its temperature alone, without the three passes of a gradient.
        batch_size: images a step; attacks take 100 at most.
        seed: of the halves, of dropout, corruptions and attacks.
        name: what the page calls the model; the model's own name by default.
        json: a file to write the figures to.
        html: a file to write the page to, which needs no other file and no network.

    Returns:
        The figures, and what the page is drawn of.

    Raises:
        InputError: model, images, labels and preprocessing do not fit each other, or a set or a
            package is missing.

    Example:
        >>> images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), "uint8")
        >>> found = keras_wrn.assess(
        ...     keras_wrn.WideResNet(10, 1), (images, np.arange(40) % 10), "cifar10", out=["noise"]
        ... )
        >>> list(found.figures)[3:8]
        ['classification', 'calibration', 'temperature', 'selective', 'conformal']
    """
    started = time.perf_counter()
    for file in (json, html):
        if file is not None and not Path(file).parent.is_dir():
            raise InputError(f"The folder of a file must exist. Received: {file}.")
        if file is not None and Path(file).is_dir():
            raise InputError(f"{file} is a folder. Give the path of a file in it.")
    _check_optional(corruptions, attacks, label_errors)
    _check_numbers(epsilon, odin_epsilon, robustness_images)
    if not out and (train is not None or odin_epsilon):
        raise InputError("`train` and `odin_epsilon` are for other sets of images: give `out`.")
    network, statistics, own_name = _model_and_statistics(model, preprocessing)
    images, labels = _checked_data(data, network)
    checked_images(images, network, statistics)
    _check_data_for(images, labels, corruptions, label_errors)
    sets = out
    if not isinstance(sets, Mapping):
        sets = load_out_sets(sets, statistics, len(labels), shape=shape_of(network, statistics))
    reader = open_reader(
        network,
        statistics,
        batch_size=batch_size,
        flip=flip,
        dropout_passes=dropout_passes,
        seed=seed,
    )
    names = statistics.class_names or tuple(str(i) for i in range(network.output_shape[-1]))

    outputs = read(reader, images)
    probabilities = softmax(outputs.logits)
    held = _read_other(reader, held_out, "held_out", images)
    folds = sections.make_folds(outputs, labels, held, seed)
    bars = [bar._asdict() for bar in reliability(probabilities, labels)]
    figures: dict[str, Any] = {
        "model": name or own_name,
        "members": len(reader.heads),
        "averaged_over": {"flip": flip, "dropout_passes": dropout_passes},
        "classification": sections.classification(probabilities, labels, names),
        "calibration": {**calibration(probabilities, labels), "reliability": bars},
        "temperature": sections.temperature(outputs.logits, labels, folds),
        "selective": sections.selective(probabilities, labels),
        "conformal": sections.conformal(probabilities, labels, folds),
    }
    scores: dict[str, dict[str, np.ndarray]] = {}
    if sets:
        trained = _read_other(reader, train, "train", images)
        figures["out_of_distribution"], scores = sections.out_of_distribution(
            reader,
            images,
            outputs,
            sets,
            sections.make_folds(outputs, labels, trained, seed),
            odin_epsilon=odin_epsilon,
            class_names=names,
        )
    by_class = len(labels) > robustness_images and bool(np.all(np.diff(labels) >= 0))
    chosen = spread(len(labels), robustness_images) if by_class else slice(robustness_images)
    few = images[chosen], labels[chosen]
    if corruptions:
        figures["corruptions"] = corruption_figures(
            network, *few, statistics, corruptions, seed=seed, batch_size=batch_size
        )
    if attacks:
        figures["attacks"] = {
            "note": "These attacks are no AutoAttack: the true error under attack is higher or "
            "equal.",
            **{
                method: robust_error(
                    network,
                    *few,
                    statistics,
                    method=method,
                    epsilon=epsilon,
                    seed=seed,
                    batch_size=min(batch_size, ATTACKED),
                )
                for method in attacks
            },
        }
    if label_errors:
        figures["label_errors"] = sections.label_errors(probabilities, labels)
    figures["seconds"] = round(time.perf_counter() - started, 1)
    assessment = Assessment(figures | conditions(), images, labels, probabilities, scores)
    if json is not None:
        write_json(Path(json), assessment.figures)
    if html is not None:
        write_page(assessment, Path(html))
    return assessment


def _check_optional(corruptions: Sequence[str], attacks: Sequence[str], label_errors: bool) -> None:
    """Raise InputError, before hours of measuring, for what would be refused at its end."""
    for name, given, known in (
        ("corruptions", corruptions, CORRUPTIONS + EXTRA_CORRUPTIONS),
        ("attacks", attacks, tuple(ATTACKS)),
    ):
        if unknown := [each for each in given if each not in known]:
            raise InputError(
                f"`{name}` must be of {', '.join(known)}. Received: {', '.join(unknown)}."
            )
    if corruptions:
        import_package("scipy.ndimage", "scipy", "Corrupting images")
    if label_errors:
        import_package("cleanlab.filter", "cleanlab", "Looking for label errors")


def _check_data_for(
    images: np.ndarray, labels: np.ndarray, corruptions: Sequence[str], label_errors: bool
) -> None:
    if corruptions:
        corrupt(images[:1], corruptions[0])
    if label_errors and len(np.unique(labels)) < 2:
        raise InputError("`label_errors` needs labels of two classes or more. Received: one.")


def _check_numbers(epsilon: float, odin_epsilon: float, robustness_images: int) -> None:
    for name, value, above in (("epsilon", epsilon, True), ("odin_epsilon", odin_epsilon, False)):
        if not 0 <= value < math.inf or (above and value == 0):
            least = "above 0" if above else "0 or above"
            raise InputError(
                f"`{name}` must be {least}, in pixel values of 255. Received: {name}={value!r}."
            )
    whole = isinstance(robustness_images, int) and not isinstance(robustness_images, bool)
    if not whole or robustness_images < 1:
        raise InputError(
            "`robustness_images` must be a whole number from 1. "
            f"Received: robustness_images={robustness_images!r}."
        )


def _model_and_statistics(
    model: Any, preprocessing: AnyPreprocessing | None
) -> tuple[keras.Model, Preprocessing, str]:
    """The network, its statistics and its name."""
    if isinstance(model, Trained):
        statistics = model.preprocessing if preprocessing is None else preprocessing
        return model.model, preprocessing_of(statistics), model.card["name"]
    if preprocessing is None:
        raise InputError(
            '`preprocessing` must say what the model was trained with, such as "cifar10", unless '
            "the model is what keras_wrn.load_trained returned. Received: None."
        )
    return model, preprocessing_of(preprocessing), model.name


def _read_other(
    reader: Reader, data: Labelled | None, name: str, reported: np.ndarray
) -> tuple[Outputs, np.ndarray] | None:
    """Outputs and labels of images to fit to, which must not be those that are reported."""
    if data is None:
        return None
    images, labels = _checked_data(data, reader.classifier, name)
    if np.array_equal(images, reported):
        raise InputError(f"`{name}` must be other images than `data`. Received: the same.")
    return read(reader, images), labels


def _checked_data(data: Labelled, model: keras.Model, name: str = "data") -> Labelled:
    """Images and labels as arrays; raises InputError where they are few or no pair."""
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise InputError(
            f"`{name}` must be a pair of images and labels, such as "
            f'keras_wrn.datasets.load("cifar10").test. Received: {type(data).__name__}.'
        )
    images = np.asarray(data[0])
    if len(images) < LEAST:
        raise InputError(f"`{name}` must be {LEAST} images or more. Received: {len(images)}.")
    return images, checked_labels(data[1], len(images), model.output_shape[-1])
