"""Files from the network: whole, and with the hash they must have, or not at all."""

import contextlib
import hashlib
import http.client
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.system.console import say
from keras_wrn.system.files import write_whole

TIMEOUT = 30  # seconds without a byte
_CHUNK = 1 << 20  # bytes


class AbsentError(InputError):
    """The server is there, the file is not."""


def download(url: str, target: Path, *, sha256: str | None = None, size: int | None = None) -> None:
    """Fetch a file; it appears under its name only after it has been checked.

    Args:
        url: its address.
        target: where it shall be; folders are made.
        sha256: its hash in hexadecimal, or the first digits of it; None where nobody told.
        size: its length in bytes, where that is known.

    Raises:
        InputError: there is no network, no such file, it broke off, or it is another file.
        OSError: it cannot be written.
    """
    with _open(url) as response:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, lambda part: _write(part, response, url, sha256, size))


def read(url: str, limit: int = 1 << 20) -> bytes:
    """Fetch a short file into memory; raises as `download` does."""
    content = b""
    with _open(url) as response:
        for chunk in _chunks(response, url):
            content += chunk
            if len(content) > limit:
                raise InputError(f"{url} must be a short file, of {limit:,} bytes at most.")
    return content


def _write(part: Path, response: Any, url: str, sha256: str | None, size: int | None) -> None:
    expected = size or int(response.headers.get("Content-Length") or 0)
    say(f"Downloading {url}" + (f", {expected / 1e6:,.1f} MB" if expected else ""))
    digest, length = hashlib.sha256(), 0
    with part.open("wb") as file, _progress(expected) as show:
        for chunk in _chunks(response, url):
            file.write(chunk)
            digest.update(chunk)
            length += len(chunk)
            show(length)
    if expected and length != expected:
        raise InputError(
            f"The download of {url} gave {length:,} bytes of {expected:,}: it broke off, or it is "
            "another file. Nothing was kept; try again."
        )
    if sha256 and not digest.hexdigest().startswith(sha256):
        raise InputError(
            f"{url} is not the file that was published: its sha256 is {digest.hexdigest()}, and "
            f"must {'be' if len(sha256) == 64 else 'start with'} {sha256}. Nothing was kept."
        )


@contextlib.contextmanager
def _open(url: str) -> Iterator[Any]:
    """A response to read from; what goes wrong with the network is a sentence."""
    agent = {"User-Agent": f"keras_wrn/{keras_wrn.__version__}"}
    with _sentences(url):
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=agent), timeout=TIMEOUT
        )
    with response:
        yield response


def _chunks(response: Any, url: str) -> Iterator[bytes]:
    while True:
        with _sentences(url):
            chunk = response.read(_CHUNK)
        if not chunk:
            return
        yield chunk


@contextlib.contextmanager
def _sentences(url: str) -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410):
            raise AbsentError(f"{url} does not exist (HTTP {error.code}).") from error
        raise InputError(f"{url} was refused: HTTP {error.code} {error.reason}.") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, FileNotFoundError):
            raise AbsentError(f"{url} does not exist.") from error
        raise InputError(
            f"{url} could not be reached: {reason or type(error).__name__}."
        ) from error
    except ValueError as error:
        raise InputError(f"{url} is not the address of a file: {error}.") from error


@contextlib.contextmanager
def _progress(expected: int) -> Iterator[Any]:
    """Keras' progress bar, where somebody watches and the length is known."""
    if not expected or not sys.stdout.isatty():
        yield lambda _: None
        return
    import keras

    bar = keras.utils.Progbar(expected, unit_name="byte")
    yield bar.update


class Offer(NamedTuple):
    """A file to download: where from, the sha256 of its bytes and how many there are."""

    url: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """The file's official name."""
        return self.url.rsplit("/", 1)[1]


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
