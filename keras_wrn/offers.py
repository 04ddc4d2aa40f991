"""Files of data sets that their owners publish: what is offered, and fetching it."""

import contextlib
import importlib
from pathlib import Path
from typing import Any, NamedTuple

from keras_wrn.errors import InputError


class Offer(NamedTuple):
    """A file to download: where from, the sha256 of its bytes and how many there are."""

    url: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """The file's official name."""
        return self.url.rsplit("/", 1)[1]


def import_package(module: str, package: str, purpose: str) -> Any:
    """Import what reads a data set; raises InputError, with the command, where it is absent."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(not_installed(purpose, package)) from error


def not_installed(purpose: str, package: str) -> str:
    """The sentence on a package that is absent, with the command that installs it."""
    return f"{purpose} needs {package}, which is not installed. Run: pip install {package}"


def download_offers(offers: list[Offer], folder: Path, terms: str, instead: str = "") -> None:
    """Download files; where one cannot be had, say all that is missing and where it is offered.

    Args:
        offers: the files.
        folder: where they go; it is made.
        terms: a sentence on the owner's licence.
        instead: what may lie there as well, after "Put NAME".

    Raises:
        InputError: one could not be downloaded, or is not the file that was published.
    """
    for place, offer in enumerate(offers):
        try:
            _download(offer, folder)
        except Exception as error:  # get_file raises a bare Exception when it cannot download
            names = ", ".join(each.name for each in offers[place:])
            where = ", ".join(f"{each.url} ({each.size:,} bytes)" for each in offers[place:])
            raise InputError(
                f"{names} {'are' if ',' in names else 'is'} not in {folder} and could not be "
                f"downloaded ({error}). Put {names}{instead} into {folder}. Published at {where}. "
                f"{terms}"
            ) from error


def _download(offer: Offer, folder: Path) -> None:
    """Download a file with Keras, under another name until its sha256 is the expected one.

    A killed download thus never leaves half a file under the name that is read; Keras starts it
    again the next time. Folders that were made for nothing are removed.
    """
    part = folder / f"{offer.name}.part"
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        import keras

        folder.mkdir(parents=True, exist_ok=True)
        keras.utils.get_file(
            part.name,
            origin=offer.url,
            file_hash=offer.sha256,
            hash_algorithm="sha256",
            cache_dir=str(folder.resolve()),
            cache_subdir=str(folder.resolve()),
        )
        part.replace(folder / offer.name)
    except Exception:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
            for made in missing:
                made.rmdir()
        raise
