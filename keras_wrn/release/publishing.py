"""Publish weights: the folder of a run's weights that the package and the Hub read."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import logging

from keras_wrn.errors import InputError
from keras_wrn.inference.own_images import images_of
from keras_wrn.networks.recognition import architecture, conventions_of, layers_by_name
from keras_wrn.release import measuring
from keras_wrn.release.hub_metadata import RESULTS_FOLDER, evaluation_results
from keras_wrn.release.logits import (
    LOGITS_FILE,
    Outputs,
    check_logits,
    compute,
    read_logits,
    write_logits,
)
from keras_wrn.release.readme import README_FILE, readme
from keras_wrn.system.backend import float32
from keras_wrn.system.files import write_json
from keras_wrn.weights.card import CARD_FILE, HISTORY_FILE, WEIGHTS_FILE, Card, read_card
from keras_wrn.weights.description import as_metadata
from keras_wrn.weights.files import write_safetensors
from keras_wrn.weights.published import folder_name

if TYPE_CHECKING:
    import keras

    from keras_wrn.inference.trained import Trained

TENSORS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"  # Keras' own name
CURVES_FILE = "curves.png"
_LARGEST = 100_000_000  # bytes; git hosts refuse larger files


def publish(
    run: str | os.PathLike[str],
    home: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    intended_use: str | None = None,
    known_failures: Sequence[str] = (),
    licence: str | None = None,
    repository: str | None = None,
) -> Path:
    """Make a folder of published weights, as the Hugging Face Hub takes it.

    The weights of a run are rounded to float16, read back into a float32 network, and measured on
    the full test set: the card's figures are those of the published file. Of weights that are
    published already, the files and the card stay, and what the folder lacks is added. The folder
    appears under its name only when it is complete.

    Args:
        run: the run folder, or a folder of published weights.
        home: the folder for the new folder, such as "saved_models".
        data_dir: where the data set's files are; default ~/.keras/datasets.
        intended_use: what the network is for; default a sentence for its data set.
        known_failures: known weaknesses, added to those that are measured here.
        licence: the licence of the weights; default Apache-2.0.
        repository: "owner/name" on the Hub, for the README's example.

    Returns:
        The new folder: model.weights.h5, model.safetensors, logits.npz, config.json, card.json,
        README.md, .eval_results/, history.csv and curves.png.

    Raises:
        InputError: the run is not finished or has whitened images, the folder exists, the data is
            missing, or another owner published the weights.
        OSError: the folder cannot be written.

    Example:
        >>> publish("runs/wrn-16-4", "saved_models")  # doctest: +SKIP
        PosixPath('saved_models/wrn-16-4-cifar10')
    """
    from keras_wrn.inference.trained import load_trained

    run, home = Path(run), Path(home)
    before = read_card(run)
    if before.owner:
        raise InputError(f"The weights in {run} belong to {before.owner}: publish your own.")
    if before.runs and (intended_use or known_failures or licence):
        raise InputError(
            f"{run} is published already, and its card stays as it is. Leave out its intended use, "
            "known failures and licence."
        )
    with float32():
        trained = load_trained(run)
    keyword = Path(before.keyword).name
    target = home / folder_name(architecture(trained.model), keyword)
    if target.exists() and target.samefile(run):
        raise InputError(
            f"{run} is that folder already. To upload it: keras-wrn publish {run} --to-hub "
            "owner/name. To complete it, write to another folder."
        )
    if target.exists():
        raise InputError(
            f"{target} exists, and published weights are never overwritten. Remove it first."
        )
    outputs = _published_outputs(trained, data_dir) if before.runs else None
    data = None if outputs else measuring.test_set_of(trained, data_dir)
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".publish-", dir=home) as temporary:
        folder = Path(temporary) / target.name
        folder.mkdir()
        weights = folder / WEIGHTS_FILE
        if outputs is not None:
            card = before
            shutil.copyfile(run / WEIGHTS_FILE, weights)
        else:
            card, outputs = measuring.round_and_measure(trained, data, weights)
            card = dataclasses.replace(
                card,
                licence=licence or "Apache-2.0",
                intended_use=intended_use or card.intended_use,
                known_failures=[*known_failures, *(card.known_failures or ())],
            )
        write_json(folder / CARD_FILE, card.to_dict())
        write_logits(folder / LOGITS_FILE, outputs)
        _add_for_others(trained.model, card, folder)
        has_curves = _add_curves(run, folder, f"{card.title} on {keyword}")
        text = readme(card, has_curves=has_curves, repository=repository)
        (folder / README_FILE).write_text(text, encoding="utf-8")
        if weights.stat().st_size > _LARGEST:
            logging.warning("%s is above 100 MB: too large for most git hosts", target)
        folder.rename(target)
    return target


def _published_outputs(trained: Trained, data_dir: Any) -> Outputs:
    """The logits of published weights: those beside them, or computed."""
    path = trained.path / LOGITS_FILE
    if path.is_file():
        outputs = read_logits(path)
    else:
        outputs = compute(trained, *images_of(trained, "test", data_dir=data_dir).test)
    check_logits(outputs, read_card(trained.path))
    return outputs


def _add_for_others(model: keras.Model, card: Card, folder: Path) -> None:
    """Write what others read: the weights by name, Keras' configuration, the Hub's results."""
    import keras

    description = {
        "name": card.title,
        "network": {**card.network, "include_top": True},
        "conventions": conventions_of(model),
        "preprocessing": card.preprocessing,
    }
    layers = {
        name: {v.name: keras.ops.convert_to_numpy(v) for v in layer.weights}
        for name, layer in layers_by_name(model).items()
    }
    write_safetensors(folder / TENSORS_FILE, layers, as_metadata(description))
    (folder / CONFIG_FILE).write_text(model.to_json(), encoding="utf-8")
    if (results := evaluation_results(card)) is not None:
        (folder / RESULTS_FOLDER).mkdir()
        path = folder / RESULTS_FOLDER / f"{card.dataset}.yaml"
        path.write_text(results, encoding="utf-8")


def _add_curves(run: Path, folder: Path, title: str) -> bool:
    """Copy the history, and copy or draw its curves; False if there are none."""
    if not (run / HISTORY_FILE).is_file():
        return False
    shutil.copyfile(run / HISTORY_FILE, folder / HISTORY_FILE)
    if (run / CURVES_FILE).is_file():
        shutil.copyfile(run / CURVES_FILE, folder / CURVES_FILE)
        return True
    from keras_wrn.training.pictures import learning_curves

    try:
        learning_curves(folder / HISTORY_FILE, folder / CURVES_FILE, title)
    except InputError as error:
        logging.warning("no curves: %s", error)
        return False
    return True
