"""Every network of the paper's tables, by name and by its number of parameters."""

import inspect
import math

import keras
import pytest

from keras_wrn import applications
from keras_wrn.applications.wide_resnet import WideResNet
from keras_wrn.errors import InputError
from keras_wrn.networks.names import NETWORKS

# (depth, width): trainable parameters with 100 classes (None where no such count is published),
# millions of multiply-adds. First Table 4, then others of the paper and the field. With 10 classes
# the parameters are those of NETWORKS.
BASIC = {
    (40, 1): (569_780, 83.3),
    (40, 2): (2_255_156, 327.6),
    (40, 4): (8_972_340, 1298.6),
    (40, 8): (35_794_484, 5172.0),
    (28, 10): (36_536_884, 5243.3),
    (28, 12): (52_587_060, 7543.9),
    (22, 8): (17_204_276, 2454.1),
    (22, 10): (26_855_604, 3827.8),
    (16, 8): (11_007_540, 1548.2),
    (16, 10): (17_174_324, 2412.2),
    (28, 2): (1_479_220, None),
    (28, 8): (23_401_012, None),
    (16, 1): (180_916, None),
    (16, 2): (703_284, None),
    (16, 4): (2_772_020, None),
    (22, 2): (None, None),
    (40, 10): (55_899_444, None),
    (52, 1): (764_212, None),
    (34, 10): (None, None),
    (34, 20): (None, None),
    (28, 20): (None, None),
    (40, 14): (None, None),
    (70, 16): (None, None),
}
# Without a name, WideResNet(28, 8) builds them; trainable parameters with 10 classes.
UNNAMED = {
    (28, 8): 23_354_842,
    (34, 20): 184_531_674,
    (28, 20): 145_815_514,
    (40, 14): 109_416_410,
    (70, 16): 266_796_506,
}

# Table 2: the depth is a label there; N is what gives the paper's parameters. Depth, N,
# parameters, convolutions.
TABLE_2 = {
    "B(1,3,1)": (40, 6, 1_429_082, 58),
    "B(3,1)": (40, 6, 1_211_354, 40),
    "B(1,3)": (40, 6, 1_297_370, 40),
    "B(3,1,1)": (40, 6, 1_343_066, 58),
    "B(3,3)": (28, 4, 1_467_610, 28),
    "B(3,1,3)": (22, 3, 1_145_498, 31),
}

# Tables 7 and 8: thousand millions of multiply-adds.
IMAGENET = {
    "18-1": 1.81,
    "18-1.5": 3.87,
    "18-2": 6.7,
    "18-3": 14.72,
    "34-1": 3.66,
    "34-1.5": 8.03,
    "34-2": 14.09,
    "50-2": 11.4,
    "101-2": 22.75,
}


def built(build, *arguments, **options):
    """A network whose weights have shapes and no values: nothing is drawn, nothing is compiled."""
    with keras.StatelessScope(initialize_variables=False):
        return build(*arguments, **options)


def count(model):
    """Trainable parameters: the number that papers quote."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def multiply_adds(model):
    """Multiply-adds of one image in convolutions and the classifier: the tables' MACs."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            total += math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
    return total


def named(depth, width):
    return getattr(applications, f"WideResNet{depth}_{width}")


@pytest.mark.parametrize(("depth", "width"), BASIC, ids=str)
def test_parameters_of_table_4_and_beside_it(depth, width):
    is_named = (depth, width) not in UNNAMED
    build = named(depth, width) if is_named else WideResNet
    arguments = () if is_named else (depth, width)
    ten = NETWORKS[f"{depth}-{width}"].parameters if is_named else UNNAMED[depth, width]
    hundred, millions = BASIC[depth, width]
    model = built(build, *arguments)
    assert count(model) == ten
    if millions is not None:
        assert multiply_adds(model) / 1e6 == pytest.approx(millions, rel=3e-3)
    assert model.name == f"wide_resnet{depth}_{width}"
    assert model.output_shape == (None, 10)
    if hundred is not None:
        assert hundred - ten == 90 * (64 * width + 1)  # the classifier's
        if depth == 16:
            del model
            assert count(built(build, *arguments, classes=100)) == hundred


