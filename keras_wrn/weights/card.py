"""card.json: what lies beside weights and says which network they are of; read and checked."""

import json
import re
from pathlib import Path
from typing import Any

from keras_wrn.errors import InputError
from keras_wrn.networks.names import NETWORKS
from keras_wrn.system.files import read_json


def call(network: dict[str, Any], keyword: str) -> str:
    """The Python that builds a network with its weights, as short as it can be.

    Args:
        network: "network" of a card: the function "builder" and its arguments.
        keyword: what `weights=` takes.

    Returns:
        Such as 'WideResNet16_4(weights="cifar10")'.
    """
    arguments = {k: v for k, v in network.items() if k != "builder"}
    # None of these changes what the weights compute.
    for name in ("dropout", "stochastic_depth", "input_shape"):
        arguments.pop(name, None)
    if arguments.get("block") == "B(3,3)":
        arguments.pop("block")
    if arguments.get("blocks_per_group") is None:
        arguments.pop("blocks_per_group", None)
    if arguments.get("classes") == (10 if network["builder"] == "WideResNet" else 1000):
        arguments.pop("classes")
    builder = network["builder"]
    if builder == "WideResNet" and "block" not in arguments and "blocks_per_group" not in arguments:
        known = NETWORKS.get(f"{arguments.get('depth')}-{arguments.get('width', 0):g}")
        if known and known.classes == 10:
            builder = known.builder
            arguments.pop("depth"), arguments.pop("width")
    arguments["weights"] = keyword
    # JSON writes these numbers as Python does, and strings in double quotes.
    given = ", ".join(f"{name}={json.dumps(value)}" for name, value in arguments.items())
    return f"{builder}({given})"


RECIPE_FILE = "recipe.json"
CARD_FILE = "card.json"
HISTORY_FILE = "history.csv"
WEIGHTS_FILE = "model.weights.h5"
_FORMAT = 1
_BUILDERS = {"WideResNet", *(network.builder for network in NETWORKS.values())}
_KEYS = ("name", "network", "dataset", "preprocessing", "weights_sha256")
_TEXTS = ("name", "dataset", "weights_sha256", "weights", "architecture", "hardware")
_NUMBERS = ("parameters", "hours", "weights_bytes")
TEST_SET = "the test set"
HELD_OUT = "held-out training images"


def read_card(folder: Path) -> dict[str, Any]:
    """Read and check the card of a run.

    Args:
        folder: the run folder.

    Returns:
        The card.

    Raises:
        InputError: there is no card, or not one of this format.
    """
    path = folder / CARD_FILE
    if not folder.is_dir():
        raise InputError(f"A run folder must be a folder that exists. Received: {folder}.")
    if not path.is_file():
        if (folder / RECIPE_FILE).is_file():
            raise InputError(
                f"{folder} is a run that is not finished: it has {RECIPE_FILE} but no {CARD_FILE}. "
                "Start its training again, it goes on where it was."
            )
        raise InputError(f"{folder} is not a run folder: it has no {CARD_FILE}.")
    card = read_json(path)
    check_card(card, path)
    return card


def metrics_of(card: dict[str, Any]) -> str:
    """Which images the metrics of a card are of: TEST_SET or HELD_OUT."""
    return card.get("metrics_of", TEST_SET)


def check_card(card: Any, source: object) -> None:
    """Refuse what is no card of this format; `source` is where it came from."""
    found = card.get("format") if isinstance(card, dict) else type(card).__name__
    if found != _FORMAT:
        raise InputError(
            f"{source} must be a card of format {_FORMAT}. Received: format={found!r}; another "
            "version of keras_wrn wrote it."
        )
    if missing := [key for key in _KEYS if key not in card]:
        raise InputError(f"{source} is damaged: it has no {', '.join(missing)}.")
    odd = [key for key in _TEXTS if not isinstance(card.get(key, ""), str)]
    odd += [key for key in _NUMBERS if not isinstance(card.get(key, 0), int | float)]
    metrics = card.get("metrics", {})
    if not isinstance(card["preprocessing"], dict):
        odd.append("preprocessing")
    if not isinstance(metrics, dict) or not all(
        isinstance(value, int | float | None) for value in metrics.values()
    ):
        odd.append("metrics")
    if odd:
        raise InputError(f"{source} is damaged. Received: {odd[0]}={card[odd[0]]!r}.")
    if not re.fullmatch("[0-9a-f]{64}", card["weights_sha256"]):
        raise InputError(
            f"{source} is damaged: weights_sha256 must have 64 hexadecimal digits. "
            f"Received: {card['weights_sha256']!r}."
        )
    network = card["network"]
    builder = network.get("builder") if isinstance(network, dict) else None
    if not isinstance(builder, str) or builder not in _BUILDERS:
        raise InputError(
            f"{source} must name a network of keras_wrn. Received: builder={builder!r}."
        )
