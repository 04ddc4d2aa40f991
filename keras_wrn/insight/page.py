"""The page of an assessment: one HTML file that needs no other, no script and no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.insight import charts
from keras_wrn.insight.sections import Assessment
from keras_wrn.system.files import write_whole

MISTAKES = 24  # images shown
_SCORES = {
    "max_softmax": "maximum softmax",
    "max_logit": "maximum logit",
    "energy": "energy",
    "odin": "ODIN",
    "mahalanobis": "Mahalanobis",
    "knn": "nearest neighbours",
    "vim": "ViM",
}


def write_page(assessment: Assessment, path: Path) -> None:
    """Write the page of an assessment, whole or not at all."""
    text = page(assessment)
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def page(assessment: Assessment) -> str:
    """Return the HTML of the page: one section for each section of the figures."""
    figures = assessment.figures
    sections: dict[str, Callable[[Assessment], str]] = {
        "calibration": _calibration,
        "classification": _classes,
        "selective": _selective,
        "out_of_distribution": _out_of_distribution,
        "corruptions": _corruptions,
        "attacks": _attacks,
        "label_errors": _label_errors,
    }
    body = "".join(write(assessment) for name, write in sections.items() if name in figures)
    title = escape(f"{figures['model']}: assessment")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{charts.STYLE}</style></head><body>"
        f"{_head(figures)}{body}{_conditions(figures)}</body></html>\n"
    )


def _head(figures: dict[str, Any]) -> str:
    classified, measured = figures["classification"], figures["calibration"]
    tiles = {
        "top-1 error": f"{classified['error']:.2%}",
        "top-5 error": f"{classified['top5_error']:.2%}",
        "negative log-likelihood": f"{measured['nll']:.3f}",
        "expected calibration error": f"{measured['ece']:.2%}",
        "area under risk-coverage": f"{figures['selective']['aurc']:.2%}",
    }
    shown = "".join(
        f"<div><b>{value}</b><span>{name}</span></div>" for name, value in tiles.items()
    )
    averaged = figures["averaged_over"]
    over = [
        *([f"{figures['members']} networks"] if figures["members"] > 1 else []),
        *(["each image and its mirror image"] if averaged["flip"] else []),
        *([f"{averaged['dropout_passes']} draws of dropout"] if averaged["dropout_passes"] else []),
    ]
    mean = f"; probabilities averaged over {' and '.join(over)}" if over else ""
    return (
        f"<h1>{escape(figures['model'])}</h1>"
        f'<p class="quiet">{classified["n"]:,} images{escape(mean)}</p>'
        f'<div class="tiles">{shown}</div>'
    )


def _calibration(assessment: Assessment) -> str:
    before, fitted = assessment.figures["calibration"], assessment.figures["temperature"]
    after = fitted.get("after")
    names = {
        "nll": ("negative log-likelihood, nats", "{:.4f}"),
        "brier": ("Brier score, 0 to 2", "{:.4f}"),
        "ece": ("ECE, 15 bins of equal width", "{:.2%}"),
        "ece_equal_mass": ("ECE, 15 bins of equal mass", "{:.2%}"),
        "smece": ("smECE", "{:.2%}"),
    }
    heads = ["", "as it is", *(["with temperature"] if after else [])]
    rows = [
        [label, *(form.format(found[key]) for found in (before, after) if found)]
        for key, (label, form) in names.items()
    ]
    if not after:
        said = escape(fitted["reason"])
    else:
        shown = " and ".join(f"{value:.3f}" for value in fitted["temperatures"])
        said = f"Temperature {shown}, fitted on {escape(fitted['fitted_on'])}."
    diagram = charts.reliability_diagram(before["reliability"])
    return (
        "<h2>Calibration</h2><p>Of the images of which the network is 80 % sure, 80 % should be "
        f'right. {said}</p><div class="side">{diagram}{_table(heads, rows)}</div>'
    )


def _classes(assessment: Assessment) -> str:
    classified = assessment.figures["classification"]
    names = [entry["name"] for entry in classified["per_class"]]
    counts = np.array(classified["confusion"])
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    wrong = shares * (1 - np.eye(len(names)))
    # Mistakes are few beside hits: they have a scale of their own.
    strength = np.where(np.eye(len(names)) > 0, 0.12, wrong / max(wrong.max(), 1e-9))
    strength[counts == 0] = 0
    drawn = charts.heat_map(
        counts, names, names, strength=strength, form="{:d}", title="Confusion matrix"
    )
    predicted = assessment.probabilities.argmax(axis=1)
    mistakes = np.flatnonzero(predicted != assessment.labels)
    surest = mistakes[
        np.argsort(-assessment.probabilities[mistakes].max(axis=1), kind="stable")[:MISTAKES]
    ]
    worst = sorted(classified["per_class"], key=lambda entry: -(entry["error"] or 0))[:10]
    rows = [
        [escape(entry["name"]), f"{entry['n']:,}", f"{entry['error']:.2%}"]
        for entry in worst
        if entry["error"] is not None
    ]
    return (
        "<h2>Confusion matrix</h2><p>Rows are the true classes, columns the predicted ones. The "
        f'stronger a colour, the more of the class is mistaken.</p><div class="wide">{drawn}</div>'
        f"<h2>Hardest classes</h2>{_table(['class', 'images', 'error'], rows)}"
        "<h2>Worst mistakes</h2><p>The mistakes that the network is surest of.</p>"
        f"{_gallery(assessment, surest, names)}"
    )


def _selective(assessment: Assessment) -> str:
    found, sets = assessment.figures["selective"], assessment.figures["conformal"]
    rows = [
        [f"{float(level):.0%}", f"{entry['coverage']:.2%}", f"{entry['size']:.3f}"]
        for level, entry in sets.items()
        if isinstance(entry, dict)
    ]
    curve = charts.risk_coverage_curve(found["coverage"], found["risk"])
    table = _table(["level", "sets with the true class", "mean size, classes"], rows)
    return (
        "<h2>Abstention</h2><p>The error that is left where the network may keep silent on the "
        f"images that it is least sure of (area {found['aurc']:.3%}), and conformal sets: the "
        "classes that together hold the true one as often as the level says, calibrated on "
        f"{escape(sets['calibrated_on'])}.</p>"
        f'<div class="side">{curve}{table}</div>'
    )


def _out_of_distribution(assessment: Assessment) -> str:
    section = assessment.figures["out_of_distribution"]
    columns = {
        name: (f"{name} ({entry['group']})" if entry["group"] else name, entry["scores"])
        for name, entry in section["sets"].items()
    }
    groups = [entry["group"] for entry in section["sets"].values()]
    for group in ("near", "far"):
        if groups.count(group) > 1:
            columns[f"mean of {group}"] = (f"mean of {group}", section[group])
    tables = []
    for key, label in (("auroc", "AUROC, %"), ("fpr95", "False positives at 95 % TPR, %")):
        rows = [
            [text, *(f"{100 * scores[score][key]:.1f}" for _, scores in columns.values())]
            for score, text in _SCORES.items()
        ]
        heads = [label, *(escape(head) for head, _ in columns.values())]
        tables.append(_table(heads, rows))
    few = list(assessment.scores.items())[:5]  # more lines cannot be told apart
    drawn = "".join(
        charts.histograms({name or "data set": found[score] for name, found in few}, _SCORES[score])
        for score in ("max_softmax", "energy", "knn")
    )
    sizes = ", ".join(f"{name} {entry['n']:,}" for name, entry in section["sets"].items())
    step = section["odin_epsilon"]
    return (
        "<h2>Out of distribution</h2><p>How well a score tells the images of the data set from "
        f"others ({escape(sizes)}). Mahalanobis, nearest neighbours (k = "
        f"{section['neighbours']}) and ViM are fitted on {escape(section['fitted_on'])}. ODIN "
        f"{f'changes pixels by {step:g} of 255' if step else 'leaves the images as they are'}.</p>"
        f'<div class="wide">{"".join(tables)}</div><div class="side">{drawn}</div>'
    )


def _corruptions(assessment: Assessment) -> str:
    section = assessment.figures["corruptions"]
    names = list(section["errors"])
    share = "" if section["mce"] is None else f", mCE {section['mce']:.2%}"
    levels = list(section["errors"][names[0]])
    errors = np.array([[section["errors"][name][level] for level in levels] for name in names])
    drawn = charts.heat_map(
        100 * errors,
        [name.replace("_", " ") for name in names],
        levels,
        strength=np.clip(errors, 0.02, 1),
        form="{:.1f}",
        title="Error under corruptions",
    )
    return (
        f"<h2>Corruptions</h2><p>Error in percent at severities 1 to 5, {section['n']:,} images. "
        f"Mean {section['error']:.2%}{share}; reference network: "
        f"{escape(section['reference'])}.</p>"
        f'<div class="wide">{drawn}</div>'
    )


def _attacks(assessment: Assessment) -> str:
    section = assessment.figures["attacks"]
    measured = {name: found for name, found in section.items() if isinstance(found, dict)}
    rows = [
        [
            f"{name}, {found['norm']}, {found['epsilon']:g} of 255",
            f"{found['n']:,}",
            f"{found['clean_error']:.2%}",
            f"{found['error']:.2%}",
        ]
        for name, found in measured.items()
    ]
    heads = ["attack", "images", "error without", "error under attack"]
    return f"<h2>Attacks</h2><p>{escape(section['note'])}</p>{_table(heads, rows)}"


def _label_errors(assessment: Assessment) -> str:
    section = assessment.figures["label_errors"]
    names = [entry["name"] for entry in assessment.figures["classification"]["per_class"]]
    first = np.array(section["indices"][:MISTAKES], int)
    return (
        f"<h2>Suspect labels</h2><p>cleanlab doubts {section['n']:,} labels; the first "
        f"{len(first)}:</p>{_gallery(assessment, first, names)}"
    )


def _conditions(figures: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in figures["versions"].items())
    return (
        f'<h2>Conditions</h2><p class="quiet">{escape(figures["date"])}; '
        f"{escape(figures['hardware'])}; {escape(versions)}; {figures['seconds']:g} s.</p>"
    )


def _gallery(assessment: Assessment, chosen: np.ndarray, names: Sequence[str]) -> str:
    if not len(chosen):
        return "<p>None.</p>"
    shown = []
    for index in chosen:
        values = assessment.probabilities[index]
        guess, label = int(values.argmax()), int(assessment.labels[index])
        text = f"{names[guess]} {values[guess]:.1%}; labelled {names[label]} {values[label]:.1%}"
        source = f"data:image/png;base64,{_png(assessment.images[index])}"
        shown.append(
            f'<figure><img src="{source}" alt="image {index}">'
            f"<figcaption>{escape(text)} <br>(no. {index})</figcaption></figure>"
        )
    return f'<div class="images">{"".join(shown)}</div>'


def _png(image: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image.squeeze()).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    top = "".join(f"<th>{head}</th>" for head in heads)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"
