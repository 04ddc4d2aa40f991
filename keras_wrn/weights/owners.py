"""ImageNet weights of torchvision and timm, converted on first use.

The package contains none of them. A file is downloaded from its owner's address, checked,
converted, and kept in the cache as `model.weights.h5` with a card. The figures of a card are the
owner's; nobody has measured them here.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from keras_wrn.checkpoints.files import hub_file
from keras_wrn.checkpoints.translation import translate
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import PREPROCESSING
from keras_wrn.networks.names import NETWORKS
from keras_wrn.system import downloads
from keras_wrn.system.console import say
from keras_wrn.system.files import check_sha256, sha256, write_json
from keras_wrn.system.locks import exclusive
from keras_wrn.system.machine import versions
from keras_wrn.weights.card import CARD_FILE, WEIGHTS_FILE, Card
from keras_wrn.weights.files import write_weights
from keras_wrn.weights.owners_table import OWNERS_FILES, OwnersFile
from keras_wrn.weights.published import Published, cache, folder_name

KEYWORD = "imagenet"  # the best of a network's weights
MEASURED_BY = "published by its owner, not measured here"
_IMAGES = 50_000  # ImageNet's validation set, on which all the figures are


def find_owned(architecture: str, keyword: str) -> Published | None:
    """Find the owners' weights of a network by keyword.

    Args:
        architecture: the network, as `recognition.architecture` names it.
        keyword: "imagenet" for the best, "imagenet-v1" and so on, or the name of a folder.

    Returns:
        The weights, or None.
    """
    fitting = [owned for owned in OWNERS_FILES if owned.architecture == architecture]
    if keyword != KEYWORD:
        fitting = [owned for owned in fitting if keyword in (owned.keyword, _folder(owned).name)]
    return _published(max(fitting, key=lambda owned: owned.top1)) if fitting else None


def list_owned() -> Iterator[Published]:
    """Yield the weights of every owner, whether on this machine or not."""
    return map(_published, OWNERS_FILES)


def input_size(builder: str, keyword: str, default: int) -> int:
    """The image size at which a network's weights were measured.

    Args:
        builder: the function that builds the network, such as "WideResNet50_2".
        keyword: what its `weights` are.
        default: pixels, for other weights than the owners'.

    Returns:
        Height and width in pixels.
    """
    names = {
        file.architecture for file in OWNERS_FILES if NETWORKS[file.network].builder == builder
    }
    found = find_owned(names.pop(), keyword) if names else None
    return found.card.preprocessing["size"] if found else default


def _folder(owned: OwnersFile) -> Path:
    return cache() / folder_name(f"WRN-{owned.network}", owned.keyword)


def _published(owned: OwnersFile) -> Published:
    return Published(_card(owned), _folder(owned), lambda: _convert(owned))


def _card(owned: OwnersFile) -> Card:
    network = NETWORKS[owned.network]
    preprocessing = dataclasses.replace(
        PREPROCESSING["imagenet"],
        size=owned.crop,
        resize=owned.resize,
        interpolation=owned.interpolation,
    )
    return Card(
        name=f"WRN-{owned.network}",
        weights=owned.keyword,
        network={
            "builder": network.builder,
            **dict(network.arguments),
            "classes": network.classes,
            "input_shape": [owned.crop, owned.crop, 3],
        },
        dataset="imagenet",
        preprocessing=preprocessing.to_card(),
        metrics={
            "n": _IMAGES,
            # Subtraction leaves 0.17739999999999998 of 0.17740.
            "error": round(1 - owned.top1 / 100, 5),
            "top5_error": round(1 - owned.top5 / 100, 5),
            "nll": None,
            "ece": None,
        },
        measured_by=MEASURED_BY,
        parameters=network.parameters,
        recipe=owned.recipe,
        licence=owned.licence,
        owner=owned.owner,
        owners_file=owned.url,
        owners_sha256=owned.sha256 or None,
        weights_bytes=owned.size,
    )


def _convert(owned: OwnersFile) -> None:
    """Download an owner's file, convert it, and put the result into the cache."""
    folder = _folder(owned)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f".{folder.name}.lock")
    with exclusive(lock, f"Waiting for another process that converts {owned.url}."):
        if (folder / WEIGHTS_FILE).is_file():
            return  # another process was faster
        # A download that breaks off goes on from what lies there.
        fetched = folder.with_name(f".{folder.name}-{owned.file}")
        with tempfile.TemporaryDirectory(prefix=".convert-", dir=folder.parent) as temporary:
            converted = Path(temporary) / "converted"
            converted.mkdir()
            try:
                _translate(owned, _owners_file(owned, fetched), converted)
            finally:
                fetched.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            converted.rename(folder)


def _translate(owned: OwnersFile, file: Path, folder: Path) -> None:
    """Write the weights and the card of an owner's file into a folder."""
    found = translate(file, "torchvision")  # timm has the same names
    expected, received = NETWORKS[owned.network], found.network
    arguments = dict(expected.arguments) | {"classes": expected.classes}
    if found.unknown or (received.builder, received.arguments) != (expected.builder, arguments):
        raise InputError(
            f"{owned.url} must hold a {owned.architecture}, with {expected.classes} classes "
            f"and nothing else. Received: {received.title}, {received.classes} classes"
            f"{', '.join(['', *found.unknown])}."
        )
    write_weights(folder / WEIGHTS_FILE, found.weights)
    card = dataclasses.replace(
        _card(owned),
        weights_sha256=sha256(folder / WEIGHTS_FILE),
        weights_bytes=(folder / WEIGHTS_FILE).stat().st_size,
        owners_sha256=sha256(file),
        versions=versions(),
    )
    write_json(folder / CARD_FILE, card.to_dict())


def _owners_file(owned: OwnersFile, fetched: Path) -> Path:
    """Find the owner's file in the cache, where a user may have put it, or download it."""
    by_hand = cache() / owned.file
    if by_hand.is_file():
        _check(by_hand, owned, f"Delete it to have it downloaded from {owned.url}.")
        return by_hand
    try:
        if owned.repository and importlib.util.find_spec("huggingface_hub"):
            say(f"Fetching {owned.url}, {owned.size / 1e6:,.1f} MB")
            file = hub_file(owned.repository, owned.file, owned.revision)
            _check(file, owned, f"It came from {owned.url}.")
            return file
        if not fetched.is_file():
            size = None if owned.sha256 else owned.size
            downloads.download(owned.url, fetched, sha256=owned.sha256 or None, size=size)
    except InputError as error:
        raise InputError(
            f"The {owned.keyword} weights of {owned.architecture} belong to {owned.owner} and are "
            f"downloaded on first use. You may also put {owned.file} of {owned.url} into "
            f"{cache()}. {error}"
        ) from error
    return fetched


def _check(file: Path, owned: OwnersFile, advice: str) -> None:
    """Raise an InputError for another hash, or for another length if no hash is known."""
    if owned.sha256:
        check_sha256(file, owned.sha256, advice)
    elif (size := file.stat().st_size) != owned.size:
        raise InputError(
            f"{file} is damaged or another file: it has {size:,} bytes, and must have "
            f"{owned.size:,}. {advice}"
        )
