import io
import os
import resource
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image
from tiny_run import DIGITS, random_images

import keras_wrn
from keras_wrn.deploy import saved_model
from keras_wrn.errors import InputError
from keras_wrn.images import class_names
from keras_wrn.images.pillow_reader import read_images
from keras_wrn.images.preprocessing import PREPROCESSING, Preprocessing
from keras_wrn.inference import classifier

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
needs_tensorflow = pytest.mark.skipif(not ON_TENSORFLOW, reason="SavedModel needs TensorFlow")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return keras_wrn.WideResNet(10, 1)


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    tf = pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("served") / "deep" / "digits"
    target = keras_wrn.export(model, folder, "digits")
    assert target == folder / "1"
    return target, tf.saved_model.load(str(target)).signatures


def encoded(pixels, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@needs_tensorflow
def test_the_layout_is_what_tensorflow_serving_watches(served):
    target, signatures = served
    assert (target / "saved_model.pb").is_file()
    assert (target / "variables" / "variables.index").is_file()
    assert os.listdir(target.parent) == ["1"]
    assert target.stat().st_mode & 0o777 == target.parent.stat().st_mode & 0o777
    assert {"serving_default", "serving_bytes"} <= set(signatures)


@needs_tensorflow
def test_inputs_and_outputs_are_named(served):
    import tensorflow as tf

    _, signatures = served
    default, encoded_signature = signatures["serving_default"], signatures["serving_bytes"]
    [[_, images]] = [default.structured_input_signature]
    assert images["images"].dtype == tf.uint8
    assert images["images"].shape.as_list() == [None, 32, 32, 3]
    [[_, strings]] = [encoded_signature.structured_input_signature]
    assert strings["image_bytes"].dtype == tf.string
    assert strings["image_bytes"].shape.as_list() == [None]
    assert {k: v.dtype for k, v in default.structured_outputs.items()} == {
        "probabilities": tf.float32,
        "class_index": tf.int64,
    }
    assert {k: v.dtype for k, v in encoded_signature.structured_outputs.items()} == {
        "probabilities": tf.float32,
        "top5_scores": tf.float32,
        "top5_classes": tf.int64,
        "top5_labels": tf.string,
    }


@needs_tensorflow
def test_served_probabilities_are_the_evaluated_ones(served, model):
    import tensorflow as tf

    images = random_images(5)
    expected = classifier.class_probabilities(model, images, DIGITS)
    answer = served[1]["serving_default"](images=tf.constant(images))
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)
    np.testing.assert_array_equal(answer["class_index"], expected.argmax(axis=1))


@needs_tensorflow
def test_encoded_images_are_answered_as_their_pixels(served, model):
    import tensorflow as tf

    images = random_images(4)
    expected = classifier.class_probabilities(model, images, DIGITS)
    strings = tf.constant([encoded(image) for image in images])
    answer = served[1]["serving_bytes"](image_bytes=strings)
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)
    best = np.argsort(-expected, axis=1)[:, :5]
    np.testing.assert_array_equal(answer["top5_classes"], best)
    np.testing.assert_allclose(
        answer["top5_scores"], np.take_along_axis(expected, best, 1), atol=1e-6
    )
    assert answer["top5_labels"].numpy().astype(str).tolist() == best.astype(str).tolist()


