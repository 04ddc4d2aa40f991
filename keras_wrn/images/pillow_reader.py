"""Read image files with Pillow; `tensorflow_reader.test_image` gives the same pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_wrn.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image


def read_images(
    paths: Iterable[str | os.PathLike[str]],
    size: int,
    *,
    resize: int | None = None,
    interpolation: str = "bilinear",
) -> np.ndarray:
    """Read, resize and crop image files.

    Images are turned by their EXIF orientation and converted to 8-bit RGB without transparency.
    The largest square in the middle is cropped and resized to `size`; with `resize`, the image is
    resized first and then cropped. Resizing is antialiased; an image of the right size is kept.

    Args:
        paths: image files that Pillow reads.
        size: height and width of the result, in pixels.
        resize: pixels of the shorter side before the crop; None for the largest square.
        interpolation: "bilinear" or "bicubic".

    Returns:
        uint8 images, (n, size, size, 3).

    Raises:
        InputError: a file is missing or is not an image; the message names it.
    """
    files = [Path(path) for path in paths]
    images = np.empty((len(files), size, size, 3), np.uint8)
    for image, file in zip(images, files, strict=True):
        image[...] = _read_image(file, size, resize, interpolation)
    return images


def _read_image(path: Path, size: int, resize: int | None, interpolation: str) -> np.ndarray:
    from PIL import Image, ImageOps

    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"`paths` must name image files. {path} {what}.")
    try:
        with Image.open(path) as file:
            image = _as_rgb(ImageOps.exif_transpose(file))
    # Pillow reports a damaged file with any of these, depending on the format.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image: {error}.") from error
    filtering = Image.Resampling[interpolation.upper()]
    shorter = min(image.size)
    if resize is None:
        left, top = ((length - shorter) // 2 for length in image.size)
        image = image.crop((left, top, left + shorter, top + shorter))
        return np.asarray(image.resize((size, size), filtering))
    # The roundings are torchvision's and timm's.
    width, height = (length * resize // shorter for length in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    image = image.resize((width, height), filtering)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _as_rgb(image: Image) -> Image:
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion turns all values above 255 into white.
        from PIL import Image

        levels = np.clip(np.asarray(image, np.float64) / 257, 0, 255).round()
        image = Image.fromarray(levels.astype(np.uint8))
    return image.convert("RGB")
