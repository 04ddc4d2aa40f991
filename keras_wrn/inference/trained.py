"""Load a trained network from a run folder, from published weights or from a weights file.

A run folder and a folder of published weights hold `model.weights.h5` and `card.json`, and
`whitening.npz` if the images were whitened. The card describes the network, its preprocessing and
the SHA-256 of the weights, so evaluation, prediction and export need this folder only.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_wrn.applications import build_network
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import Preprocessing, from_card, preprocessing_of
from keras_wrn.networks.names import architecture_name, find_network
from keras_wrn.system.files import check_sha256
from keras_wrn.weights.card import CARD_FILE, WEIGHTS_FILE, read_card
from keras_wrn.weights.files import is_keyword
from keras_wrn.weights.finding import find
from keras_wrn.weights.loading import load_exactly

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, eq=False)
class Trained:
    """A network with its weights, ready to classify.

    Attributes:
        model: takes normalised images and ends in a softmax.
        card: the content of card.json; "name", "network" and "dataset" at least.
        preprocessing: the statistics, size and class names that the model was trained with.
        path: the folder or weights file that the model was read from.
    """

    model: keras.Model
    card: dict[str, Any]
    preprocessing: Preprocessing
    path: Path


def load_trained(path: str | os.PathLike[str], *, calibrated: bool = False) -> Trained:
    """Load a run folder or a folder of published weights.

    Args:
        path: a folder with card.json and model.weights.h5.
        calibrated: divide the logits by the temperature in the card. The model then predicts, and
            is exported, with calibrated probabilities; its classes stay the same.

    Returns:
        The network with its weights, its card and its preprocessing.

    Raises:
        InputError: the folder is not of a finished run, or is damaged; the message names the file.
            Or the card has no temperature.

    Example:
        >>> run = keras_wrn.load_trained("runs/wrn-16-1")  # doctest: +SKIP
        >>> run.card["metrics"]["error"]  # doctest: +SKIP
        0.0886
    """
    folder = Path(path)
    card = read_card(folder).to_dict()
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise InputError(
            f"{folder} has a {CARD_FILE} but no {WEIGHTS_FILE}: its weights are missing."
        )
    check_sha256(weights, card["weights_sha256"], f"It is not the one of {CARD_FILE}.")
    preprocessing = from_card(card, folder)
    model = _build(card["network"], str(folder / CARD_FILE))
    load_exactly(model, weights)
    if calibrated:
        _divide_logits(model, _temperature(card, folder))
    return Trained(model, card, preprocessing, folder)


def _temperature(card: dict[str, Any], folder: Path) -> float:
    """The temperature in a card; raises InputError if it has none."""
    if (fitted := card.get("temperature")) is None:
        raise InputError(
            f"{folder / CARD_FILE} has no temperature. Fit one to images that the network was not "
            f"trained on: keras-wrn assess {folder} --held_out DATASET "
            f"--store_in {folder}"
        )
    value = fitted.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"{folder / CARD_FILE} is damaged. Received: temperature={fitted!r}.")
    return float(value)


def _divide_logits(model: keras.Model, temperature: float) -> None:
    """Divide a classifier's logits, by dividing the weights of its last layer."""
    classifier = model.layers[-1]
    classifier.set_weights([values / temperature for values in classifier.get_weights()])


def load_model(
    name: str = "16-4",
    weights: str | os.PathLike[str] = "cifar10",
    dataset: str | Preprocessing = "cifar10",
    *,
    calibrated: bool = False,
) -> Trained:
    """Load a network by its name, with published weights or those of a file.

    Args:
        name: depth and width, such as "16-4" or "WRN-28-10", or a function of
            keras_wrn.applications, such as "WideResNet16_4".
        weights: the data set that published weights were trained on, or a .weights.h5 or
            .safetensors file.
        dataset: of a weights file, the data set that it was trained on: a name ("cifar10") or a
            `Preprocessing`.
        calibrated: of published weights, as in `load_trained`.

    Returns:
        The network with its weights and its preprocessing.

    Raises:
        InputError: no such network, no such weights, or they do not fit.

    Example:
        >>> load_model("16-4", "my.weights.h5", dataset="cifar100")  # doctest: +SKIP
        Trained(...)
    """
    file = Path(weights)
    if is_keyword(weights):
        title, network = find_network(name, str(weights))
        published = find(architecture_name(title, network["builder"]), str(weights))
        return load_trained(published.weights_file().parent, calibrated=calibrated)
    if calibrated:
        raise InputError(
            f"A temperature is in the card of a run or of published weights. Received: {file}."
        )
    title, network = find_network(name, dataset)
    if not file.is_file():
        raise InputError(f"`weights` must be a file that exists. Received: {file}.")
    preprocessing = preprocessing_of(dataset)
    # `preprocessing` has no class names for ImageNet.
    network["classes"] = len(preprocessing.class_names) or 1000
    network["input_shape"] = [preprocessing.size, preprocessing.size, len(preprocessing.mean)]
    model = _build(network, "`name`")
    load_exactly(model, file)
    data = dataset if isinstance(dataset, str) else None
    return Trained(model, {"name": title, "network": network, "dataset": data}, preprocessing, file)


def _build(network: dict[str, Any], source: str) -> keras.Model:
    try:
        return build_network(network, classifier_activation="softmax")
    except (TypeError, InputError) as error:
        raise InputError(f"{source} describes no network: {error}") from error
