"""The networks for small images: their layers, their order and their initial weights."""

import itertools
import json
import math

import keras
import numpy as np
import pytest
from golden.make_layer_names import GOLDEN, NETWORKS, layers_of
from model_parts import images, layers, source
from quick_weights import give_random_weights, zero_kernels  # noqa: F401 - a fixture

from keras_wrn.applications.wide_resnet import WideResNet
from keras_wrn.networks.blocks import parse_block

# Layers


@pytest.mark.usefixtures("zero_kernels")
@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_those_of_the_golden_file(name):
    golden = json.loads(GOLDEN.read_text())[name]
    assert list(layers_of(NETWORKS[name]()).items()) == list(golden.items())


def test_the_golden_file_has_its_networks():
    assert list(json.loads(GOLDEN.read_text())) == list(NETWORKS)


@pytest.mark.usefixtures("zero_kernels")
def test_names_depend_on_position_only():
    plain = WideResNet(16, 1)
    other = WideResNet(22, 4, dropout=0.3, classes=7, input_shape=(8, 8, 4), name="other")
    assert set(layers_of(plain)) < set(layers_of(other))


@pytest.mark.usefixtures("zero_kernels")
def test_default_names():
    assert WideResNet(28, 10).name == "wide_resnet28_10"
    assert WideResNet(10, 1.5).name == "wide_resnet10_1.5"
    assert WideResNet(22, 2, "B(3,1,3)").name == "wide_resnet22_2_b313"
    assert WideResNet(20, 1, "bottleneck").name == "wide_resnet20_1_bottleneck"
    assert WideResNet(10, 1, name="mine").name == "mine"


@pytest.mark.parametrize("spelling", ["B(3,1,3)", " B( 3, 1 ,3 ) ", (3, 1, 3), [3, 1, 3]])
def test_blocks_are_spelled_in_several_ways(spelling):
    assert parse_block(spelling).name == "B(3,1,3)"


@pytest.mark.usefixtures("zero_kernels")
def test_every_layer_is_of_keras():
    model = WideResNet(16, 2, dropout=0.3, stochastic_depth=0.5)
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}


@pytest.mark.usefixtures("zero_kernels")
def test_projections_take_the_activated_input_where_planes_change():
    def projections(model):
        found = [layer for layer in model.layers if layer.name.endswith("_proj")]
        return {layer.name: (source(layer), layer.strides) for layer in found}

    thin = {
        "group2_block1_proj": ("group2_block1_relu1", (2, 2)),
        "group3_block1_proj": ("group3_block1_relu1", (2, 2)),
    }
    first = {"group1_block1_proj": ("group1_block1_relu1", (1, 1))}
    assert projections(WideResNet(16, 1)) == thin
    assert projections(WideResNet(16, 2)) == thin | first
    # A bottleneck of width 1/4 has 16 planes at the end of group 1, as the stem has.
    assert projections(WideResNet(20, 0.25, "bottleneck")) == thin


@pytest.mark.usefixtures("zero_kernels")
def test_the_stride_is_on_the_first_convolution_of_a_group():
    for block in ("B(3,3)", "B(1,3,1)", "bottleneck"):
        model = WideResNet(16, 1, block, blocks_per_group=2)
        strided = {
            layer.name for layer in layers(model, keras.layers.Conv2D) if layer.strides[0] > 1
        }
        assert strided == {f"group{g}_block1_{n}" for g in (2, 3) for n in ("conv1", "proj")}


@pytest.mark.usefixtures("zero_kernels")
def test_sizes_of_the_groups_are_those_of_table_1():
    model = WideResNet(16, 10)
    shapes = [model.get_layer(f"group{g}_block2_add").output.shape[1:] for g in (1, 2, 3)]
    assert shapes == [(32, 32, 160), (16, 16, 320), (8, 8, 640)]
    assert model.get_layer("stem_conv").output.shape[1:] == (32, 32, 16)


@pytest.mark.usefixtures("zero_kernels")
def test_dropout_stands_before_every_convolution_but_the_first():
    model = WideResNet(13, 1, "B(3,1,3)", dropout=0.3)
    drops = layers(model, keras.layers.Dropout)
    assert len(drops) == 3 * 2
    for drop in drops:
        block, i = drop.name.rsplit("_drop", 1)
        assert source(drop) == f"{block}_relu{i}"
        assert source(model.get_layer(f"{block}_conv{i}")) == drop.name
        assert drop.rate == 0.3
    assert not layers(WideResNet(13, 1, "B(3,1,3)"), keras.layers.Dropout)


