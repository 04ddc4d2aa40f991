"""Published weights: which there are, where they lie, and whether they are what they should be.

A keyword such as "cifar10" finds the weights of exactly one architecture: in the saved_models/
that comes with the package, else in the cache ($KERAS_HOME or ~/.keras, folder keras_wrn), else
under the release address. Each set is a folder of card.json and model.weights.h5, and the card
holds the sha256 that the weights must have before anything of them is read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import logging

from keras_wrn.errors import InputError
from keras_wrn.networks.names import architecture_name
from keras_wrn.system import downloads
from keras_wrn.system.files import check_sha256, write_json
from keras_wrn.weights.card import CARD_FILE, WEIGHTS_FILE, check_card, read_card

# The address under which the folders of saved_models/ lie, for what is too large to come with the
# package. Empty until there is a release: an address that is not ours could hold anything.
RELEASE_URL = ""
URL_VARIABLE = "KERAS_WRN_WEIGHTS_URL"  # a mirror in its place; file:// works as well


@dataclass(frozen=True)
class Published:
    """One set of published weights.

    Attributes:
        card: what its card says.
        folder: where its files are, or will be once they are fetched.
        fetch: puts the files into the folder, or says why it cannot.
    """

    card: dict[str, Any]
    folder: Path
    fetch: Callable[[], object]

    @property
    def architecture(self) -> str:
        """The network that it is for, as `architecture.architecture` names it."""
        named = architecture_name(self.card["name"], self.card["network"]["builder"])
        return self.card.get("architecture", named)

    @property
    def keyword(self) -> str:
        """What `weights=` takes: the data set, or the one among several of a data set."""
        return self.card.get("weights", self.card["dataset"])

    def weights_file(self) -> Path:
        """The file of weights, here and verified.

        Raises:
            InputError: it is not here and cannot be fetched, or its sha256 is another.
        """
        path = self.folder / WEIGHTS_FILE
        if not path.is_file():
            self.fetch()
        try:
            self._check(path)
        except InputError as difference:
            if self.folder.parent != cache():
                raise
            # An earlier version of the package has left its own, or half a file.
            aside = path.replace(path.with_name(f".old-{path.name}"))
            try:
                self.fetch()
            except BaseException as error:
                aside.replace(path)
                if isinstance(error, InputError):
                    raise InputError(f"{difference} {error}") from error
                raise
            aside.unlink(missing_ok=True)
            self._check(path)
        return path

    def _check(self, path: Path) -> None:
        # Owners' files are converted on first use; only then does the card know the result.
        expected = self.card.get("weights_sha256") or read_card(self.folder)["weights_sha256"]
        advice = "It was not read. Delete its folder, or install keras_wrn again."
        check_sha256(path, expected, advice)


def homes() -> tuple[Path, ...]:
    """Where published weights may lie on this machine, in the order of looking."""
    package = Path(__file__).parents[1]
    # The second is the repository's, which an editable install runs from.
    return package / "saved_models", package.parent / "saved_models", cache()


def cache() -> Path:
    """The folder for what was downloaded or converted; Keras' own rule for its place."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "keras_wrn"


def local() -> Iterator[Published]:
    """What is on this machine, in the order of the places and of the folders' names."""
    for home in homes():
        for card_file in sorted(home.glob(f"[!.]*/{CARD_FILE}")):
            try:
                card = read_card(card_file.parent)
            except InputError as error:
                # One folder, perhaps of another version, must not take the others away.
                logging.warning("left out: %s", error)
                continue
            yield _from_card(card, card_file.parent)


def folder_name(architecture: str, keyword: str) -> str:
    """The name of the folder of published weights: "wrn-16-4-cifar10"."""
    return re.sub(r"[^a-z0-9.]+", "-", f"{architecture} {keyword}".lower()).strip("-")


def _from_card(card: dict[str, Any], folder: Path) -> Published:
    """What a card on this machine describes; its weights may be left to be downloaded."""
    target = cache() / folder.name
    return Published(
        card,
        folder if (folder / WEIGHTS_FILE).is_file() else target,
        lambda: _download(card, folder.name),
    )


def _release_url() -> str:
    return (os.environ.get(URL_VARIABLE) or RELEASE_URL).rstrip("/")


def released(architecture: str, keyword: str) -> Published | None:
    """What lies under the release address; None where there is no such address."""
    if not (base := _release_url()):
        return None
    name = folder_name(architecture, keyword)
    url = f"{base}/{name}/{CARD_FILE}"
    try:
        card = json.loads(downloads.read(url))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{url} is damaged: {error}.") from error
    check_card(card, url)
    published = Published(card, cache() / name, lambda: _download(card, name))
    if (published.architecture, published.keyword) != (architecture, keyword):
        raise InputError(f"{url} is the card of {published.architecture} {published.keyword}.")
    return published


def _download(card: dict[str, Any], name: str) -> None:
    if not (base := _release_url()):
        raise InputError(
            f"The weights of {name} are not on this machine, and there is no address to fetch "
            f"them from: set {URL_VARIABLE}, or put {WEIGHTS_FILE} and {CARD_FILE} into "
            f"{cache() / name}."
        )
    folder = cache() / name
    url = f"{base}/{name}/{WEIGHTS_FILE}"
    try:
        downloads.download(url, folder / WEIGHTS_FILE, sha256=card["weights_sha256"])
    except downloads.AbsentError as error:
        raise InputError(f"The weights of {name} are not published there: {error}") from error
    # Last, because a folder counts by its card.
    write_json(folder / CARD_FILE, card)
