"""The paper's figures and ours side by side, as Markdown and as JSON."""

import dataclasses
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_wrn.paper import step_time
from keras_wrn.paper.figures import times_table
from keras_wrn.paper.hours import estimated_hours, read_speeds
from keras_wrn.paper.reproduction import Outcome, gather
from keras_wrn.paper.scale import Scale
from keras_wrn.paper.tables import CURVES, FIGURES, TABLES, WORKDIR, Row
from keras_wrn.system import markdown

COMMAND = "python recipes/reproduce.py"
NOT_MEASURED = "not measured"
_HEAD = """# The paper's experiments

<!-- Generated: `{command}`. Do not edit. -->

Each row is one system of a table, trained by the recipe of the paper's section 3, and measured on
the whole test set after its last epoch. The last column is the command that trains it, which goes
on where it was stopped; `--scale digits` or `--scale 0.01` makes a small experiment of it, kept
apart from these. A row without a run says so. Rows of one recipe in several tables share their
runs. "Built" are the trainable parameters of the network as the package builds it, which
`--dry_run` counts; "the paper's figure only" stands by networks that it does not build.
"""


@dataclasses.dataclass(frozen=True)
class Report:
    """What is printed of a selection of experiments.

    Attributes:
        outcomes: the rows, in the paper's order.
        figures: names of the figures that were asked for.
        pictures: those that could be drawn, by name.
        workdir: where the runs are.
        home: where the printed commands make runs, or go on with them.
        scale: how they are scaled down, if at all.
        flags: what a command needs beside the row and `home`, such as "--scale digits".
        precision: what hours are estimated for; "" for the recipes' own.
    """

    outcomes: Sequence[Outcome]
    figures: Sequence[str]
    pictures: Mapping[str, Path]
    workdir: Path
    home: Path
    scale: Scale | None = None
    flags: str = ""
    precision: str = ""


def report_on(
    rows: Sequence[Row],
    figures: Sequence[str],
    workdir: Path,
    *,
    pictures: Mapping[str, Path] | None = None,
    scale: Scale | None = None,
    flags: str = "",
    precision: str = "",
) -> Report:
    """Gather the runs of rows; raises InputError where one is damaged or of something else."""
    outcomes = [gather(row, workdir, scale) for row in rows]
    return Report(outcomes, figures, pictures or {}, workdir, workdir, scale, flags, precision)


def as_json(report: Report) -> dict[str, Any]:
    """Everything that `as_markdown` says, for programs."""
    return {
        "format": 1,
        "scaled": report.scale.describe() if report.scale else None,
        "rows": [_json_row(report, outcome) for outcome in report.outcomes],
        "figure4": step_time.read_figure_4(report.workdir, report.scale, report.precision)
        if "figure4" in report.figures
        else None,
    }


def _json_row(report: Report, outcome: Outcome) -> dict[str, Any]:
    row = outcome.row
    ours = None
    if outcome.runs:
        ours = {
            "median": [outcome.median(i) for i in range(len(outcome.runs[0].errors))],
            "lowest": [outcome.errors(i)[0] for i in range(len(outcome.runs[0].errors))],
            "highest": [outcome.errors(i)[-1] for i in range(len(outcome.runs[0].errors))],
            "n": len(outcome.runs),
            "runs": [
                {**dataclasses.asdict(run), "folder": str(run.folder)} for run in outcome.runs
            ],
        }
    return {
        "table": row.table,
        "row": row.key,
        "dataset": row.dataset,
        "system": row.system,
        "paper": {
            "errors": list(row.errors) if not row.unit else [],
            **({row.unit: row.errors[0]} if row.unit else {}),
            "parameters": row.printed,
            "time": row.time,
            "runs": row.runs if row.recipe else None,
        },
        "parameters": _parameters(report, outcome),
        "ours": ours if ours else NOT_MEASURED,
        "hours_to_run": _hours_to_run(report, outcome),
        "command": _command(report, row),
        "note": row.note,
    }


def as_markdown(report: Report, relative_to: Path | None = None) -> str:
    """The tables and figures of a report.

    Args:
        report: of `report_on`.
        relative_to: the folder that links to pictures start from; default where the program runs.
    """
    parts = []
    if report.scale and (report.outcomes or set(report.figures) & CURVES.keys()):
        parts.append(
            f"**{report.scale.describe()}** Its errors are not to be held against the paper's."
        )
    for table, title in TABLES.items():
        outcomes = [o for o in report.outcomes if o.row.table == table]
        if outcomes:
            parts += [f"## {title}", _table(report, outcomes)]
            parts += [text for text in (_orders(outcomes), _notes(outcomes)) if text]
    for name in report.figures:
        parts += [f"## {FIGURES[name]}", _figure(report, name, relative_to or Path())]
    made_on = sorted({run.made_on for outcome in report.outcomes for run in outcome.runs})
    if made_on:
        parts.append("Runs were made on: " + "; ".join(made_on) + ".")
    if not report.scale and (speeds := read_speeds(report.workdir).values()):
        timed = dict.fromkeys(of["network"] for of in speeds)
        places = sorted(
            {
                f"{of['hardware']}, {of['date']}, {of['batch']} images a step, n = {of['n']}"
                for of in speeds
            }
        )
        parts.append(
            "Hours with a ~ are estimates: the images of all epochs over the images per second of "
            "a few training steps, of the network itself or, in proportion, of the timed one "
            "of the same image size nearest in multiply-adds. "
            f"Timed: {'; '.join(timed)}; on {'; '.join(places)}."
        )
    return "\n\n".join(parts) + "\n"


