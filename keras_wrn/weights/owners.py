"""ImageNet weights that their owners published: torchvision's and timm's files, converted.

Nothing of theirs comes with this package. A file is fetched from its owner's address on first use,
checked, converted, and kept in the cache as `model.weights.h5` with a card. The figures of a card
are the owner's; nobody has measured them here.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_wrn.checkpoints.translation import translate
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import PREPROCESSING
from keras_wrn.networks.names import NETWORKS
from keras_wrn.system import downloads
from keras_wrn.system.console import say
from keras_wrn.system.files import check_sha256, sha256, write_json
from keras_wrn.system.machine import versions
from keras_wrn.weights.card import CARD_FILE, WEIGHTS_FILE
from keras_wrn.weights.files import write_weights
from keras_wrn.weights.owners_table import OWNERS_FILES, OwnersFile
from keras_wrn.weights.published import Published, cache, folder_name

KEYWORD = "imagenet"  # stands for the best of a network's weights
MEASURED_BY = "published by its owner, not measured here"
_IMAGES = 50_000  # ImageNet's validation set, on which all the figures are


def find_owned(architecture: str, keyword: str) -> Published | None:
    """The owner's weights of a network by keyword; "imagenet" is the best of them."""
    fitting = [of for of in OWNERS_FILES if of.architecture == architecture]
    if keyword != KEYWORD:
        fitting = [of for of in fitting if keyword in (of.keyword, _folder(of).name)]
    return _published(max(fitting, key=lambda of: of.top1)) if fitting else None


def list_owned() -> Iterator[Published]:
    """All of them, on this machine or not."""
    return map(_published, OWNERS_FILES)


def input_size(builder: str, keyword: str, default: int) -> int:
    """The pixels at which a network's weights were measured; the default for any other weights.

    Args:
        builder: the function that builds the network, such as "WideResNet50_2".
        keyword: what its `weights` are.
        default: pixels.
    """
    names = {of.architecture for of in OWNERS_FILES if NETWORKS[of.network].builder == builder}
    found = find_owned(names.pop(), keyword) if names else None
    return found.card["preprocessing"]["size"] if found else default


def _folder(owned: OwnersFile) -> Path:
    return cache() / folder_name(f"WRN-{owned.network}", owned.keyword)


def _published(owned: OwnersFile) -> Published:
    return Published(_card(owned), _folder(owned), lambda: _convert(owned))


def _card(owned: OwnersFile) -> dict[str, Any]:
    network = NETWORKS[owned.network]
    preprocessing = dataclasses.replace(
        PREPROCESSING["imagenet"],
        size=owned.crop,
        resize=owned.resize,
        interpolation=owned.interpolation,
    )
    return {
        "format": 1,
        "name": f"WRN-{owned.network}",
        "weights": owned.keyword,
        "network": {
            "builder": network.builder,
            **dict(network.arguments),
            "classes": network.classes,
            "input_shape": [owned.crop, owned.crop, 3],
        },
        "dataset": "imagenet",
        "preprocessing": preprocessing.to_card(),
        "metrics": {
            "n": _IMAGES,
            # Subtracted as decimals, so that 0.17740 is not written as 0.17739999999999998.
            "error": round(1 - owned.top1 / 100, 5),
            "top5_error": round(1 - owned.top5 / 100, 5),
            "nll": None,
            "ece": None,
        },
        "measured_by": MEASURED_BY,
        "parameters": network.parameters,
        "recipe": owned.recipe,
        "licence": owned.licence,
        "owner": owned.owner,
        "owners_file": owned.url,
        "owners_sha256": owned.sha256 or None,
        "weights_bytes": owned.size,
    }


def _convert(owned: OwnersFile) -> None:
    """Fetch an owner's file and leave it, converted, in the cache."""
    folder = _folder(owned)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".convert-", dir=folder.parent) as beside:
        file = _owners_file(owned, Path(beside))
        found = translate(file, "torchvision")  # timm has the same names
        expected, received = NETWORKS[owned.network], found.network
        arguments = dict(expected.arguments) | {"classes": expected.classes}
        if found.unknown or (received.builder, received.arguments) != (expected.builder, arguments):
            raise InputError(
                f"{owned.url} must hold a {owned.architecture}, with {expected.classes} classes "
                f"and nothing else. Received: {received.title}, {received.classes} classes"
                f"{', '.join(['', *found.unknown])}."
            )
        converted = Path(beside) / "converted"
        converted.mkdir()
        write_weights(converted / WEIGHTS_FILE, found.weights)
        card = _card(owned) | {
            "weights_sha256": sha256(converted / WEIGHTS_FILE),
            "weights_bytes": (converted / WEIGHTS_FILE).stat().st_size,
            "owners_sha256": sha256(file),
            "versions": versions(),
        }
        write_json(converted / CARD_FILE, card)
        if (folder / WEIGHTS_FILE).is_file():
            return  # another process was faster
        shutil.rmtree(folder, ignore_errors=True)
        converted.rename(folder)


def _owners_file(owned: OwnersFile, beside: Path) -> Path:
    """The owner's file, verified: one that the user has put into the cache, or downloaded."""
    by_hand = cache() / owned.file
    if by_hand.is_file():
        _check(by_hand, owned, f"Delete it to have it downloaded from {owned.url}.")
        return by_hand
    try:
        file = _through_client(owned) if owned.repository else None
        if file is None:
            file = beside / owned.file
            downloads.download(owned.url, file, sha256=owned.sha256 or None, size=owned.exact_size)
    except InputError as error:
        raise InputError(
            f"The {owned.keyword} weights of {owned.architecture} are {owned.owner}'s and are "
            f"fetched from its address on first use, or put {owned.file} of {owned.url} into "
            f"{cache()}. {error}"
        ) from error
    return file


def _check(file: Path, owned: OwnersFile, advice: str) -> None:
    """Raise an InputError for a file of another hash, or of another length without a hash."""
    if owned.sha256:
        check_sha256(file, owned.sha256, advice)
    elif (size := file.stat().st_size) != owned.size:
        raise InputError(
            f"{file} is damaged or another file: it has {size:,} bytes, and must have "
            f"{owned.size:,}. {advice}"
        )


def _through_client(owned: OwnersFile) -> Path | None:
    """Fetch with Hugging Face's own client, into its own cache; None where it is not installed."""
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        return None
    say(f"Fetching {owned.url}, {owned.size / 1e6:,.1f} MB")
    try:
        file = huggingface_hub.hf_hub_download(
            owned.repository,
            owned.file,
            revision=owned.revision,
            endpoint=os.environ.get("HF_ENDPOINT"),
        )
    # The client raises errors of its own, of its HTTP library, and of the system.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{owned.url} could not be fetched: {reason}") from error
    _check(Path(file), owned, f"It came from {owned.url}.")
    return Path(file)
