"""What a server takes at most: bytes, pixels, and requests at the same time."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from keras_wrn.serving.refusal import Refusal


@dataclass
class Limits:
    """The limits of a server.

    Attributes:
        request_bytes: of one request.
        pixels: of one encoded image, read from its header before it is decoded.
        requests: at the same time; further ones are refused at once.
        seconds: for the body of a request to arrive.
    """

    request_bytes: int = 16_000_000
    pixels: int = 25_000_000
    requests: int = 64
    seconds: float = 30.0
    running: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Count a request as running; raises Refusal where there are too many."""
        with self._lock:
            if self.running >= self.requests:
                raise Refusal(
                    f"The server has {self.running} requests, its limit. Try again later.",
                    "RESOURCE_EXHAUSTED",
                )
            self.running += 1
        try:
            yield
        finally:
            with self._lock:
                self.running -= 1

    def check_bytes(self, size: int) -> None:
        """Raise Refusal for a request with too many bytes."""
        if size > self.request_bytes:
            raise Refusal(
                f"A request has {self.request_bytes:,} bytes at most. Received: {size:,} or more.",
                "RESOURCE_EXHAUSTED",
                413,
            )

    def check_images(self, name: str, encoded: np.ndarray) -> None:
        """Raise Refusal if one of the encoded images is empty, no image, or too large.

        Args:
            name: of the input.
            encoded: bytes, an object array of any shape.
        """
        from PIL import Image

        for index, content in enumerate(encoded.flat):
            which = f"Image {index} of `{name}`"
            if not content:
                raise Refusal(f"{which} has no bytes.")
            try:
                with Image.open(io.BytesIO(content)) as image:
                    width, height = image.size
            except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
                raise Refusal(f"{which} is too large: {error}", status=413) from error
            except Exception as error:  # a damaged header may be any exception of Pillow's
                raise Refusal(f"{which} is not an image: its header cannot be read.") from error
            if width * height > self.pixels:
                raise Refusal(
                    f"{which} has {width} x {height} pixels. The server takes {self.pixels:,}.",
                    status=413,
                )
