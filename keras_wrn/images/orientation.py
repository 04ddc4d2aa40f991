"""The EXIF orientation of an image file: read and followed, in Python and in TensorFlow's graph.

Both read the first directory of the EXIF data only, so that other damaged metadata do no harm.
What is damaged, missing or out of range means orientation 1: the image is upright as stored.

Source: Exif 2.32, sections 4.5 and 4.6.4; TIFF 6.0, section 2.
"""

import functools
import struct
from collections.abc import Callable
from typing import Any

_TAG = 0x0112
_SHORT, _LONG = 3, 4  # the types of the tag's value
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_PREFIX = b"Exif\0\0"  # before the data in a JPEG, and in some WebP files
_FLIPPED_DOWN = (3, 4, 7, 8)
_FLIPPED_ACROSS = (2, 3, 6, 7)
_TRANSPOSED = (5, 6, 7, 8)  # before it is flipped


def orientation_of(exif: bytes) -> int:
    r"""Read the orientation, 1 to 8.

    Args:
        exif: the EXIF data of a file, with or without the prefix that a JPEG has.

    Example:
        >>> orientation_of(b"MM\0*" + bytes.fromhex("00000008 0001 0112 0003 00000001 00060000"))
        6
        >>> orientation_of(b"no metadata")
        1
    """
    exif = exif.removeprefix(_PREFIX)
    order = _BYTE_ORDERS.get(exif[:4])
    try:
        if order is None:
            return 1
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
            if tag == _TAG and kind in (_SHORT, _LONG):
                code = "I" if kind == _LONG else "H"
                (value,) = struct.unpack_from(f"{order}{code}", exif, entry + 8)
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:  # an offset points outside of the data
        pass
    return 1


def orientation_in_graph(data: Any) -> Any:
    """Read the orientation of a JPEG, PNG or WebP file: int32 scalar, 1 to 8.

    Args:
        data: scalar string tensor, the file; others than these three have orientation 1.
    """
    import tensorflow as tf

    # Most files have no EXIF data; searching them takes a tenth of the time of what follows.
    has_exif = tf.strings.regex_full_match(data, r"\C*(?:Exif\x00\x00|eXIf|EXIF)\C*")
    return tf.cond(has_exif, lambda: traced_once(_orientation)(data), lambda: tf.constant(1))


