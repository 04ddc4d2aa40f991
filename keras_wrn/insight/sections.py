"""The sections of an assessment, each a dictionary of plain numbers, lists and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.inference.evaluation import top_k_error
from keras_wrn.insight.calibration import calibration, fit_temperature, softmax
from keras_wrn.insight.out_of_distribution import fit_scores, neighbours, odin, perturb
from keras_wrn.insight.out_sets import openood_group
from keras_wrn.insight.outputs import Outputs, Reader, read, read_pixels
from keras_wrn.insight.selective import conformal_threshold, risk_coverage
from keras_wrn.insight.separation import separation
from keras_wrn.system.backend import import_package

CURVE = 100  # points of the risk-coverage curve that are kept
LEVELS = (0.9, 0.95)  # of conformal sets
CROSSED = "cross-fitted halves of the reported images"
Scores = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Assessment:
    """What `assess` measured.

    Attributes:
        figures: plain numbers, lists and texts: what the JSON file holds.
        images: the images that were assessed, uint8 (n, height, width, channels).
        labels: their classes, int64 (n,).
        probabilities: float64 (n, classes).
        scores: the out-of-distribution scores by set and score; "" is the set that was assessed,
            or its first half where the scores were fitted to the second.
    """

    figures: dict[str, Any]
    images: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    scores: dict[str, Scores]


class Fold(NamedTuple):
    """Outputs and labels that something is fitted to, and the images that it is measured on."""

    outputs: Outputs
    labels: np.ndarray
    measured: np.ndarray  # indices of the reported images


def make_folds(
    outputs: Outputs, labels: np.ndarray, other: tuple[Outputs, np.ndarray] | None, seed: int
) -> list[Fold]:
    """Separate what is fitted to from what is measured.

    Args:
        outputs: of the reported images.
        labels: of these images.
        other: outputs and labels of other images.
        seed: of the halves.

    Returns:
        One fold that is fitted to the other images; without them, two halves of the reported
        images, each fitted to the other.
    """
    if other is not None:
        return [Fold(*other, np.arange(len(labels)))]
    order = np.random.default_rng(seed).permutation(len(labels))
    halves = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    return [
        Fold(Outputs(*(each[fitted] for each in outputs)), labels[fitted], measured)
        for fitted, measured in (halves, halves[::-1])
    ]


def _fitted_on(folds: Sequence[Fold], kind: str) -> str:
    return CROSSED if len(folds) > 1 else f"{len(folds[0].labels)} {kind} images"


def classification(
    probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """Return "n", "error", "top5_error", the error "per_class", and the "confusion" matrix.

    Row i, column j of the matrix is the number of images of class i that were taken for j.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2]])
        >>> classification(probabilities, np.array([0, 1]), ("cat", "dog"))["confusion"]
        [[1, 0], [1, 0]]
    """
    classes = probabilities.shape[1]
    pairs = labels * classes + probabilities.argmax(axis=1)
    confusion = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    counts, right = confusion.sum(axis=1).tolist(), np.diag(confusion).tolist()
    return {
        "n": len(labels),
        "error": top_k_error(probabilities, labels, 1),
        "top5_error": top_k_error(probabilities, labels, 5),
        "per_class": [
            {"name": name, "n": n, "error": 1 - hits / n if n else None}
            for name, n, hits in zip(names, counts, right, strict=True)
        ],
        "confusion": confusion.tolist(),
    }


def temperature(logits: np.ndarray, labels: np.ndarray, folds: Sequence[Fold]) -> dict[str, Any]:
    """Fit a temperature, and measure calibration with it.

    Returns:
        "fitted_on", "temperature" (None for halves: none is for keeping then), "temperatures" and
        the figures of `calibration` "after"; or the "reason" why none can be fitted.
    """
    try:
        fitted = [fit_temperature(fold.outputs.logits, fold.labels) for fold in folds]
    except InputError as error:
        return {"fitted_on": None, "temperature": None, "reason": str(error)}
    divisors = np.empty((len(labels), 1))
    for fold, value in zip(folds, fitted, strict=True):
        divisors[fold.measured] = value
    return {
        "fitted_on": _fitted_on(folds, "held-out"),
        "temperature": fitted[0] if len(fitted) == 1 else None,
        "temperatures": fitted,
        "after": calibration(softmax(logits / divisors), labels),
    }


def selective(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return "aurc", and the curve of "risk" against "coverage" at 100 points at most."""
    curve = risk_coverage(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)
    points = np.unique(np.linspace(0, len(labels) - 1, CURVE).round().astype(int))
    return {
        "aurc": curve.aurc,
        "coverage": curve.coverage[points].tolist(),
        "risk": curve.risk[points].tolist(),
    }


