"""The page of results for readers: what was trained first, then the tables."""

import dataclasses
from pathlib import Path

from keras_wrn.paper.comparison import COMMAND, Report, as_markdown, wrap
from keras_wrn.paper.reproduction import median_and_range
from keras_wrn.paper.tables import TABLES, WORKDIR

_FEW = 3  # rows that the first paragraph names
_HEAD = """# The paper's experiments

{found}

Each row is one system of a table, trained as the paper's section 3 says and evaluated on the whole
test set after its last epoch. The last column is the command that trains the row, or resumes it.
With `--scale digits` or `--scale 0.01` it trains a smaller version, in a folder of its own. Rows
with the same recipe share their runs. "Built" are the trainable parameters of the network as the
package builds it, which `--dry_run` counts; "the paper's figure only" marks networks that the
package does not build.

{generated}
"""


def document(report: Report, folder: Path, arguments: str) -> str:
    """Write a page for readers: `as_markdown` with a head, and commands for their own runs.

    Args:
        report: of `report_on`.
        folder: the page's folder.
        arguments: of the program that writes the page.
    """
    generated = wrap(f"<!-- Generated: `{COMMAND} {arguments}`. Do not edit. -->")
    head = _HEAD.format(found=wrap(_found(report)), generated=generated)
    tables = as_markdown(dataclasses.replace(report, home=Path(WORKDIR)), folder)
    return f"{head}\n{tables}"


def _found(report: Report) -> str:
    """What the page has to say, in a few sentences: how many rows have runs, and a few of them."""
    trainable = [o for o in report.outcomes if o.recipe or o.row.command]
    trained = [o for o in trainable if o.runs]
    size = "in small " if report.scale else ""
    sentences = [f"Trained {size}here: {len(trained)} of {len(trainable)} rows."]
    if len(trained) <= _FEW and not report.scale:
        for outcome in trained:
            row = outcome.row
            paper = " / ".join(f"{error:.2f}" for error in row.errors)
            ours = " / ".join(
                median_and_range(outcome.errors(which)) for which in range(len(row.errors))
            )
            behind = f", n = {row.printed_runs}" if row.printed_runs else ""
            table = TABLES[row.table].partition(":")[0]
            sentences.append(
                f"{row.system} on {row.dataset} ({table}) has {ours} {row.unit or '%'}, n = "
                f"{len(outcome.runs)}; the paper {paper} {row.unit or '%'}{behind}."
            )
    if len(trained) < len(trainable):
        sentences.append(
            'The others say "not measured", with the command that trains them and, where a speed '
            "was measured, the hours that it takes."
        )
    return " ".join(sentences)
