"""The named networks of the literature. Keras is not needed to read this table."""

import re
from dataclasses import dataclass
from typing import Any

from keras_wrn.errors import InputError


@dataclass(frozen=True)
class Network:
    """A named network of the literature.

    Attributes:
        builder: the function of keras_wrn that builds it.
        block: its residual blocks.
        parameters: trainable parameters, with `classes` classes.
        classes: of the data set that it was designed for.
        arguments: of the builder.
    """

    builder: str
    block: str
    parameters: int
    classes: int = 10
    arguments: tuple[tuple[str, float], ...] = ()


_BASIC = "post-activation 3x3, 3x3"
_BOTTLENECK = "post-activation 1x1, 3x3, 1x1"
# Parameters: those of Tables 2 to 9, computed from the paper's layout to the last digit.
NETWORKS = {
    "16-1": Network("WideResNet16_1", "B(3,3)", 175_066),
    "16-2": Network("WideResNet16_2", "B(3,3)", 691_674),
    "16-4": Network("WideResNet16_4", "B(3,3)", 2_748_890),
    "16-8": Network("WideResNet16_8", "B(3,3)", 10_961_370),
    "16-10": Network("WideResNet16_10", "B(3,3)", 17_116_634),
    "22-2": Network("WideResNet22_2", "B(3,3)", 1_079_642),
    "22-8": Network("WideResNet22_8", "B(3,3)", 17_158_106),
    "22-10": Network("WideResNet22_10", "B(3,3)", 26_797_914),
    "28-2": Network("WideResNet28_2", "B(3,3)", 1_467_610),
    "28-10": Network("WideResNet28_10", "B(3,3)", 36_479_194),
    "28-12": Network("WideResNet28_12", "B(3,3)", 52_517_850),
    "34-10": Network("WideResNet34_10", "B(3,3)", 46_160_474),
    "40-1": Network("WideResNet40_1", "B(3,3)", 563_930),
    "40-2": Network("WideResNet40_2", "B(3,3)", 2_243_546),
    "40-4": Network("WideResNet40_4", "B(3,3)", 8_949_210),
    "40-8": Network("WideResNet40_8", "B(3,3)", 35_748_314),
    "40-10": Network("WideResNet40_10", "B(3,3)", 55_841_754),
    "52-1": Network("WideResNet52_1", "B(3,3)", 758_362),
    "pre-ResNet-164": Network("PreActResNet164", "bottleneck", 1_703_258),
    "pre-ResNet-1001": Network("PreActResNet1001", "bottleneck", 10_327_706),
    "18-1": Network("WideResNet18", _BASIC, 11_689_512, 1000, (("width", 1),)),
    "18-1.5": Network("WideResNet18", _BASIC, 25_875_816, 1000, (("width", 1.5),)),
    "18-2": Network("WideResNet18", _BASIC, 45_618_216, 1000, (("width", 2),)),
    "18-3": Network("WideResNet18", _BASIC, 101_783_976, 1000, (("width", 3),)),
    "34-1": Network("WideResNet34", _BASIC, 21_797_672, 1000, (("width", 1),)),
    "34-1.5": Network("WideResNet34", _BASIC, 48_613_608, 1000, (("width", 1.5),)),
    "34-2": Network("WideResNet34", _BASIC, 86_036_008, 1000, (("width", 2),)),
    "50-2": Network("WideResNet50_2", _BOTTLENECK, 68_883_240, 1000),
    "101-2": Network("WideResNet101_2", _BOTTLENECK, 126_886_696, 1000),
}


def architecture_name(title: str, builder: str) -> str:
    """Tell WRN-34-2 of Table 7 from a WRN-34-2 of Table 1's form.

    Args:
        title: the paper's label.
        builder: the function of keras_wrn.

    Returns:
        The label under which weights are stored, as `recognition.architecture` returns it.

    Example:
        >>> architecture_name("WRN-34-2", "WideResNet34")
        'WRN-34-2 (ImageNet)'
    """
    imagenet = {network.builder for network in NETWORKS.values() if network.classes == 1000}
    return f"{title} (ImageNet)" if builder in imagenet else title


def is_called(name: str, architecture: str) -> bool:
    """Tell whether a name is that of an architecture.

    Args:
        name: as `find_network` takes it.
        architecture: as `architecture_name` returns it.

    Example:
        >>> is_called("34-2", "WRN-34-2"), is_called("34-2", "WRN-34-2 (ImageNet)")
        (True, True)
        >>> is_called("16-4", "WRN-28-10")
        False
    """
    found = (find_network(name, dataset) for dataset in ("cifar10", "imagenet"))
    return architecture in [architecture_name(title, row["builder"]) for title, row in found]


def find_network(name: str, dataset: object = "cifar10") -> tuple[str, dict[str, Any]]:
    """Find a network by its name.

    Args:
        name: depth and width, such as "16-4" or "WRN-28-10", a key of `NETWORKS`, or a function
            of keras_wrn.applications, such as "WideResNet16_4".
        dataset: of its images; for "imagenet" 34-2 is the network of Table 7.

    Returns:
        The paper's label; and "builder", a function of keras_wrn, with its arguments.

    Raises:
        InputError: the name has no depth and width, and is not in the table.

    Example:
        >>> find_network("16-4")
        ('WRN-16-4', {'builder': 'WideResNet16_4'})
        >>> find_network("28-1.5")
        ('WRN-28-1.5', {'builder': 'WideResNet', 'depth': 28, 'width': 1.5})
    """
    # Networks with arguments share one function, which therefore names none of them.
    builders = {network.builder: key for key, network in NETWORKS.items() if not network.arguments}
    name = builders.get(name, name)
    parts = re.fullmatch(r"(?:WRN-)?(\d+)-(\d+(?:\.\d+)?)", name, re.IGNORECASE)
    key = f"{int(parts[1])}-{float(parts[2]):g}" if parts else name
    # WRN-34-2 is two networks: Table 7's for ImageNet, and one of Table 1's for small images.
    is_small = parts is not None and int(parts[1]) % 6 == 4 and dataset != "imagenet"
    if key in NETWORKS and not (is_small and NETWORKS[key].classes == 1000):
        network = NETWORKS[key]
        title = f"WRN-{key}" if parts else key
        return title, {"builder": network.builder, **dict(network.arguments)}
    if parts:
        width = float(parts[2])
        depth_and_width = {"depth": int(parts[1]), "width": int(width) if width % 1 == 0 else width}
        return f"WRN-{key}", {"builder": "WideResNet", **depth_and_width}
    raise InputError(
        "`name` must be a depth and a width, such as 16-4 for WRN-16-4, or one of: "
        f"{', '.join(builders)}. Received: {name!r}."
    )
