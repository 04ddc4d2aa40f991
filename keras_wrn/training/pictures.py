"""Pictures of a run: its training curves, and test images with what the network says of them."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.system.files import read_json, write_whole
from keras_wrn.weights.card import RECIPE_FILE

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from keras_wrn.images.preprocessing import Preprocessing

_COLUMNS = 6  # images in a row of the sheet
_LEVELS = 6  # distinct learning rates that have room for a tick of their own
_TRAIN, _TEST, _WRONG, _QUIET = "#7a8ba3", "#1f4e9c", "#c1272d", "#555555"


def learning_curves(
    history: str | os.PathLike[str], png: str | os.PathLike[str], title: str = ""
) -> Path:
    """Draw loss, error and learning rate over the epochs, one below the other.

    Args:
        history: the history.csv of a run, with the columns epoch, loss, error, val_loss,
            val_error and learning_rate; errors are fractions. An empty field was not measured.
            A recipe.json beside it that holds images out has them measured, not test images.
        png: the picture to write.
        title: stands above the picture.

    Returns:
        The path of the picture.

    Raises:
        InputError: the history is missing, has no epoch or lacks a column, or matplotlib is
            not installed.

    Example:
        >>> run = "runs/wrn-16-1"
        >>> learning_curves(f"{run}/history.csv", f"{run}/curves.png")  # doctest: +SKIP
        PosixPath('runs/wrn-16-1/curves.png')
    """
    columns = read_history(Path(history))
    measured_on = _measured_on(Path(history))
    epochs = columns["epoch"]
    figure = new_figure(8.0, 8.5, title)
    loss, error, rate = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.2))
    _curve(loss, epochs, columns["loss"], "training", _TRAIN)
    _curve(loss, epochs, columns["val_loss"], measured_on, _TEST)
    loss.set_yscale("log")
    loss.yaxis.get_major_locator().set_params(subs=(1, 2, 5))
    loss.yaxis.set_major_formatter("{x:g}")
    loss.minorticks_off()
    loss.set_title("Loss (logarithmic)", loc="left")

    _curve(error, epochs, 100 * columns["error"], "training", _TRAIN)
    _curve(error, epochs, 100 * columns["val_error"], measured_on, _TEST)
    error.set_ylim(bottom=0)
    error.set_title("Error, %", loc="left")
    measured = np.flatnonzero(np.isfinite(columns["val_error"]))
    if len(measured):
        last = measured[-1]
        value = f"{columns['val_error'][last]:.2%}"
        text = f"{measured_on} error after epoch {epochs[last]:g}: {value}"
        error.set_title(text, loc="right", color=_TEST)

    rates = columns["learning_rate"]
    # A rate holds for its whole epoch: steps, not slopes.
    rate.step(epochs, rates, where="mid", color=_QUIET, marker="." if len(epochs) == 1 else "")
    levels = np.unique(rates[np.isfinite(rates)])
    if len(levels) <= _LEVELS and np.all(levels > 0):
        rate.set_yscale("log")
        rate.set_yticks(levels, [f"{level:g}" for level in levels])
        rate.minorticks_off()
    rate.set_title("Learning rate", loc="left")
    rate.set_xlabel("epoch")
    rate.xaxis.get_major_locator().set_params(integer=True)
    for axes in (loss, error, rate):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.02)
    for axes in (loss, error):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    return save(figure, Path(png))


def prediction_sheet(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    preprocessing: Preprocessing,
    png: str | os.PathLike[str],
    *,
    title: str = "",
    examples: int = 18,
    mistakes: int = 12,
    search: int = 1000,
) -> Path:
    """Draw test images with their classes and what the network says of them.

    Above the first images of the set, below the mistakes that the network was surest of;
    neither is left to chance, so that the sheets of two runs can be laid side by side.

    Args:
        model: a classifier that ends in a softmax and takes normalised images.
        images: uint8, (n, height, width, channels), as stored.
        labels: integers, (n,).
        preprocessing: the statistics and class names the model was trained with.
        png: the picture to write.
        title: stands above the picture.
        examples: how many of the first images to show.
        mistakes: how many mistakes to show at most.
        search: mistakes are looked for among so many of the first images.

    Returns:
        The path of the picture.

    Raises:
        InputError: images, labels and model do not fit each other, or matplotlib is not
            installed.

    Example:
        >>> data = keras_wrn.datasets.load("cifar10")  # doctest: +SKIP
        >>> run = keras_wrn.load_trained("runs/wrn-16-1")  # doctest: +SKIP
        >>> prediction_sheet(
        ...     run.model, *data.test, run.preprocessing, "predictions.png"
        ... )  # doctest: +SKIP
        PosixPath('predictions.png')
    """
    from keras_wrn.inference.classifier import class_probabilities
    from keras_wrn.inference.evaluation import checked_labels

    images = np.asarray(images)[: max(search, examples)]
    labels = checked_labels(np.asarray(labels)[: len(images)], len(images), model.output_shape[-1])
    probabilities = class_probabilities(model, images, preprocessing)
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    # Stable, so that equally sure mistakes come in the order of the set.
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:mistakes]
    first = np.arange(min(examples, len(images)))

    parts = [(f"The first {len(first)} images: class predicted, and how sure of it", first)]
    if len(surest):
        searched = f"{len(wrong)} mistakes in the first {len(images)} images"
        parts.append((f"The surest of the {searched}", surest))
    rows = [-(-len(chosen) // _COLUMNS) for _, chosen in parts]
    figure = new_figure(11.0, 2.15 * sum(rows) + 0.5 * len(parts) + 0.4, title)
    names = preprocessing.class_names or tuple(str(i) for i in range(probabilities.shape[1]))
    subfigures = figure.subfigures(len(parts), 1, height_ratios=rows, squeeze=False)[:, 0]
    for part, (heading, chosen), height in zip(subfigures, parts, rows, strict=True):
        part.suptitle(heading, x=0.01, ha="left", fontsize=12, color=_QUIET)
        grid = part.subplots(height, _COLUMNS, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, i in zip(grid, chosen, strict=False):
            # matplotlib draws grey images only without a channel axis.
            axes.imshow(images[i].squeeze(), cmap="gray", vmin=0, vmax=255)
            right = predicted[i] == labels[i]
            said = f"{_short(names[predicted[i]])} {confidence[i]:.0%}"
            axes.set_title(
                said if right else f"{said}\ntrue: {_short(names[labels[i]])}",
                fontsize=10,
                color="black" if right else _WRONG,
                linespacing=1.15,
            )
    return save(figure, Path(png))


def read_history(path: Path) -> dict[str, np.ndarray]:
    """Read a history.csv: column -> floats, one for each epoch, NaN where nothing was measured."""
    if not path.is_file():
        raise InputError(f"There is no history to draw: {path} does not exist.")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wanted = ("epoch", "loss", "error", "val_loss", "val_error", "learning_rate")
    missing = [name for name in wanted if not rows or name not in rows[0]]
    if missing:
        lack = f"has no column {', '.join(missing)}" if rows else "has no epoch yet"
        raise InputError(f"There is no history to draw: {path} {lack}.")
    try:
        return {
            # "NA" is how Keras' CSVLogger writes what was not measured.
            name: np.array(
                [float(row[name]) if row[name] not in ("", "NA") else np.nan for row in rows]
            )
            for name in wanted
        }
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}.") from error


def _measured_on(history: Path) -> str:
    """What the run of a history was measured on while it was trained: "test" or "held-out"."""
    recipe = history.with_name(RECIPE_FILE)
    return "held-out" if recipe.is_file() and read_json(recipe).get("held_out") else "test"


def _curve(axes: Axes, epochs: np.ndarray, values: np.ndarray, label: str, color: str) -> None:
    measured = np.isfinite(values)
    if measured.any():
        marker = "." if measured.sum() < 40 else ""
        axes.plot(epochs[measured], values[measured], label=label, color=color, marker=marker)


def _short(name: str, length: int = 14) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def new_figure(width: float, height: float, title: str) -> Figure:
    """Make an empty figure of so many inches; raises InputError where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise InputError(
            "Pictures need matplotlib, which is not installed. Run: "
            "pip install 'keras-wide-resnet[train]'."
        ) from error
    # Without pyplot, so that no window system or global state of the caller is touched.
    figure = Figure(figsize=(width, height), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=14, fontweight="bold")
    return figure


def save(figure: Figure, png: Path) -> Path:
    """Write a figure as a PNG, whole, and return its path."""
    png.parent.mkdir(parents=True, exist_ok=True)
    # Without the date and the version of matplotlib, so that the same run gives the same bytes.
    write_whole(png, lambda part: figure.savefig(part, dpi=120, metadata={"Software": None}))
    return png
