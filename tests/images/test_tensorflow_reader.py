"""The graph's reader: crops are drawn as the authors draw them, pixels are Pillow's."""

import functools
import io

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="tf.data needs TensorFlow")

from image_folders import pixels
from PIL import Image

from keras_wrn.errors import InputError
from keras_wrn.images import graph_decoder, pillow_reader, tensorflow_reader


def encoded(image, kind, **options):
    memory = io.BytesIO()
    image.save(memory, format=kind, **options)
    return memory.getvalue()


@functools.cache
def in_a_graph(reader, *arguments, **options):
    """A reader that is traced once. Outside of a graph, it would be traced at every call."""

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    def read(data):
        return getattr(tensorflow_reader, reader)(data, *arguments, **options)

    return read


def test_boxes_have_the_authors_areas_aspects_and_places():
    height, width = 300, 400
    draws = tf.data.Dataset.range(4000)
    boxes = draws.map(lambda i: tensorflow_reader.random_box(height, width, [7, i])).batch(4000)
    top, left, high, wide = next(iter(boxes)).numpy().T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + high <= height).all() and (left + wide <= width).all()
    areas, aspects = high * wide / (height * width), wide / high
    assert 0.075 < areas.min() < 0.09 and areas.max() > 0.95
    assert 0.74 < aspects.min() < 0.76 and 1.32 < aspects.max() < 1.35
    # Small crops fit whatever their aspect: among them it is even on both sides of 1, and each
    # place is as likely as another (standard deviation of a uniform draw: 1 / sqrt(12)).
    small = areas < 0.4
    assert abs(np.mean(aspects[small] > 1) - 0.5) < 5 * 0.5 / np.sqrt(small.sum())
    place = (top / np.maximum(height - high, 1))[small]
    assert abs(place.mean() - 0.5) < 0.03 and abs(place.std() - 12**-0.5) < 0.02


def test_where_no_crop_fits_the_square_in_the_middle_is_taken():
    draws = tf.data.Dataset.range(20).map(lambda i: tensorflow_reader.random_box(20, 2000, [1, i]))
    assert [0, 990, 20, 20] in [box.tolist() for box in draws.as_numpy_iterator()]


def test_a_jpeg_is_cropped_as_if_all_of_it_had_been_decoded():
    data = encoded(Image.fromarray(pixels(90, 120, 1)), "JPEG", quality=90, subsampling=0)
    for i in range(2):
        found = tensorflow_reader.training_image(tf.constant(data), [3, i], 32).numpy()
        top, left, high, wide = tensorflow_reader.random_box(90, 120, [3, i]).numpy()
        part = Image.open(io.BytesIO(data)).crop((left, top, left + wide, top + high))
        expected = np.asarray(part.resize((32, 32), Image.Resampling.BICUBIC), np.float64)
        assert np.abs(found - expected).mean() < 1


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "JPEG"])
def test_other_formats_and_grey_images_come_out_rgb(kind):
    grey = Image.fromarray(pixels(40, 50, 2)).convert("L")
    data = encoded(grey, kind)
    for found in (
        in_a_graph("training_image", (1, 1), 16)(data).numpy(),
        in_a_graph("test_image", (16, 16, 3))(data).numpy(),
    ):
        assert found.shape == (16, 16, 3) and found.dtype == np.uint8
        np.testing.assert_array_equal(found[..., 0], found[..., 2])


def test_cmyk_comes_out_rgb():
    """Some of ImageNet's JPEGs are in the four colours of print."""
    image = Image.new("CMYK", (40, 40), (10, 200, 30, 20))
    data = encoded(image, "JPEG", quality=95)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float64)[0, 0]
    for found in (
        in_a_graph("test_image", (16, 16, 3))(data),
        in_a_graph("training_image", (1, 1), 16)(data),
    ):
        assert np.abs(found.numpy() - expected).max() < 4


@functools.cache
def decoder():
    spec = tf.TensorSpec((), tf.string)
    return tf.function(
        lambda data: graph_decoder.decode_if_valid(data, 3), input_signature=[spec], autograph=False
    )


def reads_in_graph(data):
    """Whether the graph reads a file alone, without Pillow's help."""
    image, valid = decoder()(data)
    assert valid.numpy() == (image.shape != (1, 1, 3))
    return bool(valid)


