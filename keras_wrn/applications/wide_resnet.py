"""Wide residual networks for small images: Table 1 of the paper, block by block.

Zagoruyko & Komodakis, "Wide Residual Networks", BMVC 2016, arXiv:1605.07146.

A network is a 3x3 convolution of 16 planes, three groups of residual blocks with 16k, 32k and
64k planes (strides 1, 2, 2), batch normalisation, ReLU, average pooling and a linear layer.
Batch normalisation and ReLU precede each convolution. Where a block changes the number of
planes, its first BN-ReLU is shared by both branches and the shortcut is a 1x1 convolution of
the activated input; elsewhere the shortcut is the identity of the raw input (the authors'
models/wide-resnet.lua).

Every layer is a stock Keras layer: a saved `.keras` file loads where keras_wrn is not installed.
"""

from collections.abc import Sequence

import keras
from keras import layers

from keras_wrn.applications.frame import Activation, Frame, KerasTensor
from keras_wrn.errors import InputError
from keras_wrn.networks.blocks import (
    GROUPS,
    PAPER,
    Block,
    Conventions,
    count_blocks,
    default_name,
    drop_rate,
    group_planes,
    parse_block,
)

STEM_PLANES = 16  # "16 in all experiments", whatever the width
MIN_SIZE = 8  # pixels; the last group then has 2x2


def WideResNet(
    depth: int = 28,
    width: float = 10,
    block: str | Sequence[int] = "B(3,3)",
    dropout: float = 0.0,
    *,
    blocks_per_group: int | None = None,
    stochastic_depth: float = 0.0,
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: KerasTensor | None = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int = 10,
    classifier_activation: Activation = "softmax",
    name: str | None = None,
    conventions: Conventions = PAPER,
) -> keras.Model:
    """Build WRN-`depth`-`width` with blocks B(M), as a functional Keras model.

    The paper has two rules for the blocks per group N. The default is Table 3's,
    `depth = 3 * N * len(M) + 4`: WRN-40-2 has 2,243,546 parameters with B(3), B(3,3), B(3,3,3)
    and B(3,3,3,3) alike. Table 2 has N = 6, 6, 6, 6, 4, 3 in its rows: pass `blocks_per_group`
    to build those; the depth is then only a label. "bottleneck" is the thin pre-activation
    ResNet of Table 5: `depth = 9 * N + 2`.

    Args:
        depth: the paper's n: convolutions on the longest path, with the projections.
        width: the widening factor k > 0; may be fractional. Planes are rounded down.
        block: B(M) for any M of 1s and 3s, as "B(3,1,3)" or (3, 1, 3), or "bottleneck".
        dropout: drop rate in [0, 1) before every convolution of a block but its first.
        blocks_per_group: N; None: it follows from the depth.
        stochastic_depth: drop rate in [0, 1) of the last block's residual branch, per image; the
            rate grows linearly from the first block (Huang et al. 2016, compared in Table 5).
            Training scales up the branches that stay, so that inference is the plain sum.
        include_top: whether to add average pooling and the classifier.
        weights: None; the data set of published weights for exactly this network, dropout aside
            ("cifar10"; see `keras_wrn.list_weights`); or the path of a .weights.h5 or
            .safetensors file or of a run folder ("./run", because a bare word is a data set).
        input_tensor: a Keras tensor (batch, height, width, channels) to build on.
        input_shape: (height, width, channels), at least 8x8 pixels. Default (32, 32, 3), or
            (None, None, 3) without top.
        pooling: without top: None for (batch, height, width, planes), "avg" or "max" for
            (batch, planes).
        classes: number of classes.
        classifier_activation: "softmax", or None for logits.
        name: the model's name.
        conventions: for the networks of other implementations; default the paper's.

    Returns:
        A functional model of stock Keras layers: float images, normalised as by
        `preprocess_input`, to float32 (batch, classes).

    Raises:
        InputError: an argument describes no network; the message names one that does.

    Example:
        >>> model = WideResNet(16, 4, dropout=0.3, classes=100)
        >>> sum(np.prod(v.shape) for v in model.trainable_variables).item()
        2772020

    Source: Table 1, sections 2 and 3; dropout section 2.4. Differs: batch normalisation's scale
    starts at 1, not at uniform(0, 1), as in the authors' ImageNet model.
    """
    block_type = parse_block(block)
    blocks = count_blocks(depth, block_type, blocks_per_group)
    planes = group_planes(width, block_type)
    dropout = drop_rate("dropout", dropout)
    stochastic_depth = drop_rate("stochastic_depth", stochastic_depth)
    frame = Frame(
        include_top,
        weights,
        input_tensor,
        input_shape,
        pooling,
        classes,
        classifier_activation,
        name,
    )
    inputs = frame.open(default_size=32, min_size=MIN_SIZE, blocks=len(GROUPS) * blocks)

    if conventions.strided_conv > len(block_type.kernels):
        raise InputError(
            f"`conventions.strided_conv` must be one of the {len(block_type.kernels)} convolutions "
            f"of {block_type.name}. Received: strided_conv={conventions.strided_conv}"
        )
    x = conv(STEM_PLANES, 3, name="stem_conv", bias=conventions.conv_bias)(inputs)
    drop_step = stochastic_depth / (len(GROUPS) * blocks)
    for group, (planes_out, (_, stride)) in enumerate(zip(planes, GROUPS, strict=True), start=1):
        for number in range(1, blocks + 1):
            x = _block(
                x,
                block_type,
                planes_out,
                stride=stride if number == 1 else 1,
                dropout=dropout,
                drop_block=((group - 1) * blocks + number) * drop_step,
                conventions=conventions,
                raw_projection=conventions.projects_raw(group),
                name=f"group{group}_block{number}",
            )
    x = batch_norm("head_bn", conventions)(x)
    x = activation("head_relu", conventions)(x)
    return frame.close(x, inputs, default_name(depth, width, block_type))


