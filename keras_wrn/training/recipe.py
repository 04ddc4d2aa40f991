"""`Recipe`: all options of a training run, each with its unit and its source."""

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras_wrn.errors import InputError

SCHEDULES = ("steps", "cosine", "one_cycle", "constant")
POLICIES = ("none", "trivial_augment", "rand_augment")
FORMS = ("cifar", "imagenet")
PRECISIONS = ("float32", "mixed_bfloat16")
_CHOICES = {"schedule": SCHEDULES, "precision": PRECISIONS, "policy": POLICIES, "form": FORMS}
# Options, what gives them an effect in words, the option that does, and whether its value does.
CONDITIONS: tuple[tuple[tuple[str, ...], str, str, Callable[[Any], bool]], ...] = (
    (
        ("policy_operations", "policy_magnitude"),
        "with policy=rand_augment",
        "policy",
        lambda policy: policy == "rand_augment",
    ),
    (("teacher_share", "temperature"), "with a teacher", "teacher", bool),
    (
        ("drop_epochs", "drop_factor", "reset_velocity"),
        "with schedule=steps",
        "schedule",
        lambda schedule: schedule == "steps",
    ),
    (("pad",), "without random_resized_crop", "random_resized_crop", lambda crops: not crops),
)


def option(default: Any, help_text: str) -> Any:
    """Declare a dataclass field that is also a flag of the command line, with its help text."""
    return dataclasses.field(default=default, metadata={"help": help_text})


