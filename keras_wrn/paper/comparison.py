"""The paper's results and ours side by side, as Markdown and as JSON."""

import dataclasses
import os
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_wrn.paper import step_time
from keras_wrn.paper.figures import times_table
from keras_wrn.paper.hours import estimated_hours, read_speeds
from keras_wrn.paper.reproduction import Outcome, gather, median_and_range
from keras_wrn.paper.scale import Scale
from keras_wrn.paper.tables import CURVES, FIGURES, TABLES, WORKDIR, Row
from keras_wrn.system import markdown

COMMAND = "python recipes/reproduce.py"
NOT_MEASURED = "not measured"
_WIDTH = 110  # characters in a line of a paragraph


@dataclasses.dataclass(frozen=True)
class Report:
    """The results of a selection of experiments.

    Attributes:
        outcomes: the rows, in the paper's order.
        figures: names of the selected figures.
        pictures: name -> picture of the figures that could be drawn.
        workdir: the folder of the runs.
        home: the folder of the runs in the printed commands.
        scale: how the runs are scaled down, if at all.
        flags: other flags of the printed commands, such as "--scale digits".
        precision: precision of the estimated hours; "" for the recipes' own.
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
    """Gather the runs of rows; raises InputError if one is damaged or of another experiment."""
    outcomes = [gather(row, workdir, scale) for row in rows]
    return Report(outcomes, figures, pictures or {}, workdir, workdir, scale, flags, precision)


def as_json(report: Report) -> dict[str, Any]:
    """The content of `as_markdown` as JSON, for programs."""
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
    ours: Any = NOT_MEASURED
    if outcome.runs:
        errors = [outcome.errors(i) for i in range(len(outcome.runs[0].errors))]
        runs = [{**dataclasses.asdict(run), "folder": str(run.folder)} for run in outcome.runs]
        ours = {"median": [statistics.median(each) for each in errors]}
        ours |= {"lowest": [each[0] for each in errors], "highest": [each[-1] for each in errors]}
        ours |= {"n": len(runs), "runs": runs}
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
            "runs": row.printed_runs if row.recipe else None,
        },
        "parameters": _parameters(report, outcome),
        "ours": ours,
        "hours_to_run": _hours_to_run(report, outcome),
        "command": _command(report, row),
        "note": row.note,
    }


def as_markdown(report: Report, relative_to: Path | None = None) -> str:
    """Write the tables and figures of a report.

    Args:
        report: of `report_on`.
        relative_to: the folder that links to pictures start from; default the current folder.
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
        timed = dict.fromkeys(speed["network"] for speed in speeds)
        place = "{hardware}, {date}, {batch} images a step, n = {n}"
        places = sorted({place.format_map(speed) for speed in speeds})
        parts.append(
            "Hours with a ~ are estimates: the images of all epochs over the images per second of "
            "a few training steps, of the network itself or, in proportion, of the timed one "
            "of the same image size nearest in multiply-adds. "
            f"Timed: {'; '.join(timed)}; on {'; '.join(places)}."
        )
    return "\n".join(map(wrap, "\n\n".join(parts).splitlines())) + "\n"


def wrap(line: str) -> str:
    """Break a line of prose; lines of tables, pictures, headings and commands stay whole."""
    if line.startswith(("|", "!", "#")) or line.endswith("`"):
        return line
    indent = "  " if line.startswith("- ") else ""
    return textwrap.fill(
        line, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


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
    """Trainable parameters: of the runs, or of the row if it is not scaled down."""
    if outcome.runs:
        return outcome.runs[0].parameters
    return None if report.scale else outcome.row.parameters


def _about(hours: float | None) -> str:
    """Format hours to two digits, such as "~2,700"."""
    return "-" if hours is None else f"~{float(f'{hours:.2g}'):,g}"


def _ours(outcome: Outcome) -> str:
    if outcome.recipe is None and not outcome.row.command:
        return "the paper's figure only"
    if not outcome.runs:
        return NOT_MEASURED
    count = len(outcome.runs[0].errors)
    return " / ".join(median_and_range(outcome.errors(which)) for which in range(count))


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
    """The flags of a row's command, each with a space before it."""
    elsewhere = f"--workdir {report.home}" if report.home != Path(WORKDIR) else ""
    return "".join(f" {part}" for part in (report.flags, elsewhere) if part)


def _orders(outcomes: Sequence[Outcome]) -> str:
    """Compare the order of the rows by error, the paper's and ours, per data set."""
    lines = []
    for dataset in dict.fromkeys(outcome.row.dataset for outcome in outcomes):
        both = [o for o in outcomes if o.row.dataset == dataset and o.runs and o.row.errors]
        if len(both) > 1:
            paper = _order({o.row.key: o.row.errors[0] for o in both})
            ours = _order({o.row.key: round(o.median(), 4) for o in both})
            lines.append(f"Lowest error first, {dataset}: the paper {paper}; here {ours}.")
    return "\n".join(lines)


def _order(errors: Mapping[str, float]) -> str:
    """Sort names by error, the lowest first: "a, b = c"."""
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
    is_measured = any(outcome.runs and outcome.row.folder in wanted for outcome in report.outcomes)
    return "Measured, not drawn" if is_measured else NOT_MEASURED.capitalize()
