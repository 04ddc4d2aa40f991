"""The published weights as a list: as dictionaries, in columns for a terminal, in Markdown."""

from __future__ import annotations

from typing import Any

from keras_wrn.model_card import call
from keras_wrn.published import Published, local
from keras_wrn.run_folder import WEIGHTS_FILE


def list_weights() -> list[dict[str, Any]]:
    """List the published weights: those on this machine, and the owners' for ImageNet.

    Returns:
        For each a dictionary: "name" and "architecture" (of the network), "weights" (the
        keyword), "dataset", "n" (of test images), "error", "top5_error", "nll" and "ece" (None
        where not measured), "parameters", "recipe" (in words), "size" (in bytes), "sha256" (of
        an owner's file the digits that its name carries), "measured_by", "licence", "folder"
        (None where not on this machine) and "card".

    Example:
        >>> [row["sha256"] for row in list_weights() if row["weights"] == "imagenet-v1"]
        ['32ee1156', '95faca4d']
    """
    from keras_wrn import imagenet_weights

    here = {published.folder.name: published for published in imagenet_weights.published()}
    here |= {published.folder.name: published for published in reversed(list(local()))}
    return sorted((_row(of) for of in here.values()), key=lambda row: (row["dataset"], row["name"]))


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


def markdown(rows: list[dict[str, Any]]) -> str:
    """Set `list_weights()` in Markdown: the call that loads each, what it reaches, what it took."""
    heads = ("", "test error", "NLL", "ECE", "parameters", "trained")
    lines = [heads, ("---",) * len(heads)]
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
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(published: Published) -> dict[str, Any]:
    card, here = published.card, published.folder / WEIGHTS_FILE
    metrics = card.get("metrics", {})
    size = here.stat().st_size if here.is_file() else card.get("weights_bytes")
    return {
        "name": card["name"],
        "architecture": published.architecture,
        "weights": published.keyword,
        "dataset": card["dataset"],
        **{key: metrics.get(key) for key in ("n", "error", "top5_error", "nll", "ece")},
        "parameters": card.get("parameters"),
        "recipe": _recipe(card.get("recipe")),
        "size": size,
        "sha256": card.get("weights_sha256") or card.get("owners_sha256"),
        "measured_by": card.get("measured_by", "keras_wrn, on the full test set"),
        "licence": card.get("licence"),
        "folder": str(published.folder) if here.is_file() else None,
        "card": card,
    }


def _recipe(recipe: Any) -> str:
    """A recipe in a few words."""
    if isinstance(recipe, dict) and "epochs" in recipe:
        return f"{recipe['epochs']} epochs, {recipe.get('schedule', 'steps')}"
    return recipe if isinstance(recipe, str) else "not said"


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
