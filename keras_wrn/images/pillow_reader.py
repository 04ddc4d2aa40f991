"""Read files, arrays and Pillow images; `tensorflow_reader` gives the same pixels."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.images.orientation import orientation_of
from keras_wrn.system.backend import import_package
from keras_wrn.system.console import progress

if TYPE_CHECKING:
    from PIL.Image import Image

    AnyImage = str | os.PathLike[str] | Image | np.ndarray
Size = int | tuple[int, int]  # both sides, or height and width
_SUBFILE_TYPE, _BITS, _DNG_VERSION = 254, 258, 50706  # tags of TIFF
MOST_PROPORTION = 10  # of the sides; the middle is cut out of what is longer
_TURNS = (
    "FLIP_LEFT_RIGHT",
    "ROTATE_180",
    "FLIP_TOP_BOTTOM",
    "TRANSPOSE",
    "ROTATE_270",
    "TRANSVERSE",
    "ROTATE_90",
)


def read_images(
    paths: Iterable[AnyImage],
    size: Size,
    *,
    channels: int = 3,
    resize: int | None = None,
    interpolation: str = "bilinear",
) -> np.ndarray:
    """Read, resize and crop images.

    Images are turned by their EXIF orientation and converted to 8 bits: RGB without transparency,
    or grey. Of 16 bits the higher 8 are taken, of an animation the first frame. The largest
    rectangle in the middle with the proportions of `size` is cropped and resized; with `resize`,
    the image is resized first and then cropped. Resizing is antialiased; an image of the right size
    is kept. If one side is more than 10 times as long as the other, its middle is cut out before.

    Args:
        paths: image files that Pillow reads, Pillow images, or uint8 arrays (height, width) or
            (height, width, channels).
        size: height and width of the result in pixels: one number for a square, or both.
        channels: 3 for RGB, 1 for grey.
        resize: pixels of the shorter side before the crop (for a rectangle: of the shorter side of
            what the crop is cut out of); None for the largest rectangle.
        interpolation: "bilinear" or "bicubic".

    Returns:
        uint8 images, (n, height, width, channels).

    Raises:
        InputError: a file is missing or is no image that can be read, or has pixels of 32 bits or
            of floating point, whose range is not known; the message names it.

    Example:
        >>> read_images([np.full((60, 40), 7, np.uint8)], (16, 32)).shape
        (1, 16, 32, 3)
    """
    sources, sides = list(paths), sides_of(size)
    images = np.empty((len(sources), *sides, channels), np.uint8)
    options = (sides, channels, resize, interpolation)
    with progress("Reading images", len(sources)) as advance:
        for i, (image, source) in enumerate(zip(images, sources, strict=True)):
            image[...] = read_image(source, *options, name=f"Image {i}")
            advance(1)
    return images


def read_image(
    source: AnyImage | io.BytesIO,
    size: Size,
    channels: int,
    resize: int | None,
    interpolation: str,
    *,
    name: str = "The image",
) -> np.ndarray:
    """Read one image as `read_images` does: uint8 (height, width, channels).

    Args:
        source: a file or its bytes, a Pillow image or an array.
        size: height and width in pixels, or both.
        channels: 3 or 1.
        resize: pixels of the shorter side before the crop, or None.
        interpolation: "bilinear" or "bicubic".
        name: of what is no file, for the message of an InputError.
    """
    image = open_rgb(source, name)
    if channels == 1:
        image = image.convert("L")
    pixels = np.asarray(_fitted(image, sides_of(size), resize, interpolation))
    return pixels.reshape(*pixels.shape[:2], channels)


def open_rgb(source: AnyImage | io.BytesIO, name: str) -> Image:
    """Open an image upright, as 8-bit RGB without transparency; raises InputError as above."""
    import_package("PIL", "pillow", "Reading images")
    from PIL import Image

    if isinstance(source, Image.Image):
        return _rgb(source, name)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise InputError(f"`paths` must name image files. {path} {what}.")
        return _opened(path, str(path))
    if isinstance(source, io.BytesIO):
        return _opened(source, name)
    return _rgb(_of_array(source, name), name)


def sides_of(size: Size) -> tuple[int, int]:
    """Return height and width of a size."""
    return (size, size) if isinstance(size, (int, np.integer)) else (size[0], size[1])


def _opened(file: Path | io.BytesIO, name: str) -> Image:
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(file)
    except UnidentifiedImageError as error:
        raise InputError(f"{name} cannot be read as an image: its format is unknown.") from error
    # A damaged file may be any exception of Pillow's, such as struct.error.
    except Exception as error:
        raise _unreadable(name, error) from error
    with image:
        return _rgb(image, name)


def _rgb(image: Image, name: str) -> Image:
    from PIL import Image

    try:
        image.load()
    except Exception as error:
        raise _unreadable(name, error) from error
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    if tags.get(_SUBFILE_TYPE, 0) & 1 or _DNG_VERSION in tags:
        raise InputError(
            f"{name} begins with a small preview, as raw files of cameras do. Convert it to JPEG, "
            "PNG or a plain TIFF."
        )
    is_png_or_pgm = image.format in ("PNG", "PPM")
    if image.mode == "F" or (image.mode == "I" and not is_png_or_pgm):
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise InputError(
            f"{name} has {kind} pixels, of which nothing says what is white. Convert it to 8 bits."
        )
    exif = image.info.get("exif", b"")
    if image.mode.startswith("I"):
        # The higher byte, as Pillow and TensorFlow take it of 16-bit colours. Pillow's own
        # conversion of grey turns all values above 255 into white.
        bits = tags.get(_BITS, (16,))[0]  # 12 in some microscopes' files
        levels = np.clip(np.asarray(image).astype(np.int64) >> (bits - 8), 0, 255)
        image = Image.fromarray(levels.astype(np.uint8))
    try:
        image = image.convert("RGB")
    except ValueError as error:  # such as a Lab TIFF
        raise _unreadable(name, error) from error
    orientation = orientation_of(exif) if isinstance(exif, bytes) else 1
    if orientation > 1:
        image = image.transpose(Image.Transpose[_TURNS[orientation - 2]])
    return image


def _unreadable(name: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{name} cannot be read as an image: {reason.rstrip('.')}.")


def _of_array(source: object, name: str) -> Image:
    from PIL import Image

    pixels = np.asarray(source)
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise InputError(
            f"{name} must be a file, a Pillow image or a uint8 array (height, width, channels) of "
            f"pixels on 0..255 in 1, 3 or 4 channels. Received: {_shown(source, pixels)}."
        )
    if not pixels.size:
        raise InputError(f"{name} has no pixels. Received: shape {pixels.shape}.")
    return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and channels == 1 else pixels)


def _shown(source: object, pixels: np.ndarray) -> str:
    if pixels.dtype == object or pixels.ndim == 0:
        return repr(source)[:80]
    return f"{pixels.dtype} of shape {pixels.shape}"


def _fitted(image: Image, size: tuple[int, int], resize: int | None, interpolation: str) -> Image:
    from PIL.Image import Resampling

    filtering = Resampling[interpolation.upper()]
    height, width = size
    most = MOST_PROPORTION * min(image.size)
    if max(image.size) > most:
        image = _middle(image, min(image.height, most), min(image.width, most))
    if resize is None:
        high, wide = largest_inside(image.height, image.width, size)
        return _middle(image, high, wide).resize((width, height), filtering)
    high, wide = resized(image.height, image.width, size, resize)
    image = image.resize((wide, high), filtering)
    # The roundings are torchvision's and timm's.
    left, top = round((wide - width) / 2), round((high - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _middle(image: Image, height: int, width: int) -> Image:
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def largest_inside(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the largest rectangle in an image with the proportions of `size`."""
    return (
        max(1, min(height, width * size[0] // size[1])),
        max(1, min(width, height * size[1] // size[0])),
    )


def resized(height: int, width: int, size: tuple[int, int], resize: int) -> tuple[int, int]:
    """Height and width of an image that is resized to be cropped.

    It keeps its proportions and just covers a rectangle with the proportions of `size` and a
    shorter side of `resize`.

    Example:
        >>> resized(100, 200, (224, 224), 256)
        (256, 512)
    """
    high, wide = (side * resize // min(size) for side in size)
    if width * high <= height * wide:
        return height * wide // width, wide
    return high, width * high // height
