"""Recognise a network by its layers' names and the shapes of its kernels."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.networks.blocks import BOTTLENECK, GROUPS, IMAGENET_GROUPS, PAPER, parse_block
from keras_wrn.networks.names import architecture_name

if TYPE_CHECKING:
    import keras

Weights = dict[str, dict[str, np.ndarray]]  # layer -> variable -> array, in Keras' layout
# (convolutions of a block, blocks of each group) -> the function that builds it
_IMAGENET_BUILDERS: dict[tuple[int, tuple[int, ...]], str] = {
    (2, (2, 2, 2, 2)): "WideResNet18",
    (2, (3, 4, 6, 3)): "WideResNet34",
    (3, (3, 4, 6, 3)): "WideResNet50_2",
    (3, (3, 4, 23, 3)): "WideResNet101_2",
}


@dataclass(frozen=True)
class Recognised:
    """The network that a set of weights belongs to.

    Attributes:
        builder: the name of a function of keras_wrn.
        arguments: its arguments.
        classes: how many classes there are, or None without a classifier.
        channels: of the images.
    """

    builder: str
    arguments: dict[str, Any]
    classes: int | None
    channels: int

    @property
    def title(self) -> str:
        """The name in the literature: "WRN-28-10", "WRN-22-2-B(3,1,3)", "pre-ResNet-164"."""
        depth = self.arguments.get("depth") or re.findall(r"\d+", self.builder)[0]
        width, block = self.arguments.get("width", 2), self.arguments.get("block", "B(3,3)")
        if block == BOTTLENECK.name:
            return f"pre-ResNet-{depth}" + (f"x{width:g}" if width != 1 else "")
        return f"WRN-{depth}-{width:g}" + ("" if block == "B(3,3)" else f"-{block}")


def architecture(model: keras.Model) -> str:
    """Name a network. Networks of equal names compute the same with the same weights.

    Dropout, stochastic depth, classes and head do not change the name; nor does `model.name`.

    Args:
        model: a network of keras_wrn, or a model around one.

    Returns:
        The paper's label, such as "WRN-16-4", "WRN-40-2-B(3,1,3)", "pre-ResNet-164" or
        "WRN-50-2 (ImageNet)", followed by conventions that differ from the paper's.

    Raises:
        InputError: the model is no network of this package.

    Example:
        >>> architecture(keras_wrn.WideResNet16_4(dropout=0.3, classes=100))
        'WRN-16-4'
    """
    layers = layers_by_name(model)
    variables = {name: {v.name: v for v in layer.weights} for name, layer in layers.items()}
    network = read_network(variables, f"`model` ({model.name})")
    if network.builder != "WideResNet":
        return architecture_name(network.title, network.builder)
    differences = ", ".join(_differences(layers))
    return f"{network.title} with {differences}" if differences else network.title


def layers_by_name(model: keras.Model) -> dict[str, Any]:
    """The layers of a model and of the models inside it.

    Raises:
        InputError: two layers have one name.
    """
    found: dict[str, Any] = {}
    for layer in model.layers:
        is_model = hasattr(layer, "layers")
        inner = layers_by_name(layer) if is_model else {layer.name: layer}
        if twice := found.keys() & inner.keys():
            raise InputError(f"{model.name} has two layers that are named {min(twice)}.")
        found |= inner
    return found


def count_parameters(model: keras.Model) -> int:
    """Count the trainable parameters: the number that papers quote."""
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def _differences(layers: dict[str, Any]) -> list[str]:
    """The conventions that are not the paper's."""
    import keras

    found = []
    head = layers["head_relu"]
    if isinstance(head, keras.layers.LeakyReLU):
        found.append(f"leaky_relu({head.negative_slope:g})")
    elif (activation := keras.activations.serialize(head.activation)) != PAPER.activation:
        found.append(str(activation))
    for name, layer in layers.items():
        # Only the strided convolution of a block has a padding layer.
        if name.startswith("group2_block1_pad") and layer.padding[0] != PAPER.strided_padding:
            found.append(f"padding {layer.padding[0]}")
        strided = re.fullmatch(r"group2_block1_conv(\d+)", name)
        if strided and strided[1] != "1" and max(layer.strides) > 1:
            found.append(f"stride in conv{strided[1]}")
    raw = [group for group in (1, 2, 3) if _projects_raw(layers, group)]
    if raw:
        # A group of as many planes as the one before it has no projection.
        is_late = 1 not in raw and "group1_block1_proj" in layers
        found.append("raw shortcut after group 1" if is_late else "raw shortcut")
    if raw and f"group{raw[-1]}_block1_bn1" not in layers:
        found.append("raw branch")
    if layers["stem_conv"].use_bias:
        found.append("biases")
    if layers["head_bn"].epsilon != PAPER.bn_epsilon:
        found.append(f"epsilon {layers['head_bn'].epsilon:g}")
    return found


def _projects_raw(layers: dict[str, Any], group: int) -> bool:
    """Whether the projection of a group takes the raw input."""
    projection = layers.get(f"group{group}_block1_proj")
    if projection is None:
        return False
    # Keras keeps one tensor object for one output.
    activation = layers.get(f"group{group}_block1_relu1")
    return activation is None or projection.input is not activation.output


