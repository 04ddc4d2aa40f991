import json
import struct
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image
from tiny_run import DIGITS, random_images, write_run

import keras_wrn
from keras_wrn.cli import main
from keras_wrn.errors import InputError
from keras_wrn.images import class_names
from keras_wrn.images.pillow_reader import read_images
from keras_wrn.images.preprocessing import PREPROCESSING, Preprocessing
from keras_wrn.inference.classifier import class_probabilities


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return keras_wrn.WideResNet(10, 1)


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def test_predictions_are_the_best_classes_in_order(model, tmp_path):
    images = random_images(3)
    paths = [save(tmp_path / f"{i}.png", image) for i, image in enumerate(images)]
    predictions = keras_wrn.predict(model, paths, DIGITS, top=3)
    probabilities = class_probabilities(model, images, DIGITS)
    for found, row in zip(predictions, probabilities, strict=True):
        best = np.argsort(-row)[:3]
        assert [index for index, _, _ in found] == list(best)
        assert [name for _, name, _ in found] == [str(index) for index in best]
        np.testing.assert_allclose([p for _, _, p in found], row[best], atol=1e-6)


def test_one_path_is_a_list_of_one_and_none_is_none(model, tmp_path):
    path = save(tmp_path / "a.png", random_images(1)[0])
    assert len(keras_wrn.predict(model, str(path), DIGITS)) == 1
    assert keras_wrn.predict(model, [], DIGITS) == []


def test_statistics_by_name_are_those_of_the_data_set(model, tmp_path):
    path = save(tmp_path / "a.png", random_images(1)[0])
    assert keras_wrn.predict(model, path, "digits") == keras_wrn.predict(model, path, DIGITS)
    with pytest.raises(InputError, match="`dataset` must be one of"):
        keras_wrn.predict(model, path, "digit")


def test_a_model_of_fewer_classes_names_all_of_them(tmp_path):
    path = save(tmp_path / "a.png", random_images(1)[0])
    three = Preprocessing((0.0,) * 3, (255.0,) * 3, 32, ("cat", "dog", "eel"))
    [found] = keras_wrn.predict(keras_wrn.WideResNet(10, 1, classes=3), path, three)
    assert sorted(name for _, name, _ in found) == ["cat", "dog", "eel"]
    assert sum(p for _, _, p in found) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("top", [0, -1, 2.5, True])
def test_top_must_be_a_number(model, top):
    with pytest.raises(InputError, match="`top` must be a whole number from 1"):
        keras_wrn.predict(model, "none.png", DIGITS, top=top)


def test_an_image_of_the_right_size_is_read_as_it_is(tmp_path):
    image = random_images(1)[0]
    found = read_images([save(tmp_path / "a.png", image), save(tmp_path / "b.bmp", image)], 32)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [image, image])


