import io
import os
import resource
from concurrent import futures
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from tiny_run import DIGITS, random_images

import keras_wrn
from keras_wrn.deploy import saved_model, serving_files, serving_graph
from keras_wrn.errors import InputError
from keras_wrn.images import class_names
from keras_wrn.images.pillow_reader import read_images
from keras_wrn.images.preprocessing import PREPROCESSING, Preprocessing, normalization
from keras_wrn.inference import classifier
from keras_wrn.insight import outputs
from keras_wrn.insight.features import features

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
    assert {"serving_default", "serving_bytes", "features"} <= set(signatures)


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
        "logits": tf.float32,
        "class_index": tf.int64,
    }
    assert {k: v.dtype for k, v in encoded_signature.structured_outputs.items()} == {
        "probabilities": tf.float32,
        "logits": tf.float32,
        "valid": tf.int32,
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
    monkeypatch.setattr(saved_model, "write_version", lambda _, target, complete: target.mkdir())
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

    monkeypatch.setattr(serving_graph, "archive_of", lambda *_, **__: Archive())
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
def test_a_damaged_image_is_marked_and_leaves_the_others_alone(served, model):
    import tensorflow as tf

    images = random_images(2)
    expected = classifier.class_probabilities(model, images, DIGITS)
    good, last = (encoded(image) for image in images)
    palette, animated = io.BytesIO(), io.BytesIO()
    Image.fromarray(images[0]).quantize(200).save(palette, "BMP")
    Image.fromarray(images[0]).save(
        animated, "WEBP", save_all=True, append_images=[Image.fromarray(images[1])]
    )
    bad = [palette.getvalue(), animated.getvalue(), good[:-30], b"no image", b""]
    answer = served[1]["serving_bytes"](image_bytes=tf.constant([good, *bad, last]))
    assert answer["valid"].numpy().tolist() == [1, 0, 0, 0, 0, 0, 1]
    np.testing.assert_allclose(answer["probabilities"].numpy()[[0, -1]], expected, atol=1e-6)
    np.testing.assert_allclose(answer["probabilities"][1:-1], 0.1)
    assert not answer["logits"].numpy()[1:-1].any()


@needs_tensorflow
def test_features_and_logits_are_those_of_the_network(served, model):
    import tensorflow as tf

    images = random_images(3)
    expected = outputs.read(outputs.open_reader(model, DIGITS), images)
    answer = served[1]["features"](images=tf.constant(images))
    assert set(answer) == {"features", "logits", "probabilities"}
    np.testing.assert_allclose(answer["features"], expected.features, atol=1e-5)
    np.testing.assert_allclose(answer["logits"], expected.logits, atol=1e-5)


@pytest.fixture(scope="module")
def batched(model, tmp_path_factory):
    """An export with everything that is off by default."""
    tf = pytest.importorskip("tensorflow")
    target = keras_wrn.export(
        model,
        tmp_path_factory.mktemp("batched"),
        DIGITS,
        temperature=0.5,
        batching=True,
        feature_maps=True,
    )
    return target, tf.saved_model.load(str(target)).signatures


@needs_tensorflow
def test_requests_meet_in_the_batcher_and_get_their_own_answers(batched, served):
    import tensorflow as tf

    requests = [random_images(count) for count in (1, 2, 70, 0, 1, 3)]

    def ask(images):
        images = images.reshape(-1, 32, 32, 3)
        return batched[1]["serving_default"](images=tf.constant(images))["logits"].numpy()

    with futures.ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(ask, requests))
    for images, answer in zip(requests, answers, strict=True):
        expected = served[1]["serving_default"](images=tf.constant(images.reshape(-1, 32, 32, 3)))
        np.testing.assert_allclose(answer, expected["logits"], atol=1e-5)
    graph = Path(batched[0], "saved_model.pb").read_bytes()
    assert b"BatchFunction" in graph
    assert b"BatchFunction" not in Path(served[0], "saved_model.pb").read_bytes()