@pytest.mark.parametrize("progressive", [False, True])
def test_half_a_jpeg_is_found_though_its_preview_is_whole(progressive):
    preview = encoded(Image.fromarray(pixels(16, 16, 1)), "JPEG")
    exif = b"Exif\0\0" + b"II*\0\x08\0\0\0" + b"\0" * 6 + preview
    image = Image.fromarray(pixels(40, 40, 2))
    complete = encoded(image, "JPEG", exif=exif, progressive=progressive)
    for data in (complete, complete + np.random.default_rng(1).bytes(100_000)):
        assert reads_in_graph(data)
    for cut in (len(complete) - 2, len(complete) - 200):
        assert not reads_in_graph(complete[:cut])


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "WEBP"])
def test_half_of_another_format_is_found(kind):
    complete = encoded(Image.fromarray(pixels(40, 50, 2)), kind)
    assert reads_in_graph(complete)
    for cut in (len(complete) - 1, len(complete) - 9, len(complete) // 2, 9, 3, 0):
        assert not reads_in_graph(complete[:cut])


def test_a_png_may_have_other_bytes_after_its_end():
    data = encoded(Image.fromarray(pixels(40, 50, 2)), "PNG") + b"\xff\x00more"
    assert reads_in_graph(data)


def test_what_pillow_cannot_read_is_a_sentence_of_pillow():
    feed = tf.data.Dataset.from_tensors(b"<html>").map(
        lambda data: tensorflow_reader.test_image(data, (16, 16, 3), source="set/a[1].jpg")
    )
    with (
        pytest.raises(InputError, match=r"^set/a\[1\]\.jpg cannot be .*: its format is unknown\.$"),
        tensorflow_reader.broken_images_named(),
    ):
        list(feed)


KINDS = {
    "JPEG": ("JPEG", "RGB", {"quality": 75}),
    "progressive JPEG": ("JPEG", "RGB", {"quality": 95, "progressive": True, "subsampling": 0}),
    "grey JPEG": ("JPEG", "L", {}),
    "PNG": ("PNG", "RGB", {}),
    "grey PNG": ("PNG", "L", {}),
    "palette PNG": ("PNG", "P", {}),
    "RGBA PNG": ("PNG", "RGBA", {}),
    "grey PNG with alpha": ("PNG", "LA", {}),
    "GIF": ("GIF", "RGB", {}),
    "BMP": ("BMP", "RGB", {}),
    "WebP": ("WEBP", "RGB", {"quality": 80}),
    "grey WebP": ("WEBP", "L", {"quality": 80}),
    "lossless WebP": ("WEBP", "RGB", {"lossless": True}),
    "palette WebP": ("WEBP", "P", {"lossless": True}),
    "RGBA WebP": ("WEBP", "RGBA", {"quality": 80}),
    "lossless RGBA WebP": ("WEBP", "RGBA", {"lossless": True}),
}


def write_kind(path, shape, kind):
    """Write a picture whose halves are smooth and of noise, with an alpha channel of noise."""
    file_format, mode, options = KINDS[kind]
    draws = np.random.default_rng(3)
    values = pixels(*shape, 5)
    values[: shape[0] // 2] = draws.integers(0, 256, (shape[0] // 2, shape[1], 3))
    image = Image.fromarray(values).convert(mode)
    if "A" in mode:
        image.putalpha(Image.fromarray(draws.integers(0, 256, shape, np.uint8)))
    path.write_bytes(encoded(image, file_format, **options))
    return path


def both_readers(path, size, **geometry):
    graph = in_a_graph("test_image", (size, size, 3), **geometry)(path.read_bytes())
    return graph.numpy().astype(int), pillow_reader.read_images([path], size, **geometry)[0]


def test_pixels_that_are_not_resized_are_pillows(tmp_path):
    for kind in KINDS:
        for shape in ((33, 33), (33, 51)):  # as large as the network's, and with a crop
            path = write_kind(tmp_path / "image", shape, kind)
            found, expected = both_readers(path, 33, interpolation="bilinear")
            np.testing.assert_array_equal(found, expected, err_msg=kind)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resized_pixels_are_pillows_to_a_rounding(tmp_path, interpolation):
    for kind in KINDS:
        differences = []
        for shape in ((150, 101), (91, 203), (20, 27)):
            path = write_kind(tmp_path / "image", shape, kind)
            for size, resize in ((48, 57), (48, None), (96, 110)):
                geometry = {"resize": resize, "interpolation": interpolation}
                found, expected = both_readers(path, size, **geometry)
                differences.append(np.abs(found - expected).ravel())
        difference = np.concatenate(differences)
        # Bilinear weights often give a half, which is rounded up or down.
        assert difference.max() <= 1 and difference.mean() < 0.02, kind


@pytest.mark.parametrize("alpha", [False, True])
def test_animated_webp_is_left_to_pillow(alpha):
    frames = [Image.fromarray(pixels(16, 16, seed)) for seed in (1, 2)]
    if alpha:
        for frame in frames:
            frame.putalpha(128)
    data = encoded(frames[0], "WEBP", lossless=True, save_all=True, append_images=frames[1:])
    found = in_a_graph("test_image", (16, 16, 3))(data)
    np.testing.assert_array_equal(found, pixels(16, 16, 1))
    assert not reads_in_graph(data)
