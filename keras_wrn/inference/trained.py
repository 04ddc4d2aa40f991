"""A trained network on disk: the folder that training leaves, and how to use it again.

A run folder, and each folder of published weights, holds `model.weights.h5` and `card.json`;
where the images were whitened, `whitening.npz` as well.
The card says what the network is, how its images are normalised and what the weights' sha256
is, so that a folder is all that evaluation, prediction and export need.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_wrn.applications import build_network
from keras_wrn.errors import InputError
from keras_wrn.networks.names import architecture_name, find_network
from keras_wrn.system.files import check_sha256
from keras_wrn.weights.card import CARD_FILE, WEIGHTS_FILE, read_card
from keras_wrn.weights.files import is_keyword

if TYPE_CHECKING:
    import keras

    from keras_wrn.images.preprocessing import Preprocessing


@dataclass(frozen=True, eq=False)
class Trained:
    """A network with its weights, ready to classify.

    Attributes:
        model: takes normalised images and ends in a softmax.
        card: what the card says; "name", "network" and "dataset" always.
        preprocessing: the statistics, size and class names that it was trained with.
        path: the folder or weights file that it was read from.
    """

    model: keras.Model
    card: dict[str, Any]
    preprocessing: Preprocessing
    path: Path


def load_trained(path: str | os.PathLike[str]) -> Trained:
    """Load what a training run left, or a folder of published weights.

    Args:
        path: the folder that holds card.json and model.weights.h5.

    Returns:
        The network with its weights, its card and its preprocessing.

    Raises:
        InputError: the folder is none of a finished run, or is damaged; the file that is
            missing or wrong is named.

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
    from keras_wrn.images.preprocessing import from_card
    from keras_wrn.weights.loading import load_exactly

    try:
        preprocessing = from_card(card)
    except InputError as error:
        raise InputError(f"{folder / CARD_FILE} is damaged: {error}") from error
    if (entry := card["preprocessing"].get("whitening")) is not None:
        from keras_wrn.images.whitening import read_whitening

        preprocessing = replace(preprocessing, whitening=read_whitening(entry, folder))
    model = _build(card["network"], str(folder / CARD_FILE))
    load_exactly(model, weights)
    return Trained(model, card, preprocessing, folder)


def load_model(
    name: str = "16-4",
    weights: str | os.PathLike[str] = "cifar10",
    dataset: str | Preprocessing = "cifar10",
) -> Trained:
    """Load a network by its name in the literature, with published weights or a file's.

    Args:
        name: depth and width, such as "16-4" or "WRN-28-10", or a function of
            keras_wrn.applications, such as "WideResNet16_4".
        weights: the data set that published weights were trained on, or a .weights.h5 or
            .safetensors file.
        dataset: for a weights file only: the data set whose classes and statistics it has.

    Returns:
        The network with its weights and its preprocessing.

    Raises:
        InputError: there is no such network, no such weights, or they do not fit.

    Example:
        >>> load_model("16-4", "my.weights.h5", dataset="cifar100")  # doctest: +SKIP
        Trained(...)
    """
    file = Path(weights)
    if is_keyword(weights):
        from keras_wrn.weights.finding import find

        title, network = find_network(name, str(weights))
        published = find(architecture_name(title, network["builder"]), str(weights))
        return load_trained(published.weights_file().parent)
    title, network = find_network(name, dataset)
    if not file.is_file():
        raise InputError(f"`weights` must be a file that exists. Received: {file}.")
    from keras_wrn.images.preprocessing import preprocessing_of
    from keras_wrn.weights.loading import load_exactly

    preprocessing = preprocessing_of(dataset)
    # ImageNet's thousand names are not kept in the table.
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