@needs_tensorflow
def test_maps_come_on_request_and_the_temperature_divides_the_logits(batched, model):
    import tensorflow as tf

    images = random_images(2)
    answer = batched[1]["features"](images=tf.constant(images))
    network = features(model, ["group2", "group3"])
    expected = network(normalization(DIGITS)(images), training=False)
    for name in ("group2", "group3"):
        np.testing.assert_allclose(answer[name], expected[name], atol=1e-5)
    scaled = tf.nn.softmax(answer["logits"] / 0.5)
    np.testing.assert_allclose(answer["probabilities"], scaled, atol=1e-6)
    assert "temperature 0.5" in Path(batched[0], "serving.md").read_text()


@needs_tensorflow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_logits_are_exported_as_probabilities_whatever_the_precision(policy, tmp_path):
    import tensorflow as tf

    keras.config.set_dtype_policy(policy)
    logits = keras_wrn.WideResNet(10, 1, classifier_activation=None)
    target = keras_wrn.export(logits, tmp_path, DIGITS)
    keras.config.set_dtype_policy("float32")
    images = random_images(2)
    found = tf.saved_model.load(str(target)).signatures["serving_default"](
        images=tf.constant(images)
    )
    np.testing.assert_allclose(found["probabilities"].numpy().sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(found["probabilities"], tf.nn.softmax(found["logits"]))
    twin = keras_wrn.WideResNet(10, 1)
    twin.set_weights(logits.get_weights())
    expected = classifier.class_probabilities(twin, images, DIGITS)
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)


@needs_tensorflow
def test_an_ensemble_is_exported(model, tmp_path):
    import tensorflow as tf

    images, both = random_images(2), keras_wrn.ensemble([model, keras_wrn.WideResNet(10, 1)])
    target = keras_wrn.export(both, tmp_path, DIGITS)
    found = tf.saved_model.load(str(target)).signatures["features"](images=tf.constant(images))
    expected = outputs.read(outputs.open_reader(both, DIGITS), images)
    np.testing.assert_allclose(found["logits"], expected.logits, atol=1e-5)
    assert found["features"].shape == (2, 128)
    with pytest.raises(InputError, match="Feature maps are of one network"):
        keras_wrn.export(both, tmp_path, DIGITS, version=2, feature_maps=True)


@needs_tensorflow
def test_what_stands_beside_the_graph(served):
    import tensorflow as tf

    folder = served[0]
    assert (folder / "labels.txt").read_text().split() == [str(i) for i in range(10)]
    guide = (folder / "serving.md").read_text()
    assert tf.__version__ in guide and "| takes | `image_bytes` | string | (n) |" in guide
    pytest.importorskip("tensorflow_serving")
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    asked = {}
    records = tf.data.TFRecordDataset(str(folder / "assets.extra/tf_serving_warmup_requests"))
    for record in records.as_numpy_iterator():
        request = PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        name = request.model_spec.signature_name
        asked[name] = served[1][name](**{key: tf.constant(value) for key, value in inputs.items()})
    assert set(asked) == {"serving_default", "serving_bytes", "features"}
    assert asked["serving_bytes"]["valid"].numpy().tolist() == [1]


@needs_tensorflow
def test_a_graph_that_answers_otherwise_is_not_written(model, tmp_path, monkeypatch):
    monkeypatch.setattr(serving_files, "softmax", lambda logits: 0 * logits)
    with pytest.raises(InputError, match="differ from Keras' by .*; at most 0.001 is allowed"):
        keras_wrn.export(model, tmp_path / "new", DIGITS)
    assert os.listdir(tmp_path) == []


@needs_tensorflow
@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf")])
def test_a_temperature_without_sense_is_refused(model, tmp_path, temperature):
    with pytest.raises(InputError, match="`temperature` must be a number above 0"):
        keras_wrn.export(model, tmp_path / "new", DIGITS, temperature=temperature)


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