@pytest.mark.usefixtures("zero_kernels")
def test_dropout_acts_in_training_only():
    model = WideResNet(10, 1, dropout=0.25)
    give_random_weights(model)
    before, after = (model.get_layer(f"group1_block1_{n}").output for n in ("relu2", "drop2"))
    pair = keras.Model(model.inputs[0], [before, after])
    x = images(4, 32, 32, 3)
    relu, drop = (keras.ops.convert_to_numpy(y) for y in pair(x, training=False))
    np.testing.assert_array_equal(relu, drop)
    relu, drop = (keras.ops.convert_to_numpy(y) for y in pair(x, training=True))
    alive = relu > 0
    np.testing.assert_allclose(drop[drop > 0], relu[drop > 0] / 0.75, rtol=1e-5)
    assert (drop[alive] == 0).mean() == pytest.approx(0.25, abs=0.02)


@pytest.mark.usefixtures("zero_kernels")
def test_stochastic_depth_grows_linearly_to_the_last_block():
    model = WideResNet(16, 1, stochastic_depth=0.5)
    rates = [
        model.get_layer(f"group{g}_block{b}_depth_drop").rate for g in (1, 2, 3) for b in (1, 2)
    ]
    assert rates == pytest.approx([0.5 * i / 6 for i in range(1, 7)])


@pytest.mark.usefixtures("zero_kernels")
def test_stochastic_depth_drops_the_branch_of_an_image_as_a_whole():
    rate, count = 0.4, 500
    model = WideResNet(10, 1, stochastic_depth=rate, input_shape=(8, 8, 3))
    give_random_weights(model)
    last = model.get_layer("group3_block1_depth_drop")
    assert source(last) == "group3_block1_conv2"
    added = model.get_layer("group3_block1_add").input
    assert [x._keras_history.operation.name for x in added] == ["group3_block1_proj", last.name]
    branch = keras.Model(model.inputs[0], [last.input, last.output])
    given, dropped = (
        keras.ops.convert_to_numpy(y) for y in branch(images(count, 8, 8, 3), training=True)
    )
    assert (np.abs(given).max(axis=(1, 2, 3)) > 0).all()
    whole = (dropped == 0).all(axis=(1, 2, 3))
    np.testing.assert_allclose(dropped[~whole], given[~whole] / (1 - rate), rtol=1e-5)
    # Five standard deviations of a binomial: a right layer fails once in two million seeds.
    assert whole.mean() == pytest.approx(rate, abs=5 * math.sqrt(rate * (1 - rate) / count))


# Initial weights


@pytest.fixture(scope="module")
def fresh():
    keras.utils.set_random_seed(2)
    return WideResNet(16, 4)


def weights(layer):
    # A tensor first: NumPy 2 warns of Keras' variables.
    return [keras.ops.convert_to_numpy(weight + 0.0) for weight in layer.weights]


def test_kernels_are_he_normal_over_the_fan_in_and_not_truncated(fresh):
    for layer in layers(fresh, keras.layers.Conv2D):
        (kernel,) = weights(layer)  # no bias
        sigma = math.sqrt(2 / math.prod(kernel.shape[:3]))
        # The standard error of a deviation estimated from n numbers is 1/sqrt(2n) of it.
        assert kernel.std() == pytest.approx(sigma, rel=5 / math.sqrt(2 * kernel.size))
        assert abs(kernel.mean()) < 5 * sigma / math.sqrt(kernel.size)
        if kernel.size > 100_000:  # a truncated one ends at 2.27 sigma
            assert np.abs(kernel).max() > 4 * sigma


def test_kernels_of_one_shape_differ(fresh):
    kernels = [weights(layer)[0] for layer in layers(fresh, keras.layers.Conv2D)]
    pairs = [(a, b) for a, b in itertools.combinations(kernels, 2) if a.shape == b.shape]
    assert len(pairs) >= 3
    assert all(np.abs(a - b).max() > 0 for a, b in pairs)


def test_the_classifier_starts_uniform_and_without_bias(fresh):
    kernel, bias = weights(fresh.get_layer("predictions"))
    bound = 1 / math.sqrt(256)
    assert 0.98 * bound < np.abs(kernel).max() <= bound
    assert kernel.std() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert not bias.any()


def test_batch_normalisation_is_torchs(fresh):
    for layer in layers(fresh, keras.layers.BatchNormalization):
        assert (layer.epsilon, layer.momentum, layer.axis) == (1e-5, 0.9, -1)
        for value, start in zip(weights(layer), (1, 0, 0, 1), strict=True):
            assert (value == start).all()
