"""Read residual blocks off the graph of any functional model, whatever its layers are called."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_wrn.errors import InputError
from keras_wrn.insight.graph import graph_of, walk
from keras_wrn.networks.blocks import BOTTLENECK

_ACTIVATIONS = ("activation", "relu", "leakyrelu", "prelu", "elu", "silu", "swish", "gelu")
_KINDS = {
    "conv2d": "conv",
    "batchnormalization": "norm",
    "zeropadding2d": "pad",
    "pad": "pad",
    "add": "add",
    "dense": "dense",
    "maxpooling2d": "max_pool",
    **dict.fromkeys(("dropout", "spatialdropout2d", "alphadropout", "gaussiandropout"), "drop"),
    **dict.fromkeys(_ACTIVATIONS, "act"),
}


@dataclass(eq=False)
class Node:
    """A call of a layer or operation.

    Attributes:
        layer: what is called.
        kind: "conv", "norm", "act", "drop", "pad", "add", "dense", "max_pool" or another.
        inputs: whose outputs it takes.
    """

    layer: Any
    kind: str
    inputs: list[Node] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of the layer."""
        return str(self.layer.name)


@dataclass(eq=False)
class ResidualBlock:
    """Two branches between a fork and an addition.

    Attributes:
        residual: the calls of the branch with more convolutions, in order.
        shortcut: those of the other branch; empty for the identity.
        fork: whose output both branches take.
    """

    residual: list[Node]
    shortcut: list[Node]
    fork: Node

    @property
    def convolutions(self) -> list[Any]:
        """The convolutions of the residual branch."""
        return [node.layer for node in self.residual if node.kind == "conv"]

    @property
    def projections(self) -> list[Any]:
        """The convolutions of the shortcut."""
        return [node.layer for node in self.shortcut if node.kind == "conv"]

    @property
    def stride(self) -> int:
        """How much smaller the block's result is."""
        return max(conv.strides[0] for conv in self.convolutions)

    @property
    def post_activation(self) -> bool:
        """Whether normalisation follows the last convolution instead of preceding the first."""
        kinds = [node.kind for node in self.residual]
        last = len(kinds) - 1 - kinds[::-1].index("conv")
        return "norm" in kinds[last:] or _fused(self.residual[last].layer)


@dataclass(eq=False)
class ResidualNetwork:
    """What a residual network is made of.

    Attributes:
        nodes: every call, in an order in which inputs come first.
        groups: the blocks; a new group begins where the size or the planes change.
        label: depth and width in the model's name, as (28, 10.0), or None.
        optimizer: of a compiled model, or None.
    """

    nodes: list[Node]
    groups: list[list[ResidualBlock]]
    label: tuple[int, float] | None
    optimizer: Any

    @property
    def blocks(self) -> list[ResidualBlock]:
        """All blocks in order."""
        return [block for group in self.groups for block in group]

    @property
    def kernels(self) -> tuple[int, ...]:
        """The list M of B(M), of most blocks."""
        lists = [tuple(c.kernel_size[0] for c in block.convolutions) for block in self.blocks]
        return Counter(lists).most_common(1)[0][0]

    @property
    def for_imagenet(self) -> bool:
        """Whether this is the form of Tables 7 and 8: four groups, or a stem of 7x7."""
        return len(self.groups) == 4 or self.stem.kernel_size[0] == 7

    @property
    def stem(self) -> Any:
        """The first convolution."""
        return next(node.layer for node in self.nodes if node.kind == "conv")

    @property
    def bottleneck(self) -> bool:
        """Whether the last convolution of a block widens to four times the planes."""
        convolutions = self.groups[0][-1].convolutions
        return (
            self.kernels == BOTTLENECK.kernels
            and convolutions[-1].filters > convolutions[0].filters
        )

    def layers(self, kind: str) -> list[Any]:
        """The layers of a kind, each once."""
        return list(dict.fromkeys(node.layer for node in self.nodes if node.kind == kind))


def read_residual_network(model: keras.Model) -> ResidualNetwork:
    """Read the blocks of a functional model.

    Args:
        model: a network with residual blocks, possibly inside other models.

    Returns:
        What it is made of.

    Raises:
        InputError: the model has no graph, or no residual blocks of 2-D convolutions.

    Example:
        >>> network = read_residual_network(keras_wrn.WideResNet16_4())
        >>> [len(group) for group in network.groups], network.kernels, network.label
        ([2, 2, 2], (3, 3), (16, 4.0))
    """
    nodes: list[Node] = []

    def visit(layer: Any, *args: Any, **kwargs: Any) -> Node:
        kind = _KINDS.get(type(layer).__name__.lower(), type(layer).__name__)
        values = keras.tree.flatten((args, kwargs))
        nodes.append(Node(layer, kind, [x for x in values if isinstance(x, Node)]))
        return nodes[-1]

    graph = graph_of(model)
    walk(model, [Node(tensor, "input") for tensor in graph.inputs], visit)
    found = [block for node in nodes if node.kind == "add" and (block := _block(node))]
    if not found:
        raise InputError(
            "`model` must have residual blocks: additions of a branch with 2-D convolutions and a "
            f"shortcut. Received: {model.name}, with {len(nodes)} layers and none."
        )
    optimizer = getattr(model, "optimizer", None)
    return ResidualNetwork(nodes, _grouped(found), _label(model), optimizer)


def _block(addition: Node) -> ResidualBlock | None:
    """The block that an addition closes, if both of its branches come from one fork."""
    if len(addition.inputs) != 2:
        return None
    first, second = (_chain(node) for node in addition.inputs)
    fork = next((node for node in first if node in second), None)
    if fork is None:
        return None
    branches = [chain[: chain.index(fork)][::-1] for chain in (first, second)]
    shortcut, residual = sorted(branches, key=lambda branch: _count(branch, "conv"))
    if not _count(residual, "conv"):
        return None
    return ResidualBlock(residual, shortcut, fork)


def _chain(node: Node) -> list[Node]:
    """A call, the one that it takes its input from, and so on to an addition or an input."""
    chain = [node]
    while len(node.inputs) == 1 and node.kind != "add":
        node = node.inputs[0]
        chain.append(node)
    return chain


def _count(branch: list[Node], kind: str) -> int:
    return sum(node.kind == kind for node in branch)


def _grouped(blocks: list[ResidualBlock]) -> list[list[ResidualBlock]]:
    groups: list[list[ResidualBlock]] = []
    planes = None
    for block in blocks:
        filters = block.convolutions[-1].filters
        if not groups or block.stride > 1 or filters != planes:
            groups.append([])
        groups[-1].append(block)
        planes = filters
    return groups


def _label(model: keras.Model) -> tuple[int, float] | None:
    """Depth and width that the name of the model, or of one inside it, says."""
    names = [model.name, *(layer.name for layer in model.layers if hasattr(layer, "layers"))]
    for name in names:
        found = re.search(r"(?:wrn|res_?net)[-_]?(\d+)[-_x](\d+(?:\.\d+)?)", name, re.IGNORECASE)
        if found:
            return int(found[1]), float(found[2])
    return None


def _fused(layer: Any) -> bool:
    """Whether a convolution applies an activation itself."""
    return getattr(getattr(layer, "activation", None), "__name__", "linear") != "linear"