def conformal(
    probabilities: np.ndarray, labels: np.ndarray, folds: Sequence[Fold]
) -> dict[str, Any]:
    """Measure conformal sets on images that their threshold was not chosen on.

    Returns:
        "calibrated_on", and per level ("0.9", "0.95") the "coverage", the share of sets that
        hold the true class, and the mean "size" of the sets, in classes.
    """
    figures: dict[str, Any] = {"calibrated_on": _fitted_on(folds, "held-out")}
    for level in LEVELS:
        threshold = np.empty((len(labels), 1))
        for fold in folds:
            chosen_on = softmax(fold.outputs.logits)
            threshold[fold.measured] = conformal_threshold(chosen_on, fold.labels, level)
        sets = probabilities >= threshold
        figures[f"{level:g}"] = {
            "coverage": float(np.mean(sets[np.arange(len(labels)), labels])),
            "size": float(np.mean(np.sum(sets, axis=1))),
        }
    return figures


def out_of_distribution(
    reader: Reader,
    images: np.ndarray,
    outputs: Outputs,
    sets: Mapping[str, np.ndarray],
    folds: Sequence[Fold],
    *,
    odin_epsilon: float,
    class_names: Sequence[str],
) -> tuple[dict[str, Any], dict[str, Scores]]:
    """Measure how well seven scores separate the images from other sets.

    Args:
        reader: of the classifier.
        images: that are assessed, uint8.
        outputs: the reader's, of these images.
        sets: other images, uint8, by name.
        folds: what the scores are fitted to; of two, the figures are means.
        odin_epsilon: ODIN's change of the images, in pixel values of 255, or 0.
        class_names: of the network, which say whether OpenOOD's groups apply.

    Returns:
        The figures, and the last fold's scores by set and score; the images' are those of "".
    """
    k = neighbours(min(len(fold.labels) for fold in folds))
    found = {name: read(reader, others) for name, others in sets.items()}
    perturbed: Scores = {}
    if odin_epsilon:
        for name, pixels in {"": images, **sets}.items():
            changed = read_pixels(reader, perturb(reader, pixels, odin_epsilon))
            perturbed[name] = odin(changed.logits)
    figures: dict[str, list[dict[str, Any]]] = {name: [] for name in sets}
    scores: dict[str, Scores] = {}
    for fold in folds:
        functions = fit_scores(fold.outputs, fold.labels, reader.head, k)
        seen = {"": Outputs(*(each[fold.measured] for each in outputs)), **found}
        for name, others in seen.items():
            scores[name] = {score: function(others) for score, function in functions.items()}
        for name, values in perturbed.items():
            scores[name]["odin"] = values if name else values[fold.measured]
        for name in sets:
            inside, outside = scores[""], scores[name]
            figures[name].append({s: separation(inside[s], outside[s]) for s in functions})
    means = "" if len(folds) == 1 else "; figures are means of both"
    section: dict[str, Any] = {
        "fitted_on": _fitted_on(folds, "training") + means,
        "neighbours": k,
        "odin_epsilon": odin_epsilon,
        "sets": {
            name: {
                "n": len(sets[name]),
                "group": openood_group(name, class_names),
                "scores": _mean(parts),
            }
            for name, parts in figures.items()
        },
    }
    for group in ("near", "far"):
        members = [entry for entry in section["sets"].values() if entry["group"] == group]
        if members:
            section[group] = _mean([entry["scores"] for entry in members])
    return section, scores


def _mean(parts: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        score: {key: float(np.mean([part[score][key] for part in parts])) for key in figures}
        for score, figures in parts[0].items()
    }


def label_errors(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return the "indices" of images whose labels may be wrong, the most suspect first.

    Source: Northcutt et al., "Confident Learning", arXiv:1911.00068, by cleanlab.
    """
    search = import_package("cleanlab.filter", "cleanlab", "Looking for label errors")
    found = search.find_label_issues(
        labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return {"n": len(found), "indices": [int(index) for index in found]}
