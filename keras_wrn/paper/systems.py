"""The networks of the paper's tables and its training recipes: what `paper_tables` is made of.

Parameter counts are computed from the layout, and agree with those that the paper prints.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from keras_wrn.training.recipe import Recipe

# Section 3 of the paper: Recipe's defaults are its CIFAR recipe.
CIFAR = Recipe()
# Trained on train and extra, pixels divided by 255, nothing augmented (scripts/train_svhn.sh).
SVHN = Recipe(
    dataset="svhn",
    extra=True,
    epochs=160,
    learning_rate=0.01,
    drop_epochs=(80, 120),
    drop_factor=0.1,
    pad=0,
    flip=False,
)
# fb.resnet.torch, which the paper says it uses: opts.lua, train.lua, datasets/imagenet.lua.
IMAGENET = Recipe(
    dataset="imagenet",
    form="imagenet",
    image_size=224,
    resize=256,
    random_resized_crop=True,
    color_jitter=0.4,
    lighting=0.1,
    pad=0,
    epochs=90,
    batch_size=256,
    drop_epochs=(31, 61),
    drop_factor=0.1,
    reset_velocity=False,  # fb.resnet.torch keeps its optimiser's state
    weight_decay=1e-4,
)
BASES = {"cifar10": CIFAR, "cifar100": CIFAR, "svhn": SVHN, "imagenet": IMAGENET}
# 0.3 on CIFAR and 0.4 on SVHN, "found by cross-validation".
DROPOUT = {"cifar10": 0.3, "cifar100": 0.3, "svhn": 0.4}
TRAIN_IMAGES = {
    "cifar10": 50_000,
    "cifar100": 50_000,
    "svhn": 604_388,
    "imagenet": 1_281_167,
    "coco": 117_266,  # of train2017, those with boxes
}


@dataclass(frozen=True)
class System:
    """A network that the paper trains.

    Attributes:
        name: the paper's.
        printed: the paper's parameter count.
        parameters: trainable parameters with 10 and 100 classes, or with the 1,000 of ImageNet.
        network: the fields of a recipe that describe it.
    """

    name: str
    printed: str
    parameters: tuple[int, ...]
    network: dict[str, Any]


def _wrn(depth: int, width: float, printed: str, *parameters: int, **network: Any) -> System:
    name = f"WRN-{depth}-{width:g}"
    if "block" in network:
        name += f"-{network['block']}"
    return System(name, printed, parameters, {"depth": depth, "width": width, **network})


def _thin(name: str, printed: str, *parameters: int, **network: Any) -> System:
    return System(name, printed, parameters, {"width": 1, **network})


_1001 = {"depth": 1001, "block": "bottleneck"}
# Depth 110 is 6 * 18 + 2 by its authors' count, which leaves projections out.
_110 = {"depth": 110, "blocks_per_group": 18}
# What `--rows` calls them
SYSTEMS = {
    # Table 2: the depth is the paper's label; N is what gives its parameter counts.
    "b131": _wrn(40, 2, "1.4M", 1_429_082, block="B(1,3,1)", blocks_per_group=6),
    "b31": _wrn(40, 2, "1.2M", 1_211_354, block="B(3,1)", blocks_per_group=6),
    "b13": _wrn(40, 2, "1.3M", 1_297_370, block="B(1,3)", blocks_per_group=6),
    "b311": _wrn(40, 2, "1.3M", 1_343_066, block="B(3,1,1)", blocks_per_group=6),
    "b33": _wrn(28, 2, "1.5M", 1_467_610, block="B(3,3)", blocks_per_group=4),
    "b313": _wrn(22, 2, "1.1M", 1_145_498, block="B(3,1,3)", blocks_per_group=3),
    # Table 3: all of one size.
    "l1": _wrn(40, 2, "2.2M", 2_243_546, block="B(3)"),
    "l2": _wrn(40, 2, "2.2M", 2_243_546, block="B(3,3)"),
    "l3": _wrn(40, 2, "2.2M", 2_243_546, block="B(3,3,3)"),
    "l4": _wrn(40, 2, "2.2M", 2_243_546, block="B(3,3,3,3)"),
    # Tables 4 to 6 and 9
    "16-4": _wrn(16, 4, "", 2_748_890, 2_772_020),
    "16-8": _wrn(16, 8, "11.0M", 10_961_370, 11_007_540),
    "16-10": _wrn(16, 10, "17.1M", 17_116_634, 17_174_324),
    "22-8": _wrn(22, 8, "17.2M", 17_158_106, 17_204_276),
    "22-10": _wrn(22, 10, "26.8M", 26_797_914, 26_855_604),
    "28-10": _wrn(28, 10, "36.5M", 36_479_194, 36_536_884),
    "28-12": _wrn(28, 12, "52.5M", 52_517_850, 52_587_060),
    "40-1": _wrn(40, 1, "0.6M", 563_930, 569_780),
    "40-2": _wrn(40, 2, "2.2M", 2_243_546, 2_255_156),
    "40-4": _wrn(40, 4, "8.9M", 8_949_210, 8_972_340),
    "40-8": _wrn(40, 8, "35.7M", 35_748_314, 35_794_484),
    "40-10": _wrn(40, 10, "56M", 55_841_754, 55_899_444),
    "52-1": _wrn(52, 1, "", 758_362, 764_212),
    # Table 5
    "stochastic-depth-110": _thin(
        "stochastic depth, 110", "1.7M", 1_730_522, 1_736_372, **_110, stochastic_depth=0.5
    ),
    "pre-resnet-110": _thin("pre-act ResNet-110", "1.7M", 1_730_522, 1_736_372, **_110),
    "pre-resnet-164": _thin(
        "pre-act ResNet-164", "1.7M", 1_703_258, 1_726_388, depth=164, block="bottleneck"
    ),
    "pre-resnet-1001": _thin("pre-act ResNet-1001", "10.2M", 10_327_706, 10_350_836, **_1001),
    "pre-resnet-1001-batch64": _thin(
        "pre-act ResNet-1001, batch 64", "10.2M", 10_327_706, **_1001, batch_size=64
    ),
    # Tables 7 to 9
    "18-1": _wrn(18, 1, "11.7M", 11_689_512),
    "18-1.5": _wrn(18, 1.5, "25.9M", 25_875_816),
    "18-2": _wrn(18, 2, "45.6M", 45_618_216),
    "18-3": _wrn(18, 3, "101.8M", 101_783_976),
    "34-1": _wrn(34, 1, "21.8M", 21_797_672),
    "34-1.5": _wrn(34, 1.5, "48.6M", 48_613_608),
    "34-2": _wrn(34, 2, "86.0M", 86_036_008),
    "34-3": _wrn(34, 3, "", 192_712_872),
    "50-2": System("WRN-50-2-bottleneck", "68.9M", (68_883_240,), {"depth": 50, "width": 2}),
}
# Millions for one image, in convolutions and the classifier; the hours of a run follow them.
MULTIPLY_ADDS = {
    "b131": 208.1,
    "b31": 176.6,
    "b13": 189.2,
    "b311": 195.5,
    "b33": 214.4,
    "b313": 167.2,
    "l1": 327.6,
    "l2": 327.6,
    "l3": 327.6,
    "l4": 327.6,
    "16-4": 392.6,
    "16-8": 1_548.1,
    "16-10": 2_412.2,
    "22-8": 2_454.1,
    "22-10": 3_827.8,
    "28-10": 5_243.3,
    "28-12": 7_543.9,
    "40-1": 83.3,
    "40-2": 327.6,
    "40-4": 1_298.6,
    "40-8": 5_172.0,
    "40-10": 8_074.5,
    "52-1": 111.6,
    "stochastic-depth-110": 253.1,
    "pre-resnet-110": 253.1,
    "pre-resnet-164": 244.5,
    "pre-resnet-1001": 1_487.8,
    "pre-resnet-1001-batch64": 1_487.8,
    "18-1": 1_814.1,
    "18-1.5": 3_866.3,
    "18-2": 6_695.7,
    "18-3": 14_724.4,
    "34-1": 3_663.8,
    "34-1.5": 8_028.1,
    "34-2": 14_094.5,
    "34-3": 31_371.6,
    "50-2": 11_398.0,
}
_HERE = "trained here by this paper's recipe, not by its authors'"
NOTES = {
    "stochastic-depth-110": "pre-activation here, post-activation there; the last block is dropped "
    "half of the time, the others less; " + _HERE,
    **dict.fromkeys(
        ("pre-resnet-110", "pre-resnet-164", "pre-resnet-1001", "pre-resnet-1001-batch64"), _HERE
    ),
    "34-3": "not in the paper",
}


def recipe_of(dataset: str, system: str, **changes: Any) -> Recipe:
    """The recipe that trains a system on a data set, by section 3 of the paper."""
    network = SYSTEMS[system].network
    changes = {**network, "width": float(network["width"]), **changes}
    return dataclasses.replace(BASES[dataset], dataset=dataset, **changes)
