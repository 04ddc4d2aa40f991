"""The commands on weights: `publish`, `convert` and `list`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_wrn.cli.model_commands import start_keras
from keras_wrn.system import markdown
from keras_wrn.weights.card import call

if TYPE_CHECKING:
    import argparse


def publish_command(arguments: argparse.Namespace) -> str:
    """Publish a finished run."""
    from keras_wrn.weights.card import read_card

    read_card(Path(arguments.run))
    start_keras()
    from keras_wrn.release.publishing import publish

    folder = publish(
        arguments.run,
        arguments.folder,
        data_dir=arguments.data_dir,
        intended_use=arguments.intended_use,
        known_failures=arguments.known_failure,
    )
    metrics = read_card(folder)["metrics"]
    return f"{folder}: test error {metrics['error']:.2%} on {metrics['n']:,} images"


def convert_command(arguments: argparse.Namespace) -> str:
    """Convert a checkpoint of another implementation."""
    from keras_wrn.applications.conversion import check_target

    check_target(arguments.target)
    start_keras()
    from keras_wrn.applications.conversion import convert_checkpoint

    checkpoint, key_map = arguments.checkpoint, arguments.key_map
    return convert_checkpoint(checkpoint, arguments.dialect, key_map=key_map).save(arguments.target)


def list_command(arguments: argparse.Namespace) -> str:
    """List the networks and the published weights."""
    from keras_wrn.networks.names import NETWORKS
    from keras_wrn.weights.finding import list_weights

    weights = list_weights()
    if arguments.json:
        networks = {
            key: {"parameters": of.parameters, "classes": of.classes, "block": of.block}
            | {"function": of.builder, "arguments": dict(of.arguments)}
            for key, of in NETWORKS.items()
        }
        return json.dumps({"networks": networks, "published": weights})
    if arguments.markdown:
        return as_markdown(weights)
    heads = (
        f"{'--model':<17}{'function':<25}{'residual blocks':<30}{'classes':>7}{'parameters':>13}"
    )
    lines = [heads]
    for key, of in NETWORKS.items():
        call = of.builder + "".join(f"({name}={value})" for name, value in of.arguments)
        lines.append(f"{key:<17}{call:<25}{of.block:<30}{of.classes:>7}{of.parameters:>13,}")
    lines += [
        "\nParameters are the trainable ones, with so many classes. Any other depth of 6N + 4",
        "and any other width of the B(3,3) networks can be given too, such as --model 10-1.",
        f"\nPublished weights, for --model with --weights:\n{table(weights)}",
        "\n* on ImageNet's validation images, published by its owner and not measured here; the",
        "others on the full test set. imagenet stands for a network's best. --json shows all.",
    ]
    return "\n".join(lines)


def table(rows: list[dict[str, Any]]) -> str:
    """Set `list_weights()` in columns; "-" is what nobody measured."""
    heads = ("name", "data", "error", "NLL", "ECE", "parameters", "size", "sha256", "recipe")
    lines = [heads, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    right = {2, 3, 4, 5, 6}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """Set `list_weights()` in Markdown: the call that loads each, what it reaches, what it took."""
    lines = []
    for row in rows:
        error, nll, ece, parameters = (cell.strip() for cell in _cells(row)[2:6])
        card = row["card"]
        took = (
            f"{card['hours']:.2g} hours, {card.get('hardware', 'hardware not said')}"
            if "hours" in card
            else "by its owner"
        )
        loads = f"`{call(card['network'], row['weights'])}`"
        lines.append((loads, error, nll, ece, parameters, took))
    header = ("", "test error", "NLL", "ECE", "parameters", "trained")
    return markdown.table(header, lines)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    def shown(value: Any, form: str) -> str:
        return "-" if value is None else format(value, form)

    size = None if row["size"] is None else row["size"] / 1e6
    mark = "*" if row["card"].get("owner") else " "
    return (
        row["name"],
        row["weights"],
        shown(row["error"], ".2%") + mark,
        shown(row["nll"], ".4f"),
        shown(row["ece"], ".2%"),
        shown(row["parameters"], ","),
        shown(size, ".1f") + " MB",
        (row["sha256"] or "-")[:16],
        row["recipe"],
    )