def document(report: Report, folder: Path, arguments: str) -> str:
    """`as_markdown` with a head, for readers, who have runs of their own.

    Args:
        report: of `report_on`.
        folder: of the file.
        arguments: of the program that makes it.
    """
    head = _HEAD.format(command=f"{COMMAND} {arguments}")
    return f"{head}\n{as_markdown(dataclasses.replace(report, home=Path(WORKDIR)), folder)}"


def _table(report: Report, outcomes: Sequence[Outcome]) -> str:
    timed = any(outcome.row.time for outcome in outcomes)
    head = ["row", "system", "data set", "parameters, paper", "built", "error %, paper"]
    head += ["ours: median (lowest to highest)", "n"] + ["time, paper"] * timed
    head += ["s/epoch, ours", "hours a run", f"`{COMMAND}` …"]
    lines = []
    for outcome in outcomes:
        row, runs = outcome.row, outcome.runs
        count = _parameters(report, outcome)
        hours = statistics.median(run.hours for run in runs) if runs else None
        estimate = _hours_to_run(report, outcome)
        cells = [
            row.key,
            row.system,
            _data(report, row),
            row.printed or "-",
            f"{count:,}" if count else "-",
            " / ".join(f"{error:.2f}" for error in row.errors) + f" {row.unit}" * bool(row.unit)
            or "-",
            _ours(outcome),
            f"{len(runs)}" if outcome.recipe or row.command else "-",
            *[row.time or "-"] * timed,
            f"{3600 * hours / runs[0].epochs:.1f}" if hours is not None else "-",
            f"{hours:.2f}" if hours is not None else _about(estimate),
            f"`{_command(report, row, short=True)}`" if _command(report, row) else "-",
        ]
        lines.append(cells)
    return markdown.table(head, lines)


def _parameters(report: Report, outcome: Outcome) -> int | None:
    """Trainable parameters: of the runs, or of the row where it is not scaled down."""
    if outcome.runs:
        return outcome.runs[0].parameters
    return None if report.scale else outcome.row.parameters


def _about(hours: float | None) -> str:
    """Hours to two digits: "~2,700"."""
    return "-" if hours is None else f"~{float(f'{hours:.2g}'):,g}"


def _ours(outcome: Outcome) -> str:
    if outcome.recipe is None and not outcome.row.command:
        return "the paper's figure only"
    if not outcome.runs:
        return NOT_MEASURED
    texts = []
    for which in range(len(outcome.runs[0].errors)):
        errors = outcome.errors(which)
        spread = f" ({errors[0]:.2f} to {errors[-1]:.2f})" if len(errors) > 1 else ""
        texts.append(f"{outcome.median(which):.2f}{spread}")
    return " / ".join(texts)


def _data(report: Report, row: Row) -> str:
    if report.scale and report.scale.share is None and row.recipe:
        return f"digits, for {row.dataset}"
    return row.dataset


def _hours_to_run(report: Report, outcome: Outcome) -> float | None:
    if outcome.runs or report.scale:
        return None
    return estimated_hours(outcome.row, read_speeds(report.workdir), report.precision)


def _command(report: Report, row: Row, *, short: bool = False) -> str:
    if row.command:
        return f"python {row.command} --workdir {report.home / row.folder / 'seed1'}"
    if row.recipe is None:
        return ""
    arguments = f"{row.table} --rows {row.key} --datasets {row.dataset}{_flags(report)}"
    return arguments if short else f"{COMMAND} {arguments}"


def _flags(report: Report) -> str:
    """What a command needs beside the row, with a space before it."""
    elsewhere = f"--workdir {report.home}" if report.home != Path(WORKDIR) else ""
    return "".join(f" {part}" for part in (report.flags, elsewhere) if part)


def _orders(outcomes: Sequence[Outcome]) -> str:
    """The order of the rows by error, the paper's and ours, where there are two to compare."""
    lines = []
    for dataset in dict.fromkeys(outcome.row.dataset for outcome in outcomes):
        both = [o for o in outcomes if o.row.dataset == dataset and o.runs and o.row.errors]
        if len(both) > 1:
            paper = _order({o.row.key: o.row.errors[0] for o in both})
            ours = _order({o.row.key: round(o.median(), 4) for o in both})
            lines.append(f"Lowest error first, {dataset}: the paper {paper}; here {ours}.")
    return "\n".join(lines)


def _order(errors: Mapping[str, float]) -> str:
    """Names by error, the lowest first: "a, b = c"."""
    levels = sorted(set(errors.values()))
    return ", ".join(" = ".join(k for k, e in errors.items() if e == level) for level in levels)


def _notes(outcomes: Sequence[Outcome]) -> str:
    notes: dict[str, list[str]] = {}
    for outcome in outcomes:
        row = outcome.row
        if row.note and row.key not in notes.setdefault(row.note, []):
            notes[row.note].append(row.key)
    return "\n".join(f"- {', '.join(keys)}: {note}." for note, keys in notes.items())


def _figure(report: Report, name: str, relative_to: Path) -> str:
    lines = []
    if name in CURVES:
        lines.append("Solid: test error; dashed: training loss.")
    elif result := step_time.read_figure_4(report.workdir, report.scale, report.precision):
        lines.append(times_table(result, report.scale))
    if name in report.pictures:
        picture = Path(os.path.relpath(report.pictures[name], relative_to)).as_posix()
        lines.append(f"![{FIGURES[name]}]({picture})")
    elif name in CURVES or not lines:
        lines.append(f"{_why_no_picture(report, name)}: `{COMMAND} {name}{_flags(report)}`")
    return "\n\n".join(lines)


def _why_no_picture(report: Report, name: str) -> str:
    wanted = {curve.folder for panel in CURVES.get(name, {}).values() for curve in panel}
    there = any(outcome.runs and outcome.row.folder in wanted for outcome in report.outcomes)
    return "Measured, not drawn" if there else NOT_MEASURED.capitalize()
