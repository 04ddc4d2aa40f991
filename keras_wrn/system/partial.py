"""The part of a download that is kept when it breaks off, and how the rest is asked for.

Beside `.part-NAME` lies `.part-NAME.json` with the address, the file's length and the server's
mark of its version. A request for the rest carries that mark (If-Range), so that a server with
another version answers with the whole file: old and new bytes are never mixed.

Source: RFC 9110, sections 13.1.5 (If-Range), 14.2 (Range) and 15.3.7 (206).
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_wrn.errors import InputError
from keras_wrn.system.files import PART, read_json, write_json


@dataclasses.dataclass
class Part:
    """The bytes of a file that have arrived.

    Attributes:
        path: where they are.
        url: the file's address.
        size: the file's length in bytes; 0: not known.
        mark: the server's mark of this version: an ETag or a date; "": none.
        keeps: whether they may outlive this process: only one process may write here.
    """

    path: Path
    url: str
    size: int = 0
    mark: str = ""
    keeps: bool = True

    @classmethod
    def of(cls, target: Path, url: str, *, locked: bool) -> Part:
        """Find what is kept of a file; without a lock nothing is, and nobody else writes there."""
        name = target.name if locked else f"{os.getpid()}-{target.name}"
        part = cls(target.with_name(f"{PART}{name}"), url, keeps=locked)
        try:
            found = read_json(part._notes)
        except (OSError, InputError):
            found = {}
        mark, size = found.get("mark"), found.get("size")
        if locked and found.get("url") == url and isinstance(mark, str) and isinstance(size, int):
            part.mark, part.size = mark, size
        else:
            part.discard()
        return part

    @property
    def _notes(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def length(self) -> int:
        """Bytes that are here; 0 if the rest cannot be asked for."""
        return self.path.stat().st_size if self.mark and self.path.is_file() else 0

    def headers(self) -> dict[str, str]:
        """What asks for the rest, or for the whole file."""
        start = self.length
        return {"Range": f"bytes={start}-", "If-Range": self.mark} if start else {}

    def begin(self, size: int, mark: str) -> None:
        """Forget what is here, and note what the server says of the file that it now sends."""
        self.discard()
        self.size, self.mark = size, mark
        if self.keeps and mark:
            write_json(self._notes, {"url": self.url, "size": size, "mark": mark})

    def goes_on(self, headers: Mapping[str, Any]) -> bool:
        """Whether an answer of status 206 is exactly the rest; if not, nothing is kept."""
        text = str(headers.get("Content-Range") or "")
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", text)
        version = headers.get("ETag" if self.mark.startswith('"') else "Last-Modified")
        fits = (
            found is not None
            and int(found[1]) == self.length
            and int(found[2]) >= int(found[1])
            and (not self.size or found[3] in ("*", str(self.size)))
            and version in (None, self.mark)
        )
        if not fits:
            self.discard()
        return fits

    def discard(self) -> None:
        """Remove what is here."""
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)
        self.size, self.mark = 0, ""

    def finish(self) -> None:
        """Remove the notes of a file that has got its name."""
        self._notes.unlink(missing_ok=True)


def mark_of(headers: Mapping[str, Any]) -> str:
    """The strongest mark of a file's version that a server gives; "" if it gives none."""
    etag = str(headers.get("ETag") or "")
    if re.fullmatch(r'"[^"]*"', etag):  # W/"..." stands for the meaning, not for the bytes
        return etag
    return str(headers.get("Last-Modified") or "")
