"""One set of published weights: its folder, its card, its download.

A set is a folder of card.json and model.weights.h5. The card holds the sha256 that the weights
must have; nothing of the file is read before that is checked. `finding` says where folders lie.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keras_wrn.errors import InputError
from keras_wrn.system import downloads
from keras_wrn.system.files import check_sha256, keras_home, write_json
from keras_wrn.weights.card import CARD_FILE, WEIGHTS_FILE, Card, read_card

# The address of the folders that are too large to come with the package. It stays empty until
# there is a release: an address that is not ours could hold anything.
RELEASE_URL = ""
URL_VARIABLE = "KERAS_WRN_WEIGHTS_URL"  # an address that is asked before it; also file://


def cache() -> Path:
    """The folder for downloaded and converted weights, in Keras' own folder."""
    return keras_home() / "keras_wrn"


def folder_name(architecture: str, keyword: str) -> str:
    """The name of the folder of published weights: "wrn-16-4-cifar10"."""
    return re.sub(r"[^a-z0-9.]+", "-", f"{architecture} {keyword}".lower()).strip("-")


def addresses() -> tuple[str, ...]:
    """Where weights are downloaded from, in order: URL_VARIABLE's address, the release address."""
    named = (os.environ.get(URL_VARIABLE) or "", RELEASE_URL)
    return tuple(dict.fromkeys(url.rstrip("/") for url in named if url))


@dataclass(frozen=True)
class Published:
    """One set of published weights.

    Attributes:
        card: its card.
        folder: where its files are, or will be once they are fetched.
        fetch: puts the files into the folder, or raises an InputError.
    """

    card: Card
    folder: Path
    fetch: Callable[[], object]

    def weights_file(self) -> Path:
        """Fetch the weights if they are not in the folder, and check them.

        Returns:
            The file of weights.

        Raises:
            InputError: the file cannot be fetched, or has another sha256; or the cache holds other
                weights of this name, with a card of their own. Those are never replaced.
        """
        path = self.folder / WEIGHTS_FILE
        if not path.is_file():
            self.fetch()
        try:
            self._check(path)
        except InputError as difference:
            if self.folder.parent != cache():
                raise
            self._refuse_a_set_of_its_own(path)
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
        if not (self.folder / CARD_FILE).is_file():  # a download was ended before its last file
            write_json(self.folder / CARD_FILE, self.card.to_dict())
        return path

    def _refuse_a_set_of_its_own(self, path: Path) -> None:
        try:
            check_sha256(path, str(read_card(self.folder).weights_sha256), "")
        except InputError:  # a damaged file, or one of another card
            return
        raise InputError(
            f"{self.folder} holds other weights of this name, with a card of their own. They stay. "
            f"Load them by their path, {path}; or move the folder to get keras_wrn's."
        )

    def _check(self, path: Path) -> None:
        # The card of an owner's weights has a hash only after their conversion.
        expected = self.card.weights_sha256 or read_card(self.folder).weights_sha256
        advice = "It was not read. Delete its folder, or install keras_wrn again."
        check_sha256(path, str(expected), advice)


def download(card: Card, name: str) -> None:
    """Download the weights of a card into the cache, from the first address that has them.

    Args:
        card: of the weights.
        name: of their folder.

    Raises:
        InputError: there is no address, or none of them gives the file.
    """
    folder, reasons = cache() / name, []
    for base in addresses():
        url = f"{base}/{name}/{WEIGHTS_FILE}"
        try:
            downloads.download(url, folder / WEIGHTS_FILE, sha256=card.weights_sha256)
        except downloads.AbsentError as error:
            reasons.append(f"The weights of {name} are not published there: {error}")
        except InputError as error:
            reasons.append(str(error))
        else:
            # The card is written last, because a folder counts once it has a card.
            write_json(folder / CARD_FILE, card.to_dict())
            return
    raise InputError(
        " ".join(reasons)
        or f"The weights of {name} are not on this machine, and no address is set from which to "
        f"download them. Set {URL_VARIABLE}, or put {WEIGHTS_FILE} and {CARD_FILE} into {folder}."
    )
