"""The name of the network that a model is, read off its layers."""

import math
import re
from collections import defaultdict
from typing import Any

import keras

from keras_wrn.block_types import BOTTLENECK, GROUPS, IMAGENET_GROUPS, PAPER, Block
from keras_wrn.errors import InputError
from keras_wrn.networks import IMAGENET_FORM

_CONVOLUTION = re.compile(r"group(\d+)_block(\d+)_conv(\d+)")


def architecture(model: keras.Model) -> str:
    """Name a network such that equal names take each other's weights, and compute the same.

    Depth, width and block are read off the layers, not off `model.name`. Dropout, stochastic
    depth, classes and the head do not matter. What is not as in the paper is said.

    Args:
        model: a network of keras_wrn, or a model around one.

    Returns:
        The paper's label, such as "WRN-16-4", "WRN-40-2-B(3,1,3)", "pre-ResNet-164" or
        "WRN-50-2 (ImageNet)", with what the conventions change after it.

    Raises:
        InputError: the model is no network of this package.

    Example:
        >>> architecture(keras_wrn.WideResNet16_4(dropout=0.3, classes=100))
        'WRN-16-4'
    """
    layers = layers_by_name(model)
    groups: dict[int, dict[int, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for name, layer in layers.items():
        if match := _CONVOLUTION.fullmatch(name):
            groups[int(match[1])][int(match[2])].append(layer)
    names = {len(GROUPS): _small, len(IMAGENET_GROUPS): _imagenet}
    if sorted(groups) != list(range(1, len(groups) + 1)) or len(groups) not in names:
        raise InputError(
            f"`model` must be a network of keras_wrn. Received: {model.name}, whose layers have "
            f"{len(groups)} groups of blocks by their names."
        )
    return names[len(groups)](layers, groups)


def layers_by_name(model: keras.Model) -> dict[str, Any]:
    """The layers of a model and of the models inside it.

    Raises:
        InputError: two layers have one name, so that a name does not say which is meant.
    """
    found: dict[str, Any] = {}
    for layer in model.layers:
        inner = layers_by_name(layer) if isinstance(layer, keras.Model) else {layer.name: layer}
        if twice := found.keys() & inner.keys():
            raise InputError(f"{model.name} has two layers that are named {min(twice)}.")
        found |= inner
    return found


def _small(layers: dict[str, Any], groups: dict[int, dict[int, list[Any]]]) -> str:
    """The name of one of the networks of Table 1."""
    convolutions = groups[1][1]
    kernels = tuple(layer.kernel_size[0] for layer in convolutions)
    expanded = kernels == BOTTLENECK.kernels and convolutions[-1].filters > convolutions[0].filters
    block = BOTTLENECK if expanded else Block(f"B({','.join(map(str, kernels))})", kernels)
    depth = len(groups[1]) * block.depth_step + block.unpaired
    width = _width(groups[3][1][0].filters, GROUPS[-1][0])
    if block is BOTTLENECK:
        name = f"pre-ResNet-{depth}" + (f"x{width:g}" if width != 1 else "")
    else:
        name = f"WRN-{depth}-{width:g}" + ("" if kernels == (3, 3) else f"-{block.name}")
    differences = ", ".join(_differences(layers, groups))
    return f"{name} with {differences}" if differences else name


def _imagenet(layers: dict[str, Any], groups: dict[int, dict[int, list[Any]]]) -> str:
    """The name of one of the networks of Tables 7 and 8."""
    depth = 2 + sum(len(block) for group in groups.values() for block in group.values())
    width = _width(groups[4][1][0].filters, IMAGENET_GROUPS[-1][0])
    return f"WRN-{depth}-{width:g}{IMAGENET_FORM}"


def _width(planes: int, base: int) -> float:
    """The shortest widening factor that leaves so many of `base` planes."""
    for digits in range(6):
        width = math.ceil(planes / base * 10**digits) / 10**digits
        if int(base * width) == planes:
            return width
    return planes / base


def _differences(layers: dict[str, Any], groups: dict[int, dict[int, list[Any]]]) -> list[str]:
    """What is not as the paper's conventions have it."""
    found = []
    activation = keras.activations.serialize(layers["head_relu"].activation)
    if activation != PAPER.activation:
        found.append(str(activation))
    number = next((i for i, conv in enumerate(groups[2][1], 1) if conv.strides[0] > 1), 1)
    padding = layers.get(f"group2_block1_pad{number}")
    if padding is not None and padding.padding[0] != PAPER.strided_padding:
        found.append(f"padding {padding.padding[0]}")
    projection = layers.get("group2_block1_proj")
    # Tensors of one graph are the same objects; the activated one is what relu1 gives.
    activated = layers["group2_block1_relu1"].output
    if projection is not None and projection.input is not activated:
        found.append("raw shortcut")
    if layers["head_bn"].epsilon != PAPER.bn_epsilon:
        found.append(f"epsilon {layers['head_bn'].epsilon:g}")
    return found
