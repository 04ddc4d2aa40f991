"""Decode an image file in TensorFlow's graph to the pixels of `pillow_reader`.

TensorFlow's decoders give Pillow's pixels for most files. The others are known by their headers, or
fail: those are given to Pillow, or marked where there is no Python (in an exported SavedModel).
"""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_wrn.images.orientation import orientation_in_graph, traced_once, turned
from keras_wrn.images.pillow_reader import open_rgb

READABLE = "a whole JPEG, PNG, GIF, BMP (24 or 32 bits, uncompressed) or WebP (not animated) file"
# A PNG up to IEND and its checksum, which other bytes may follow; a GIF up to the end of its last
# block and the trailer. \C is any byte.
_WHOLE = r"\CPNG\r\n\x1a\n\C*IEND\CB`\C\C*|GIF8\C*\x00;\x00*"
_ADOBE = (0xFF, 0xEE, 0x00, 0x0E, *b"Adobe")
_GREY = (19595, 38470, 7471)  # Pillow's weights of red, green and blue, of 65,536


def decode(data: Any, channels: int, otherwise: Callable[[], Any]) -> Any:
    """Decode a whole image and turn it upright.

    Args:
        data: scalar string tensor, the file.
        channels: 3 for RGB, 1 for grey. Transparency is dropped.
        otherwise: returns the RGB image where the graph cannot decode it, such as `by_pillow`.

    Returns:
        uint8 (height, width, channels), by its EXIF orientation.
    """
    import tensorflow as tf

    image = traced_once(_decode_upright)(data)
    image = tf.cond(tf.size(image) > 0, lambda: image, otherwise)
    return tf.ensure_shape(image if channels == 3 else _grey(image), (None, None, channels))


def _decode_upright(data: Any) -> Any:
    """Decode an image and turn it upright, or return an image of (0, 0, 3)."""
    import tensorflow as tf

    def upright(encoded: Any) -> Any:
        image = tf.cond(tf.io.is_jpeg(encoded), lambda: _jpeg(encoded), lambda: _other(encoded))
        return turned(tf.ensure_shape(image, (None, None, 3)), orientation_in_graph(encoded))

    return or_nothing(upright, data)


def or_nothing(decoder: Callable[[Any], Any], data: Any) -> Any:
    """Decode a file, or return an image of (0, 0, 3) if the graph does not give Pillow's pixels.

    Args:
        decoder: from a scalar string tensor to uint8 (height, width, 3). It may fail.
        data: scalar string tensor, the file.
    """
    import tensorflow as tf

    def attempt() -> Any:
        # tf.data is TensorFlow's only way to go on after an operation that fails.
        image = tf.data.Dataset.from_tensors(data).map(decoder).ignore_errors()
        nothing = tf.data.Dataset.from_tensors(tf.zeros((0, 0, 3), tf.uint8))
        return image.concatenate(nothing).take(1).get_single_element()

    return tf.cond(_is_readable(data), attempt, lambda: tf.zeros((0, 0, 3), tf.uint8))


def by_pillow(data: Any, source: Any) -> Any:
    """Decode an image with Pillow, from the graph: uint8 (height, width, 3).

    Args:
        data: scalar string tensor, the file.
        source: its name, for the InputError if Pillow cannot read it.
    """
    import tensorflow as tf

    def read(*values: Any) -> Any:
        # Bytes in a graph, arrays of an object outside of one.
        encoded, name = (v if isinstance(v, bytes) else v.item() for v in values)
        return np.asarray(open_rgb(io.BytesIO(encoded), name.decode(errors="replace")))

    source = tf.convert_to_tensor(source)
    image = tf.numpy_function(read, [data, source], tf.uint8, stateful=False)
    return tf.ensure_shape(image, (None, None, 3))


def decode_if_valid(data: Any, channels: int) -> tuple[Any, Any]:
    """Decode an image where there is no Python, as in an exported SavedModel.

    Args:
        data: scalar string tensor, the file.
        channels: 3 for RGB, 1 for grey.

    Returns:
        (image, valid): uint8 (height, width, channels); and int32 1, or 0 if the file is not
        `READABLE`: the image is one black pixel then.
    """
    import tensorflow as tf

    image = decode(data, channels, lambda: tf.zeros((0, 0, 3), tf.uint8))
    valid = tf.size(image) > 0
    image = tf.cond(valid, lambda: image, lambda: tf.zeros((1, 1, channels), tf.uint8))
    return tf.ensure_shape(image, (None, None, channels)), tf.cast(valid, tf.int32)


def _is_readable(data: Any) -> Any:
    """Whether a file is whole, and of a kind whose pixels are Pillow's."""
    import tensorflow as tf

    return tf.cond(tf.io.is_jpeg(data), lambda: _whole_jpeg(data), lambda: _readable_other(data))


def _whole_jpeg(data: Any) -> Any:
    """Whether a JPEG has an end-of-image marker after the start of its last scan.

    A marker before it ends a preview in the header. Other bytes may follow the end. A CMYK JPEG
    without Adobe's marker is left to Pillow: TensorFlow takes its colours as they are, Pillow as
    Adobe writes them, inverted.
    """
    import tensorflow as tf

    values = tf.io.decode_raw(data, tf.uint8)

    def last(mask: Any) -> Any:
        return tf.reduce_max(tf.where(mask))  # the lowest integer if nothing is found

    # The marker of a scan and its length, 6 bytes and 2 for each colour: by chance once in 4 GB.
    scan = (values[:-4] == 0xFF) & (values[1:-3] == 0xDA)
    scan &= (values[2:-2] == 0) & (values[3:-1] == 6 + 2 * values[4:])
    is_whole = last((values[:-1] == 0xFF) & (values[1:] == 0xD9)) > last(scan)
    # A frame's marker, its length, 8 bits, height and width of 2 bytes each, four colours.
    four = (values[:-9] == 0xFF) & (values[1:-8] >= 0xC0) & (values[1:-8] <= 0xC2)
    four &= (values[2:-7] == 0) & (values[3:-6] == 0x14) & (values[4:-5] == 8) & (values[9:] == 4)
    is_known = tf.cond(tf.reduce_any(four), lambda: _has(values, _ADOBE), lambda: tf.constant(True))
    return is_whole & is_known


