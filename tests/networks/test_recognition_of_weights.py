"""Depth, width, block and classes are read off the shapes of weights."""

import foreign_networks as foreign
import numpy as np
import pytest
from quick_weights import zero_kernels  # noqa: F401 - a fixture

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.networks.recognition import read_network

pytestmark = pytest.mark.usefixtures("zero_kernels")


@pytest.mark.parametrize(
    ("shapes", "builder", "arguments"),
    [
        (
            foreign.network_shapes(28, 10),
            "WideResNet",
            {"depth": 28, "width": 10, "block": "B(3,3)", "classes": 10},
        ),
        (
            foreign.network_shapes(40, 1.5, classes=43, channels=1),
            "WideResNet",
            {"depth": 40, "width": 1.5, "block": "B(3,3)", "classes": 43},
        ),
        (
            foreign.imagenet_shapes((3, 4, 23, 3), 128, 256, 1000),
            "WideResNet101_2",
            {"classes": 1000},
        ),
        (
            foreign.imagenet_shapes((2, 2, 2, 2), 96, 96, 1000),
            "WideResNet18",
            {"width": 1.5, "classes": 1000},
        ),
    ],
    ids=["28-10", "40-1.5", "101-2", "18-1.5"],
)
def test_the_network_is_read_off_the_shapes(shapes, builder, arguments):
    network = read_network(hollow(shapes), "a.pth")
    assert (network.builder, network.arguments) == (builder, arguments)
    assert network.channels == shapes["stem_conv"][0][2]


@pytest.mark.parametrize("options", [
    {"depth": 20, "width": 1, "block": "bottleneck"},
    {"depth": 13, "width": 2, "block": "B(1,3,1)"},
    {"depth": 10, "width": 1, "block": "B(3)"},
    {"depth": 10, "width": 1.3},
])  # fmt: skip
def test_every_small_network_is_known_by_its_shapes(options):
    model = keras_wrn.WideResNet(**options)
    weights = {
        layer.name: {v.name: np.broadcast_to(0, v.shape) for v in layer.weights}
        for layer in model.layers
    }
    found = read_network(weights, "a.pth")
    again = keras_wrn.WideResNet(**found.arguments)
    assert [v.shape for v in again.weights] == [v.shape for v in model.weights]
    assert found.arguments["block"] == options.get("block", "B(3,3)")


def hollow(shapes):
    """Arrays of these shapes that take no memory."""
    return {
        layer: {name: np.broadcast_to(np.float32(0), shape) for name, shape in zip(names, of)}
        for layer, of in shapes.items()
        for names in [("kernel", "bias") if len(of) < 4 else ("gamma", "beta", "mean", "variance")]
    }


@pytest.mark.parametrize(
    ("shapes", "match"),
    [
        (foreign.imagenet_shapes((3, 4, 6, 3), 64, 256), r"blocks \(3, 4, 6, 3\) of 3.*width 1"),
        (foreign.imagenet_shapes((3, 8, 36, 3), 128, 256), r"blocks \(3, 8, 36, 3\) of 3"),
        ({"stem_conv": [(3, 3, 3, 16)]}, "is no Wide ResNet: it has no convolutions"),
        ({"group1_block1_conv1": [(5, 5, 16, 16)]}, r"blocks of 1x1 and 3x3.*Received: sizes \[5"),
    ],
    ids=["resnet50", "resnet152", "stem alone", "5x5"],
)
def test_other_networks_are_refused(shapes, match):
    with pytest.raises(InputError, match=match):
        read_network(hollow(shapes), "a.pth")
