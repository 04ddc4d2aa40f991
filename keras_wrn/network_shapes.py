"""Which network a set of weights is of: depth, width, block and classes, read off the shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_wrn import block_types
from keras_wrn.errors import InputError

Weights = dict[str, dict[str, np.ndarray]]  # layer -> name of a weight -> array, as Keras has it

# (convolutions of a block, blocks of each group) -> who builds it
_IMAGENET: dict[tuple[int, tuple[int, ...]], str] = {
    (2, (2, 2, 2, 2)): "WideResNet18",
    (2, (3, 4, 6, 3)): "WideResNet34",
    (3, (3, 4, 6, 3)): "WideResNet50_2",
    (3, (3, 4, 23, 3)): "WideResNet101_2",
}


@dataclass(frozen=True)
class Network:
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


def read_network(weights: Weights, source: str) -> Network:
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
    if "stem_bn" in weights or len(blocks) > len(block_types.GROUPS):
        builder, width = _imagenet(kernels, convolutions, blocks, source)
        return Network(builder, width | arguments, classes, channels)
    described = _small(kernels, convolutions, max(blocks.values()), source)
    return Network("WideResNet", described | arguments, classes, channels)


def _small(
    kernels: Mapping[str, tuple[int, ...]], convolutions: int, blocks: int, source: str
) -> dict[str, Any]:
    sizes = [_first(kernels, rf"group\d+_block\d+_conv{i}")[0] for i in range(1, convolutions + 1)]
    planes = _first(kernels, rf"group3_block\d+_conv{convolutions}")[-1]
    inner = _first(kernels, r"group3_block\d+_conv1")[-1]
    if any(size not in (1, 3) for size in sizes) or planes < block_types.GROUPS[-1][0] // 16:
        raise InputError(
            f"{source} must have blocks of 1x1 and 3x3 convolutions. Received: sizes {sizes}, "
            f"{planes} planes in the last group"
        )
    name = f"B({','.join(map(str, sizes))})"
    if tuple(sizes) == block_types.BOTTLENECK.kernels and planes != inner:
        name = block_types.BOTTLENECK.name
    block = block_types.parse_block(name)
    width = planes / block.expansion / block_types.GROUPS[-1][0]
    return {
        "depth": blocks * block.depth_step + block.unpaired,
        "width": int(width) if width == int(width) else width,
        "block": block.name,
    }


def _imagenet(
    kernels: Mapping[str, tuple[int, ...]],
    convolutions: int,
    blocks: Mapping[int, int],
    source: str,
) -> tuple[str, dict[str, Any]]:
    counts = tuple(blocks.get(group, 0) for group in range(1, max(blocks) + 1))
    width = _first(kernels, r"group1_block\d+_conv1")[-1] / block_types.IMAGENET_GROUPS[0][0]
    builder = _IMAGENET.get((convolutions, counts))
    # The width of the bottleneck networks is in their names, that of the others is free.
    if builder is None or (convolutions == 3 and width != 2):
        raise InputError(
            f"{source} must be a WRN-18, WRN-34, WRN-50-2 or WRN-101-2 with blocks of "
            f"{', '.join(str(blocks) for _, blocks in _IMAGENET)}. Received: blocks {counts} of "
            f"{convolutions} convolutions, width {width:g}"
        )
    return builder, {"width": width} if convolutions == 2 else {}


def _first(kernels: Mapping[str, tuple[int, ...]], pattern: str) -> tuple[int, ...]:
    """The shape of the first kernel whose layer is called so; zeros where there is none."""
    return next((kernels[name] for name in sorted(kernels) if re.fullmatch(pattern, name)), (0, 0))
