"""Draw the paper's Figures 2, 3 and 4 from our runs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_wrn.paper import step_time
from keras_wrn.paper.reproduction import gather, median_and_range
from keras_wrn.paper.scale import Scale
from keras_wrn.paper.tables import CURVES, FIGURE_4, FIGURES, ROWS, Curve
from keras_wrn.system.markdown import table
from keras_wrn.training import pictures
from keras_wrn.training.run_folder import read_history
from keras_wrn.weights.card import HISTORY_FILE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Labelled = tuple[Path, str]  # a history.csv and its label
_COLORS = ("#1f4e9c", "#c1272d", "#2b8a3e")
_THIN, _WIDE = "#7a8ba3", "#c1272d"


def draw(
    names: Sequence[str], workdir: Path, scale: Scale | None = None, precision: str = ""
) -> dict[str, Path]:
    """Draw the figures that have runs or times, into the work folder.

    Args:
        names: such as "figure2".
        workdir: the folder of all runs.
        scale: how the runs are scaled down, if at all.
        precision: of Figure 4's steps, as `Recipe.precision`; "" for float32.

    Returns:
        Name of the figure -> picture.
    """
    if not pictures.can_draw():
        return {}
    drawn = {}
    for name in names:
        png = (workdir / scale.folder if scale else workdir) / f"{name}.png"
        title = ("SCALED DOWN. " if scale else "") + FIGURES[name]
        if name in CURVES:
            found = {
                _title(panel, scale): [
                    run for curve in curves for run in _find(curve, workdir, scale)
                ]
                for panel, curves in CURVES[name].items()
            }
            if panels := {panel: runs for panel, runs in found.items() if runs}:
                training_curves(panels, png, title, log_loss=name == "figure3")
                drawn[name] = png
        elif result := step_time.read_figure_4(workdir, scale, precision):
            times = step_time.figure_4_path(workdir, scale, precision)
            title = f"Figure 4. {step_time.SCALED_FIGURE_4}" if scale else FIGURES[name]
            png = times.with_name(times.name.replace("timing", name)).with_suffix(".png")
            drawn[name] = step_times(result, png, title)
    return drawn


def _title(panel: str, scale: Scale | None) -> str:
    """The title of a panel; on the digits, the panels of several data sets are the same."""
    if scale is None or scale.share is not None:
        return panel
    _, *rest = panel.split(", ")
    return ", ".join(["digits", *rest])


def _find(curve: Curve, workdir: Path, scale: Scale | None) -> list[Labelled]:
    """The history and label of a curve's median run, in a list; empty if there is no history."""
    outcome = gather(next(row for row in ROWS if row.folder == curve.folder), workdir, scale)
    if not outcome.runs:
        return []
    run = outcome.median_run()
    paper = "" if scale else f"; the paper {curve.error:.2f} %"
    label = f"{curve.label} (error {run.errors[0]:.2f} %{paper})"
    history = run.folder / HISTORY_FILE
    return [(history, label)] if history.exists() else []


def training_curves(
    panels: Mapping[str, Sequence[Labelled]], png: Path, title: str, *, log_loss: bool
) -> Path:
    """Draw Figure 2 or 3: solid test error on the left axis, dashed training loss on the right.

    Args:
        panels: title -> (history.csv, label) of each run, from left to right.
        png: the picture to write.
        title: stands above the picture.
        log_loss: draw the loss on a logarithmic axis, as in Figure 3.

    Returns:
        The path of the picture.

    Raises:
        InputError: a history is missing or damaged, or matplotlib is not installed.
    """
    figure = pictures.new_figure(6.5 * len(panels), 5.0, title)
    for axes, (name, runs) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        _panel(axes, runs, log_loss)
        axes.set_title(name)
    return pictures.save(figure, png)


def _panel(axes: Axes, runs: Sequence[Labelled], log_loss: bool) -> None:
    losses = axes.twinx()
    for (history, label), color in zip(runs, _COLORS, strict=False):
        columns = read_history(history)
        measured = np.isfinite(columns["val_error"])
        epochs = columns["epoch"]
        test = 100 * columns["val_error"][measured]
        axes.plot(epochs[measured], test, color=color, label=label)
        losses.plot(epochs, columns["loss"], color=color, linestyle="--", linewidth=1)
    if log_loss:
        losses.set_yscale("log")
    else:
        losses.set_ylim(bottom=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel("test error, % (solid)")
    losses.set_ylabel("training loss (dashed)")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="upper right")


def step_times(result: Mapping[str, Any], png: Path, title: str) -> Path:
    """Draw Figure 4: milliseconds per training step, thin networks beside wide ones.

    Args:
        result: of `step_time.read_figure_4`.
        png: the picture to write.
        title: stands above the picture.

    Returns:
        The path of the picture.
    """
    wide = {timed.system for timed in FIGURE_4 if timed.wide}
    systems = sorted(result["seconds"], key=lambda name: name in wide)
    times = [1000 * statistics.median(result["seconds"][name]) for name in systems]
    figure = pictures.new_figure(7.5, 5.0, title)
    axes = figure.subplots()
    colors = [_WIDE if name in wide else _THIN for name in systems]
    bars = axes.bar([name.removeprefix("pre-resnet-") for name in systems], times, color=colors)
    axes.bar_label(bars, [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in times])
    axes.set_ylabel("ms")
    axes.set_xlabel("thin (grey): depth; wide (red): depth-width")
    axes.spines[["top", "right"]].set_visible(False)
    return pictures.save(figure, png)


def times_table(result: Mapping[str, Any], scale: Scale | None = None) -> str:
    """Write Figure 4 as a Markdown table of ratios, since milliseconds belong to a machine."""
    paper = {timed.system: timed for timed in FIGURE_4}
    rows = []
    for system, seconds in result["seconds"].items():
        known, ours = paper.get(system), step_time.ratios(result["seconds"], system)
        ratio = f"{known.milliseconds / paper['40-4'].milliseconds:.2f}" if known else "-"
        row = [system, f"{known.error:.2f}" if known else "-", ratio, median_and_range(ours)]
        row += [f"{len(ours)}", f"{known.milliseconds}" if known else "-"]
        rows.append([*row, f"{1000 * statistics.median(seconds):,.1f}"])
    head = ["network", "error %, paper", "ratio to 40-4, paper"]
    head += ["ours: median (lowest to highest)", "n", "ms, paper (Titan X, cuDNN v5)", "ms, ours"]
    smaller = f"**{step_time.SCALED_FIGURE_4}** " if scale else ""
    return (
        f"{table(head, rows)}\n\n{smaller}Forward, backward and update on {result['minibatch']} "
        f"images, {result['precision']}, {result['hardware']}, {result['date']}."
    )