def test_the_square_in_the_middle_is_taken(tmp_path):
    for shape in [(32, 45), (45, 32)]:
        pixels = np.zeros((*shape, 3), np.uint8)
        top, left = ((length - 32) // 2 for length in shape)
        pixels[top : top + 32, left : left + 32] = square = random_images(1)[0]
        np.testing.assert_array_equal(
            read_images([save(tmp_path / "a.png", pixels)], 32)[0], square
        )


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("turned", [False, True])
def test_the_shorter_side_is_resized_and_the_middle_cut_out(tmp_path, interpolation, turned):
    """As torchvision and timm do: 50 x 70 to 32 x 44, then 25 x 25 from (4, 10) on."""
    pixels, sides, box = random_images(1, size=70)[0, :50], (44, 32), np.s_[4:29, 10:35]
    if turned:
        pixels, sides, box = np.ascontiguousarray(pixels.transpose(1, 0, 2)), sides[::-1], box[::-1]
    image = Image.fromarray(pixels).resize(sides, Image.Resampling[interpolation.upper()])
    # (32 - 25) / 2 = 3.5 and (44 - 25) / 2 = 9.5 are rounded to the even neighbour.
    path = save(tmp_path / "a.png", pixels)
    found = read_images([path], 25, resize=32, interpolation=interpolation)[0]
    np.testing.assert_array_equal(found, np.asarray(image)[box])


def test_predict_follows_the_preprocessing_of_the_weights(tmp_path, model):
    path = save(tmp_path / "a.png", random_images(1, size=60)[0])
    owners = replace(DIGITS, resize=40, interpolation="bicubic")
    cut = read_images([path], 32, resize=40, interpolation="bicubic")[0]
    expected = keras_wrn.predict(model, save(tmp_path / "b.png", cut), DIGITS, top=10)
    assert keras_wrn.predict(model, path, owners, top=10) == expected
    assert keras_wrn.predict(model, path, DIGITS, top=10) != expected


def test_names_that_cannot_be_had_are_told_before_the_network_runs(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network")

    class_names._imagenet_names.cache_clear()
    monkeypatch.setattr("keras.applications.imagenet_utils.decode_predictions", offline)
    nameless = PREPROCESSING["imagenet"]
    with pytest.raises(InputError, match="names of the ImageNet classes come from Keras"):
        keras_wrn.predict(None, save(tmp_path / "a.png", random_images(1)[0]), nameless)


def test_a_large_image_is_resized_with_antialiasing(tmp_path):
    # Stripes of one pixel: without antialiasing some pixel would stay black or white.
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    found = read_images([save(tmp_path / "a.png", stripes)], 32)[0]
    assert found.shape == (32, 32, 3)
    assert 120 <= found.min() <= found.max() <= 135


def test_exif_orientation_is_followed(tmp_path):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16] = 200  # the upper half is bright
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees clockwise to see it"
    found = read_images([save(tmp_path / "a.jpg", pixels, exif=exif, quality=95)], 32)[0]
    assert found[:, 20:].min() > 150
    assert found[:, :12].max() < 50


def test_other_kinds_of_image_become_rgb(tmp_path):
    grey = random_images(1)[0, ..., 0]
    as_rgb = np.repeat(grey[..., None], 3, axis=2)
    see_through = np.dstack([as_rgb, np.full((32, 32), 128, np.uint8)])
    palette = tmp_path / "palette.png"
    Image.fromarray(grey).convert("P").save(palette)
    sixteen_bit = tmp_path / "deep.png"
    Image.fromarray(grey.astype(np.uint16) * 257).save(sixteen_bit)
    paths = [save(tmp_path / "grey.png", grey), save(tmp_path / "rgba.png", see_through)]
    for found in read_images([*paths, palette, sixteen_bit], 32):
        np.testing.assert_array_equal(found, as_rgb)


def test_a_tiff_of_12_bits_is_as_bright_as_one_of_8(tmp_path):
    grey = random_images(1)[0, ..., 0]
    values = grey.astype(np.uint16).ravel() << 4
    pairs = values.reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1]])
    pixels = packed.T.astype(np.uint8).tobytes()
    tags = {256: 32, 257: 32, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 32, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = struct.pack("<2sHI", b"II", 42, 8 + len(pixels))
    tiff = head + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)
    (tmp_path / "deep.tif").write_bytes(tiff)
    found = read_images([tmp_path / "deep.tif"], 32)[0, ..., 0]
    np.testing.assert_array_equal(found, grey)


@pytest.mark.parametrize("tag", [{254: 1}, {50706: b"\1\4\0\0"}], ids=["preview", "DNG"])
def test_a_preview_of_a_raw_file_is_not_taken_for_the_photo(tmp_path, tag):
    image = Image.fromarray(random_images(1)[0])
    image.save(tmp_path / "a.nef", "TIFF", tiffinfo=tag)
    with pytest.raises(InputError, match="begins with a small preview, as raw files"):
        read_images([tmp_path / "a.nef"], 32)


def test_a_column_of_names_is_a_list_of_files(model, tmp_path):
    paths = [str(save(tmp_path / f"{i}.png", image)) for i, image in enumerate(random_images(2))]
    expected = keras_wrn.predict(model, paths, DIGITS)
    for names in (np.array(paths), np.array([tmp_path / "0.png", tmp_path / "1.png"], object)):
        assert keras_wrn.predict(model, names, DIGITS) == expected


def test_what_is_no_image_is_refused_by_name(model, tmp_path):
    text = tmp_path / "text.png"
    text.write_text("no pixels here")
    image = save(tmp_path / "image.png", random_images(1)[0])
    half = tmp_path / "half.png"
    half.write_bytes(image.read_bytes()[:1500])
    empty = tmp_path / "empty.jpg"
    empty.touch()
    for path in (text, half, empty):
        with pytest.raises(InputError, match=f"{path.name} cannot be read as an image: "):
            keras_wrn.predict(model, path, DIGITS)
    with pytest.raises(InputError, match=r"none\.png does not exist"):
        keras_wrn.predict(model, tmp_path / "none.png", DIGITS)
    with pytest.raises(InputError, match="is a folder"):
        keras_wrn.predict(model, tmp_path, DIGITS)