@needs_tensorflow
def test_other_sizes_and_kinds_are_read_as_predict_reads_them(served, model, tmp_path):
    import tensorflow as tf

    y, x = np.mgrid[0:90, 0:131]
    smooth = np.dstack([x * 255 // 130, y * 255 // 89, (x + y) % 256]).astype(np.uint8)
    grey = random_images(1)[0, ..., 0]
    files = {"a.jpg": encoded(smooth, "JPEG", quality=95), "b.png": encoded(smooth)}
    files |= {"c.png": encoded(grey), "d.bmp": encoded(smooth[:50], "BMP")}
    files["e.webp"] = encoded(np.dstack([smooth, smooth[..., 0]]), "WEBP")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    pixels = read_images([tmp_path / name for name in files], 32)
    expected = classifier.class_probabilities(model, pixels, DIGITS)
    answer = served[1]["serving_bytes"](image_bytes=tf.constant(list(files.values())))
    np.testing.assert_allclose(answer["probabilities"], expected, atol=5e-4)


@needs_tensorflow
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resize_and_crop_are_those_of_the_weights(model, tmp_path, interpolation):
    import tensorflow as tf

    owners = replace(DIGITS, resize=37, interpolation=interpolation)
    target = keras_wrn.export(model, tmp_path / "served", owners)
    y, x = np.mgrid[0:90, 0:131]
    smooth = np.dstack([x * 255 // 130, y * 255 // 89, (x + y) % 256]).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(encoded(smooth))
    pixels = read_images([tmp_path / "a.png"], 32, resize=37, interpolation=interpolation)
    expected = classifier.class_probabilities(model, pixels, owners)
    signature = tf.saved_model.load(str(target)).signatures["serving_bytes"]
    answer = signature(image_bytes=tf.constant([encoded(smooth)]))
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-4)
    other = classifier.class_probabilities(model, read_images([tmp_path / "a.png"], 32), owners)
    assert np.abs(other - expected).max() > 2e-3


@needs_tensorflow
def test_bytes_that_are_no_image_are_refused(served):
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"image_bytes\[0\] is not a whole"):
        served[1]["serving_bytes"](image_bytes=tf.constant([b"no image"]))


@needs_tensorflow
def test_three_classes_without_names_have_a_top_three(tmp_path):
    import tensorflow as tf

    nameless = Preprocessing((0.0,) * 3, (255.0,) * 3, 32, ())
    target = keras_wrn.export(keras_wrn.WideResNet(10, 1, classes=3), tmp_path, nameless)
    signatures = tf.saved_model.load(str(target)).signatures
    answer = signatures["serving_bytes"](image_bytes=tf.constant([encoded(random_images(1)[0])]))
    assert answer["top5_scores"].shape == (1, 3)
    assert sorted(answer["top5_labels"].numpy()[0]) == [b"0", b"1", b"2"]


def test_imagenets_labels_are_keras_names_or_numbers(monkeypatch, capsys):
    nameless = PREPROCESSING["imagenet"]
    monkeypatch.setattr(class_names, "_imagenet_names", lambda: ("tench", "goldfish"))
    assert saved_model._labels(nameless, 2) == ["tench", "goldfish"]
    assert saved_model._labels(nameless, 3) == ["0", "1", "2"]

    def offline():
        raise InputError("No network.")

    monkeypatch.setattr(class_names, "_imagenet_names", offline)
    assert saved_model._labels(nameless, 2) == ["0", "1"]
    assert capsys.readouterr().out == "The labels are numbers. No network.\n"


@needs_tensorflow
@pytest.mark.parametrize("version", [0, -1, 1.5, True, "2"])
def test_a_version_that_is_none_is_refused(model, tmp_path, version):
    with pytest.raises(InputError, match="`version` must be a whole number from 1"):
        keras_wrn.export(model, tmp_path / "new", DIGITS, version=version)
    assert not (tmp_path / "new").exists()


@needs_tensorflow
def test_a_version_that_exists_is_refused_and_the_next_one_is_found(model, tmp_path, monkeypatch):
    class Archive:
        def write_out(self, path, verbose):
            os.mkdir(path)

    monkeypatch.setattr(saved_model, "_archive", lambda *_: Archive())
    (tmp_path / "7").mkdir()
    (tmp_path / "notes").mkdir()
    with pytest.raises(InputError, match="version=7, which .* has. Next free: 8"):
        keras_wrn.export(model, tmp_path, DIGITS, version=7)
    assert keras_wrn.export(model, tmp_path, DIGITS, version=None) == tmp_path / "8"
    assert keras_wrn.export(model, tmp_path, DIGITS, version=3) == tmp_path / "3"
    assert sorted(os.listdir(tmp_path)) == ["3", "7", "8", "notes"]


@needs_tensorflow
def test_a_disk_that_takes_no_more_leaves_nothing(model, tmp_path):
    (tmp_path / "old").mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        for folder in (tmp_path / "new" / "model", tmp_path / "old"):
            with pytest.raises(OSError, match="could not be written|too large"):
                keras_wrn.export(model, folder, DIGITS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == ["old"]
    assert os.listdir(tmp_path / "old") == []


@needs_tensorflow
def test_an_interrupted_export_leaves_nothing(model, tmp_path, monkeypatch):
    class Archive:
        def write_out(self, path, verbose):
            os.mkdir(path)
            raise KeyboardInterrupt

    monkeypatch.setattr(saved_model, "_archive", lambda *_: Archive())
    with pytest.raises(KeyboardInterrupt):
        keras_wrn.export(model, tmp_path / "new", DIGITS)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(ON_TENSORFLOW, reason="for the other backends")
def test_without_tensorflow_it_is_said_so(model, tmp_path):
    with pytest.raises(InputError, match=r"TensorFlow only: pip install 'keras-wide-resnet\[tf-"):
        keras_wrn.export(model, tmp_path / "new", DIGITS)
    assert os.listdir(tmp_path) == []


@needs_tensorflow
def test_a_batch_of_no_images_has_no_rows(served):
    import tensorflow as tf

    answer = served[1]["serving_default"](images=tf.zeros((0, 32, 32, 3), tf.uint8))
    assert answer["probabilities"].shape == (0, 10) and answer["class_index"].shape == (0,)
    answer = served[1]["serving_bytes"](image_bytes=tf.zeros((0,), tf.string))
    assert answer["probabilities"].shape == (0, 10) and answer["top5_labels"].shape == (0, 5)


@needs_tensorflow
def test_an_image_that_cannot_be_read_is_named_by_its_place(served):
    import tensorflow as tf

    good = encoded(random_images(1)[0])
    palette = io.BytesIO()
    Image.fromarray(random_images(1)[0]).quantize(200).save(palette, "BMP")
    for bad in (palette.getvalue(), good[:-30], b""):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"image_bytes\[1\] is not a whole JPEG"
        ):
            served[1]["serving_bytes"](image_bytes=tf.constant([good, bad]))


@needs_tensorflow
def test_a_photo_is_turned_upright(served, model, tmp_path):
    import tensorflow as tf

    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(random_images(1, size=32)[0], "JPEG", exif=exif, quality=95)
    (tmp_path / "a.jpg").write_bytes(data)
    expected = classifier.class_probabilities(model, read_images([tmp_path / "a.jpg"], 32), DIGITS)
    answer = served[1]["serving_bytes"](image_bytes=tf.constant([data]))
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)
