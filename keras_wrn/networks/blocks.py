"""The parts of a network: the groups of Table 1, the block types B(M), depth, conventions."""

import math
import numbers
import re
from collections.abc import Sequence
from dataclasses import dataclass

from keras_wrn.errors import InputError


def positive_integer(name: str, value: object) -> int:
    """Check a count and return it as Python's int; NumPy's integers are accepted."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise InputError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
    return int(value)


def check_width(width: object, base: int) -> None:
    """Check a widening factor: finite, and at least one of `base` planes is left."""
    number = float(width) if isinstance(width, numbers.Real) else math.nan
    if isinstance(width, bool) or not math.isfinite(number) or int(base * number) < 1:
        raise InputError(
            f"`width` must be a number of 1/{base} or more, so that one of {base} planes is left. "
            f"Received: width={width!r}"
        )


def drop_rate(name: str, rate: object) -> float:
    """Check a probability below 1 and return it as Python's float."""
    number = float(rate) if isinstance(rate, numbers.Real) else math.nan
    if not 0 <= number < 1:
        raise InputError(f"`{name}` must be in [0, 1). Received: {name}={rate!r}")
    return number


# (planes before widening, stride) of each group: conv2 to conv4 of Table 1, and ImageNet's.
GROUPS = ((16, 1), (32, 2), (64, 2))
IMAGENET_GROUPS = ((64, 1), (128, 2), (256, 2), (512, 2))


@dataclass(frozen=True)
class Conventions:
    """What implementations of the network do differently.

    Attributes:
        activation: the nonlinearity after each batch normalisation.
        negative_slope: of "leaky_relu", which needs one: 0.1 in FixMatch, 0.01 in PyTorch, 0.2 in
            Keras.
        strided_padding: zeros before and after each side of a strided 3x3 convolution. The
            authors' Torch pads (1, 1); TensorFlow's "same" pads (0, 1) for even sizes (32, 16).
        strided_conv: which convolution of a block has the stride, counted from 1.
        projection_input: "activated" (after the shared BN-ReLU), "raw", or "raw after group 1",
            which is activated in the first group.
        branch_input: "activated", or "raw": where the projection is raw, the block's first
            convolution takes the raw input too, without BN-ReLU (PyTorch's ports of FixMatch).
        conv_bias: whether convolutions have biases.
        bn_epsilon: added to the variance.
        bn_momentum: the share of the moving statistics that a step keeps (Torch's 0.1 is 0.9).
    """

    activation: str = "relu"
    negative_slope: float | None = None
    strided_padding: tuple[int, int] = (1, 1)
    strided_conv: int = 1
    projection_input: str = "activated"
    branch_input: str = "activated"
    conv_bias: bool = False
    bn_epsilon: float = 1e-5
    bn_momentum: float = 0.9

    def __post_init__(self) -> None:
        """Check what Python's types leave open."""
        for name, known in _CHOICES.items():
            if (value := getattr(self, name)) not in known:
                raise InputError(
                    f"`{name}` must be {' or '.join(map(repr, known))}. Received: {name}={value!r}"
                )
        positive_integer("strided_conv", self.strided_conv)
        if not isinstance(self.conv_bias, bool):
            raise InputError(f"`conv_bias` must be True or False. Received: {self.conv_bias!r}")
        for name in ("bn_epsilon", "bn_momentum"):
            value = getattr(self, name)
            number = float(value) if isinstance(value, numbers.Real) else math.nan
            if isinstance(value, bool) or not 0 <= number < 1:
                raise InputError(f"`{name}` must be in [0, 1). Received: {name}={value!r}")
        slope = self.negative_slope
        if slope is not None and (
            self.activation != "leaky_relu"
            or not isinstance(slope, numbers.Real)
            or not 0 < float(slope) < 1
        ):
            raise InputError(
                "`negative_slope` must be between 0 and 1, and is for activation='leaky_relu'. "
                f"Received: negative_slope={slope!r}, activation={self.activation!r}"
            )
        zeros = self.strided_padding
        if not isinstance(zeros, tuple) or [type(n) for n in zeros] != [int] * 2 or min(zeros) < 0:
            raise InputError(
                "`strided_padding` must be two whole numbers, such as (0, 1). "
                f"Received: strided_padding={zeros!r}"
            )

    def projects_raw(self, group: int) -> bool:
        """Whether the projections of a group, counted from 1, take the raw input."""
        first = {"activated": math.inf, "raw": 1, "raw after group 1": 2}
        return group >= first[self.projection_input]


_CHOICES = {
    "projection_input": ("activated", "raw", "raw after group 1"),
    "branch_input": ("activated", "raw"),
}
PAPER = Conventions()


@dataclass(frozen=True)
class Block:
    """A residual block type.

    Attributes:
        name: the paper's name, such as "B(3,1,3)".
        kernels: kernel sizes of the convolutions, in order.
        expansion: the last convolution has this many times the planes of the others.
        unpaired: layers outside the blocks that the depth counts: 4 by Table 3's rule, the stem
            and three projections; 2 for the bottleneck, the stem and the classifier.
    """

    name: str
    kernels: tuple[int, ...]
    expansion: int = 1
    unpaired: int = 4

    @property
    def depth_step(self) -> int:
        """The layers that one more block in each group adds to the depth."""
        return len(GROUPS) * len(self.kernels)


BOTTLENECK = Block("bottleneck", (1, 3, 1), expansion=4, unpaired=2)


def parse_block(block: str | Sequence[int]) -> Block:
    """Parse a block type: "B(3,1,3)", (3, 1, 3) or "bottleneck"."""
    if isinstance(block, str):
        if block == BOTTLENECK.name:
            return BOTTLENECK
        match = re.fullmatch(r"\s*B\(\s*([13]\s*(?:,\s*[13]\s*)*)\)\s*", block)
        kernels = tuple(int(k) for k in match[1].split(",")) if match else ()
    else:
        sizes: object = block  # a caller may pass anything
        kernels = tuple(sizes) if isinstance(sizes, Sequence) else ()
    if not kernels or any(type(kernel) is not int or kernel not in (1, 3) for kernel in kernels):
        raise InputError(
            "`block` must be B(M) with a list M of 1s and 3s, such as 'B(3,3)' or (3, 1, 3), or "
            f"'bottleneck'. Received: block={block!r}"
        )
    return Block(f"B({','.join(map(str, kernels))})", kernels)


def count_blocks(depth: int, block: Block, override: int | None) -> int:
    """Blocks per group N: the caller's, or by Table 3's rule."""
    if override is not None:
        return positive_integer("blocks_per_group", override)
    blocks, rest = divmod(positive_integer("depth", depth) - block.unpaired, block.depth_step)
    if blocks >= 1 and rest == 0:
        return blocks
    lower = max(blocks, 1) * block.depth_step + block.unpaired
    raise InputError(
        f"`depth` must be {block.depth_step}*N + {block.unpaired} for {block.name}. "
        f"Received: depth={depth}. Nearest: {lower}, {lower + block.depth_step}. "
        "(`blocks_per_group` sets N freely, as Table 2 of the paper does.)"
    )


def group_planes(width: float, block: Block) -> list[int]:
    """Planes at the end of each group."""
    check_width(width, GROUPS[0][0])
    planes = [int(base * width) for base, _ in GROUPS]
    return [count * block.expansion for count in planes]


def default_name(depth: int, width: float, block: Block) -> str:
    """The default name of a model, such as "wide_resnet28_10"."""
    suffix = "" if block.kernels == (3, 3) else "_" + re.sub(r"[(),]", "", block.name.lower())
    return f"wide_resnet{depth}_{width:g}{suffix}"
