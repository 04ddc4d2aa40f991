"""Keep a temperature in the card of a run or of published weights."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_wrn.errors import InputError
from keras_wrn.inference.trained import Trained
from keras_wrn.system.files import write_json
from keras_wrn.weights.card import CARD_FILE, read_card


def store_temperature(
    figures: Mapping[str, Any], trained: Trained, folder: str | os.PathLike[str]
) -> Path:
    """Write an assessment's temperature into a card, for `load_trained(calibrated=True)`.

    Args:
        figures: of `assess`, with a temperature fitted to held-out images.
        trained: the network that was assessed.
        folder: whose card.json is changed: that of the network, or of published weights of the
            same network, trained on the same data set by the same recipe.

    Returns:
        The path of the card.

    Raises:
        InputError: the temperature was fitted to the images that are reported, or the folder is of
            another network.

    Example:
        >>> run = keras_wrn.load_trained("runs/wrn-16-1")  # doctest: +SKIP
        >>> found = keras_wrn.assess(run, data.test, held_out=held)  # doctest: +SKIP
        >>> store_temperature(found.figures, run, "runs/wrn-16-1")  # doctest: +SKIP
        PosixPath('runs/wrn-16-1/card.json')
    """
    fitted = figures["temperature"]
    if fitted["temperature"] is None:
        reason = fitted.get("reason", f"a temperature fitted on {fitted['fitted_on']}")
        raise InputError(
            f"A card keeps a temperature that held-out images gave alone. Received: {reason}"
        )
    card = read_card(Path(folder))
    for key in ("network", "dataset"):
        if getattr(card, key) != trained.card[key]:
            raise InputError(
                f"{folder} must be of the network that was assessed. Received: {key}="
                f"{getattr(card, key)!r}, not {trained.card[key]!r}."
            )
    where = f"{fitted['fitted_on']} of {trained.card['name']} on {trained.card['dataset']}"
    temperature = {"value": fitted["temperature"], "fitted_on": where}
    path = Path(folder) / CARD_FILE
    write_json(path, dataclasses.replace(card, temperature=temperature).to_dict())
    return path
