import keras
import pytest
from quick_weights import zero_kernels  # noqa: F401 - a fixture

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.networks.blocks import Conventions
from keras_wrn.networks.names import architecture_name, find_network
from keras_wrn.networks.recognition import architecture
from keras_wrn.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("zero_kernels")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"depth": 16, "width": 1}, "WRN-16-1"),
        ({"depth": 10, "width": 1.3}, "WRN-10-1.3"),
        ({"depth": 10, "width": 0.5}, "WRN-10-0.5"),
        ({"depth": 13, "width": 2, "block": "B(1,3,1)"}, "WRN-13-2-B(1,3,1)"),
        ({"depth": 20, "width": 1, "block": "bottleneck"}, "pre-ResNet-20"),
        ({"depth": 11, "width": 2, "block": "bottleneck"}, "pre-ResNet-11x2"),
        # Table 2 calls it WRN-40-2; the depth is a label only where N is given.
        ({"depth": 40, "width": 2, "block": "B(3)", "blocks_per_group": 2}, "WRN-10-2-B(3)"),
        ({"depth": 10, "width": 1, "dropout": 0.3, "stochastic_depth": 0.2}, "WRN-10-1"),
        ({"depth": 10, "width": 1, "include_top": False, "name": "x"}, "WRN-10-1"),
        ({"depth": 10, "width": 1, "classes": 3, "input_shape": (8, 8, 1)}, "WRN-10-1"),
        ({"conventions": Conventions(activation="silu")}, "WRN-10-1 with silu"),
        ({"conventions": Conventions(strided_padding=(0, 1))}, "WRN-10-1 with padding (0, 1)"),
        (
            {"conventions": Conventions(projection_input="raw", bn_epsilon=1e-3)},
            "WRN-10-1 with raw shortcut, epsilon 0.001",
        ),
        ({"conventions": Conventions(bn_momentum=0.99)}, "WRN-10-1"),
    ],
)
def test_names_are_read_off_the_layers(arguments, name):
    model = keras_wrn.WideResNet(**{"depth": 10, "width": 1} | arguments)
    assert architecture(model) == name
    assert architecture(keras.models.clone_model(model)) == name


@pytest.mark.parametrize("name", ["16-2", "28-2", "18-1.5"])
def test_names_are_those_of_the_command_line_and_of_recipes(name):
    title, network = find_network(name)
    builder = network.pop("builder")
    model = getattr(keras_wrn, builder)(**network, include_top=False)
    assert architecture(model) == architecture_name(title, builder)
    assert title == Recipe(depth=int(name[:2]), width=float(name[3:])).network_name


def test_the_imagenet_form_has_a_name_of_its_own():
    both = keras_wrn.WideResNet34(0.25, include_top=False), keras_wrn.WideResNet(34, 0.25)
    assert [architecture(model) for model in both] == ["WRN-34-0.25 (ImageNet)", "WRN-34-0.25"]


def test_a_model_around_a_network_has_its_name():
    model = keras.Sequential([keras.layers.Rescaling(1 / 255), keras_wrn.WideResNet(10, 1)])
    assert architecture(model) == "WRN-10-1"
    one, other = (keras_wrn.WideResNet(10, 1, include_top=False, name=name) for name in "ab")
    images = keras.Input((32, 32, 3))
    with pytest.raises(InputError, match="two layers that are named"):
        architecture(keras.Model(images, [one(images), other(images)]))


def test_another_model_is_refused():
    dense = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    with pytest.raises(InputError, match="is no Wide ResNet: it has no convolutions"):
        architecture(dense)