def _plain(value: Any) -> Any:
    """A value as JSON knows it: Python's numbers, tuples and strings."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list | tuple):
        return tuple(_plain(each) for each in value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


@dataclass(frozen=True)
class Recipe:
    """All options of a training run. The same recipe, with its seed, makes the same run.

    The defaults are the paper's CIFAR recipe with mean/std normalisation (section 3, Table 5).
    Each field is a flag of the recipe scripts, under the same name.

    Raises:
        InputError: an option is out of range, or two options exclude each other.

    Example:
        >>> Recipe(depth=40, width=4).shortened(50).drop_epochs
        (16, 31, 41)
    """

    dataset: str = option("cifar10", "cifar10, cifar100, svhn, digits, class folders, or tfds:NAME")
    image_size: int = option(32, "height and width in pixels, for folders of images and ImageNet")
    extra: bool = option(False, "add SVHN's 531,131 extra training images; paper: yes")
    whitening: bool = option(
        False, "contrast normalisation and ZCA whitening; paper: Tables 2 to 4"
    )
    form: str = option("cifar", "cifar: pre-activation, Table 1; imagenet: Tables 7 and 8")
    depth: int = option(28, "n, the number of convolutions on the longest path")
    width: float = option(10.0, "k, the widening factor")
    block: str = option("B(3,3)", "B(M) for a list M of 1s and 3s, or 'bottleneck'")
    blocks_per_group: int | None = option(None, "N, if it must not follow from the depth")
    dropout: float = option(0.0, "drop rate inside blocks; paper: 0.3 on CIFAR, 0.4 on SVHN")
    stochastic_depth: float = option(0.0, "drop rate of the last block; linear from 0")

    epochs: int = option(200, "passes over the training images; paper: 200")
    batch_size: int = option(128, "images per step, over all devices together; paper: 128")
    learning_rate: float = option(0.1, "the highest rate of the schedule; paper: 0.1")
    schedule: str = option("steps", "steps (paper), cosine, one_cycle or constant")
    drop_epochs: tuple[int, ...] = option(
        (60, 120, 160), "epochs, counted from 1, at whose start the rate drops; paper: 60,120,160"
    )
    drop_factor: float = option(0.2, "what a drop multiplies the rate by; paper: 0.2")
    reset_velocity: bool = option(True, "reset the momentum at each drop, like the authors' code")
    warmup_epochs: float = option(0.0, "epochs of linear rise to the highest rate")
    momentum: float = option(0.9, "momentum of SGD; paper: 0.9")
    nesterov: bool = option(True, "Nesterov momentum; paper: yes")
    weight_decay: float = option(5e-4, "coupled L2 decay of all trainables; paper: 5e-4")

    vector_rate: float = option(1.0, "multiplies the rate of biases and batch norm; paper: 1")
    sam: float = option(0.0, "radius rho of sharpness-aware minimisation, 2 passes a step; 0: off")
    average: float = option(
        0.0,
        "decay per step of a moving average of the weights, which is what is stored; 0: off. "
        "history.csv has the test error of the weights themselves",
    )

    pad: int = option(4, "pixels of reflection padding before the random crop; paper: 4")
    flip: bool = option(True, "mirror half of the images; paper: yes")
    alternating_flip: bool = option(False, "mirror each image in every second epoch; needs flip")
    random_resized_crop: bool = option(False, "crop 8 to 100 % of the area; stream the images")
    resize: int = option(
        0, "test image's shorter side before the centre crop, in pixels; 0: the crop's size"
    )
    color_jitter: float = option(0.0, "jitter of brightness, contrast, saturation; ImageNet: 0.4")
    lighting: float = option(0.0, "std of noise along the principal axes of colour; ImageNet: 0.1")
    policy: str = option("none", "none, trivial_augment (Mueller & Hutter 2021) or rand_augment")
    policy_operations: int = option(2, "operations per image, N of RandAugment (Cubuk et al. 2019)")
    policy_magnitude: int = option(
        14, "M of RandAugment, 0 to 30; 30 is full strength, 10 in the authors' code"
    )
    cutout: int = option(0, "pixels: side of the square set to the mean (DeVries & Taylor 2017)")
    mixup: float = option(0.0, "alpha of mixup (Zhang et al. 2018); 0: off")
    cutmix: float = option(0.0, "alpha of CutMix (Yun et al. 2019); 0: off")
    label_smoothing: float = option(0.0, "share of each label that is spread over all classes")
    train_sizes: tuple[int, ...] = option(
        (), "pixels: sizes to train at, one after the other; empty: the images' size"
    )
    size_epochs: tuple[int, ...] = option(
        (), "epochs, counted from 1, at whose start the next size of train_sizes begins"
    )

    teacher: str = option("", "run folder of a network to imitate (Hinton 2015); empty: none")
    teacher_share: float = option(0.9, "share of the teacher in the loss; the rest is the labels'")
    temperature: float = option(4.0, "divides the logits of teacher and student in the loss")

    precision: str = option("float32", "float32 or mixed_bfloat16")
    synchronized_bn: bool = option(False, "batch statistics over all devices; paper: per device")
    train_images: int = option(0, "maximum number of training images, spread evenly; 0: no limit")
    held_out: int = option(
        0,
        "training images to hold out and evaluate on in place of the test set, for choosing "
        "recipes; the same images for all seeds",
    )
    evaluate_every: int = option(1, "epochs between test-set evaluations (never used to choose)")
    seed: int = option(1, "of initial weights, order of images, augmentation and dropout")

    def __post_init__(self) -> None:
        """Refuse values that describe no run; those of NumPy and paths become plain ones."""
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _plain(getattr(self, field.name)))
        for name in "epochs batch_size evaluate_every image_size policy_operations".split():
            self._require(name, getattr(self, name) >= 1, "at least 1")
        amounts = "pad train_images held_out cutout resize lighting color_jitter mixup cutmix sam"
        for name in [*amounts.split(), "warmup_epochs", "weight_decay"]:
            self._require(name, getattr(self, name) >= 0, "0 or more")
        for name in ("momentum", "label_smoothing", "average"):
            self._require(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name in ("learning_rate", "drop_factor", "vector_rate", "temperature"):
            self._require(name, getattr(self, name) > 0, "above 0")
        for name, choices in _CHOICES.items():
            self._require(name, getattr(self, name) in choices, "one of " + ", ".join(choices))
        self._require("seed", 0 <= self.seed < 2**32, "0 or more and below 2**32")
        self._require("teacher_share", 0 <= self.teacher_share <= 1, "in [0, 1]")
        self._require("policy_magnitude", 0 <= self.policy_magnitude <= 30, "in 0 to 30")
        self._check_conflicts()

    def _check_conflicts(self) -> None:
        """Refuse options that exclude each other."""
        require, streamed, sizes = self._require, self.random_resized_crop, len(self.train_sizes)
        for name in ("drop_epochs", "size_epochs"):
            epochs = getattr(self, name)
            rising = all(a <= b for a, b in zip((1, *epochs), epochs, strict=False))
            require(name, rising, "epochs counted from 1, rising or equal")
        require("warmup_epochs", self.warmup_epochs < self.epochs, "below epochs")
        one_fewer = f"one fewer than the {sizes} sizes in train_sizes"
        require("size_epochs", len(self.size_epochs) == max(sizes - 1, 0), one_fewer)
        require("train_sizes", all(size >= 8 for size in self.train_sizes), "8 pixels or more")
        one_size = "empty with a teacher, which has one size"
        require("train_sizes", not (sizes and self.teacher), one_size)
        one_mix = "0 where mixup is used; one of them mixes a batch"
        require("cutmix", not (self.mixup and self.cutmix), one_mix)
        # These need pixels of 0 to 255, which whitened images do not have.
        needs_pixels = self.mixup or self.color_jitter or self.lighting or streamed or self.teacher
        needs_pixels = needs_pixels or self.policy != "none"
        names = "policy, mixup, color_jitter, lighting, random_resized_crop or teacher"
        require("whitening", not (self.whitening and needs_pixels), f"False with {names}")
        require("sam", not (self.sam and self.teacher), "0 with a teacher")
        require("alternating_flip", self.flip or not self.alternating_flip, "False where flip is")
        require("resize", streamed or not self.resize, "0 without random_resized_crop")
        crop = f"0 or at least image_size={self.image_size}, the size of the crop"
        require("resize", not 0 < self.resize < self.image_size, crop)
        for name in ("policy", "mixup", "cutmix", "alternating_flip"):
            in_memory = "off with random_resized_crop: it works with images in memory"
            require(name, not streamed or getattr(self, name) in (0, "none"), in_memory)
        is_tfds = self.dataset.startswith("tfds:")
        of_tfds = "True for data sets of tensorflow_datasets"
        require("random_resized_crop", streamed or not is_tfds, of_tfds)
        in_part = streamed or self.train_images
        in_full = "0 with random_resized_crop or train_images"
        require("held_out", not (self.held_out and in_part), in_full)
        require("extra", self.dataset == "svhn" or not self.extra, "False but for svhn")
        if self.form == "imagenet":
            for name in ("dropout", "stochastic_depth", "blocks_per_group"):
                require(name, not getattr(self, name), "0 or None with form=imagenet")
            default_block = self.block.replace(" ", "") == "B(3,3)"
            require("block", default_block, "left out with form=imagenet: the depth decides")

    def _require(self, name: str, fine: bool, expected: str) -> None:
        if not fine:
            received = f"{name}={getattr(self, name)!r}"
            raise InputError(f"`{name}` must be {expected}. Received: {received}")

    @property
    def network_name(self) -> str:
        """The paper's name, such as "WRN-28-10"; the block follows if it is not B(3,3)."""
        label = f"WRN-{self.depth}-{self.width:g}"
        if self.form == "imagenet":
            return label
        if self.block.replace(" ", "") == "bottleneck":
            return f"pre-ResNet-{self.depth}" + (f"x{self.width:g}" if self.width != 1 else "")
        return label if self.block.replace(" ", "") == "B(3,3)" else f"{label}-{self.block}"

    def size_in(self, epoch: int) -> int | None:
        """Image size in pixels in an epoch, counted from 0; None: the images' own size."""
        if not self.train_sizes:
            return None
        return self.train_sizes[sum(epoch + 1 >= start for start in self.size_epochs)]

    def shortened(self, epochs: int) -> "Recipe":
        """Scale the schedule to another number of epochs; drops and warm-up keep their share.

        The first epoch always has the highest rate. In a short run several drops may fall on one
        epoch, and in one or two epochs some fall behind the end.
        """

        def moved(marks: tuple[int, ...], first: int) -> tuple[int, ...]:
            return tuple(max(first, 1 + round((m - 1) * epochs / self.epochs)) for m in marks)

        return dataclasses.replace(
            self,
            epochs=epochs,
            drop_epochs=moved(self.drop_epochs, 2),
            size_epochs=moved(self.size_epochs, 1),
            warmup_epochs=self.warmup_epochs * epochs / self.epochs,
        )

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values, for recipe.json."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in vars(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """Make a recipe from a recipe.json; raises InputError for an unknown field."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise InputError(
                f"A recipe has no field {', '.join(unknown)}. It has: {', '.join(sorted(known))}."
            )
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**plain)
