"""The published weights as a list: as dictionaries, in columns for a terminal, in Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_wrn.errors import InputError
from keras_wrn.system import downloads
from keras_wrn.weights.card import WEIGHTS_FILE
from keras_wrn.weights.owners import find_owned, list_owned
from keras_wrn.weights.published import Published, local, released


def find(architecture: str, keyword: str) -> Published:
    """Find the weights of a network by keyword.

    Args:
        architecture: the network, as `architecture.architecture` names it.
        keyword: a data set such as "cifar10"; "imagenet", "imagenet-v1", ...; or the name of a
            folder of published weights.

    Returns:
        The first there is; nothing of its weights has been read or downloaded.

    Raises:
        InputError: there are none for this network; the sentence says which there are.
    """
    if owned := find_owned(architecture, keyword):
        return owned
    there = list(local())
    for published in there:
        names = (published.keyword, published.folder.name)
        if published.architecture == architecture and keyword in names:
            return published
    reason = ""
    try:
        if found := released(architecture, keyword):
            return found
    except downloads.AbsentError:
        pass
    except InputError as error:
        reason = f" The release address gave none: {error}"
    if Path(keyword).is_dir():
        reason += f" To load the folder {keyword}, write './{keyword}'."
    known = [*there, *list_owned()]
    listed = sorted({f"{of.architecture} {of.keyword}" for of in known})
    raise InputError(
        f"There are no published weights {keyword!r} for {architecture}. "
        f"Published: {', '.join(listed)}.{reason} `weights` may also be the path of a "
        ".weights.h5 or .safetensors file."
    )


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
    here = {published.folder.name: published for published in list_owned()}
    here |= {published.folder.name: published for published in reversed(list(local()))}
    return sorted((_row(of) for of in here.values()), key=lambda row: (row["dataset"], row["name"]))


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