@functools.cache
def traced_once(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make a graph of a function of a scalar string tensor, which many graphs call.

    Tracing it takes up to two seconds, in each pipeline and each signature of an export.
    """
    import tensorflow as tf

    return tf.function(function, input_signature=[tf.TensorSpec((), tf.string)])


def turned(image: Any, orientation: Any) -> Any:
    """Turn an image upright in the graph: (height, width, channels), or with the sides exchanged.

    Args:
        image: tensor (height, width, channels), as stored.
        orientation: int32 scalar, 1 to 8.
    """
    import tensorflow as tf

    def one_of(numbers: tuple[int, ...]) -> Any:
        return tf.reduce_any(tf.equal(orientation, numbers))

    def turn() -> Any:
        upright = tf.cond(
            one_of(_TRANSPOSED), lambda: tf.transpose(image, (1, 0, 2)), lambda: image
        )
        down = tf.where(one_of(_FLIPPED_DOWN), -1, 1)
        across = tf.where(one_of(_FLIPPED_ACROSS), -1, 1)
        return upright[::down, ::across]

    return tf.cond(orientation > 1, turn, lambda: image)


def _orientation(data: Any) -> Any:
    import tensorflow as tf

    values = tf.cast(tf.io.decode_raw(data, tf.uint8), tf.int32)
    values = tf.concat([values, tf.zeros(32, tf.int32)], 0)  # every index exists

    def after(mark: bytes, skipped: int) -> Any:
        found = _matches(values, mark)
        first = tf.argmax(found, output_type=tf.int32)
        return tf.where(found[first] > 0, first + skipped, -1)

    start = tf.case(
        [
            (tf.io.is_jpeg(data), lambda: _exif_of_jpeg(values)),
            (_starts(data, r"\CPNG\r\n\x1a\n"), lambda: after(b"eXIf", 4)),
            # Bit 3 of byte 20 announces EXIF data.
            (
                _starts(data, r"RIFF\C{4}WEBPVP8X") & (values[20] & 8 > 0),
                lambda: after(b"EXIF", 8),
            ),
        ],
        lambda: tf.constant(-1),
    )
    return tf.cond(start >= 0, lambda: _value(values[start:]), lambda: tf.constant(1))


def _starts(data: Any, pattern: str) -> Any:
    import tensorflow as tf

    start = tf.strings.substr(data + bytes(16), 0, 16)
    return tf.strings.regex_full_match(start, rf"{pattern}\C*")


def _matches(values: Any, mark: bytes) -> Any:
    """Whether `mark` begins at a place: int32 (n - len(mark),), 0 or 1."""
    import tensorflow as tf

    length = tf.size(values) - len(mark)
    found = [tf.equal(values[i : length + i], byte) for i, byte in enumerate(mark)]
    return tf.cast(tf.reduce_all(found, 0), tf.int32)


def _exif_of_jpeg(values: Any) -> Any:
    """The place of the EXIF data among the segments before the first scan; -1 if there are none."""
    import tensorflow as tf

    last = tf.size(values) - 32

    def is_exif(place: Any) -> Any:
        head = [0xFF, 0xE1, *_PREFIX]
        found = tf.concat([values[place : place + 2], values[place + 4 : place + 10]], 0)
        return tf.reduce_all(tf.equal(found, head))

    def goes_on(place: Any) -> Any:
        is_header = (values[place] == 0xFF) & (values[place + 1] != 0xDA)
        return (place < last) & is_header & ~is_exif(place)

    def following(place: Any) -> Any:
        length = values[place + 2] * 256 + values[place + 3]
        # A marker may be filled up with further bytes 0xFF.
        is_filling = values[place + 1] == 0xFF
        return tf.minimum(place + tf.where(is_filling, 1, 2 + length), last)

    [place] = tf.while_loop(goes_on, lambda p: [following(p)], [tf.constant(2)])
    return tf.where(is_exif(place), place + 10, -1)


def _value(values: Any) -> Any:
    """The orientation in EXIF data, int32 (n,) from their start on."""
    import tensorflow as tf

    prefix = tf.reduce_all(tf.equal(values[: len(_PREFIX)], list(_PREFIX)))
    values = values[tf.where(prefix, len(_PREFIX), 0) :]
    is_little, is_big = (tf.reduce_all(tf.equal(values[:4], list(mark))) for mark in _BYTE_ORDERS)

    def number(pair: Any) -> Any:
        """Two bytes in the last axis."""
        return tf.where(
            is_big, pair[..., 0] * 256 + pair[..., 1], pair[..., 1] * 256 + pair[..., 0]
        )

    high, low = number(values[4:6]), number(values[6:8])
    high, low = tf.where(is_big, high, low), tf.where(is_big, low, high)
    is_near = (high < 0x4000) & (is_little | is_big)
    directory = tf.where(is_near, high * 0x10000 + low, 0)

    def read() -> Any:
        table = values[
            directory + 2 : directory + 2 + 12 * number(values[directory : directory + 2])
        ]
        entries = tf.reshape(table[: tf.size(table) // 12 * 12], (-1, 12))
        tag, kind = number(entries[:, 0:2]), number(entries[:, 2:4])
        found = (tag == _TAG) & ((kind == _SHORT) | (kind == _LONG))
        # The low half of a long number comes last in big-endian data.
        value = tf.where(
            (kind == _LONG) & is_big, number(entries[:, 10:12]), number(entries[:, 8:10])
        )
        value = tf.boolean_mask(value, found)[:1]
        value = tf.where((value >= 1) & (value <= 8), value, 1)
        return tf.reduce_sum(tf.concat([value, [1]], 0)[:1])

    return tf.cond(is_near & (directory + 2 < tf.size(values)), read, lambda: tf.constant(1))
