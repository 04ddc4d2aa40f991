"""Download files, checked by SHA-256; a download that broke off goes on where it stopped."""

import contextlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.system.console import progress, say
from keras_wrn.system.files import PART, check_sha256, move_whole
from keras_wrn.system.locks import exclusive
from keras_wrn.system.partial import Part, mark_of

TIMEOUT = 30  # seconds without a byte
TRIES = 5  # requests for one file, as long as each brings something
_CHUNK = 1 << 20  # bytes


class AbsentError(InputError):
    """The server answers, but has no such file."""


class BrokenError(InputError):
    """The server does not answer, or no longer."""


class _RangeError(BrokenError):
    """The server has nothing at the position that was asked for."""


def download(url: str, target: Path, *, sha256: str | None = None, size: int | None = None) -> None:
    """Download a file; it appears under its name only after it has been checked.

    What has arrived of a download that broke off is kept, and the next call asks for the rest.
    Of two processes that want a file at the same time, one downloads it and the other waits.

    Args:
        url: the address.
        target: the path to write; missing folders are made.
        sha256: its SHA-256 in hexadecimal, or the first digits; None: unknown.
        size: its length in bytes; None: as the server says.

    Raises:
        AbsentError: the server has no such file.
        BrokenError: the download broke off; the message says what is kept.
        InputError: the server does not answer, or it is another file.
        OSError: the file cannot be written.
    """
    missing = [path for path in target.parents if not path.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    was_there = target.exists()
    try:
        lock = target.with_name(f"{PART}{target.name}.lock")
        with exclusive(lock, f"Waiting for another process that downloads {url}.") as locked:
            if was_there or not target.exists():
                part = Part.of(target, url, locked=locked)
                try:
                    _fill(part, size)
                    _check(part, sha256, size)
                    move_whole(part.path, target)
                    part.finish()
                except OSError:
                    part.discard()
                    raise
                finally:
                    if not part.keeps:
                        part.discard()
            elif sha256:
                check_sha256(target, sha256, "Another process wrote it.")
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


def _fill(part: Part, size: int | None) -> None:
    """Download what is missing; try again as long as each try brings something."""
    for left in reversed(range(TRIES)):
        before = part.length
        try:
            if not part.size or before < part.size:
                _ask(part, size)
            return
        except BrokenError as error:
            if left and before < part.length:
                continue
            if not (length := part.path.stat().st_size if part.path.is_file() else 0):
                raise
            came = f"{length:,} bytes of {part.size:,}" if part.size else f"{length:,} bytes"
            if part.length and part.keeps:
                kept = "They are kept, and the same command goes on from there."
            else:
                part.discard()
                kept = "Nothing was kept; try again."
            raise BrokenError(f"The download of {part.url} gave {came}. {error} {kept}") from error


def _ask(part: Part, size: int | None) -> None:
    """Ask once for the file, or for the rest of it, and write what comes."""
    headers = part.headers()
    try:
        with _open(part.url, headers) as response:
            if response.status == 206:
                if not part.goes_on(response.headers):
                    raise InputError(
                        f"{part.url} was asked for the rest of a file and gave another part: "
                        f"Content-Range {response.headers.get('Content-Range')!r}. Nothing was "
                        "kept; try again."
                    )
            else:
                length = int(response.headers.get("Content-Length") or 0)
                if length and length != (size or length):
                    raise InputError(
                        f"{part.url} is another file: it has {length:,} bytes, and must have "
                        f"{size:,}. Nothing was kept."
                    )
                part.begin(length or size or 0, mark_of(response.headers))
            _write(part, response)
    except _RangeError:
        part.discard()
        if not headers:
            raise
        _ask(part, size)  # the file is shorter now


def _write(part: Part, response: Any) -> None:
    start, size = part.length, part.size
    shown = f", {size / 1e6:,.1f} MB" if size else ""
    shown += f", of which {start / 1e6:,.1f} MB are here" if start else ""
    say(f"Downloading {part.url}{shown}")
    bar = progress("Downloading", size or None, done=start, unit="bytes")
    with part.path.open("ab" if start else "wb") as file, bar as advance:
        while chunk := _chunk(response):
            file.write(chunk)
            advance(len(chunk))
    if part.path.stat().st_size < size:
        raise BrokenError("It broke off.")


def _check(part: Part, sha256: str | None, size: int | None) -> None:
    """Check the length and the hash; another file is not kept."""
    try:
        expected, length = size or part.size, part.path.stat().st_size
        if expected and length != expected:
            raise InputError(
                f"The download of {part.url} gave {length:,} bytes of {expected:,}: it is another "
                "file. Nothing was kept."
            )
        if sha256:
            check_sha256(part.path, sha256, "Nothing was kept.", name=part.url)
    except InputError:
        part.discard()
        raise


@contextlib.contextmanager
def _open(url: str, headers: Mapping[str, str] | None = None) -> Iterator[Any]:
    """The response to a request for a file."""
    agent = {"User-Agent": f"keras_wrn/{keras_wrn.__version__}"}
    with _sentences(url):
        request = urllib.request.Request(url, headers=agent | dict(headers or {}))
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    with response:
        yield response


def _chunk(response: Any) -> bytes:
    """Read what has arrived."""
    try:
        return response.read1(_CHUNK)
    except TimeoutError as error:
        raise BrokenError(f"Nothing came for {TIMEOUT:g} seconds.") from error
    except (OSError, http.client.HTTPException) as error:
        raise BrokenError(f"The connection failed: {error or type(error).__name__}.") from error


@contextlib.contextmanager
def _sentences(url: str) -> Iterator[None]:
    """Turn errors of the network into an InputError with one sentence."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410):
            raise AbsentError(f"{url} does not exist (HTTP {error.code}).") from error
        kind = _RangeError if error.code == 416 else BrokenError
        raise kind(f"{url} was refused: HTTP {error.code} {error.reason}.") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, FileNotFoundError):
            raise AbsentError(f"{url} does not exist.") from error
        if isinstance(reason, TimeoutError):
            reason = f"timed out, no answer in {TIMEOUT:g} seconds"
        raise BrokenError(
            f"{url} could not be reached: {reason or type(error).__name__}."
        ) from error
    except ValueError as error:
        raise InputError(f"{url} is not the address of a file: {error}.") from error


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
