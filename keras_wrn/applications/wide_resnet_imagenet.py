"""Wide residual networks for ImageNet: Tables 7 and 8 of the paper.

These are the post-activation ResNets, widened. WRN-18 and WRN-34 have basic blocks, and all
their planes are multiplied by k. WRN-50-2 and WRN-101-2 have bottlenecks, and only the inner
planes are doubled (the authors' pretrained/ folder; torchvision's wide_resnet50_2 is the same
network). The stem has 64 planes; the stride of a bottleneck is in its 3x3 convolution.
"""

from typing import Any, NamedTuple

import keras
from keras import layers

from keras_wrn.applications.frame import Frame, KerasTensor
from keras_wrn.applications.wide_resnet import batch_norm, conv
from keras_wrn.networks.blocks import IMAGENET_GROUPS as GROUPS
from keras_wrn.networks.blocks import check_width
from keras_wrn.weights.files import is_keyword

STEM_PLANES = 64
BOTTLENECK_EXPANSION = 4  # block outputs 256, 512, 1024, 2048, whatever the width
SIZE = 224  # pixels
MIN_SIZE = 32  # pixels: five halvings


class _Convolution(NamedTuple):
    planes: int
    kernel: int
    stride: int


def WideResNet18(width: float = 1.0, **options: Any) -> keras.Model:
    """WRN-18 of basic blocks, Table 7: k = 1, 1.5, 2, 3 have 11.7M, 25.9M, 45.6M, 101.8M.

    Options are those of `WideResNet50_2`.
    """
    return _wide_resnet((2, 2, 2, 2), width, False, "wide_resnet18", options)


def WideResNet34(width: float = 1.0, **options: Any) -> keras.Model:
    """WRN-34 of basic blocks, Table 7: k = 1, 1.5, 2 have 21.8M, 48.6M, 86.0M parameters.

    Options are those of `WideResNet50_2`.
    """
    return _wide_resnet((3, 4, 6, 3), width, False, "wide_resnet34", options)


def WideResNet50_2(**options: Any) -> keras.Model:
    """WRN-50-2-bottleneck, Table 8: 68,883,240 trainable parameters.

    Args:
        **options: `include_top=True, weights=None, input_tensor=None, input_shape=None,
            pooling=None, classes=1000, classifier_activation="softmax", name=None`, as in
            keras.applications. Images are (height, width, channels), at least 32x32 pixels,
            224x224x3 by default, normalised by `preprocess_input(images, "imagenet")`.
            `weights` are "imagenet-v1" or "imagenet-v2" of torchvision, "imagenet-racm" of timm
            (with 288x288 pixels by default), "imagenet" for the best of them, or a path. They
            are downloaded from their owners and converted on first use.

    Returns:
        A functional model of stock Keras layers.

    Raises:
        InputError: an argument describes no network, or there are no such weights.

    Example:
        >>> WideResNet50_2(include_top=False, pooling="avg").output_shape
        (None, 2048)
    """
    return _wide_resnet((3, 4, 6, 3), 2, True, "wide_resnet50_2", options)


def WideResNet101_2(**options: Any) -> keras.Model:
    """WRN-101-2-bottleneck: 126,886,696 trainable parameters.

    Options are those of `WideResNet50_2`; `weights` are only "imagenet-v1" and "imagenet-v2".
    """
    return _wide_resnet((3, 4, 23, 3), 2, True, "wide_resnet101_2", options)


def _wide_resnet(
    blocks_per_group: tuple[int, ...],
    width: float,
    bottleneck: bool,
    default_name: str,
    options: dict[str, Any],
) -> keras.Model:
    check_width(width, GROUPS[0][0])
    frame = Frame(**{"classes": 1000, **options})
    inputs = frame.open(
        default_size=_default_size(default_name, frame.weights),
        min_size=MIN_SIZE,
        blocks=sum(blocks_per_group),
    )

    x = _pad(inputs, 3, "stem_pad")
    x = conv(STEM_PLANES, 7, stride=2, name="stem_conv")(x)
    x = batch_norm("stem_bn")(x)
    x = layers.Activation("relu", name="stem_relu")(x)
    # After a ReLU nothing is below 0, so that zeros do not change a maximum.
    x = _pad(x, 1, "stem_pool_pad")
    x = layers.MaxPooling2D(3, strides=2, data_format="channels_last", name="stem_pool")(x)
    for group, (blocks, (base, group_stride)) in enumerate(
        zip(blocks_per_group, GROUPS, strict=True), start=1
    ):
        planes = int(base * width)
        for number in range(1, blocks + 1):
            stride = group_stride if number == 1 else 1
            convolutions: tuple[_Convolution, ...]
            if bottleneck:
                convolutions = (
                    _Convolution(planes, 1, 1),
                    _Convolution(planes, 3, stride),
                    _Convolution(base * BOTTLENECK_EXPANSION, 1, 1),
                )
            else:
                convolutions = (_Convolution(planes, 3, stride), _Convolution(planes, 3, 1))
            x = _block(x, convolutions, stride=stride, name=f"group{group}_block{number}")
    name = default_name if bottleneck else f"{default_name}_{width:g}"
    return frame.close(x, inputs, name)


def _default_size(model_name: str, weights: object) -> int:
    """Height and width at which published weights were measured, else the paper's."""
    if not is_keyword(weights):
        return SIZE
    from keras_wrn.weights.owners import input_size

    return input_size(model_name.replace("wide_resnet", "WideResNet"), str(weights), SIZE)


def _block(
    x: KerasTensor, convolutions: tuple[_Convolution, ...], *, stride: int, name: str
) -> KerasTensor:
    """One post-activation block: convolution, BN, ReLU; the last ReLU follows the addition."""
    shortcut, residual = x, x
    for i, (planes, kernel, step) in enumerate(convolutions, start=1):
        if i > 1:
            residual = layers.Activation("relu", name=f"{name}_relu{i - 1}")(residual)
        if kernel == 3 and step > 1:
            residual = _pad(residual, 1, f"{name}_pad{i}")
        residual = conv(planes, kernel, stride=step, name=f"{name}_conv{i}")(residual)
        residual = batch_norm(f"{name}_bn{i}")(residual)
    planes_out = convolutions[-1].planes
    if stride > 1 or x.shape[-1] != planes_out:
        shortcut = conv(planes_out, 1, stride=stride, name=f"{name}_proj")(x)
        shortcut = batch_norm(f"{name}_proj_bn")(shortcut)
    x = layers.Add(name=f"{name}_add")([shortcut, residual])
    return layers.Activation("relu", name=f"{name}_relu{len(convolutions)}")(x)


def _pad(x: KerasTensor, pixels: int, name: str) -> KerasTensor:
    return layers.ZeroPadding2D(pixels, data_format="channels_last", name=name)(x)
