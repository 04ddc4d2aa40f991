"""The sections of an assessment, each a dictionary of plain numbers, lists and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.inference.evaluation import top_k_error
from keras_wrn.insight.calibration import temperature_figures
from keras_wrn.insight.odin import perturb
from keras_wrn.insight.out_of_distribution import fit_scores, neighbours, odin
from keras_wrn.insight.out_sets import openood_group
from keras_wrn.insight.outputs import Outputs, Reader, read, read_pixels
from keras_wrn.insight.selective import risk_coverage
from keras_wrn.insight.separation import separation
from keras_wrn.system.backend import import_package

if TYPE_CHECKING:
    import keras

    from keras_wrn.images.preprocessing import Preprocessing

CURVE = 100  # points of the risk-coverage curve that are kept
Halves = tuple[np.ndarray, np.ndarray]
Scores = dict[str, np.ndarray]


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


def temperature(
    logits: np.ndarray,
    labels: np.ndarray,
    held_out: tuple[np.ndarray, np.ndarray] | None,
    halves: Halves,
) -> dict[str, Any]:
    """The figures of `temperature_figures`, or the "reason" why no temperature can be fitted."""
    try:
        return temperature_figures(logits, labels, held_out, halves=halves)
    except InputError as error:
        return {"fitted_on": None, "temperature": None, "reason": str(error)}


def selective(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return "aurc", and the curve of "risk" against "coverage" at 100 points at most."""
    curve = risk_coverage(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)
    points = np.unique(np.linspace(0, len(labels) - 1, CURVE).round().astype(int))
    return {
        "aurc": curve.aurc,
        "coverage": curve.coverage[points].tolist(),
        "risk": curve.risk[points].tolist(),
    }


def out_of_distribution(
    reader: Reader,
    images: np.ndarray,
    outputs: Outputs,
    labels: np.ndarray,
    sets: Mapping[str, np.ndarray],
    *,
    train: tuple[Outputs, np.ndarray] | None,
    halves: Halves,
    odin_epsilon: float,
    class_names: Sequence[str],
) -> tuple[dict[str, Any], dict[str, Scores]]:
    """Measure how well seven scores separate the images from other sets.

    Args:
        reader: of the classifier.
        images: that are assessed, uint8.
        outputs: the reader's, of these images.
        labels: integers, (n,).
        sets: other images, uint8, by name.
        train: outputs and labels that the scores are fitted to. Without it each half of the
            images is scored by what was fitted to the other half, and the figures are means.
        halves: the indices of the two halves.
        odin_epsilon: ODIN's change of the images, in pixel values of 255, or 0.
        class_names: of the network, which say whether OpenOOD's groups apply.

    Returns:
        The figures, and the last half's scores by set and score; the images' are those of "".
    """
    everything = np.arange(len(labels))
    if train is not None:
        folds = [(*train, everything)]
    else:
        folds = [
            (Outputs(outputs.logits[fitted], outputs.features[fitted]), labels[fitted], measured)
            for fitted, measured in (halves, halves[::-1])
        ]
    k = neighbours(min(len(fitted[1]) for fitted in folds))
    found = {name: read(reader, others) for name, others in sets.items()}
    perturbed: Scores = {}
    if odin_epsilon:
        for name, pixels in {"": images, **sets}.items():
            changed = read_pixels(reader, perturb(reader, pixels, odin_epsilon))
            perturbed[name] = odin(changed.logits)
    figures: dict[str, list[dict[str, Any]]] = {name: [] for name in sets}
    scores: dict[str, Scores] = {}
    for fitted, fitted_labels, measured in folds:
        functions = fit_scores(fitted, fitted_labels, reader.head, k)
        seen = {"": Outputs(outputs.logits[measured], outputs.features[measured]), **found}
        for name, others in seen.items():
            scores[name] = {score: function(others) for score, function in functions.items()}
        if perturbed:
            for name, values in perturbed.items():
                scores[name]["odin"] = values[measured] if not name else values
        for name in sets:
            inside, outside = scores[""], scores[name]
            figures[name].append({s: separation(inside[s], outside[s]) for s in functions})
    section: dict[str, Any] = {
        "fitted_on": (
            f"{len(train[1])} training images"
            if train is not None
            else "cross-fitted halves of the reported images; figures are means of both"
        ),
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


def corruptions(
    model: keras.Model,
    data: tuple[np.ndarray, np.ndarray],
    preprocessing: Preprocessing,
    names: Sequence[str],
    *,
    seed: int,
    batch_size: int,
) -> dict[str, Any]:
    """Return "n", the mean "error", per corruption the "errors", "mce" and its "reference".

    Networks of CIFAR-10's classes are compared with the reference network of CIFAR-10; for others
    "mce" is None.
    """
    from keras_wrn.images.preprocessing import PREPROCESSING
    from keras_wrn.insight.corruption_reference import REFERENCES
    from keras_wrn.insight.corruptions import corruption_errors, mean_corruption_error

    reference = REFERENCES["cifar10"]
    compared = preprocessing.class_names == PREPROCESSING["cifar10"].class_names
    compared = compared and set(names) <= set(reference.errors)
    errors = corruption_errors(
        model, *data, preprocessing, corruptions=names, seed=seed, batch_size=batch_size
    )
    return {
        "n": len(data[1]),
        "error": mean_corruption_error(errors),
        "mce": mean_corruption_error(errors, reference) if compared else None,
        "reference": reference.name if compared else "none: the plain mean of the errors",
        "errors": {name: {str(s): e for s, e in rows.items()} for name, rows in errors.items()},
    }


def attacks(
    model: keras.Model,
    data: tuple[np.ndarray, np.ndarray],
    preprocessing: Preprocessing,
    names: Sequence[str],
    *,
    epsilon: float,
    seed: int,
) -> dict[str, Any]:
    """Return what `robust_error` measures, by attack, and a "note" on what it does not say."""
    from keras_wrn.insight.attacks import robust_error

    measured = {
        name: robust_error(model, *data, preprocessing, method=name, epsilon=epsilon, seed=seed)
        for name in names
    }
    note = "These attacks are no AutoAttack: the true error under attack is higher or equal."
    return {"note": note, **measured}


def label_errors(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return the "indices" of images whose labels may be wrong, the most suspect first.

    Source: Northcutt et al., "Confident Learning", arXiv:1911.00068, by cleanlab.
    """
    search = import_package("cleanlab.filter", "cleanlab", "Looking for label errors")
    found = search.find_label_issues(
        labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return {"n": len(found), "indices": [int(index) for index in found]}
