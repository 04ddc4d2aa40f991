"""card.json, the file beside weights: which network, which images, how good, how trained."""

import dataclasses
import json
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_wrn.errors import InputError
from keras_wrn.networks.names import NETWORKS, architecture_name
from keras_wrn.system.files import read_json

RECIPE_FILE = "recipe.json"
CARD_FILE = "card.json"
HISTORY_FILE = "history.csv"
WEIGHTS_FILE = "model.weights.h5"
TEST_SET = "the test set"
HELD_OUT = "held-out training images"
_FORMAT = 1
_BUILDERS = {"WideResNet", *(network.builder for network in NETWORKS.values())}
_REQUIRED = ("name", "network", "dataset", "preprocessing", "weights_sha256")
_NULLABLE = ("metrics_before_rounding", "training_flop")  # null in a published card: not known


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """The schema of card.json. What is not known is None, and stays out of the file."""

    name: str  # as the paper writes it, such as "WRN-16-4"
    network: dict  # "builder", a function of keras_wrn, and its arguments
    dataset: str  # that it was trained on
    preprocessing: dict  # see `Preprocessing.to_card`
    metrics: dict | None = None  # "n" images; "error", "top5_error", "nll", "ece": 0 to 1
    metrics_of: str | None = None  # TEST_SET (if None) or HELD_OUT
    temperature: dict | None = None  # "value", that logits are divided by; `store_temperature`
    parameters: int | float | None = None  # how many are trainable
    weights_sha256: str | None = None  # of model.weights.h5; only None until it exists
    # The run.
    recipe: dict | str | None = None  # the options of `Recipe`, or a sentence
    seed: int | None = None
    epochs: int | None = None
    steps: int | None = None
    hours: int | float | None = None  # of the training steps by the clock, without tests
    cpu_hours: int | float | None = None
    versions: dict | None = None  # package -> version
    hardware: str | None = None  # in words
    kept: str | None = None  # which weights were stored, such as "the last epoch"
    chosen_by: str | None = None
    # Published weights.
    architecture: str | None = None  # as `recognition.architecture` names it
    weights: str | None = None  # what `weights=` takes; the data set if None
    measured_by: str | None = None  # who measured the metrics, and how
    measured_on: str | None = None  # date
    measured_with: dict | None = None  # package -> version
    metrics_before_rounding: dict | None = None  # of the float32 weights
    runs: int | None = None
    weights_dtype: str | None = None
    weights_bytes: int | None = None
    multiply_adds: int | None = None  # for one image
    training_flop: int | float | None = None  # operations of the whole training
    licence: str | None = None
    intended_use: str | None = None
    known_failures: list | None = None  # sentences
    # Owners' weights.
    owner: str | None = None
    owners_file: str | None = None  # address
    owners_sha256: str | None = None  # or its first digits
    # The content as read: its order, nulls and unknown keys are written again.
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, content: Any, path: object) -> typing.Self:
        """Check the content of a card.json.

        Args:
            content: what the file holds.
            path: where it was read, for messages.

        Returns:
            The card.

        Raises:
            InputError: the content is no card of this format.
        """
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        if found != _FORMAT:
            raise InputError(
                f"{path} must be a card of format {_FORMAT}. Received: format={found!r}; another "
                "version of keras_wrn wrote it."
            )
        if missing := [key for key in _REQUIRED if key not in content]:
            raise InputError(f"{path} is damaged: it has no {', '.join(missing)}.")
        network = content["network"]
        builder = network.get("builder") if isinstance(network, dict) else None
        if not isinstance(builder, str) or builder not in _BUILDERS:
            raise InputError(
                f"{path} must name a network of keras_wrn. Received: builder={builder!r}."
            )
        types = typing.get_type_hints(cls)
        del types["source"]
        values = {key: value for key, value in content.items() if key in types}
        for key, value in values.items():
            if not isinstance(value, types[key]) or (value is None and key not in _NULLABLE):
                raise InputError(f"{path} is damaged. Received: {key}={value!r}.")
        metrics = content.get("metrics", {})
        if not all(isinstance(value, int | float | None) for value in metrics.values()):
            raise InputError(f"{path} is damaged. Received: metrics={metrics!r}.")
        if not re.fullmatch("[0-9a-f]{64}", content["weights_sha256"]):
            raise InputError(
                f"{path} is damaged: weights_sha256 must have 64 hexadecimal digits. "
                f"Received: {content['weights_sha256']!r}."
            )
        return cls(**values, source=content)

    def to_dict(self) -> dict[str, Any]:
        """Return the content for card.json; a card that was read gives what was read."""
        nulls = (*self.source, *(_NULLABLE if self.runs else ()))
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del values["source"]
        known = {k: v for k, v in values.items() if v is not None or k in nulls}
        return {"format": _FORMAT, **self.source, **known}

    @property
    def keyword(self) -> str:
        """What `weights=` takes: the data set, or the name of one set among several."""
        return self.weights or self.dataset

    @property
    def title(self) -> str:
        """The network as `recognition.architecture` names it."""
        return self.architecture or architecture_name(self.name, self.network["builder"])


def read_card(folder: Path) -> Card:
    """Read and check the card of a run or of published weights.

    Args:
        folder: the folder that holds card.json.

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
                "Start its training again, and it continues."
            )
        raise InputError(f"{folder} is not a run folder: it has no {CARD_FILE}.")
    return Card.from_dict(read_json(path), path)


def call(network: dict[str, Any], keyword: str) -> str:
    """Write the shortest Python that builds a network with its weights.

    Args:
        network: "network" of a card: the function "builder" and its arguments.
        keyword: what `weights=` takes.

    Returns:
        A call such as 'WideResNet16_4(weights="cifar10")'.
    """
    builder = network["builder"]
    # None of these changes what the weights compute.
    left_out = ("builder", "dropout", "stochastic_depth", "input_shape")
    classes = 10 if builder == "WideResNet" else 1000
    defaults = {"block": "B(3,3)", "blocks_per_group": None, "classes": classes}
    arguments = {
        name: value
        for name, value in network.items()
        if name not in left_out and (name not in defaults or value != defaults[name])
    }
    if builder == "WideResNet" and "block" not in arguments and "blocks_per_group" not in arguments:
        known = NETWORKS.get(f"{arguments.get('depth')}-{arguments.get('width', 0):g}")
        if known and known.classes == 10:
            builder = known.builder
            arguments.pop("depth"), arguments.pop("width")
    arguments["weights"] = keyword
    # JSON writes these numbers as Python does, and strings in double quotes.
    given = ", ".join(f"{name}={json.dumps(value)}" for name, value in arguments.items())
    return f"{builder}({given})"
