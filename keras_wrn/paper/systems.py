"""The networks of the paper's tables and the paper's training recipes."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from keras_wrn.networks.names import NETWORKS
from keras_wrn.training.recipe import Recipe

# Section 3 of the paper: Recipe's defaults are its CIFAR recipe.
CIFAR = Recipe()
# Train and extra images, pixels divided by 255, no augmentation (scripts/train_svhn.sh).
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
# The paper uses fb.resnet.torch: opts.lua, train.lua, datasets/imagenet.lua.
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
    reset_velocity=False,  # fb.resnet.torch keeps the optimiser's state
    weight_decay=1e-4,
)
BASES = {"cifar10": CIFAR, "cifar100": CIFAR, "svhn": SVHN, "imagenet": IMAGENET}
# "Found by cross-validation" (section 3).
DROPOUT = {"cifar10": 0.3, "cifar100": 0.3, "svhn": 0.4}
TRAIN_IMAGES = {
    "cifar10": 50_000,
    "cifar100": 50_000,
    "svhn": 604_388,
    "imagenet": 1_281_167,
    "coco": 117_266,  # photos of train2017 with boxes
}


@dataclass(frozen=True)
class System:
    """A network that the paper trains.

    Attributes:
        name: the paper's name.
        printed: the parameter count as the paper prints it; "" if it prints none.
        parameters: trainable parameters, exactly, with 10 classes, or the 1,000 of ImageNet.
        multiply_adds: millions per image, in convolutions and the classifier.
        network: the fields of a recipe that describe the network.
        note: what a reader must know beside the numbers.
    """

    name: str
    printed: str
    parameters: int
    multiply_adds: float
    network: dict[str, Any]
    note: str = ""

    def parameters_on(self, dataset: str) -> int:
        """Trainable parameters with the classes of a data set."""
        if dataset != "cifar100":
            return self.parameters
        outputs_per_width = 256 if self.network.get("block") == "bottleneck" else 64
        return self.parameters + 90 * int(outputs_per_width * self.network["width"] + 1)


def _wrn(
    key: str, printed: str, multiply_adds: float, parameters: int = 0, note: str = "", **block: Any
) -> System:
    depth, width = key.split("-")
    name = "-".join([f"WRN-{key}", *([block["block"]] if block else [])])
    network = {"depth": int(depth), "width": float(width), **block}
    return System(
        name, printed, parameters or NETWORKS[key].parameters, multiply_adds, network, note
    )


_HERE = "trained here by this paper's recipe, not by its authors'"


def _thin(
    name: str, printed: str, parameters: int, multiply_adds: float, note: str = "", **network: Any
) -> System:
    return System(name, printed, parameters, multiply_adds, {"width": 1.0, **network}, note + _HERE)


_164, _1001 = (NETWORKS[f"pre-ResNet-{depth}"].parameters for depth in (164, 1001))
_DEEPEST: dict[str, Any] = {"depth": 1001, "block": "bottleneck"}
# Depth 110 is 6 * 18 + 2 by its authors' count, which leaves projections out.
_110: dict[str, Any] = {"depth": 110, "blocks_per_group": 18}
_DROPPED = (
    "pre-activation here, post-activation there; the last block is dropped half of the time, the "
    "others less; "
)
# The keys are the names that `--rows` takes.
SYSTEMS = {
    # Table 2: the depth is the paper's label; N gives its parameter counts.
    "b131": _wrn("40-2", "1.4M", 208.1, 1_429_082, block="B(1,3,1)", blocks_per_group=6),
    "b31": _wrn("40-2", "1.2M", 176.6, 1_211_354, block="B(3,1)", blocks_per_group=6),
    "b13": _wrn("40-2", "1.3M", 189.2, 1_297_370, block="B(1,3)", blocks_per_group=6),
    "b311": _wrn("40-2", "1.3M", 195.5, 1_343_066, block="B(3,1,1)", blocks_per_group=6),
    "b33": _wrn("28-2", "1.5M", 214.4, block="B(3,3)", blocks_per_group=4),
    "b313": _wrn("22-2", "1.1M", 167.2, 1_145_498, block="B(3,1,3)", blocks_per_group=3),
    # Table 3: all have the same size.
    "l1": _wrn("40-2", "2.2M", 327.6, block="B(3)"),
    "l2": _wrn("40-2", "2.2M", 327.6, block="B(3,3)"),
    "l3": _wrn("40-2", "2.2M", 327.6, block="B(3,3,3)"),
    "l4": _wrn("40-2", "2.2M", 327.6, block="B(3,3,3,3)"),
    # Tables 4 to 6 and 9
    "16-4": _wrn("16-4", "", 392.6),
    "16-8": _wrn("16-8", "11.0M", 1_548.1),
    "16-10": _wrn("16-10", "17.1M", 2_412.2),
    "22-8": _wrn("22-8", "17.2M", 2_454.1),
    "22-10": _wrn("22-10", "26.8M", 3_827.8),
    "28-10": _wrn("28-10", "36.5M", 5_243.3),
    "28-12": _wrn("28-12", "52.5M", 7_543.9),
    "40-1": _wrn("40-1", "0.6M", 83.3),
    "40-2": _wrn("40-2", "2.2M", 327.6),
    "40-4": _wrn("40-4", "8.9M", 1_298.6),
    "40-8": _wrn("40-8", "35.7M", 5_172.0),
    "40-10": _wrn("40-10", "56M", 8_074.5),
    "52-1": _wrn("52-1", "", 111.6),
    # Table 5
    "stochastic-depth-110": _thin(
        "stochastic depth, 110", "1.7M", 1_730_522, 253.1, _DROPPED, **_110, stochastic_depth=0.5
    ),
    "pre-resnet-110": _thin("pre-act ResNet-110", "1.7M", 1_730_522, 253.1, **_110),
    "pre-resnet-164": _thin(
        "pre-act ResNet-164", "1.7M", _164, 244.5, depth=164, block="bottleneck"
    ),
    "pre-resnet-1001": _thin("pre-act ResNet-1001", "10.2M", _1001, 1_487.8, **_DEEPEST),
    "pre-resnet-1001-batch64": _thin(
        "pre-act ResNet-1001, batch 64", "10.2M", _1001, 1_487.8, **_DEEPEST, batch_size=64
    ),
    # Tables 7 to 9
    "18-1": _wrn("18-1", "11.7M", 1_814.1),
    "18-1.5": _wrn("18-1.5", "25.9M", 3_866.3),
    "18-2": _wrn("18-2", "45.6M", 6_695.7),
    "18-3": _wrn("18-3", "101.8M", 14_724.4),
    "34-1": _wrn("34-1", "21.8M", 3_663.8),
    "34-1.5": _wrn("34-1.5", "48.6M", 8_028.1),
    "34-2": _wrn("34-2", "86.0M", 14_094.5),
    "34-3": _wrn("34-3", "", 31_371.6, 192_712_872, "not in the paper"),
    "50-2": dataclasses.replace(_wrn("50-2", "68.9M", 11_398.0), name="WRN-50-2-bottleneck"),
}


def recipe_of(dataset: str, system: str, **changes: Any) -> Recipe:
    """Make the recipe that trains a system on a data set, by section 3 of the paper.

    Args:
        dataset: "cifar10", "cifar100", "svhn" or "imagenet".
        system: a key of `SYSTEMS`.
        changes: other options of the recipe.
    """
    changes = {**SYSTEMS[system].network, **changes}
    return dataclasses.replace(BASES[dataset], dataset=dataset, **changes)
