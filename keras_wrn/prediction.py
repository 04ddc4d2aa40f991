"""Image files in, the most probable classes out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_wrn.errors import InputError

if TYPE_CHECKING:
    import keras
    from PIL.Image import Image

    from keras_wrn.preprocessing import AnyPreprocessing


def predict(
    model: keras.Model,
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    preprocessing: AnyPreprocessing,
    top: int = 5,
) -> list[list[tuple[int, str, float]]]:
    """Classify image files.

    All files are read before the network runs, and it runs once for all of them.

    Args:
        model: a classifier that ends in a softmax and takes normalised images.
        paths: one image file or several: PNG, JPEG or whatever else Pillow reads.
        preprocessing: the statistics, size and class names the model was trained with: by name
            ("cifar10"), by the card of a network or as a `Preprocessing`.
        top: classes to return for each file; all of them where the model has fewer.

    Returns:
        For each file a list of (class index, class name, probability), best first.

    Raises:
        InputError: a file is missing or is no image, or `top` is below 1; or the names of
            ImageNet's classes cannot be had.

    Example:
        >>> model = keras_wrn.WideResNet16_4(weights="cifar10")  # doctest: +SKIP
        >>> keras_wrn.predict(model, "frog.png", "cifar10", top=2)  # doctest: +SKIP
        [[(6, 'frog', 0.937), (1, 'automobile', 0.009)]]
    """
    from keras_wrn.decoding import class_names, decode_predictions
    from keras_wrn.evaluation import class_probabilities
    from keras_wrn.preprocessing import preprocessing_of

    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise InputError(f"`top` must be a whole number from 1. Received: {top!r}.")
    # First, because ImageNet's may have to be fetched.
    statistics = preprocessing_of(preprocessing)
    named = replace(statistics, class_names=class_names(statistics))
    files = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not files:
        return []
    images = read_images(
        files,
        named.size,
        resize=named.resize,
        interpolation=named.interpolation,
    )
    probabilities = class_probabilities(model, images, named)
    top = min(top, probabilities.shape[1])
    return decode_predictions(probabilities, top=top, dataset=named)


def read_images(
    paths: Iterable[str | os.PathLike[str]],
    size: int,
    *,
    resize: int | None = None,
    interpolation: str = "bilinear",
) -> np.ndarray:
    """Read image files as the network wants them.

    Each is turned as its EXIF orientation says, brought to 8-bit RGB, cut to the square in
    its middle, and resized (antialiased). An image that has the right size already is not
    touched. With `resize` the shorter side is first brought to so many pixels, and the square
    of `size` is then cut out.

    Args:
        paths: image files.
        size: height and width wanted, in pixels.
        resize: pixels of the shorter side before the crop, or None for the largest square.
        interpolation: "bilinear" or "bicubic".

    Returns:
        uint8 images, (n, size, size, 3).

    Raises:
        InputError: a file is missing or is no image; it is named.
    """
    return np.stack([_read_image(Path(path), size, resize, interpolation) for path in paths])


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
        # 16-bit grey: Pillow's own conversion would cut everything above 255 to white.
        from PIL import Image

        levels = np.clip(np.asarray(image, np.float64) / 257, 0, 255).round()
        image = Image.fromarray(levels.astype(np.uint8))
    return image.convert("RGB")
