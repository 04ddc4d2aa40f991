"""Encoded images in, square crops out: ImageNet's geometry, in TensorFlow's graph for tf.data.

Of a training image a random part is cut out and resized; of a test image the middle. Both
resizings are antialiased and bicubic, as Pillow's: the authors' are bicubic too, but torch's
`image.scale` takes no averages when it shrinks.

Source: fb.resnet.torch, datasets/transforms.lua: RandomSizedCrop, Scale and CenterCrop.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from keras_wrn.errors import InputError

AREA = (0.08, 1.0)  # share of the image's area that a crop covers
ASPECT = (3 / 4, 4 / 3)  # width over height of a crop, or height over width
TRIES = 10  # until the square in the middle is taken
INTERPOLATION = "bicubic"
BROKEN = "is no image, or only half there. Mend or remove it."
# A PNG up to IEND and its checksum, after which there may be other bytes, and a GIF up to the end
# of its last block and the trailer. The expressions are of UTF-8; \C is any byte.
WHOLE = r"\CPNG\r\n\x1a\n\C*IEND\CB`\C\C*|GIF8\C*\x00;\x00*"


def training_image(data: Any, seed: Any, size: int) -> Any:
    """Decode a random part of an image.

    Args:
        data: scalar string tensor: a JPEG, PNG, GIF or BMP file, grey, RGB or (JPEG) CMYK.
        seed: integer tensor (2,), of the draws.
        size: height and width of the result, in pixels.

    Returns:
        uint8 (size, size, 3), RGB.
    """
    import tensorflow as tf

    def of_jpeg() -> Any:
        # Only the part that is wanted is decoded.
        shape = tf.io.extract_jpeg_shape(data)
        box = random_box(shape[0], shape[1], seed)
        return tf.io.decode_and_crop_jpeg(data, box, channels=3, dct_method="INTEGER_ACCURATE")

    def of_other() -> Any:
        image = _decode(data)
        shape = tf.shape(image)
        top, left, height, width = tf.unstack(random_box(shape[0], shape[1], seed))
        return image[top : top + height, left : left + width]

    return _resized(tf.cond(tf.io.is_jpeg(data), of_jpeg, of_other), size, size)


def test_image(data: Any, size: int, resize: int | None) -> Any:
    """Decode the middle of an image, as `prediction.read_images` does (but for EXIF).

    Args:
        data: as for `training_image`.
        size: height and width of the result, in pixels.
        resize: pixels that the shorter side is first brought to, >= size; None for the largest
            square that the image has.

    Returns:
        uint8 (size, size, 3), RGB.
    """
    import tensorflow as tf

    image = _decode(data)
    shape = tf.shape(image)[:2]
    shorter = tf.reduce_min(shape)
    if resize is None:
        top, left = tf.unstack((shape - shorter) // 2)
        return _resized(image[top : top + shorter, left : left + shorter], size, size)
    # The roundings are torchvision's, timm's and `read_images`'.
    height, width = tf.unstack(shape * resize // shorter)
    image = _resized(image, height, width)
    top, left = (tf.cast(tf.round((side - size) / 2), tf.int32) for side in (height, width))
    return tf.ensure_shape(image[top : top + size, left : left + size], (size, size, 3))


def random_box(height: Any, width: Any, seed: Any) -> Any:
    """Draw the part of a training image: int32 (top, left, height, width).

    Ten times an area and an aspect are drawn; the first crop that the image has room for is
    taken, at a place where each is equally likely. Where none fits, it is the middle square.

    Args:
        height: of the image in pixels, int32 scalar.
        width: likewise.
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


def checked(data: Any, source: Any) -> Any:
    """Return the data of an image file, or stop the stream with a sentence that names the file.

    TensorFlow's own message about a damaged image does not say which it is.

    Args:
        data: scalar string tensor.
        source: scalar string tensor: where the data came from.
    """
    import tensorflow as tf

    whole = tf.cond(tf.io.is_jpeg(data), lambda: _ends(data), lambda: _other_ends(data))
    with tf.control_dependencies([tf.debugging.Assert(whole, [source, BROKEN])]):
        return tf.identity(data)


@contextlib.contextmanager
def broken_images_named() -> Iterator[None]:
    """Turn the stop of a stream at an image that `checked` refused into an InputError."""
    try:
        yield
    except Exception as error:  # TensorFlow's, which may not be installed
        found = re.search(rf"\[([^\[\]]+)\] \[{re.escape(BROKEN)}", str(error))
        if found is None:
            raise
        raise InputError(f"{found[1]} {BROKEN}") from error


def _ends(data: Any) -> Any:
    """Whether a JPEG has an end-of-image marker after its last scan has begun.

    One before it is of a preview in the header; after the end there may be other bytes.
    """
    import tensorflow as tf

    values = tf.io.decode_raw(data, tf.uint8)

    def last(places: Any) -> Any:
        return tf.reduce_max(tf.where(places))  # below any place where there is none

    # A marker and its length, 6 bytes and 2 for each colour: by chance once in 4 GB.
    scan = (values[:-4] == 0xFF) & (values[1:-3] == 0xDA)
    scan &= (values[2:-2] == 0) & (values[3:-1] == 6 + 2 * values[4:])
    return last((values[:-1] == 0xFF) & (values[1:] == 0xD9)) > last(scan)


def _other_ends(data: Any) -> Any:
    """Whether it is a PNG with its last chunk, a GIF with its trailer, or a BMP of its length."""
    import tensorflow as tf

    marked = tf.strings.regex_full_match(data, WHOLE)
    # With zeros, so that the shortest file has room for a length, bytes 2 to 5.
    start = tf.strings.substr(data + bytes(6), 0, 6)
    length = tf.io.decode_raw(tf.strings.substr(start, 2, 4), tf.int32)[0]
    bitmap = (tf.strings.substr(start, 0, 2) == b"BM") & (length <= tf.strings.length(data))
    return marked | bitmap


def _decode(data: Any) -> Any:
    """Decode a whole image: uint8 (height, width, 3)."""
    import tensorflow as tf

    # Pillow, too, decodes with the accurate transform; TensorFlow's default is a faster one.
    return tf.cond(
        tf.io.is_jpeg(data),
        lambda: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(data, channels=3, expand_animations=False),
    )


def _resized(image: Any, height: Any, width: Any) -> Any:
    import tensorflow as tf

    image = tf.image.resize(image, (height, width), method=INTERPOLATION, antialias=True)
    return tf.saturate_cast(tf.round(image), tf.uint8)


def _between(ends: tuple[float, float], draws: Any) -> Any:
    return ends[0] + (ends[1] - ends[0]) * draws
