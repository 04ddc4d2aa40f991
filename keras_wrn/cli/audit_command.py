"""The command `audit`: where a network differs from the paper's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from keras_wrn.cli.program import start_keras

if TYPE_CHECKING:
    import argparse


def add_audit(commands: Any) -> None:
    """Add `audit` to the command line."""
    parser = commands.add_parser("audit", help="name where a network differs from the paper")
    parser.description = (
        "Read a network off its graph and name the traps that it fell into, each with the paper's "
        "place, what it costs and the mend."
    )
    parser.add_argument(
        "file", help=".keras or .h5 model, run folder, or a checkpoint that convert reads"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(answer=_audit)


def _audit(arguments: argparse.Namespace) -> str:
    start_keras()
    from keras_wrn.insight.audit import audit_file

    found = audit_file(arguments.file)
    return json.dumps(found.to_json(), indent=2) if arguments.json else str(found)
