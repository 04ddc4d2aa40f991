"""Every way of a file to a network gives the pixels of `predict`, or a sentence that names it."""

import functools
import io
import struct
import zlib

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="the feed and the exported graph need TensorFlow")

from image_folders import pixels
from PIL import Image

from keras_wrn import datasets
from keras_wrn.detection import photos
from keras_wrn.errors import InputError
from keras_wrn.images import graph_decoder, tensorflow_reader
from keras_wrn.images.pillow_reader import read_images

HEIGHT, WIDTH = 24, 30  # of the pictures
SIZE = (16, 20)  # of the network: the proportions of the pictures, so that nothing is cropped
PICTURE = Image.fromarray(pixels(HEIGHT, WIDTH, 5))
GREY = np.asarray(PICTURE.convert("L"))
SECOND = Image.fromarray(pixels(HEIGHT, WIDTH, 6))
ALPHA = PICTURE.copy()
ALPHA.putalpha(Image.fromarray(pixels(HEIGHT, WIDTH, 7)[..., 0]))


def encoded(image, kind, **options):
    memory = io.BytesIO()
    image.save(memory, kind, **options)
    return memory.getvalue()


def turned(kind, orientation, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(PICTURE, kind, exif=exif, **options)


def broken_rational(order):
    """EXIF data of orientation 6 beside a resolution of -1 / 0."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, 2)
    tags = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, 6, 0)
    tags += struct.pack(f"{order}HHII", 0x011A, 10, 1, 38)
    return b"Exif\0\0" + head + tags + struct.pack(f"{order}Iii", 0, -1, 0)


def flipped(data, mark):
    """One byte changed in the middle of what follows a mark."""
    place = (data.index(mark) + len(data)) // 2
    return data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]


def larger_canvas(gif):
    """A GIF whose only frame does not fill it."""
    return gif[:6] + struct.pack("<HH", WIDTH + 10, HEIGHT + 8) + gif[10:]


def png_of_16_bit_colours():
    values = np.random.default_rng(2).integers(0, 65536, (HEIGHT, WIDTH, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)

    def chunk(name, content):
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def without_adobe(jpeg):
    place = jpeg.index(b"\xff\xee\x00\x0eAdobe")
    return jpeg[:place] + jpeg[place + 16 :]


def animated(kind, **options):
    return encoded(PICTURE, kind, save_all=True, append_images=[SECOND], **options)


WAYS = ("memory", "feed", "export", "detector")
# "same": the pixels of Pillow; "sentence": an error that names the file. The ways are files in
# memory (predict, evaluate and training on a folder), the streamed feed with its random crops, the
# exported graph (serving_bytes, which marks the file as not valid) and the detector.
KINDS = {
    #                            memory      feed        export      detector
    "JPEG":                    ("same",     "same",     "same",     "same"),
    "progressive JPEG":        ("same",     "same",     "same",     "same"),
    "grey JPEG":               ("same",     "same",     "same",     "same"),
    "CMYK JPEG":               ("same",     "same",     "same",     "same"),
    "CMYK JPEG, not Adobe's":  ("same",     "same",     "sentence", "same"),
    "JPEG, orientation 2":     ("same",     "same",     "same",     "same"),
    "JPEG, orientation 3":     ("same",     "same",     "same",     "same"),
    "JPEG, orientation 4":     ("same",     "same",     "same",     "same"),
    "JPEG, orientation 5":     ("same",     "same",     "same",     "same"),
    "JPEG, orientation 6":     ("same",     "same",     "same",     "same"),
    "JPEG, orientation 7":     ("same",     "same",     "same",     "same"),
    "JPEG, orientation 8":     ("same",     "same",     "same",     "same"),
    "JPEG, orientation 9":     ("same",     "same",     "same",     "same"),
    "JPEG, broken rational <": ("same",     "same",     "same",     "same"),
    "JPEG, broken rational >": ("same",     "same",     "same",     "same"),
    "half a JPEG":             ("sentence", "sentence", "sentence", "sentence"),
    "PNG":                     ("same",     "same",     "same",     "same"),
    "grey PNG":                ("same",     "same",     "same",     "same"),
    "palette PNG":             ("same",     "same",     "same",     "same"),
    "1-bit PNG":               ("same",     "same",     "same",     "same"),
    "RGBA PNG":                ("same",     "same",     "same",     "same"),
    "16-bit grey PNG":         ("same",     "same",     "same",     "same"),
    "16-bit RGB PNG":          ("same",     "same",     "same",     "same"),
    "animated PNG":            ("same",     "same",     "same",     "same"),
    "PNG, orientation 6":      ("same",     "same",     "same",     "same"),
    "PNG, a byte flipped":     ("sentence", "sentence", "sentence", "sentence"),
    "24-bit BMP":              ("same",     "same",     "same",     "same"),
    "32-bit BMP":              ("same",     "same",     "same",     "same"),
    "8-bit palette BMP":       ("same",     "same",     "sentence", "same"),
    "1-bit BMP":               ("same",     "same",     "sentence", "same"),
    "GIF":                     ("same",     "same",     "same",     "same"),
    "animated GIF":            ("same",     "same",     "same",     "same"),
    "GIF of a smaller frame":  ("same",     "same",     "sentence", "same"),
    "transparent GIF":         ("same",     "same",     "sentence", "same"),
    "WebP":                    ("same",     "same",     "same",     "same"),
    "grey WebP":               ("same",     "same",     "same",     "same"),
    "RGBA WebP":               ("same",     "same",     "same",     "same"),
    "WebP, orientation 6":     ("same",     "same",     "same",     "same"),
    "animated WebP":           ("same",     "same",     "sentence", "same"),
    "TIFF":                    ("same",     "same",     "sentence", "same"),
    "TIFF, orientation 6":     ("same",     "same",     "sentence", "same"),
    "16-bit TIFF":             ("same",     "same",     "sentence", "same"),
    "32-bit TIFF":             ("sentence", "sentence", "sentence", "sentence"),
    "float TIFF":              ("sentence", "sentence", "sentence", "sentence"),
    "text":                    ("sentence", "sentence", "sentence", "sentence"),
    "nothing":                 ("sentence", "sentence", "sentence", "sentence"),
}  # fmt: skip
FILES = {
    "JPEG": lambda: encoded(PICTURE, "JPEG"),
    "progressive JPEG": lambda: encoded(PICTURE, "JPEG", progressive=True),
    "grey JPEG": lambda: encoded(PICTURE.convert("L"), "JPEG"),
    "CMYK JPEG": lambda: encoded(PICTURE.convert("CMYK"), "JPEG"),
    "CMYK JPEG, not Adobe's": lambda: without_adobe(encoded(PICTURE.convert("CMYK"), "JPEG")),
    "JPEG, broken rational <": lambda: encoded(PICTURE, "JPEG", exif=broken_rational("<")),
    "JPEG, broken rational >": lambda: encoded(PICTURE, "JPEG", exif=broken_rational(">")),
    "half a JPEG": lambda: encoded(PICTURE, "JPEG")[:-100],
    "PNG": lambda: encoded(PICTURE, "PNG"),
    "grey PNG": lambda: encoded(PICTURE.convert("L"), "PNG"),
    "palette PNG": lambda: encoded(PICTURE.quantize(30), "PNG"),
    "1-bit PNG": lambda: encoded(PICTURE.convert("1"), "PNG"),
    "RGBA PNG": lambda: encoded(ALPHA, "PNG"),
    "16-bit grey PNG": lambda: encoded(Image.fromarray(GREY.astype(np.uint16) * 250), "PNG"),
    "16-bit RGB PNG": png_of_16_bit_colours,
    "animated PNG": lambda: animated("PNG"),
    "PNG, orientation 6": lambda: turned("PNG", 6),
    "PNG, a byte flipped": lambda: flipped(encoded(PICTURE, "PNG"), b"IDAT"),
    "24-bit BMP": lambda: encoded(PICTURE, "BMP"),
    "32-bit BMP": lambda: encoded(ALPHA, "BMP"),
    "8-bit palette BMP": lambda: encoded(PICTURE.quantize(256), "BMP"),
    "1-bit BMP": lambda: encoded(PICTURE.convert("1"), "BMP"),
    "GIF": lambda: encoded(PICTURE, "GIF"),
    "animated GIF": lambda: animated("GIF"),
    "transparent GIF": lambda: encoded(PICTURE.quantize(30), "GIF", transparency=3),
    "GIF of a smaller frame": lambda: larger_canvas(encoded(PICTURE, "GIF")),
    "WebP": lambda: encoded(PICTURE, "WEBP"),
    "grey WebP": lambda: encoded(PICTURE.convert("L"), "WEBP"),
    "RGBA WebP": lambda: encoded(ALPHA, "WEBP", lossless=True),
    "WebP, orientation 6": lambda: turned("WEBP", 6),
    "animated WebP": lambda: animated("WEBP", lossless=True),
    "TIFF": lambda: encoded(PICTURE, "TIFF"),
    "TIFF, orientation 6": lambda: turned("TIFF", 6),
    "16-bit TIFF": lambda: encoded(Image.fromarray(GREY.astype(np.uint16) * 250), "TIFF"),
    "32-bit TIFF": lambda: encoded(Image.fromarray(GREY.astype(np.int32)), "TIFF"),
    "float TIFF": lambda: encoded(Image.fromarray(GREY.astype(np.float32) / 255), "TIFF"),
    "text": lambda: b"<html>not found</html>",
    "nothing": lambda: b"",
} | {f"JPEG, orientation {i}": functools.partial(turned, "JPEG", i) for i in range(2, 10)}


@functools.cache
def graph(way):
    """A way through TensorFlow's graph, from a file's name: traced once."""

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    def read(path):
        data, options = tf.io.read_file(path), {"interpolation": "bilinear", "source": path}
        if way == "feed":
            # A crop is random: the test is that the pixels come from the picture.
            crop = tensorflow_reader.training_image(data, (1, 2), 8, path)
            with tf.control_dependencies([crop]):
                return tensorflow_reader.test_image(data, (*SIZE, 3), **options)
        if way == "export":
            image, valid = graph_decoder.decode_if_valid(data, 3)
            fitted = tensorflow_reader.middle_resized(
                image, (*SIZE, 3), resize=None, interpolation="bilinear"
            )
            return tf.cond(valid > 0, lambda: fitted, lambda: tf.zeros((0, 0, 3), tf.uint8))
        sides = tf.py_function(lambda name: _sides(name.numpy()), [path], tf.int32)
        sides = tf.ensure_shape(sides, (2,))
        return photos.read(path, sides[0], sides[1])

    return read


def _sides(path):
    """The size that the annotations of a photo would give."""
    try:
        with Image.open(path.decode()) as image:
            width, height = image.size
            is_stored = image.format != "TIFF"  # Pillow turns a TIFF itself, when it is loaded
            orientation = image.getexif().get(0x0112, 1)
            image.load()
            width, height = image.size
    except OSError:
        return np.array([1, 1], np.int32)
    exchanged = is_stored and orientation in (5, 6, 7, 8)
    return np.array([width, height] if exchanged else [height, width], np.int32)


def answer(way, path):
    """The pixels, or the sentence."""
    try:
        if way == "memory":
            return read_images([path], SIZE)[0]
        with tensorflow_reader.broken_images_named():
            found = graph(way)(str(path)).numpy()
        return found if found.size else "picture.jpg is marked as not valid"
    except (InputError, tf.errors.InvalidArgumentError) as error:
        return str(error)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """For each kind and way the answer. At once, because each test begins without graphs."""
    # The name lies about most kinds.
    path, found = tmp_path_factory.mktemp("kinds") / "picture.jpg", {}
    for kind in KINDS:
        path.write_bytes(FILES[kind]())
        found[kind] = {way: answer(way, path) for way in WAYS}
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_file_on_every_way(kind, answers):
    expected = answers[kind]["memory"]
    for way, outcome in zip(WAYS, KINDS[kind], strict=True):
        found = answers[kind][way]
        if outcome == "sentence":
            assert isinstance(found, str) and "picture.jpg " in found, (way, found)
            continue
        assert not isinstance(found, str), (way, found)
        if way == "detector":  # which resizes in its own way
            found = read_images([found], SIZE)[0]
        # Resizing rounds halves in its own way.
        assert np.abs(found.astype(int) - expected).max() <= 1, way


@pytest.mark.parametrize(("orientation", "top_left"), [(1, "red"), (3, "black"), (6, "black")])
def test_upright_is_what_a_person_sees(orientation, top_left, tmp_path):
    """A red corner, stored at the top left: 3 turns it by 180 degrees, 6 by 90 clockwise."""
    image = Image.new("RGB", (40, 40))
    image.paste((255, 0, 0), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    found = read_images([tmp_path / "a.jpg"], 40)[0]
    places = {1: (5, 5), 3: (35, 35), 6: (5, 35)}
    assert found[places[orientation]][0] > 200
    assert (found[5, 5, 0] > 200) == (top_left == "red")


def test_evaluation_and_training_on_a_folder_read_as_predict(tmp_path):
    kinds = [kind for kind in KINDS if KINDS[kind][0] == "same"][:20]
    for part in ("train", "test"):
        for i, kind in enumerate(kinds):
            path = tmp_path / part / "ab"[i % 2] / f"{i:02}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(FILES[kind]())
    data = datasets.load(tmp_path, size=SIZE)
    files = [*sorted((tmp_path / "test" / "a").iterdir()), *sorted((tmp_path / "test/b").iterdir())]
    np.testing.assert_array_equal(data.test.images, read_images(files, SIZE))
    np.testing.assert_array_equal(data.train.images, data.test.images)


@pytest.mark.parametrize("resize", [None, 18])
@pytest.mark.parametrize("channels", [3, 1])
def test_extreme_proportions_and_sizes_are_alike(channels, resize, tmp_path):
    @tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    def read(data):
        image, _ = graph_decoder.decode_if_valid(data, channels)
        return tensorflow_reader.middle_resized(
            image, (*SIZE, channels), resize=resize, interpolation="bilinear"
        )

    path = tmp_path / "a.png"
    for shape in [(1, 1), (1, 700), (900, 2), (3, 3), (640, 480)]:
        Image.fromarray(pixels(*shape, 1)).save(path)
        expected = read_images([path], SIZE, channels=channels, resize=resize)[0]
        found = read(path.read_bytes()).numpy()
        assert found.shape == (*SIZE, channels)
        assert np.abs(found.astype(int) - expected).max() <= 1
