"""Read encoded images in TensorFlow's graph, for tf.data and for the exported SavedModel.

A training image is a random crop, a test image the crop in the middle. `test_image` has the pixels
of `pillow_reader`, but for EXIF orientations, which it does not follow.

Source: fb.resnet.torch, datasets/transforms.lua: RandomSizedCrop, Scale and CenterCrop.
Differs: resizing is antialiased, as Pillow's; torch's `image.scale` takes no averages.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from keras_wrn.errors import InputError

AREA = (0.08, 1.0)  # of a crop, as a share of the image's area
ASPECT = (3 / 4, 4 / 3)  # width over height of a crop, or height over width
TRIES = 10  # draws of a crop before the square in the middle is taken
INTERPOLATION = "bicubic"  # of training images; the authors' is bicubic too
BROKEN = "is no image, or only half there. Mend or remove it."
# A PNG up to IEND and its checksum, which other bytes may follow; a GIF up to the end of its last
# block and the trailer. \C is any byte.
WHOLE = r"\CPNG\r\n\x1a\n\C*IEND\CB`\C\C*|GIF8\C*\x00;\x00*"


def training_image(data: Any, seed: Any, size: int) -> Any:
    """Decode a random crop of an image and resize it.

    Args:
        data: scalar string tensor: a JPEG, PNG, GIF or BMP file, grey, RGB or (JPEG) CMYK.
        seed: integer tensor (2,), of the draws.
        size: height and width of the result, in pixels.

    Returns:
        uint8 (size, size, 3), RGB.
    """
    import tensorflow as tf

    def crop_of_jpeg() -> Any:
        # Decoding the crop alone is faster.
        shape = tf.io.extract_jpeg_shape(data)
        box = random_box(shape[0], shape[1], seed)
        return tf.io.decode_and_crop_jpeg(data, box, channels=3, dct_method="INTEGER_ACCURATE")

    def crop_of_other() -> Any:
        image = _decode(data, 3)
        shape = tf.shape(image)
        top, left, height, width = tf.unstack(random_box(shape[0], shape[1], seed))
        return image[top : top + height, left : left + width]

    image = tf.cond(tf.io.is_jpeg(data), crop_of_jpeg, crop_of_other)
    # One pass takes half the time of `_resize`; here nothing depends on Pillow's rounding.
    image = tf.image.resize(image, (size, size), INTERPOLATION, antialias=True)
    return tf.saturate_cast(tf.round(image), tf.uint8)


def test_image(
    data: Any,
    shape: tuple[int, int, int],
    *,
    resize: int | None = None,
    interpolation: str = INTERPOLATION,
) -> Any:
    """Decode an image, resize it and crop its middle, with the pixels of `pillow_reader`.

    Args:
        data: scalar string tensor: a JPEG, PNG, GIF, BMP or WebP file. TensorFlow does not read
            grey WebP (channels=1), nor animated WebP without transparency.
        shape: (height, width, channels) of the result; 1 or 3 channels.
        resize: pixels of the shorter side before the crop, at least height and width; None for
            the largest square.
        interpolation: "bilinear" or "bicubic".

    Returns:
        uint8 of this shape, RGB or grey. Pixels that are not resized equal those of
        `pillow_reader`; resized ones may differ by 1, where a sum is halfway between two numbers.
    """
    import tensorflow as tf

    height, width, channels = shape
    image = _decode(data, channels)
    sides = tf.shape(image)[:2]
    shorter = tf.reduce_min(sides)
    if resize is None:
        top, left = tf.unstack((sides - shorter) // 2)
        image = image[top : top + shorter, left : left + shorter]
        return _resize(image, height, width, interpolation)
    # The roundings are torchvision's, timm's and `pillow_reader`'s.
    sides = sides * resize // shorter
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


def checked(data: Any, source: Any) -> Any:
    """Return the data of an image file, or stop the stream with an error that names the file.

    TensorFlow's own error about a damaged image does not name it.

    Args:
        data: scalar string tensor, an encoded image.
        source: scalar string tensor, its file or data set.
    """
    import tensorflow as tf

    complete = tf.cond(
        tf.io.is_jpeg(data), lambda: _complete_jpeg(data), lambda: _complete_other(data)
    )
    with tf.control_dependencies([tf.debugging.Assert(complete, [source, BROKEN])]):
        return tf.identity(data)


@contextlib.contextmanager
def broken_images_named() -> Iterator[None]:
    """Raise the error of `checked` as an InputError."""
    try:
        yield
    except Exception as error:  # TensorFlow's, which may not be installed
        found = re.search(rf"\[([^\[\]]+)\] \[{re.escape(BROKEN)}", str(error))
        if found is None:
            raise
        raise InputError(f"{found[1]} {BROKEN}") from error


def _complete_jpeg(data: Any) -> Any:
    """Whether a JPEG has an end-of-image marker after the start of its last scan.

    A marker before it ends a preview in the header. Other bytes may follow the end.
    """
    import tensorflow as tf

    values = tf.io.decode_raw(data, tf.uint8)

    def last(mask: Any) -> Any:
        return tf.reduce_max(tf.where(mask))  # the lowest integer if nothing is found

    # The marker of a scan and its length, 6 bytes and 2 for each colour: by chance once in 4 GB.
    scan = (values[:-4] == 0xFF) & (values[1:-3] == 0xDA)
    scan &= (values[2:-2] == 0) & (values[3:-1] == 6 + 2 * values[4:])
    return last((values[:-1] == 0xFF) & (values[1:] == 0xD9)) > last(scan)


def _complete_other(data: Any) -> Any:
    """Whether it is a PNG with its last chunk, a GIF with its trailer, or a BMP of its length."""
    import tensorflow as tf

    marked = tf.strings.regex_full_match(data, WHOLE)
    # Bytes 2 to 5 are a BMP's length; zeros are appended in case the file is shorter.
    start = tf.strings.substr(data + bytes(6), 0, 6)
    length = tf.io.decode_raw(tf.strings.substr(start, 2, 4), tf.int32)[0]
    bitmap = (tf.strings.substr(start, 0, 2) == b"BM") & (length <= tf.strings.length(data))
    return marked | bitmap


def _decode(data: Any, channels: int) -> Any:
    """Decode an image: uint8 (height, width, channels), without its transparency."""
    import tensorflow as tf

    def jpeg() -> Any:
        # TensorFlow's default is a faster transform: two thirds of the values differ from Pillow's.
        return tf.io.decode_jpeg(data, channels, dct_method="INTEGER_ACCURATE")

    def other() -> Any:
        return tf.io.decode_image(data, channels, expand_animations=False)

    def transparent_webp() -> Any:
        return tf.io.decode_image(data, 4, expand_animations=False)[..., :3]

    if channels == 1:
        return tf.cond(tf.io.is_jpeg(data), jpeg, other)
    # Other numbers of channels than a WebP file has are an error, and 0 ("as in the file")
    # corrupts the memory of TensorFlow 2.21 if the file is animated.
    return tf.case(
        [(tf.io.is_jpeg(data), jpeg), (_is_transparent_webp(data), transparent_webp)], other
    )


def _is_transparent_webp(data: Any) -> Any:
    """Whether a WebP file has an alpha channel: bit 4 of byte 20 (extended) or 24 (lossless)."""
    import tensorflow as tf

    header = tf.io.decode_raw(tf.strings.substr(data + bytes(25), 0, 25), tf.uint8)
    flags = tf.where(header[15] == ord("X"), header[20], header[24])
    is_webp = tf.strings.regex_full_match(data, r"RIFF\C{4}WEBPVP8[XL]\C*")
    return is_webp & (flags & 0x10 > 0)


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
