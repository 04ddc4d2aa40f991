"""Keep a temperature in the card of a run or of published weights."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_wrn.errors import InputError
from keras_wrn.inference.trained import Trained
from keras_wrn.release.readme import README_FILE, readme, repository_in
from keras_wrn.system.files import write_json, write_whole
from keras_wrn.training.recipe import Recipe
from keras_wrn.training.run_folder import first_difference
from keras_wrn.weights.card import CARD_FILE, Card, read_card


def card_for_temperature(trained: Trained, folder: str | os.PathLike[str]) -> Card:
    """Read the card that may keep the temperature of a network.

    Args:
        trained: the network that the temperature is fitted for, what `load_trained` returned.
        folder: of the network itself, or of one trained on the same data by the same recipe,
            but for the number of held-out images.

    Raises:
        InputError: the network is of a file, or the folder of another network, data set or recipe.
    """
    card = read_card(Path(folder))
    theirs, ours = trained.card, card.to_dict()
    if "weights_sha256" not in theirs:
        raise InputError(
            "A card keeps the temperature of a run or of published weights, not of a file of "
            f"weights. Received: {trained.path}."
        )
    if theirs["weights_sha256"] == card.weights_sha256:
        return card
    difference = first_difference({key: theirs[key] for key in ("network", "dataset")}, ours)
    if not difference:
        if not isinstance(theirs.get("recipe"), dict) or not isinstance(card.recipe, dict):
            difference = "a card has no recipe to compare"
        else:
            defaults = Recipe().to_dict()
            recipe = defaults | theirs["recipe"] | {"held_out": 0}
            difference = first_difference(recipe, defaults | card.recipe | {"held_out": 0})
    if difference:
        raise InputError(
            f"A temperature is for the network that it was fitted for, or for one of the same "
            f"recipe but for held_out. Received: {trained.path} for {folder}: {difference}."
        )
    return card


def store_temperature(
    figures: Mapping[str, Any],
    trained: Trained,
    folder: str | os.PathLike[str],
    *,
    fitted_to: str | None = None,
) -> Path:
    """Write an assessment's temperature into a card, for `load_trained(calibrated=True)`.

    The README.md of published weights is written again.

    Args:
        figures: of `assess`, with a temperature fitted to held-out images.
        trained: the network that was assessed.
        folder: as `card_for_temperature` takes it.
        fitted_to: whose the held-out images are; default the network's own.

    Returns:
        The path of the card. Its entry "temperature" has the "value", what it was "fitted_on",
        the "run" by folder and SHA-256 of the weights, and "nll" and "ece" before and after on
        the images that were assessed.

    Raises:
        InputError: the temperature was fitted to the images that are reported, or the folder is
            of another network.

    Example:
        >>> run = keras_wrn.load_trained("runs/held-out")  # doctest: +SKIP
        >>> found = keras_wrn.assess(run, data.test, held_out=held)  # doctest: +SKIP
        >>> store_temperature(found.figures, run, "runs/wrn-16-1")  # doctest: +SKIP
        PosixPath('runs/wrn-16-1/card.json')
    """
    fitted, before = figures["temperature"], figures["calibration"]
    if fitted["temperature"] is None:
        reason = fitted.get("reason", f"a temperature fitted on {fitted['fitted_on']}")
        raise InputError(
            f"A card keeps a temperature that held-out images gave alone. Received: {reason}"
        )
    card, path, theirs = card_for_temperature(trained, folder), Path(folder), trained.card
    temperature = {
        "value": fitted["temperature"],
        "fitted_on": f"{fitted['fitted_on']} of "
        + (fitted_to or f"{theirs['name']} on {theirs['dataset']}"),
        "run": {"folder": trained.path.name, "weights_sha256": theirs["weights_sha256"]},
        "measured_on": f"{figures['classification']['n']:,} other images, by that run",
        **{key: {"before": before[key], "after": fitted["after"][key]} for key in ("nll", "ece")},
    }
    card = dataclasses.replace(card, temperature=temperature)
    write_json(path / CARD_FILE, card.to_dict())
    page = path / README_FILE
    if card.runs and page.is_file():  # of published weights; a run's README.md is its owner's
        of_before = repository_in(page.read_text(encoding="utf-8"))
        text = readme(card, has_curves=(path / "curves.png").is_file(), repository=of_before)
        write_whole(page, lambda part: part.write_text(text, encoding="utf-8"))
    return path / CARD_FILE
