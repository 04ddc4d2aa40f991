"""Named feature maps of several scales, as one model."""

import keras
import numpy as np
import pytest
from model_parts import images, outputs

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import PREPROCESSING
from keras_wrn.inference.classifier import with_preprocessing
from keras_wrn.insight.features import features

NAMES = ("stem", "group1", "group2", "group3", "head", "pooled")


def values(model, x):
    return {name: keras.ops.convert_to_numpy(y) for name, y in model(x, training=False).items()}


def test_maps_are_those_of_the_layers():
    network = keras_wrn.WideResNet(16, 1)
    x = images(2, 32, 32, 3)
    found = values(features(network, NAMES), x)
    layers = ("stem_conv", "group1_block2_add", "group2_block2_add", "group3_block2_add")
    layers = (*layers, "head_relu", "avg_pool")
    shapes = [(32, 32, 16), (32, 32, 16), (16, 16, 32), (8, 8, 64), (8, 8, 64), (64,)]
    assert set(found) == set(NAMES)
    for name, layer, shape in zip(NAMES, layers, shapes, strict=True):
        expected = outputs(keras.Model(network.input, network.get_layer(layer).output), x)
        assert found[name].shape == (2, *shape)
        np.testing.assert_allclose(found[name], expected, atol=1e-5)


def test_a_model_around_the_network_gives_the_same():
    network = keras_wrn.WideResNet(10, 1)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    outer = features(with_preprocessing(network, PREPROCESSING["cifar10"]), ["group2", "pooled"])
    inner = features(network, ["group2", "pooled"])
    expected = values(inner, keras_wrn.preprocess_input(pixels, "cifar10"))
    for name, found in values(outer, pixels).items():
        np.testing.assert_allclose(found, expected[name], atol=1e-4)


def test_without_classifier_and_for_any_size():
    network = keras_wrn.WideResNet(10, 1, include_top=False)
    found = values(features(network, ["group3", "pooled"]), images(1, 24, 40, 3))
    assert found["group3"].shape == (1, 6, 10, 64)
    assert found["pooled"].shape == (1, 64)


def test_an_imagenet_group_ends_in_its_relu():
    network = keras_wrn.WideResNet18(0.25)
    model = features(network, ["stem", "group1", "group4", "pooled"])
    shapes = {name: y.shape[1:] for name, y in values(model, images(1, 224, 224, 3)).items()}
    assert shapes["stem"] == (56, 56, 64)
    assert shapes["group1"] == (56, 56, 16)
    assert shapes["group4"] == (7, 7, 128)
    assert shapes["pooled"] == (128,)
    found = values(features(network, ["group2"]), images(1, 224, 224, 3))["group2"]
    assert found.min() == 0


def test_weights_are_shared():
    network = keras_wrn.WideResNet(10, 1)
    model = features(network, ["stem"])
    network.get_layer("stem_conv").kernel.assign(np.zeros((3, 3, 3, 16), "float32"))
    assert not values(model, images(1, 32, 32, 3))["stem"].any()


@pytest.mark.filterwarnings("ignore")
def test_features_are_the_same_after_export_to_onnx(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    pytest.importorskip("tf2onnx", reason="needs tf2onnx")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras writes ONNX from TensorFlow by tf2onnx")
    model = features(keras_wrn.WideResNet(10, 1), ["group2", "group3", "pooled"])
    path = tmp_path / "features.onnx"
    x = images(3, 32, 32, 3)
    signature = [keras.InputSpec(dtype="float32", shape=model.input_shape, name="images")]
    model.export(path, format="onnx", verbose=False, input_signature=signature)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    exported = dict(zip(names, session.run(None, {session.get_inputs()[0].name: x})))
    for name, expected in values(model, x).items():
        np.testing.assert_allclose(exported[name], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["group4"], "must be of group1, group2, group3, head, pooled, stem.* Received: 'group4'"),
        ("group2", "must be a list"),
        ([], "must be a list"),
    ],
)
def test_what_there_is_not_is_refused(names, sentence):
    with pytest.raises(InputError, match=sentence):
        features(keras_wrn.WideResNet(10, 1), names)
