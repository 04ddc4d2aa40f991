"""What an audit finds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """A trap that a network fell into.

    Attributes:
        trap: its name, such as "bn_momentum".
        received: what the network has, and where.
        expected: what the paper has.
        source: the place in the paper or in the authors' code.
        cost: what the difference does.
        mend: what to change.
    """

    trap: str
    received: str
    expected: str
    source: str
    cost: str
    mend: str

    def __str__(self) -> str:
        return (
            f"{self.trap}: {self.received}\n  expected: {self.expected} ({self.source})\n"
            f"  cost: {self.cost}\n  mend: {self.mend}"
        )


Findings = Iterator[Finding]
LUA = "authors' models/wide-resnet.lua"


def where(layers: list[Any]) -> str:
    """The first layer, and how many more."""
    more = f" and {len(layers) - 1} more" if len(layers) > 1 else ""
    return f"{layers[0].name}{more}"
