"""Tables in Markdown."""

from collections.abc import Iterable


def table(header: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """Write a Markdown table.

    Args:
        header: the titles of the columns.
        rows: as many values each.

    Returns:
        Lines without an end of line after the last.

    Example:
        >>> print(table(["depth", "error"], [[16, "5.02 %"]]))
        | depth | error |
        |---|---|
        | 16 | 5.02 % |
    """
    lines = [[str(cell) for cell in cells] for cells in (header, *rows)]
    titles, *others = [f"| {' | '.join(cells)} |" for cells in lines]
    return "\n".join([titles, "|" + "---|" * len(lines[0]), *others])
