"""The name of the network that a model is, read off its layers."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.networks.blocks import BOTTLENECK, GROUPS, IMAGENET_GROUPS, PAPER, Block, parse_block
from keras_wrn.networks.names import IMAGENET_FORM

if TYPE_CHECKING:
    import keras

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
        is_model = hasattr(layer, "layers")
        inner = layers_by_name(layer) if is_model else {layer.name: layer}
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
    import keras

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


Weights = dict[str, dict[str, np.ndarray]]  # layer -> name of a weight -> array, as Keras has it
# (convolutions of a block, blocks of each group) -> who builds it
_IMAGENET_BUILDERS: dict[tuple[int, tuple[int, ...]], str] = {
    (2, (2, 2, 2, 2)): "WideResNet18",
    (2, (3, 4, 6, 3)): "WideResNet34",
    (3, (3, 4, 6, 3)): "WideResNet50_2",
    (3, (3, 4, 23, 3)): "WideResNet101_2",
}


@dataclass(frozen=True)
class Recognised:
    """What to build for a set of weights.

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
        """Depth and width, as the paper writes them: "WRN-28-10"."""
        depth = self.arguments.get("depth") or re.findall(r"\d+", self.builder)[0]
        return f"WRN-{depth}-{self.arguments.get('width', 2):g}"


def read_network(weights: Weights, source: str) -> Recognised:
    """Read off shapes what network they are of.

    Shapes that contradict each other are no matter here: the network is that of most of them,
    and who copies them into it finds what does not fit.

    Args:
        weights: arrays by the names of layers and weights; shapes alone count.
        source: where they come from, for messages.

    Returns:
        The network.

    Raises:
        InputError: it is none that this package builds.

    Example:
        >>> read_network(weights, "wrn.pth").arguments  # doctest: +SKIP
        {'depth': 28, 'width': 10, 'block': 'B(3,3)', 'classes': 10}
    """
    kernels = {layer: of["kernel"].shape for layer, of in weights.items() if "kernel" in of}
    places = [
        tuple(map(int, match.groups()))
        for match in (re.fullmatch(r"group(\d+)_block(\d+)_conv(\d+)", name) for name in kernels)
        if match
    ]
    if not places:
        raise InputError(f"{source} has no convolutions of residual blocks.")
    blocks: dict[int, int] = {}
    for group, block, _ in places:
        blocks[group] = max(block, blocks.get(group, 0))
    convolutions = max(i for _, _, i in places)
    stem = kernels.get("stem_conv", ())
    head = kernels.get("predictions", ())
    classes = head[-1] if head else None
    arguments = {} if classes is None else {"classes": int(classes)}
    channels = stem[2] if len(stem) == 4 else 3
    if "stem_bn" in weights or len(blocks) > len(GROUPS):
        builder, width = _read_imagenet(kernels, convolutions, blocks, source)
        return Recognised(builder, width | arguments, classes, channels)
    described = _read_small(kernels, convolutions, max(blocks.values()), source)
    return Recognised("WideResNet", described | arguments, classes, channels)


def _read_small(
    kernels: Mapping[str, tuple[int, ...]], convolutions: int, blocks: int, source: str
) -> dict[str, Any]:
    sizes = [_first(kernels, rf"group\d+_block\d+_conv{i}")[0] for i in range(1, convolutions + 1)]
    planes = _first(kernels, rf"group3_block\d+_conv{convolutions}")[-1]
    inner = _first(kernels, r"group3_block\d+_conv1")[-1]
    if any(size not in (1, 3) for size in sizes) or planes < GROUPS[-1][0] // 16:
        raise InputError(
            f"{source} must have blocks of 1x1 and 3x3 convolutions. Received: sizes {sizes}, "
            f"{planes} planes in the last group"
        )
    name = f"B({','.join(map(str, sizes))})"
    if tuple(sizes) == BOTTLENECK.kernels and planes != inner:
        name = BOTTLENECK.name
    block = parse_block(name)
    width = planes / block.expansion / GROUPS[-1][0]
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
    counts = tuple(blocks.get(group, 0) for group in range(1, max(blocks) + 1))
    width = _first(kernels, r"group1_block\d+_conv1")[-1] / IMAGENET_GROUPS[0][0]
    builder = _IMAGENET_BUILDERS.get((convolutions, counts))
    # The width of the bottleneck networks is in their names, that of the others is free.
    if builder is None or (convolutions == 3 and width != 2):
        raise InputError(
            f"{source} must be a WRN-18, WRN-34, WRN-50-2 or WRN-101-2 with blocks of "
            f"{', '.join(str(blocks) for _, blocks in _IMAGENET_BUILDERS)}. Received: "
            f"blocks {counts} of {convolutions} convolutions, width {width:g}"
        )
    return builder, {"width": width} if convolutions == 2 else {}


def _first(kernels: Mapping[str, tuple[int, ...]], pattern: str) -> tuple[int, ...]:
    """The shape of the first kernel whose layer is called so; zeros where there is none."""
    return next((kernels[name] for name in sorted(kernels) if re.fullmatch(pattern, name)), (0, 0))