def test_arrays_and_pillow_images_are_read_as_files(model, tmp_path):
    images = random_images(2, size=50)
    paths = [save(tmp_path / f"{i}.png", image) for i, image in enumerate(images)]
    expected = keras_wrn.predict(model, paths, DIGITS)
    assert keras_wrn.predict(model, images, DIGITS) == expected
    # One image and two are other programs of XLA's, which round otherwise.
    for single in (images[0], Image.fromarray(images[0])):
        [classes] = keras_wrn.predict(model, single, DIGITS)
        assert [name for _, name, _ in classes] == [name for _, name, _ in expected[0]]
        probabilities = [[p for _, _, p in answer] for answer in (classes, expected[0])]
        np.testing.assert_allclose(*probabilities, rtol=1e-5)
    with Image.open(paths[0]) as opened:
        assert keras_wrn.predict(model, [opened, paths[1]], DIGITS) == expected


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            np.zeros((32, 32, 3), np.float32),
            r"uint8 array .*Received: float32 of shape \(32, 32, 3\)",
        ),
        (
            np.zeros((3, 32, 32), np.uint8),
            r"1, 3 or 4 channels\. Received: uint8 of shape \(3, 32,",
        ),
        (np.zeros((0, 5, 3), np.uint8), "has no pixels"),
        (7, "`paths` must be image files, Pillow images or uint8 arrays. Received: int"),
        ([None], "Image 0 must be a file.*Received: None"),
    ],
)
def test_what_is_no_image_gets_a_sentence(model, given, sentence):
    with pytest.raises(InputError, match=sentence):
        keras_wrn.predict(model, given, DIGITS)


def test_good_images_are_answered_and_bad_ones_listed(model, tmp_path):
    good = save(tmp_path / "good.png", random_images(1)[0])
    bad = tmp_path / "bad.png"
    bad.write_text("no pixels")
    with pytest.warns(UserWarning, match=r"2 of 3 images could not be read:\n.*bad\.png.*\n.*none"):
        found = keras_wrn.predict(model, [bad, good, tmp_path / "none.png"], DIGITS)
    assert found == [[], *keras_wrn.predict(model, good, DIGITS), []]
    with pytest.raises(InputError, match=r"2 of 2 images could not be read:\n.*bad"):
        keras_wrn.predict(model, [bad, bad], DIGITS)


def test_the_command_answers_the_good_ones_with_status_2(tmp_path, capsys):
    run = str(write_run(tmp_path / "run"))
    good = str(save(tmp_path / "good.png", random_images(1)[0]))
    bad = tmp_path / "bad.png"
    bad.write_text("no pixels")
    assert main.main(main.parse(["predict", run, str(bad), good])) == 2
    out, err = capsys.readouterr()
    assert good in out and "%" in out and "bad.png" not in out
    assert "1 of 2 images could not be read:" in err and "bad.png cannot be read" in err
    assert main.main(main.parse(["predict", run, str(bad), good, "--json"])) == 2
    first, second = json.loads(capsys.readouterr().out)
    assert first["predictions"] == [] and "bad.png cannot be read" in first["error"]
    assert len(second["predictions"]) == 5 and "error" not in second


def test_networks_of_one_channel_and_of_two_sides_read_files(tmp_path):
    grey = Preprocessing((100.0,), (50.0,), 32, DIGITS.class_names)
    wide = replace(DIGITS, resize=40)
    path = save(tmp_path / "a.png", random_images(1, size=70)[0])
    for shape, preprocessing, resize in (((32, 32, 1), grey, None), ((32, 64, 3), wide, 40)):
        network = keras_wrn.WideResNet(10, 1, input_shape=shape)
        pixels = read_images([path], shape[:2], channels=shape[2], resize=resize)
        assert pixels.shape == (1, *shape)
        probabilities = class_probabilities(network, pixels, preprocessing)
        [found] = keras_wrn.predict(network, path, preprocessing, top=10)
        best = [(index, pytest.approx(p, abs=1e-6)) for index, _, p in found]
        assert [(i, probabilities[0, i]) for i, _ in best] == best