def _has(values: Any, pattern: Sequence[int]) -> Any:
    """Whether bytes occur in a file."""
    import tensorflow as tf

    end = 1 - len(pattern)
    parts = [values[i : (end + i) or None] == byte for i, byte in enumerate(pattern)]
    return tf.reduce_any(tf.reduce_all(tf.stack(parts), axis=0))


def _readable_other(data: Any) -> Any:
    """Whether it is a whole PNG, GIF, BMP or WebP of a kind whose pixels are Pillow's."""
    import tensorflow as tf

    length = tf.strings.length(data)
    start = tf.strings.substr(data + bytes(34), 0, 34)  # zeros, in case the file is shorter
    words = tf.io.decode_raw(tf.strings.substr(start, 2, 32), tf.int32)  # from byte 2 on
    depth = words[6] // 0x10000  # bytes 28 and 29
    # TensorFlow takes the indices of a palette for grey values.
    bitmap = (tf.strings.substr(start, 0, 2) == b"BM") & (words[0] <= length)
    bitmap &= (words[3] >= 40) & ((depth == 24) | (depth == 32)) & (words[7] == 0)
    # It refuses an animation, if that is not transparent.
    webp = tf.strings.regex_full_match(start, r"RIFF\C{4}WEBPVP8\C*")
    size = tf.io.decode_raw(tf.strings.substr(start, 4, 4), tf.int32)[0]
    webp &= (size >= 0) & (size <= length - 8) & ~_is_animated_webp(start)
    return tf.strings.regex_full_match(data, _WHOLE) | bitmap | webp


def _is_animated_webp(start: Any) -> Any:
    """Bit 1 of byte 20 of the extended format."""
    import tensorflow as tf

    flags = tf.io.decode_raw(tf.strings.substr(start, 20, 1), tf.uint8)[0]
    return (tf.strings.substr(start, 15, 1) == b"X") & (flags & 0x02 > 0)


def _jpeg(data: Any) -> Any:
    import tensorflow as tf

    # TensorFlow's default is a faster transform: two thirds of the values differ from Pillow's.
    return tf.io.decode_jpeg(data, 3, dct_method="INTEGER_ACCURATE")


def _other(data: Any) -> Any:
    import tensorflow as tf

    def transparent_webp() -> Any:
        # Other numbers of channels than a WebP file has are an error, and 0 ("as in the file")
        # corrupts the memory of TensorFlow 2.21 if the file is animated.
        return tf.io.decode_image(data, 4, expand_animations=False)[..., :3]

    image = tf.cond(
        _is_transparent_webp(data),
        transparent_webp,
        lambda: tf.io.decode_image(data, 3, expand_animations=False),
    )
    differs = tf.cond(
        tf.strings.substr(data, 0, 4) == b"GIF8",
        lambda: _differs_from_pillow(data, image),
        lambda: tf.constant(False),
    )
    return tf.cond(differs, lambda: tf.zeros((0, 0, 3), tf.uint8), lambda: image)


def _differs_from_pillow(gif: Any, image: Any) -> Any:
    """Whether TensorFlow leaves out a part of a GIF: the background, or transparent pixels.

    The background is seen where the first frame is smaller than the GIF. A transparent pixel has a
    colour, which Pillow keeps, and is black here; bit 0 of the first frame's graphic control
    extension says that there may be some.
    """
    import tensorflow as tf

    sides = tf.io.decode_raw(tf.strings.substr(gif + bytes(10), 6, 4), tf.uint16)
    is_part = tf.reduce_any(tf.cast(sides[::-1], tf.int32) != tf.shape(image)[:2])
    values = tf.io.decode_raw(gif, tf.uint8)
    extensions = (values[:-3] == 0x21) & (values[1:-2] == 0xF9) & (values[2:-1] == 4)
    flags = tf.boolean_mask(values[3:], extensions)[:1]
    is_black = tf.reduce_any(tf.reduce_all(image == 0, axis=-1))
    return is_part | (tf.reduce_any(flags & 1 > 0) & is_black)


def _is_transparent_webp(data: Any) -> Any:
    """Whether a WebP file has an alpha channel: bit 4 of byte 20 (extended) or 24 (lossless)."""
    import tensorflow as tf

    header = tf.io.decode_raw(tf.strings.substr(data + bytes(25), 0, 25), tf.uint8)
    flags = tf.where(header[15] == ord("X"), header[20], header[24])
    is_webp = tf.strings.regex_full_match(data, r"RIFF\C{4}WEBPVP8[XL]\C*")
    return is_webp & (flags & 0x10 > 0)


def _grey(image: Any) -> Any:
    """Pillow's grey of an RGB image: uint8 (height, width, 1)."""
    import tensorflow as tf

    weighted = tf.tensordot(tf.cast(image, tf.int32), tf.constant(_GREY), 1) + 0x8000
    return tf.cast(weighted // 0x10000, tf.uint8)[..., None]
