"""The networks for ImageNet: their layers and their arguments."""

import math

import keras
import numpy as np
import pytest
from model_parts import layers, source
from quick_weights import zero_kernels  # noqa: F401 - a fixture

from keras_wrn.applications.wide_resnet_imagenet import (
    WideResNet18,
    WideResNet34,
    WideResNet50_2,
    WideResNet101_2,
)
from keras_wrn.errors import InputError

pytestmark = pytest.mark.usefixtures("zero_kernels")


@pytest.fixture(scope="module")
def bottlenecks():
    """WRN-50-2, whose weights have shapes and no values."""
    with keras.StatelessScope(initialize_variables=False):
        return WideResNet50_2()


def test_the_stem_stays_64_wide(bottlenecks):
    for model in (WideResNet18(2), bottlenecks):
        stem = model.get_layer("stem_conv")
        assert (stem.filters, stem.kernel_size, stem.strides) == (64, (7, 7), (2, 2))
        assert stem.output.shape == (None, 112, 112, 64)
        assert model.get_layer("stem_pool").output.shape == (None, 56, 56, 64)


def test_sizes_of_the_groups(bottlenecks):
    def shapes(model, last):
        return [
            model.get_layer(f"group{g}_block{b}_add").output.shape[1:]
            for g, b in enumerate(last, start=1)
        ]

    sides = (56, 28, 14, 7)
    assert shapes(WideResNet18(1.5), (2, 2, 2, 2)) == [
        (side, side, planes) for side, planes in zip(sides, (96, 192, 384, 768), strict=True)
    ]
    # The inner planes of a bottleneck are widened, its output is not.
    assert shapes(bottlenecks, (3, 4, 6, 3)) == [
        (side, side, planes) for side, planes in zip(sides, (256, 512, 1024, 2048), strict=True)
    ]
    inner = [bottlenecks.get_layer(f"group{g}_block1_conv2").filters for g in (1, 2, 3, 4)]
    assert inner == [128, 256, 512, 1024]


@pytest.mark.parametrize(
    ("build", "blocks"),
    [
        (WideResNet18, (2, 2, 2, 2)),
        (WideResNet34, (3, 4, 6, 3)),
        (WideResNet50_2, (3, 4, 6, 3)),
        (WideResNet101_2, (3, 4, 23, 3)),
    ],
)
def test_blocks_in_each_group(build, blocks):
    with keras.StatelessScope(initialize_variables=False):
        names = {layer.name for layer in build(include_top=False).layers}
    for group, number in enumerate(blocks, start=1):
        assert f"group{group}_block{number}_add" in names
        assert f"group{group}_block{number + 1}_add" not in names


def test_the_stride_is_in_the_first_3x3_and_padded_on_both_sides(bottlenecks):
    for model, conv in ((WideResNet18(1), "conv1"), (bottlenecks, "conv2")):
        strided = {
            layer.name for layer in layers(model, keras.layers.Conv2D) if layer.strides[0] > 1
        }
        groups = {f"group{g}_block1_{n}" for g in (2, 3, 4) for n in (conv, "proj")}
        assert strided == groups | {"stem_conv"}
        for group in (2, 3, 4):
            pad = model.get_layer(source(model.get_layer(f"group{group}_block1_{conv}")))
            assert pad.padding == ((1, 1), (1, 1))


def test_projections_have_batch_normalisation_and_stand_where_planes_change(bottlenecks):
    def projections(model):
        return {layer.name for layer in model.layers if layer.name.endswith("_proj")}

    strided = {f"group{g}_block1_proj" for g in (2, 3, 4)}
    assert projections(WideResNet18(1)) == strided
    assert projections(WideResNet18(2)) == strided | {"group1_block1_proj"}
    assert projections(bottlenecks) == strided | {"group1_block1_proj"}
    for name in projections(bottlenecks):
        assert source(bottlenecks.get_layer(name + "_bn")) == name


def test_blocks_are_post_activation(bottlenecks):
    model = bottlenecks
    for i, after in ((1, "conv1"), (2, "conv2"), (3, "conv3")):
        assert source(model.get_layer(f"group1_block2_bn{i}")) == f"group1_block2_{after}"
    assert source(model.get_layer("group1_block2_relu1")) == "group1_block2_bn1"
    assert source(model.get_layer("group1_block2_relu3")) == "group1_block2_add"
    added = model.get_layer("group1_block2_add").input
    assert [x._keras_history.operation.name for x in added] == [
        "group1_block1_relu3",
        "group1_block2_bn3",
    ]


def test_constants_are_torchs():
    model = WideResNet18(1)
    for layer in layers(model, keras.layers.BatchNormalization):
        assert (layer.epsilon, layer.momentum, layer.axis) == (1e-5, 0.9, -1)
    assert not any(layer.use_bias for layer in layers(model, keras.layers.Conv2D))
    assert not layers(model, keras.layers.Dropout)
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}


def test_arguments_of_keras_applications():
    features = WideResNet18(include_top=False)
    assert features.input_shape == (None, None, None, 3)
    assert features.output_shape == (None, None, None, 512)
    for pooling in ("avg", "max"):
        pooled = WideResNet18(include_top=False, pooling=pooling, input_shape=(32, 45, 3))
        assert pooled.output_shape == (None, 512)
        assert pooled.layers[-1].name == f"{pooling}_pool"
    for channels in (1, 4):
        model = WideResNet18(1, input_shape=(64, 64, channels), classes=7)
        assert model.output_shape == (None, 7)
        assert model.get_layer("stem_conv").kernel.shape == (7, 7, channels, 64)
    assert WideResNet18(classifier_activation=None).layers[-1].activation is (
        keras.activations.linear
    )
    pixels = keras.Input((64, 64, 3), name="pixels")
    model = WideResNet18(input_tensor=keras.layers.Rescaling(2.0)(pixels))
    assert model.input is pixels


def test_default_names(bottlenecks):
    assert WideResNet18(1).name == "wide_resnet18_1"
    assert WideResNet34(0.25).name == "wide_resnet34_0.25"
    assert bottlenecks.name == "wide_resnet50_2"
    assert WideResNet18(1, name="mine").name == "mine"


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="in test_frame on all backends")
def test_mixed_precision_ends_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = WideResNet18(0.25, input_shape=(32, 32, 3), classes=5)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    probabilities = keras.ops.convert_to_numpy(model(np.ones((2, 32, 32, 3), np.float32)))
    assert probabilities.dtype == "float32"
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"width": 0}, "1/64 or more.* Received: width=0"),
        ({"width": -2}, "Received: width=-2"),
        ({"width": math.nan}, "Received: width=nan"),
        ({"width": math.inf}, "Received: width=inf"),
        ({"width": "2"}, "Received: width='2'"),
        ({"width": None}, "Received: width=None"),
        ({"pooling": "sum"}, "Received: pooling='sum'"),
        ({"classes": 0}, "Received: classes=0"),
        ({"input_shape": (31, 64, 3)}, r"at least 32x32 pixels\. Received"),
        ({"input_shape": (64, 64)}, "three numbers. Received"),
        ({"weights": "imagenet", "input_shape": (64, 64, 1)}, "3 channels. Received"),
        ({"weights": "imagenet", "classifier_activation": "relu"}, "None or 'softmax'. Received"),
        ({"classifier_activation": "softmx"}, "Received: classifier_activation='softmx'"),
    ],
    ids=str,
)
def test_mistakes_are_answered_in_a_sentence(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        WideResNet18(**({"width": 1} | arguments))
