"""Where published weights are found, in this order.

1. ImageNet's: the table of owners' files (`owners`).
2. saved_models/, which comes with the package.
3. The cache: $KERAS_HOME or ~/.keras, folder keras_wrn.
4. The address in KERAS_WRN_WEIGHTS_URL.
5. The release address.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import logging

from keras_wrn.errors import InputError
from keras_wrn.system import downloads
from keras_wrn.weights.card import CARD_FILE, WEIGHTS_FILE, Card, read_card
from keras_wrn.weights.owners import find_owned, list_owned
from keras_wrn.weights.published import Published, addresses, cache, download, folder_name


def find(architecture: str, keyword: str) -> Published:
    """Find the weights of a network by keyword. Nothing of them is read or downloaded.

    Args:
        architecture: the network, as `recognition.architecture` names it.
        keyword: a data set such as "cifar10"; "imagenet", "imagenet-v1", ...; or the name of a
            folder of published weights.

    Returns:
        The first that is found.

    Raises:
        InputError: there are none for this network; the message lists those that there are.
    """
    if owned := find_owned(architecture, keyword):
        return owned
    on_disk = list(local())
    for published in on_disk:
        names = (published.card.keyword, published.folder.name)
        if published.card.title == architecture and keyword in names:
            return published
    reason = ""
    try:
        if found := _released(architecture, keyword):
            return found
    except InputError as error:
        reason = f" None could be downloaded: {error}"
    if Path(keyword).is_dir():
        reason += f" To load the folder {keyword}, write './{keyword}'."
    cards = [published.card for published in (*on_disk, *list_owned())]
    listed = sorted({f"{card.title} {card.keyword}" for card in cards})
    raise InputError(
        f"There are no published weights {keyword!r} for {architecture}. "
        f"Published: {', '.join(listed)}.{reason} `weights` may also be the path of a "
        ".weights.h5 or .safetensors file."
    )


def homes() -> tuple[Path, ...]:
    """The folders of this machine that may hold published weights, in the order of the search."""
    package = Path(__file__).parents[1]
    # The first is inside an installed package, the second beside an editable one.
    return package / "saved_models", package.parent / "saved_models", cache()


def local() -> Iterator[Published]:
    """Yield what is on this machine, in the order of the search and of the folders' names."""
    for home in homes():
        for card_file in sorted(home.glob(f"[!.]*/{CARD_FILE}")):
            try:
                card = read_card(card_file.parent)
            except InputError as error:
                # A damaged folder, or one of another version, must not hide the others.
                logging.warning("left out: %s", error)
                continue
            yield _published(card, card_file.parent)


def _released(architecture: str, keyword: str) -> Published | None:
    """Ask each address for a card; None if there is no address, or none has it."""
    name, reasons = folder_name(architecture, keyword), []
    for base in addresses():
        url = f"{base}/{name}/{CARD_FILE}"
        try:
            card = Card.from_dict(_json(downloads.read(url), url), url)
            if (card.title, card.keyword) != (architecture, keyword):
                raise InputError(f"{url} is the card of {card.title} {card.keyword}.")
        except downloads.AbsentError:
            continue
        except InputError as error:
            reasons.append(str(error))
        else:
            return _published(card, cache() / name)
    if reasons:
        raise InputError(" ".join(reasons))
    return None


def _json(content: bytes, url: str) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise InputError(f"{url} is damaged: {error}.") from error


def _published(card: Card, folder: Path) -> Published:
    """The weights of a card; without a file beside the card they are downloaded to the cache."""
    name = folder.name
    place = folder if (folder / WEIGHTS_FILE).is_file() else cache() / name
    return Published(card, place, lambda: download(card, name))


def list_weights() -> list[dict[str, Any]]:
    """List the published weights: those on this machine, and the owners' for ImageNet.

    Returns:
        For each a dictionary: "name" and "architecture" (of the network), "weights" (the
        keyword), "dataset", "n" (of test images), "error", "top5_error", "nll" and "ece" (None
        where not measured), "parameters", "recipe" (in words), "size" (in bytes), "sha256" (of
        an owner's file the digits that its name carries), "measured_by", "licence", "folder"
        (None where not on this machine) and "card" (the content of card.json).

    Example:
        >>> [row["sha256"] for row in list_weights() if row["weights"] == "imagenet-v1"]
        ['32ee1156', '95faca4d']
    """
    # The first folder of a name wins, and any folder wins over the owners' table.
    by_folder = {published.folder.name: published for published in list_owned()}
    by_folder |= {published.folder.name: published for published in reversed(list(local()))}
    rows = [_row(published) for published in by_folder.values()]
    return sorted(rows, key=lambda row: (row["dataset"], row["name"]))


def _row(published: Published) -> dict[str, Any]:
    card, file = published.card, published.folder / WEIGHTS_FILE
    metrics = card.metrics or {}
    return {
        "name": card.name,
        "architecture": card.title,
        "weights": card.keyword,
        "dataset": card.dataset,
        **{key: metrics.get(key) for key in ("n", "error", "top5_error", "nll", "ece")},
        "parameters": card.parameters,
        "recipe": _in_words(card.recipe),
        "size": file.stat().st_size if file.is_file() else card.weights_bytes,
        "sha256": card.weights_sha256 or card.owners_sha256,
        "measured_by": card.measured_by or "keras_wrn, on the full test set",
        "licence": card.licence,
        "folder": str(published.folder) if file.is_file() else None,
        "card": card.to_dict(),
    }


def _in_words(recipe: dict | str | None) -> str:
    if isinstance(recipe, dict) and "epochs" in recipe:
        return f"{recipe['epochs']} epochs, {recipe.get('schedule', 'steps')}"
    return recipe if isinstance(recipe, str) else "not said"
