"""What a server takes at most: bytes, pixels, and requests at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import io
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from keras_wrn.serving.refusal import Refusal

_FRAME, _EXTENSION = 0x2C, 0x21  # the first bytes of a GIF's blocks
# Those that are read, and open without decoding: an ICO is decoded at once, an EPS is a program.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
_TOGETHER = 10  # times the pixels of one image, in all images of a request


@dataclass
class Limits:
    """The limits of a server.

    Attributes:
        request_bytes: of one request.
        pixels: of one encoded image, read from its headers before it is decoded.
        requests: at the same time; further ones are refused at once.
        seconds: for the body of a request to arrive.
        running: requests now.
        cut: requests that were ended before they had an answer.
    """

    request_bytes: int = 16_000_000
    pixels: int = 25_000_000
    requests: int = 64
    seconds: float = 30.0
    running: int = 0
    cut: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def enter(self) -> None:
        """Count a request as running until `leave`; raises Refusal where there are too many."""
        with self._lock:
            if self.running >= self.requests:
                raise Refusal(
                    f"The server has {self.running} requests, its limit. Try again later.",
                    "RESOURCE_EXHAUSTED",
                )
            self.running += 1

    def leave(self) -> None:
        """End what `enter` began."""
        with self._lock:
            self.running -= 1

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Count a request as running; raises Refusal where there are too many."""
        self.enter()
        try:
            yield
        except asyncio.CancelledError:
            self.cut += 1
            raise
        finally:
            self.leave()

    def check_bytes(self, size: int) -> None:
        """Raise Refusal for a request with too many bytes."""
        if size > self.request_bytes:
            raise Refusal(
                f"A request has {self.request_bytes:,} bytes at most. Received: {size:,} or more.",
                "RESOURCE_EXHAUSTED",
                413,
            )

    def check_decoded(self, name: str, images: int, image_bytes: int) -> None:
        """Raise Refusal if encoded images have more bytes once decoded than a request may have."""
        if images * image_bytes > self.request_bytes:
            raise Refusal(
                f"`{name}` has {images:,} images, which the network takes as {image_bytes:,} bytes "
                f"each. All may take {self.request_bytes:,}: send fewer at a time.",
                "RESOURCE_EXHAUSTED",
                413,
            )

    def check_images(self, name: str, encoded: np.ndarray) -> None:
        """Raise Refusal if one of the encoded images is empty, no image, or they are too large.

        Args:
            name: of the input.
            encoded: bytes, an object array of any shape.
        """
        from PIL import Image

        total = 0
        for index, content in enumerate(encoded.flat):
            which = f"Image {index} of `{name}`"
            if not content:
                raise Refusal(f"{which} has no bytes.")
            try:
                with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                    width, height = image.size
                    frames = _pixels_of_gif(content) if image.format == "GIF" else 0
            except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
                raise Refusal(f"{which} is too large: {error}", status=413) from error
            except Exception as error:  # a damaged header may be any exception of Pillow's
                raise Refusal(f"{which} is not an image: its header cannot be read.") from error
            if width * height > self.pixels:
                raise Refusal(
                    f"{which} has {width} x {height} pixels. The server takes {self.pixels:,}.",
                    status=413,
                )
            if frames > self.pixels:
                raise Refusal(
                    f"{which} is a GIF whose frames take as much memory as {frames:,} pixels. The "
                    f"server takes {self.pixels:,}.",
                    status=413,
                )
            total += width * height
        if total > _TOGETHER * self.pixels:
            raise Refusal(
                f"The images of `{name}` have {total:,} pixels together. The server takes "
                f"{_TOGETHER * self.pixels:,}: send fewer at a time.",
                "RESOURCE_EXHAUSTED",
                413,
            )


def _pixels_of_gif(content: bytes) -> int:
    """Pixels whose memory TensorFlow needs for a GIF, of 3 bytes each as in other images.

    It holds a byte for each pixel of all frames, and a picture of the widest by the highest.

    Raises:
        ValueError: an extension without data, behind which readers go on in different ways.
    """
    place, total, widest, highest = 13 + _colour_table(content[10]), 0, 0, 0
    with contextlib.suppress(IndexError, struct.error):  # it is cut
        while (kind := content[place]) in (_FRAME, _EXTENSION):
            if kind == _FRAME:
                width, height = struct.unpack_from("<HH", content, place + 5)
                total += width * height
                widest, highest = max(widest, width), max(highest, height)
                place += _colour_table(content[place + 9]) + 9
            elif content[place + 2] == 0:
                raise ValueError("an extension without data")
            place += 2
            while content[place]:  # blocks of data, each behind its length
                place += content[place] + 1
            place += 1
    return max(total // 3, widest * highest)


def _colour_table(flags: int) -> int:
    """Bytes of the table of colours that a GIF's flags announce."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