@pytest.mark.parametrize("block", TABLE_2)
def test_parameters_of_table_2(block):
    depth, blocks, parameters, convolutions = TABLE_2[block]
    model = built(WideResNet, depth, 2, block, blocks_per_group=blocks)
    assert count(model) == parameters
    kinds = [isinstance(layer, keras.layers.Conv2D) for layer in model.layers]
    assert sum(kinds) == convolutions


@pytest.mark.parametrize("block", ["B(3)", "B(3,3)", "B(3,3,3)", "B(3,3,3,3)"])
def test_the_four_blocks_of_table_3_have_the_same_parameters(block):
    assert count(built(WideResNet, 40, 2, block)) == 2_243_546


def test_count_params_is_another_number():
    model = built(applications.WideResNet28_10)
    assert count(model) == 36_479_194
    assert model.count_params() == 36_497_146  # with the statistics of batch normalisation


@pytest.mark.parametrize("key", IMAGENET)
def test_parameters_of_tables_7_and_8(key):
    network = NETWORKS[key]
    model = built(applications.BUILDERS[network.builder], **dict(network.arguments))
    assert count(model) == network.parameters
    assert multiply_adds(model) / 1e9 == pytest.approx(IMAGENET[key], rel=3e-3)
    assert (model.input_shape, model.output_shape) == ((None, 224, 224, 3), (None, 1000))


def test_parameters_of_34_3():
    """Of Table 7, which has no figure for it."""
    assert count(built(applications.WideResNet34, 3.0)) == 192_712_872


def test_pre_activation_resnet_164_is_cloned_and_serialised():
    model = built(applications.PreActResNet164)
    assert count(model) == NETWORKS["pre-ResNet-164"].parameters
    again = built(keras.models.model_from_json, built(keras.models.clone_model, model).to_json())
    assert count(again) == NETWORKS["pre-ResNet-164"].parameters
    names, ours = ([layer.name for layer in each.layers[1:]] for each in (again, model))
    assert names == ours


@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() == "jax", reason="Keras maps a graph alike on every backend"
)
def test_pre_activation_resnet_1001_is_not_too_deep_for_python():
    model = built(applications.PreActResNet1001)
    assert count(model) == NETWORKS["pre-ResNet-1001"].parameters
    again = keras.Model(model.input, model.output)  # as a clone does, and the reader of a file
    assert len(again.layers) == len(model.layers) > 3000


def test_every_named_network_is_in_a_table():
    keys = {f"{depth}-{width}" for depth, width in BASIC.keys() - UNNAMED.keys()}
    keys |= IMAGENET.keys() | {"pre-ResNet-164", "pre-ResNet-1001"}
    assert keys == NETWORKS.keys()
    assert len(keys) == 29
    builders = {network.builder for network in NETWORKS.values()}
    assert applications.BUILDERS.keys() - {"WideResNet"} == builders


@pytest.mark.parametrize(("depth", "width"), sorted(BASIC.keys() - UNNAMED.keys()))
def test_descriptions_tell_the_parameters(depth, width):
    description = named(depth, width).__doc__
    parameters = NETWORKS[f"{depth}-{width}"].parameters
    assert description.startswith(f"WRN-{depth}-{width}, {parameters:,} trainable")


def test_arguments_are_those_of_keras_applications():
    theirs = list(inspect.signature(keras.applications.ResNet50V2).parameters)
    ours = list(inspect.signature(WideResNet).parameters)
    assert [name for name in ours if name in theirs] == theirs


def test_named_networks_pass_their_options_on():
    options = {"include_top": False, "input_shape": (16, 16, 4), "pooling": "avg"}
    model = built(applications.WideResNet16_2, **options, dropout=0.3, name="mine")
    assert (model.input_shape, model.output_shape) == ((None, 16, 16, 4), (None, 128))
    assert model.get_layer("group3_block2_drop2").rate == 0.3
    assert model.name == "mine"
    with pytest.raises(InputError, match="Received: pooling='sum'"):
        applications.WideResNet16_1(pooling="sum")
