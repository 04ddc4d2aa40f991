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
from keras_wrn.checkpoints.files import refuse_pointer
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import Preprocessing, from_card, preprocessing_of
from keras_wrn.networks.names import architecture_name, find_network, is_called
from keras_wrn.networks.recognition import architecture
from keras_wrn.system.files import check_sha256
from keras_wrn.weights.card import CARD_FILE, WEIGHTS_FILE, read_card
from keras_wrn.weights.description import KERAS_FILE, is_described, read_description
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
            f"{folder} has a {CARD_FILE} but no {WEIGHTS_FILE}: its weights are missing. Weights "
            "that do not come with keras_wrn are loaded by name, with --model and --weights."
        )
    check_sha256(weights, card["weights_sha256"], f"It is not the one of {CARD_FILE}.")
    preprocessing = from_card(card, folder)
    model = _build(card["network"], str(folder / CARD_FILE))
    load_exactly(model, weights)
    if calibrated:
        _divide_logits(model, temperature_of(card, folder))
    return Trained(model, card, preprocessing, folder)


def temperature_of(card: dict[str, Any], folder: Path) -> float:
    """The temperature in the card of a folder; raises InputError if it has none."""
    if (fitted := card.get("temperature")) is None:
        raise InputError(
            f"{folder / CARD_FILE} has no temperature. Fit one to training images that a run of "
            f"the same recipe held out: keras-wrn assess RUN --held_out own --store_in {folder}"
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
        weights: the data set that published weights were trained on, or a .weights.h5,
            .safetensors or .keras file.
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
    if not calibrated and is_described(file):
        return load_file(file, dataset, name=name)
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


def load_file(
    path: str | os.PathLike[str],
    dataset: str | Preprocessing | None = None,
    *,
    name: str | None = None,
) -> Trained:
    """Load a .keras file, or a .weights.h5 file that `keras-wrn convert` wrote.

    Args:
        path: the file. Converted files describe their network, with its conventions.
        dataset: what the network was trained on: a name ("cifar10") or a `Preprocessing`. The
            file's own preprocessing is used first; of a network that normalises its images, the
            class names alone come from here. None: the file must have its own.
        name: depth and width that the network must have, such as "16-4".

    Returns:
        The network with its weights and its preprocessing.

    Raises:
        InputError: the file is damaged, is no Wide ResNet, or its preprocessing is not known.

    Example:
        >>> load_file("wrn.keras", "cifar10").preprocessing.size  # doctest: +SKIP
        32
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"`weights` must be a file that exists. Received: {file}.")
    refuse_pointer(file)
    described = read_description(file)
    if described and not described["network"].get("include_top", True):
        raise InputError(f"{file} has no classifier: it was converted with include_top=False.")
    if file.suffix == KERAS_FILE:
        model = _read_keras(file)
        network = described["network"] if described else {"input_shape": model.input_shape[1:]}
        title = described["name"] if described else architecture(model)
    elif described:
        network, title = described["network"], described["name"]
        model = _build(network, f"The description in {file}")
        load_exactly(model, file)
    else:
        raise InputError(f"{file} does not say which network it is for. Name it, as by --model.")
    if name is not None and not is_called(name, title.partition(" with ")[0]):
        raise InputError(f"{file} holds {title}, and {name!r} was asked for.")
    if len(model.output_shape) != 2:
        raise InputError(
            f"{file} has no classifier. Received: model.output_shape={model.output_shape}."
        )
    preprocessing = _preprocessing_of(described, dataset, model.output_shape[-1], file)
    data = dataset if isinstance(dataset, str) else None
    return Trained(model, {"name": title, "network": network, "dataset": data}, preprocessing, file)


def register() -> None:
    """Let Keras know the package's own classes, which a .keras file may name."""
    import keras_wrn.augment.colour
    import keras_wrn.augment.geometry
    import keras_wrn.images.whitening_layer
    import keras_wrn.optimizers  # noqa: F401


def _read_keras(file: Path) -> keras.Model:
    import keras

    register()
    try:
        return keras.saving.load_model(file, compile=False)
    except Exception as error:  # a damaged archive can raise any exception
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{file} cannot be read as a Keras model: {reason}") from error


def _preprocessing_of(
    described: dict[str, Any] | None,
    dataset: str | Preprocessing | None,
    classes: int,
    file: Path,
) -> Preprocessing:
    """The preprocessing of a file's images: its own, or that of the data set."""
    known = (described or {}).get("preprocessing")
    if known is None and dataset is None:
        raise InputError(
            f"{file} does not say how its images are normalised. Give the data set that it was "
            "trained on (--dataset), or its own mean, std and class names (--preprocessing)."
        )
    given = None if dataset is None else preprocessing_of(dataset)
    if known is None:
        assert given is not None
        row = given
    elif isinstance(dataset, Preprocessing):
        own = from_card({"preprocessing": known | {"class_names": ()}})
        row = dataset
        if known["class_names"] is None and (row.mean, row.std) != (own.mean, own.std):
            raise InputError(
                f"The network of {file} takes images of mean {own.mean} and std {own.std} on "
                f"0..255. Received: mean={row.mean}, std={row.std}."
            )
    else:
        names = known["class_names"]
        if names is None:
            fits = given is not None and len(given.class_names) == classes
            names = given.class_names if given and fits else [f"class {i}" for i in range(classes)]
        row = from_card({"preprocessing": known | {"class_names": names}})
    if len(row.class_names or range(1000)) != classes:
        raise InputError(
            f"{file} has {classes} classes, and the preprocessing names "
            f"{len(row.class_names) or 1000}. Give --dataset or --preprocessing of this network."
        )
    return row


def _build(network: dict[str, Any], source: str) -> keras.Model:
    try:
        return build_network(network, classifier_activation="softmax")
    except (TypeError, InputError) as error:
        raise InputError(f"{source} describes no network: {error}") from error
