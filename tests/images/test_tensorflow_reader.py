"""ImageNet's crops: drawn as the authors draw them, resized as Pillow resizes."""

import io

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="tf.data needs TensorFlow")

from image_folders import pixels, save
from PIL import Image

from keras_wrn.images import pillow_reader, tensorflow_reader


def encoded(image, kind, **options):
    memory = io.BytesIO()
    image.save(memory, format=kind, **options)
    return memory.getvalue()


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
    for i in range(5):
        found = tensorflow_reader.training_image(tf.constant(data), [3, i], 32).numpy()
        top, left, high, wide = tensorflow_reader.random_box(90, 120, [3, i]).numpy()
        part = Image.open(io.BytesIO(data)).crop((left, top, left + wide, top + high))
        expected = np.asarray(part.resize((32, 32), Image.Resampling.BICUBIC), np.float64)
        assert np.abs(found - expected).mean() < 1


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "JPEG"])
def test_other_formats_and_grey_images_come_out_rgb(kind):
    grey = Image.fromarray(pixels(40, 50, 2)).convert("L")
    data = tf.constant(encoded(grey, kind))
    for found in (
        tensorflow_reader.training_image(data, [1, 1], 16).numpy(),
        tensorflow_reader.test_image(data, 16, None).numpy(),
    ):
        assert found.shape == (16, 16, 3) and found.dtype == np.uint8
        np.testing.assert_array_equal(found[..., 0], found[..., 2])


def test_cmyk_comes_out_rgb():
    """Some of ImageNet's JPEGs are in the four colours of print."""
    image = Image.new("CMYK", (40, 40), (10, 200, 30, 20))
    data = encoded(image, "JPEG", quality=95)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float64)[0, 0]
    for found in (
        tensorflow_reader.test_image(tf.constant(data), 16, None),
        tensorflow_reader.training_image(tf.constant(data), [1, 1], 16),
    ):
        assert np.abs(found.numpy() - expected).max() < 4


@pytest.mark.parametrize("progressive", [False, True])
def test_half_a_jpeg_is_found_though_its_preview_is_whole(progressive):
    preview = encoded(Image.fromarray(pixels(16, 16, 1)), "JPEG")
    exif = b"Exif\0\0" + b"II*\0\x08\0\0\0" + b"\0" * 6 + preview
    image = Image.fromarray(pixels(40, 40, 2))
    whole = encoded(image, "JPEG", exif=exif, progressive=progressive)
    for data in (whole, whole + np.random.default_rng(1).bytes(100_000)):
        assert tensorflow_reader.checked(tf.constant(data), "a.jpg").numpy() == data
    for cut in (len(whole) - 2, len(whole) - 200):
        with pytest.raises(tf.errors.InvalidArgumentError, match="only half there"):
            tensorflow_reader.checked(tf.constant(whole[:cut]), "a.jpg")


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP"])
def test_half_of_another_format_is_found(kind):
    whole = encoded(Image.fromarray(pixels(40, 50, 2)), kind)
    assert tensorflow_reader.checked(tf.constant(whole), "a").numpy() == whole
    for cut in (len(whole) - 1, len(whole) - 9, len(whole) // 2, 9, 3, 0):
        with pytest.raises(tf.errors.InvalidArgumentError, match="only half there"):
            tensorflow_reader.checked(tf.constant(whole[:cut]), "a")


def test_a_png_may_have_other_bytes_after_its_end():
    data = encoded(Image.fromarray(pixels(40, 50, 2)), "PNG") + b"\xff\x00more"
    assert tensorflow_reader.checked(tf.constant(data), "a.png").numpy() == data
    assert tensorflow_reader.test_image(tf.constant(data), 16, None).shape == (16, 16, 3)


@pytest.mark.parametrize(("size", "resize"), [(48, 56), (48, None), (96, 110)])
@pytest.mark.parametrize("shape", [(150, 101), (90, 203), (64, 64)])
def test_validation_images_are_pillows_to_less_than_a_level(tmp_path, shape, size, resize):
    save(tmp_path / "1.jpg", Image.fromarray(pixels(*shape, 5)), quality=95)
    found = tensorflow_reader.test_image(
        tf.constant((tmp_path / "1.jpg").read_bytes()), size, resize
    ).numpy()
    expected = pillow_reader.read_images(
        [tmp_path / "1.jpg"], size, resize=resize, interpolation=tensorflow_reader.INTERPOLATION
    )[0]
    difference = np.abs(found.astype(float) - expected)
    assert difference.mean() < 0.5 and difference.max() <= 4
