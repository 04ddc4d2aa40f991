"""The networks by name, like keras.applications: `WideResNet28_10(classes=100)`.

There is one for every row of Tables 3 to 9 of the paper, and for others that the field uses.
Builders are CamelCase functions, like keras.applications.ResNet50. Their options are those of
`WideResNet`.
"""

from collections.abc import Callable
from typing import Any

import keras

from keras_wrn.applications.wide_resnet import WideResNet
from keras_wrn.applications.wide_resnet_imagenet import (
    WideResNet18,
    WideResNet34,
    WideResNet50_2,
    WideResNet101_2,
)


def WideResNet16_1(**options: Any) -> keras.Model:
    """WRN-16-1, 175,066 trainable parameters with 10 classes: the smallest of the family."""
    return WideResNet(16, 1, **options)


def WideResNet16_2(**options: Any) -> keras.Model:
    """WRN-16-2, 691,674 trainable parameters with 10 classes: the student in distillation."""
    return WideResNet(16, 2, **options)


def WideResNet16_4(**options: Any) -> keras.Model:
    """WRN-16-4, 2,748,890 trainable parameters with 10 classes: Table 6 and Figure 3."""
    return WideResNet(16, 4, **options)


def WideResNet16_8(**options: Any) -> keras.Model:
    """WRN-16-8, 10,961,370 trainable parameters with 10 classes: Tables 4, 5 and 9 (SVHN)."""
    return WideResNet(16, 8, **options)


def WideResNet16_10(**options: Any) -> keras.Model:
    """WRN-16-10, 17,116,634 trainable parameters with 10 classes: Table 4 and Figure 4."""
    return WideResNet(16, 10, **options)


def WideResNet22_2(**options: Any) -> keras.Model:
    """WRN-22-2, 1,079,642 trainable parameters with 10 classes: between 16-2 and 28-2."""
    return WideResNet(22, 2, **options)


def WideResNet22_8(**options: Any) -> keras.Model:
    """WRN-22-8, 17,158,106 trainable parameters with 10 classes: Table 4."""
    return WideResNet(22, 8, **options)


def WideResNet22_10(**options: Any) -> keras.Model:
    """WRN-22-10, 26,797,914 trainable parameters with 10 classes: Table 4."""
    return WideResNet(22, 10, **options)


def WideResNet28_2(**options: Any) -> keras.Model:
    """WRN-28-2, 1,467,610 trainable parameters with 10 classes: Table 2, semi-supervision."""
    return WideResNet(28, 2, **options)


def WideResNet28_10(**options: Any) -> keras.Model:
    """WRN-28-10, 36,479,194 trainable parameters with 10 classes: the best of Tables 4 to 6."""
    return WideResNet(28, 10, **options)


def WideResNet28_12(**options: Any) -> keras.Model:
    """WRN-28-12, 52,517,850 trainable parameters with 10 classes: Table 4."""
    return WideResNet(28, 12, **options)


def WideResNet34_10(**options: Any) -> keras.Model:
    """WRN-34-10, 46,160,474 trainable parameters with 10 classes: adversarial robustness."""
    return WideResNet(34, 10, **options)


def WideResNet40_1(**options: Any) -> keras.Model:
    """WRN-40-1, 563,930 trainable parameters with 10 classes: Table 4."""
    return WideResNet(40, 1, **options)


def WideResNet40_2(**options: Any) -> keras.Model:
    """WRN-40-2, 2,243,546 trainable parameters with 10 classes: Tables 3 and 4."""
    return WideResNet(40, 2, **options)


def WideResNet40_4(**options: Any) -> keras.Model:
    """WRN-40-4, 8,949,210 trainable parameters with 10 classes: Tables 4 and 5, Figure 4."""
    return WideResNet(40, 4, **options)


def WideResNet40_8(**options: Any) -> keras.Model:
    """WRN-40-8, 35,748,314 trainable parameters with 10 classes: Table 4."""
    return WideResNet(40, 8, **options)


def WideResNet40_10(**options: Any) -> keras.Model:
    """WRN-40-10, 55,841,754 trainable parameters with 10 classes: Table 9."""
    return WideResNet(40, 10, **options)


def WideResNet52_1(**options: Any) -> keras.Model:
    """WRN-52-1, 758,362 trainable parameters with 10 classes: Table 6."""
    return WideResNet(52, 1, **options)


def PreActResNet164(**options: Any) -> keras.Model:
    """The thin pre-activation ResNet-164 of Table 5 and Figure 4: 1,703,258 parameters."""
    return WideResNet(164, 1, "bottleneck", **options)


def PreActResNet1001(**options: Any) -> keras.Model:
    """The thin pre-activation ResNet-1001 of Table 5 and Figure 4: 10,327,706 parameters."""
    return WideResNet(1001, 1, "bottleneck", **options)


_IMAGENET = (WideResNet18, WideResNet34, WideResNet50_2, WideResNet101_2)
BUILDERS: dict[str, Callable[..., keras.Model]] = {
    builder.__name__: builder for builder in (WideResNet, *_IMAGENET)
}
BUILDERS |= {name: value for name, value in vars().items() if name.startswith(("Wide", "PreAct"))}
__all__ = sorted(BUILDERS)


def build_network(card: dict[str, Any], **options: Any) -> keras.Model:
    """Build the network that a card describes.

    Args:
        card: "network" of a card: "builder", a function of keras_wrn, and its arguments.
        **options: arguments that replace the card's.

    Returns:
        The Keras model.

    Raises:
        InputError: the arguments describe no network.
        TypeError: the builder has no such argument.

    Example:
        >>> build_network({"builder": "WideResNet16_1"}, classes=5).output_shape
        (None, 5)
    """
    arguments = {**card, **options}
    builder = BUILDERS[arguments.pop("builder")]
    if arguments.get("input_shape"):
        arguments["input_shape"] = tuple(arguments["input_shape"])
    return builder(**arguments)