def conventions_of(model: keras.Model) -> str | None:
    """Describe in what a model differs from the paper's conventions.

    Args:
        model: any model.

    Returns:
        Such as "silu, padding (0, 1)"; "" if in nothing; None if it is no `WideResNet`.

    Example:
        >>> conventions_of(keras_wrn.WideResNet16_4())
        ''
    """
    try:
        layers = layers_by_name(model)
    except InputError:
        return None
    if "head_relu" not in layers or "head_bn" not in layers or "stem_conv" not in layers:
        return None
    return ", ".join(_differences(layers))


def read_network(weights: Mapping[str, Mapping[str, Any]], source: str) -> Recognised:
    """Recognise the network that weights belong to.

    Shapes may contradict each other here; whoever copies the weights finds what does not fit.

    Args:
        weights: arrays or variables by the names of layers and variables; only shapes are read.
        source: where they come from, for messages.

    Returns:
        The network.

    Raises:
        InputError: this package builds no such network.

    Example:
        >>> read_network(weights, "wrn.pth").arguments  # doctest: +SKIP
        {'depth': 28, 'width': 10, 'block': 'B(3,3)', 'classes': 10}
    """
    kernels = {name: layer["kernel"].shape for name, layer in weights.items() if "kernel" in layer}
    matches = (re.fullmatch(r"group(\d+)_block(\d+)_conv(\d+)", name) for name in kernels)
    places = [tuple(map(int, match.groups())) for match in matches if match]
    if not places:
        raise InputError(f"{source} is no Wide ResNet: it has no convolutions of residual blocks.")
    blocks: dict[int, int] = {}
    for group, block, _ in places:
        blocks[group] = max(block, blocks.get(group, 0))
    convolutions = max(number for _, _, number in places)
    stem = kernels.get("stem_conv", ())
    head = kernels.get("predictions", ())
    classes = int(head[-1]) if head else None
    if "stem_bn" in weights or len(blocks) > len(GROUPS):
        builder, arguments = _read_imagenet(kernels, convolutions, blocks, source)
    else:
        builder = "WideResNet"
        arguments = _read_small(kernels, convolutions, max(blocks.values()), source)
    if classes is not None:
        arguments["classes"] = classes
    return Recognised(builder, arguments, classes, stem[2] if len(stem) == 4 else 3)


def _read_small(
    kernels: Mapping[str, tuple[int, ...]], convolutions: int, blocks: int, source: str
) -> dict[str, Any]:
    """The arguments of `WideResNet`."""
    sizes = [_first(kernels, rf"group\d+_block\d+_conv{i}")[0] for i in range(1, convolutions + 1)]
    planes = _first(kernels, rf"group3_block\d+_conv{convolutions}")[-1]
    inner = _first(kernels, r"group3_block\d+_conv1")[-1]
    if any(size not in (1, 3) for size in sizes) or planes < GROUPS[-1][0] // 16:
        raise InputError(
            f"{source} must have blocks of 1x1 and 3x3 convolutions. Received: sizes {sizes}, "
            f"{planes} planes in the last group"
        )
    is_bottleneck = tuple(sizes) == BOTTLENECK.kernels and planes != inner
    block = BOTTLENECK if is_bottleneck else parse_block(sizes)
    width = _width(planes // block.expansion, GROUPS[-1][0])
    return {
        "depth": blocks * block.depth_step + block.unpaired,
        "width": int(width) if width == int(width) else width,
        "block": block.name,
    }


def _read_imagenet(
    kernels: Mapping[str, tuple[int, ...]],
    convolutions: int,
    blocks: Mapping[int, int],
    source: str,
) -> tuple[str, dict[str, Any]]:
    """The builder of an ImageNet network and its arguments."""
    counts = tuple(blocks.get(group, 0) for group in range(1, max(blocks) + 1))
    width = _width(_first(kernels, r"group4_block\d+_conv1")[-1], IMAGENET_GROUPS[-1][0])
    builder = _IMAGENET_BUILDERS.get((convolutions, counts))
    # The names of the bottleneck networks say their width; that of the others is free.
    if builder is None or (convolutions == 3 and width != 2):
        raise InputError(
            f"{source} must be a WRN-18, WRN-34, WRN-50-2 or WRN-101-2 with blocks of "
            f"{', '.join(str(blocks) for _, blocks in _IMAGENET_BUILDERS)}. Received: "
            f"blocks {counts} of {convolutions} convolutions, width {width:g}"
        )
    return builder, {"width": width} if convolutions == 2 else {}


def _width(planes: int, base: int) -> float:
    """The shortest widening factor that makes `planes` of `base` planes."""
    for digits in range(6):
        width = math.ceil(planes / base * 10**digits) / 10**digits
        if int(base * width) == planes:
            return width
    return planes / base


def _first(kernels: Mapping[str, tuple[int, ...]], pattern: str) -> tuple[int, ...]:
    """The shape of the first kernel whose layer has such a name; zeros if there is none."""
    return next((kernels[name] for name in sorted(kernels) if re.fullmatch(pattern, name)), (0, 0))
