"""Pictures of a run: its training curves, and test images with the network's predictions."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import logging

from keras_wrn.errors import InputError
from keras_wrn.system.files import read_json, write_whole
from keras_wrn.training.run_folder import read_history
from keras_wrn.weights.card import RECIPE_FILE

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from keras_wrn.images.preprocessing import Preprocessing

_COLUMNS = 6  # images in a row of the sheet
_WRITTEN = 24  # maximum number of classes whose counts are written
_LEVELS = 6  # maximum number of learning rates that each get a tick
_TRAIN, _TEST, _WRONG, _QUIET = "#7a8ba3", "#1f4e9c", "#c1272d", "#555555"


def can_draw() -> bool:
    """Whether matplotlib is installed; if not, the log says that there are no pictures."""
    found = importlib.util.find_spec("matplotlib") is not None
    if not found:
        logging.info("matplotlib is not installed: no pictures. pip install matplotlib")
    return found


def learning_curves(
    history: str | os.PathLike[str], png: str | os.PathLike[str], title: str = ""
) -> Path:
    """Draw loss, error and learning rate against the epoch, one below the other.

    Args:
        history: a run's history.csv, as `run_folder.read_history` reads it. If the recipe.json
            beside it holds images out, the curves are labelled "held-out", not "test".
        png: the picture to write.
        title: stands above the picture.

    Returns:
        The path of the picture.

    Raises:
        InputError: the history is missing, empty or damaged, or matplotlib is not installed.

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
    # A rate holds for a whole epoch, so the line has steps, not slopes.
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
    """Draw test images with their predicted and true classes.

    The upper part has the first images of the set, the lower part the most confident mistakes.
    Nothing is drawn at random, so the sheets of two runs can be compared.

    Args:
        model: a classifier that takes normalised images and ends in a softmax.
        images: uint8 (n, height, width, channels), as stored.
        labels: integers (n,).
        preprocessing: the statistics and class names that the model was trained with.
        png: the picture to write.
        title: stands above the picture.
        examples: how many of the first images to show.
        mistakes: maximum number of mistakes to show.
        search: how many of the first images are searched for mistakes.

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
    # A stable sort keeps equally confident mistakes in the order of the set.
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:mistakes]
    first = np.arange(min(examples, len(images)))

    parts = [(f"{len(first)} images: predicted class and its probability", first)]
    if len(surest):
        found = f"{len(wrong)} mistakes in {len(images)} images"
        parts.append((f"The most confident of {found}", surest))
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
            prediction = f"{_short(names[predicted[i]])} {confidence[i]:.0%}"
            axes.set_title(
                prediction if right else f"{prediction}\ntrue: {_short(names[labels[i]])}",
                fontsize=10,
                color="black" if right else _WRONG,
                linespacing=1.15,
            )
    return save(figure, Path(png))


def confusion_matrix(counts: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Draw a confusion matrix: the stronger a colour, the larger the share of its row.

    Args:
        counts: integers (classes, classes): row i, column j: images of class i taken for j.
            They are written into the cells of 24 classes or fewer.
        names: of the classes.

    Returns:
        The picture, uint8 (height, width, 3).

    Raises:
        InputError: matplotlib is not installed.

    Example:
        >>> confusion_matrix(np.array([[9, 1], [0, 10]]), ("cat", "dog")).dtype
        dtype('uint8')
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    wrong = shares * (1 - np.eye(len(counts)))
    figure = new_figure(4.8, 4.8, "")  # small: TensorBoard shows it in a card
    axes = figure.subplots()
    # Mistakes are few beside hits, so the scale ends at the largest share of mistakes.
    axes.imshow(wrong, cmap="Reds", vmin=0, vmax=max(wrong.max(), 1e-9))
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    error = 1 - np.trace(counts) / max(1, counts.sum())
    axes.set_title(f"{counts.sum():,} images, error {error:.2%}", loc="left")
    if len(counts) <= _WRITTEN:
        short = [_short(name) for name in names]
        axes.set_xticks(range(len(short)), short, rotation=45, ha="right")
        axes.set_yticks(range(len(short)), short)
        for row, column in np.argwhere(counts):
            strong = wrong[row, column] > 0.6 * wrong.max()
            colour = _TEST if row == column else "white" if strong else "black"
            text = f"{counts[row, column]:,}"
            axes.text(column, row, text, ha="center", va="center", color=colour)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def tiled(images: np.ndarray) -> np.ndarray:
    """Put images (n, height, width, channels) side by side, in rows of equal length; black fills.

    Example:
        >>> tiled(np.zeros((16, 32, 32, 3), "uint8")).shape
        (128, 128, 3)
    """
    n, height, width, channels = images.shape
    columns = math.ceil(n**0.5)
    rows = math.ceil(n / columns)
    sheet = np.zeros((rows * columns, height, width, channels), images.dtype)
    sheet[:n] = images
    sheet = sheet.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return sheet.reshape(rows * height, columns * width, channels)


def _measured_on(history: Path) -> str:
    """The images behind val_loss and val_error: "test" or "held-out"."""
    recipe = history.with_name(RECIPE_FILE)
    return "held-out" if recipe.is_file() and read_json(recipe).get("held_out") else "test"


def _curve(axes: Axes, epochs: np.ndarray, values: np.ndarray, label: str, color: str) -> None:
    measured = np.isfinite(values)
    if measured.any():
        marker = "." if measured.sum() < 40 else ""
        axes.plot(epochs[measured], values[measured], label=label, color=color, marker=marker)


def _short(name: str, length: int = 14) -> str:
    return _drawable(name if len(name) <= length else name[: length - 1] + "…")


def _drawable(text: str) -> str:
    """Text without what matplotlib cannot draw: bytes that are no letters, and mathematics."""
    return text.encode("utf-8", "replace").decode().replace("$", r"\$")


def new_figure(width: float, height: float, title: str) -> Figure:
    """Make an empty figure, size in inches; raises InputError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise InputError(
            "Pictures need matplotlib, which is not installed. Run: "
            "pip install 'keras-wide-resnet[train]'."
        ) from error
    # pyplot would touch the caller's window system and global state.
    figure = Figure(figsize=(width, height), layout="constrained")
    if title:
        figure.suptitle(_drawable(title), fontsize=14, fontweight="bold")
    return figure


def save(figure: Figure, png: Path) -> Path:
    """Write a figure as a PNG file, atomically; returns its path."""
    png.parent.mkdir(parents=True, exist_ok=True)
    # Without matplotlib's version in it, the same run gives the same bytes.
    write_whole(png, lambda part: figure.savefig(part, dpi=120, metadata={"Software": None}))
    return png
