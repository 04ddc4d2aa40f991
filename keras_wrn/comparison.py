"""The paper's figures and ours side by side, as Markdown and as JSON."""

import dataclasses
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_wrn import step_time
from keras_wrn.paper_tables import CURVES, FIGURE_4, FIGURES, TABLES, Row
from keras_wrn.reproduction import Outcome, gather
from keras_wrn.scaled_down import Scale

COMMAND = "python recipes/reproduce.py"
NOT_MEASURED = "not measured"
_HEAD = """# The paper's experiments

<!-- Generated: `python recipes/reproduce.py all --table --precision mixed_bfloat16
--workdir docs/runs/reproduction --markdown docs/reproduction.md`. Do not edit. -->

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
        scale: how they are scaled down, if at all.
        flags: what a command needs beside the row, such as "--scale digits".
        precision: what hours are estimated for; "" for the recipes' own.
    """

    outcomes: Sequence[Outcome]
    figures: Sequence[str]
    pictures: Mapping[str, Path]
    workdir: Path
    scale: Scale | None = None
    flags: str = ""
    precision: str = ""


def report_on(rows: Sequence[Row], figures: Sequence[str], workdir: Path, **options: Any) -> Report:
    """Gather the runs of rows; raises InputError where one is damaged or of something else."""
    scale = options.get("scale")
    outcomes = [gather(row, workdir, scale) for row in rows]
    return Report(outcomes, figures, options.pop("pictures", {}), workdir, **options)


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
        "parameters": outcome.runs[0].parameters if outcome.runs else row.parameters,
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
    speeds = step_time.read_speeds(report.workdir)
    places = sorted(
        {
            f"{of['hardware']}, {of['date']}, {of['batch']} images a step, n = {of['n']}"
            for of in speeds.values()
        }
    )
    if places and not report.scale:
        parts.append(
            "Hours with a ~ are estimates: the images of all epochs over the images per second of "
            "a few training steps, of the network itself or, in proportion, of the timed one "
            "of the same image size nearest in multiply-adds. "
            f"Timed: {'; '.join(speeds)}; on {'; '.join(places)}."
        )
    return "\n\n".join(parts) + "\n"


def document(report: Report, folder: Path) -> str:
    """`as_markdown` with a head, for a file in `folder`."""
    return f"{_HEAD}\n{as_markdown(report, folder)}"


def _table(report: Report, outcomes: Sequence[Outcome]) -> str:
    timed = any(outcome.row.time for outcome in outcomes)
    head = ["row", "system", "data set", "parameters, paper", "built", "error %, paper"]
    head += ["ours: median (lowest to highest)", "n"] + ["time, paper"] * timed
    head += ["s/epoch, ours", "hours a run", f"`{COMMAND}` …"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for outcome in outcomes:
        row, runs = outcome.row, outcome.runs
        count = runs[0].parameters if runs else None if report.scale else row.parameters
        epochs = outcome.recipe.epochs if outcome.recipe else 1
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
            f"{3600 * hours / epochs:.1f}" if hours is not None else "-",
            f"{hours:.2f}" if hours is not None else _about(estimate),
            f"`{_command(report, row, short=True)}`" if _command(report, row) else "-",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


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
    return step_time.hours(outcome.row, step_time.read_speeds(report.workdir), report.precision)


def _command(report: Report, row: Row, *, short: bool = False) -> str:
    if row.command:
        return f"python {row.command}"
    if row.recipe is None:
        return ""
    arguments = f"{row.table} --rows {row.key} --datasets {row.dataset} {report.flags}".strip()
    return arguments if short else f"{COMMAND} {arguments}"


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
    command = f"`{COMMAND} {name} {report.flags}".strip() + "`"
    lines = []
    if name in CURVES:
        lines.append("Solid: test error; dashed: training loss.")
    elif result := step_time.read_figure_4(report.workdir, report.scale, report.precision):
        lines.append(_times(result, report.scale))
    if name in report.pictures:
        picture = Path(os.path.relpath(report.pictures[name], relative_to)).as_posix()
        lines.append(f"![{FIGURES[name]}]({picture})")
    if len(lines) < 1 + (name in CURVES):
        lines.append(f"{NOT_MEASURED.capitalize()}: {command}")
    return "\n\n".join(lines)


def _times(result: Mapping[str, Any], scale: Scale | None) -> str:
    """Figure 4 as a table: ratios, since milliseconds belong to a machine."""
    lines = [
        "| network | error %, paper | ratio to 40-4, paper | ours: median (lowest to highest) | n "
        "| ms, paper (Titan X, cuDNN v5) | ms, ours |",
        "|---|---|---|---|---|---|---|",
    ]
    paper = {timed.system: timed.milliseconds for timed in FIGURE_4}
    errors = {timed.system: f"{timed.error:.2f}" for timed in FIGURE_4}
    for system, seconds in result["seconds"].items():
        ours = step_time.ratios(result["seconds"], system)
        ratio = f"{paper[system] / paper['40-4']:.2f}" if system in paper else "-"
        lines.append(
            f"| {system} | {errors.get(system, '-')} | {ratio} | {statistics.median(ours):.2f} "
            f"({ours[0]:.2f} to {ours[-1]:.2f}) | {len(ours)} | {paper.get(system, '-')} | "
            f"{1000 * statistics.median(seconds):,.1f} |"
        )
    smaller = f"**{step_time.SCALED_FIGURE_4}** " if scale else ""
    return "\n".join(lines) + (
        f"\n\n{smaller}Forward, backward and update on {result['minibatch']} images, "
        f"{result['precision']}, {result['hardware']}, {result['date']}."
    )
