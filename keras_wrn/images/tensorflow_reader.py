"""Read encoded images in TensorFlow's graph, for tf.data and for the exported SavedModel.

A training image is a random crop, a test image the crop in the middle. `test_image` has the pixels
of `pillow_reader`.

Source: fb.resnet.torch, datasets/transforms.lua: RandomSizedCrop, Scale and CenterCrop.
Differs: resizing is antialiased, as Pillow's; torch's `image.scale` takes no averages.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from keras_wrn.errors import InputError
from keras_wrn.images.graph_decoder import by_pillow, decode, or_nothing
from keras_wrn.images.orientation import orientation_in_graph
from keras_wrn.images.pillow_reader import MOST_PROPORTION

AREA = (0.08, 1.0)  # of a crop, as a share of the image's area
ASPECT = (3 / 4, 4 / 3)  # width over height of a crop, or height over width
TRIES = 10  # draws of a crop before the square in the middle is taken
INTERPOLATION = "bicubic"  # of training images; the authors' is bicubic too


def training_image(data: Any, seed: Any, size: int, source: Any = "The image") -> Any:
    """Decode a random crop of an image and resize it.

    Args:
        data: scalar string tensor, an image file of any kind that Pillow reads.
        seed: integer tensor (2,), of the draws.
        size: height and width of the result, in pixels.
        source: scalar string tensor, the name of the file, for errors (`broken_images_named`).

    Returns:
        uint8 (size, size, 3), RGB, upright by its EXIF orientation.
    """
    import tensorflow as tf

    def crop_of_jpeg(encoded: Any) -> Any:
        shape = tf.io.extract_jpeg_shape(encoded)
        box = random_box(shape[0], shape[1], seed)
        return tf.io.decode_and_crop_jpeg(encoded, box, channels=3, dct_method="INTEGER_ACCURATE")

    def crop_of_any() -> Any:
        image = decode(data, 3, lambda: by_pillow(data, source))
        shape = tf.shape(image)
        top, left, height, width = tf.unstack(random_box(shape[0], shape[1], seed))
        return image[top : top + height, left : left + width]

    # Decoding the crop alone is faster.
    is_fast = tf.cond(
        tf.io.is_jpeg(data), lambda: orientation_in_graph(data) == 1, lambda: tf.constant(False)
    )
    image = tf.cond(
        is_fast, lambda: or_nothing(crop_of_jpeg, data), lambda: tf.zeros((0, 0, 3), tf.uint8)
    )
    image = tf.cond(tf.size(image) > 0, lambda: image, crop_of_any)
    # One pass takes half the time of `_resize`; here nothing depends on Pillow's rounding.
    image = tf.image.resize(image, (size, size), INTERPOLATION, antialias=True)
    return tf.saturate_cast(tf.round(image), tf.uint8)


def test_image(
    data: Any,
    shape: tuple[int, int, int],
    *,
    resize: int | None = None,
    interpolation: str = INTERPOLATION,
    source: Any = "The image",
) -> Any:
    """Decode an image, resize it and crop its middle, with the pixels of `pillow_reader`.

    Args:
        data: scalar string tensor, an image file of any kind that Pillow reads.
        shape: (height, width, channels) of the result; 1 or 3 channels.
        resize: pixels of the shorter side before the crop, at least height and width; None for
            the largest rectangle.
        interpolation: "bilinear" or "bicubic".
        source: scalar string tensor, the name of the file, for errors (`broken_images_named`).

    Returns:
        uint8 of this shape, RGB or grey, as `middle_resized` returns it.
    """
    image = decode(data, shape[2], lambda: by_pillow(data, source))
    return middle_resized(image, shape, resize=resize, interpolation=interpolation)


def middle_resized(
    image: Any, shape: tuple[int, int, int], *, resize: int | None, interpolation: str
) -> Any:
    """Resize a decoded image and crop its middle, as `test_image` does.

    Args:
        image: uint8 (rows, columns, channels), a tensor of the graph.
        shape: (height, width, channels) of the result.
        resize: pixels of the shorter side before the crop; None for the largest rectangle.
        interpolation: "bilinear" or "bicubic".

    Returns:
        uint8 of this shape. Pixels that are not resized equal those of `pillow_reader`; resized
        ones may differ by 1, where a sum is halfway between two numbers.
    """
    import tensorflow as tf

    height, width, _ = shape
    sides = tf.shape(image)[:2]
    image = _middle(image, tf.minimum(sides, MOST_PROPORTION * tf.reduce_min(sides)))
    sides = tf.cast(tf.shape(image)[:2], tf.int64)
    if resize is None:
        largest = tf.minimum(sides, sides[::-1] * (height, width) // (width, height))
        image = _middle(image, tf.maximum(tf.cast(largest, tf.int32), 1))
        return _resize(image, height, width, interpolation)
    # As `pillow_reader.resized`; the roundings are torchvision's and timm's.
    high, wide = (side * resize // min(height, width) for side in (height, width))
    sides = tf.where(
        sides[1] * high <= sides[0] * wide,
        tf.stack([sides[0] * wide // sides[1], wide]),
        tf.stack([high, sides[1] * high // sides[0]]),
    )
    sides = tf.cast(sides, tf.int32)
    image = _resize(image, sides[0], sides[1], interpolation)
    top, left = tf.unstack(tf.cast(tf.round((sides - (height, width)) / 2), tf.int32))
    return tf.ensure_shape(image[top : top + height, left : left + width], shape)


def random_box(height: Any, width: Any, seed: Any) -> Any:
    """Draw the crop of a training image: int32 (top, left, height, width).

    Ten areas and aspects are drawn. The first crop that fits into the image is taken, at a random
    position; if none fits, the square in the middle.

    Args:
        height: of the image in pixels, int32 scalar.
        width: of the image in pixels, int32 scalar.
        seed: integer tensor (2,), of the draws.
    """
    import tensorflow as tf

    draws = tf.random.stateless_uniform((5, TRIES), seed)
    area = _between(AREA, draws[0]) * tf.cast(height * width, tf.float32)
    aspect = _between(ASPECT, draws[1])
    aspect = tf.where(draws[2] < 0.5, 1 / aspect, aspect)
    heights = tf.maximum(tf.cast(tf.round(tf.sqrt(area / aspect)), tf.int32), 1)
    widths = tf.maximum(tf.cast(tf.round(tf.sqrt(area * aspect)), tf.int32), 1)
    tops = tf.cast(draws[3] * tf.cast(height - heights + 1, tf.float32), tf.int32)
    lefts = tf.cast(draws[4] * tf.cast(width - widths + 1, tf.float32), tf.int32)
    fits = (heights <= height) & (widths <= width)
    first = tf.argmax(tf.cast(fits, tf.int32))
    drawn = tf.stack([tops[first], lefts[first], heights[first], widths[first]])
    side = tf.minimum(height, width)
    middle = tf.stack([(height - side) // 2, (width - side) // 2, side, side])
    return tf.where(tf.reduce_any(fits), drawn, middle)


@contextlib.contextmanager
def broken_images_named() -> Iterator[None]:
    """Raise the InputError of Pillow, which TensorFlow has wrapped into its own."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # TensorFlow's, which may not be installed
        found = re.search(r"InputError: (.*?)\s*\n\s*Traceback", str(error), re.DOTALL)
        if found is None:
            raise
        raise InputError(found[1]) from error


def _middle(image: Any, sides: Any) -> Any:
    import tensorflow as tf

    top, left = tf.unstack((tf.shape(image)[:2] - sides) // 2)
    return image[top : top + sides[0], left : left + sides[1]]


def _resize(image: Any, height: Any, width: Any, interpolation: str) -> Any:
    """Resize as Pillow does: first the width, then the height, each rounded to uint8."""
    import tensorflow as tf

    for sides in ((tf.shape(image)[0], width), (height, width)):
        image = tf.image.resize(image, sides, interpolation, antialias=True)
        # Pillow rounds halves up, `tf.round` to even.
        image = tf.saturate_cast(tf.floor(image + 0.5), tf.uint8)
    return image


def _between(ends: tuple[float, float], draws: Any) -> Any:
    return ends[0] + (ends[1] - ends[0]) * draws