def _block(
    x: KerasTensor,
    block: Block,
    planes: int,
    *,
    stride: int,
    dropout: float,
    drop_block: float,
    conventions: Conventions,
    raw_projection: bool,
    name: str,
) -> KerasTensor:
    """One pre-activation residual block (Figure 1 (a) to (d))."""
    shortcut = residual = x
    bias, widens = conventions.conv_bias, x.shape[-1] != planes
    raw_branch = widens and raw_projection and conventions.branch_input == "raw"
    for i, kernel in enumerate(block.kernels, start=1):
        if i > 1 or not raw_branch:
            residual = batch_norm(f"{name}_bn{i}", conventions)(residual)
            residual = activation(f"{name}_relu{i}", conventions)(residual)
        if i == 1 and widens:
            source = x if raw_projection else residual
            shortcut = conv(planes, 1, stride=stride, name=f"{name}_proj", bias=bias)(source)
        if i > 1 and dropout > 0:
            residual = layers.Dropout(dropout, name=f"{name}_drop{i}")(residual)
        step = stride if i == conventions.strided_conv else 1
        if kernel == 3 and step > 1:
            pad = (conventions.strided_padding, conventions.strided_padding)
            residual = layers.ZeroPadding2D(
                pad, data_format="channels_last", name=f"{name}_pad{i}"
            )(residual)
        residual = conv(
            planes if i == len(block.kernels) else planes // block.expansion,
            kernel,
            stride=step,
            name=f"{name}_conv{i}",
            bias=bias,
        )(residual)
    if drop_block > 0:
        # One draw for each image and the whole branch makes dropout stochastic depth.
        residual = layers.Dropout(
            drop_block, noise_shape=(None, 1, 1, 1), name=f"{name}_depth_drop"
        )(residual)
    return layers.Add(name=f"{name}_add")([shortcut, residual])


def conv(
    planes: int, kernel: int, *, stride: int = 1, name: str, bias: bool = False
) -> layers.Conv2D:
    """A convolution as the authors make it: no bias, He-normal over the fan-in, not truncated.

    A strided one is "valid", because "same" pads (0, 1) and Torch (1, 1): a layer pads before it.
    """
    return layers.Conv2D(
        planes,
        kernel,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        data_format="channels_last",
        use_bias=bias,
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, mode="fan_in", distribution="untruncated_normal"
        ),
        name=name,
    )


def batch_norm(name: str, conventions: Conventions = PAPER) -> layers.BatchNormalization:
    """Batch normalisation over channels, with Torch's epsilon and momentum."""
    return layers.BatchNormalization(
        axis=-1, momentum=conventions.bn_momentum, epsilon=conventions.bn_epsilon, name=name
    )


def activation(name: str, conventions: Conventions) -> layers.Layer:
    """The nonlinearity after a batch normalisation."""
    if conventions.activation != "leaky_relu":
        try:
            return layers.Activation(conventions.activation, name=name)
        except ValueError as error:
            raise InputError(
                "`activation` must be the name of a Keras activation, such as relu. "
                f"Received: activation={conventions.activation!r}"
            ) from error
    if conventions.negative_slope is None:
        raise InputError(
            "activation='leaky_relu' needs `negative_slope`: 0.1 in FixMatch, 0.01 in PyTorch, "
            "0.2 in Keras. Received: negative_slope=None"
        )
    return layers.LeakyReLU(negative_slope=conventions.negative_slope, name=name)
