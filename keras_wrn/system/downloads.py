"""Download files, checked by SHA-256: whole or not at all."""

import contextlib
import http.client
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.system.console import say
from keras_wrn.system.files import check_sha256, write_whole

TIMEOUT = 30  # seconds without a byte
_CHUNK = 1 << 20  # bytes


class AbsentError(InputError):
    """The server answers, but has no such file."""


def download(url: str, target: Path, *, sha256: str | None = None, size: int | None = None) -> None:
    """Download a file; it appears under its name only after it has been checked.

    Args:
        url: the address.
        target: the path to write; missing folders are made.
        sha256: its SHA-256 in hexadecimal, or the first digits; None: unknown.
        size: its length in bytes; None: as the server says.

    Raises:
        AbsentError: the server has no such file.
        InputError: the server does not answer, the download broke off, or it is another file.
        OSError: the file cannot be written.
    """
    with _open(url) as response:
        missing = [path for path in target.parents if not path.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _remove_abandoned(target)
            write_whole(target, lambda part: _write(part, response, url, sha256, size))
        except BaseException:
            with contextlib.suppress(OSError):
                for folder in missing:
                    folder.rmdir()
            raise


def read(url: str, limit: int = 1 << 20) -> bytes:
    """Download a short file into memory; raises as `download` does.

    Args:
        url: the address.
        limit: bytes that the file may have.
    """
    with _open(url) as response, _sentences(url):
        content = response.read(limit + 1)
    if len(content) > limit:
        raise InputError(f"{url} must be a short file, of {limit:,} bytes at most.")
    return content


def _remove_abandoned(target: Path) -> None:
    """Remove what killed downloads left; a live one is written to within the time-out."""
    for part in target.parent.glob(f".part-*-{target.name}"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > 2 * TIMEOUT:
                part.unlink()


def _write(part: Path, response: Any, url: str, sha256: str | None, size: int | None) -> None:
    expected = size or int(response.headers.get("Content-Length") or 0)
    say(f"Downloading {url}" + (f", {expected / 1e6:,.1f} MB" if expected else ""))
    with part.open("wb") as file, _progress(expected) as show:
        while chunk := _chunk(response, url):
            file.write(chunk)
            show(file.tell())
    if expected and (length := part.stat().st_size) != expected:
        raise InputError(
            f"The download of {url} gave {length:,} bytes of {expected:,}: it broke off, or it is "
            "another file. Nothing was kept; try again."
        )
    if sha256:
        check_sha256(part, sha256, "Nothing was kept.", name=url)


@contextlib.contextmanager
def _open(url: str) -> Iterator[Any]:
    """The response to a request for a file."""
    agent = {"User-Agent": f"keras_wrn/{keras_wrn.__version__}"}
    with _sentences(url):
        request = urllib.request.Request(url, headers=agent)
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    with response:
        yield response


def _chunk(response: Any, url: str) -> bytes:
    with _sentences(url):
        return response.read(_CHUNK)


@contextlib.contextmanager
def _sentences(url: str) -> Iterator[None]:
    """Turn errors of the network into an InputError with one sentence."""
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
    """Keras' progress bar, on a terminal and where the length is known."""
    if not expected or not sys.stdout.isatty():
        yield lambda _: None
        return
    import keras

    bar = keras.utils.Progbar(expected, unit_name="byte")
    yield bar.update


class Offer(NamedTuple):
    """An official file: its address, the SHA-256 of its bytes, and their number."""

    url: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """The file's official name."""
        return self.url.rsplit("/", 1)[1]


def download_offers(offers: list[Offer], folder: Path, terms: str, instead: str = "") -> None:
    """Download official files; one error names all that are missing and where to get them.

    Args:
        offers: the files.
        folder: where they go; it is made.
        terms: a sentence on the owner's licence.
        instead: what may lie there as well, after "Put NAME".

    Raises:
        InputError: a file could not be downloaded, or has another SHA-256.
    """
    for position, offer in enumerate(offers):
        try:
            download(offer.url, folder / offer.name, sha256=offer.sha256)
        except (InputError, OSError) as error:
            missing = offers[position:]
            names = ", ".join(each.name for each in missing)
            addresses = ", ".join(f"{each.url} ({each.size:,} bytes)" for each in missing)
            raise InputError(
                f"{names} {'are' if len(missing) > 1 else 'is'} not in {folder} and could not be "
                f"downloaded ({error}). Put {names}{instead} into {folder}. Published at "
                f"{addresses}. {terms}"
            ) from error
