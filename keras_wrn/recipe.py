"""What a training run is: every number with its unit and its source, in one frozen record."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from keras_wrn.errors import InputError

SCHEDULES = ("steps", "cosine", "one_cycle", "constant")
POLICIES = ("none", "trivial_augment", "rand_augment")
FORMS = ("cifar", "imagenet")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
_CHOICES = {"schedule": SCHEDULES, "precision": PRECISIONS, "policy": POLICIES, "form": FORMS}


def _field(default: Any, help_text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": help_text})


@dataclass(frozen=True)
class Recipe:
    """A training run, completely: the same recipe and seed make the same run.

    The defaults are the paper's CIFAR recipe with mean/std normalisation (section 3, Table 5).
    Every field can be given on the command line of a recipe script under its own name.

    Example:
        >>> Recipe(depth=40, width=4).shortened(50).drop_epochs
        (16, 31, 41)
    """

    dataset: str = _field(
        "cifar10", "cifar10, cifar100, svhn, digits, a folder of class folders, or tfds:NAME"
    )
    image_size: int = _field(32, "height and width in pixels, for folders of images and ImageNet")
    extra: bool = _field(False, "add SVHN's 531,131 extra training images; paper: yes")
    whitening: bool = _field(
        False, "contrast normalisation and ZCA whitening (paper, Tables 2 to 4) for mean and std"
    )
    form: str = _field("cifar", "cifar: pre-activation, Table 1; imagenet: Tables 7 and 8")
    depth: int = _field(28, "n: convolutions on the longest path")
    width: float = _field(10.0, "k: widening factor")
    block: str = _field("B(3,3)", "B(M) for a list M of 1s and 3s, or 'bottleneck'")
    blocks_per_group: int | None = _field(None, "N, where it shall not follow from the depth")
    dropout: float = _field(0.0, "drop rate inside blocks; paper: 0.3 on CIFAR, 0.4 on SVHN")
    stochastic_depth: float = _field(0.0, "drop rate of the last block, growing linearly")

    epochs: int = _field(200, "passes over the training images; paper: 200")
    batch_size: int = _field(128, "images a step, over all devices together; paper: 128")
    learning_rate: float = _field(0.1, "the highest rate of the schedule; paper: 0.1")
    schedule: str = _field("steps", "steps (paper), cosine, one_cycle or constant")
    drop_epochs: tuple[int, ...] = _field(
        (60, 120, 160), "epochs, counted from 1, at whose start the rate drops; paper: 60,120,160"
    )
    drop_factor: float = _field(0.2, "what a drop multiplies the rate by; paper: 0.2")
    reset_velocity: bool = _field(True, "forget momentum at a drop, as the authors' code does")
    warmup_epochs: float = _field(0.0, "epochs of linear rise to the highest rate")
    momentum: float = _field(0.9, "of SGD; paper: 0.9")
    nesterov: bool = _field(True, "Nesterov momentum; paper: yes")
    weight_decay: float = _field(5e-4, "coupled L2 decay of all trainables; paper: 5e-4")

    vector_rate: float = _field(
        1.0, "multiplies the rate of biases and batch normalisation; paper: 1"
    )
    sam: float = _field(0.0, "radius rho of sharpness-aware minimisation, 0: off; 2 passes a step")
    average: float = _field(0.0, "decay a step of the weights' moving average that is kept, 0: off")

    pad: int = _field(4, "pixels of reflection padding before the random crop; paper: 4")
    flip: bool = _field(True, "mirror half of the images; paper: yes")
    alternating_flip: bool = _field(
        False, "mirror each image in every second epoch, instead of by chance"
    )
    random_resized_crop: bool = _field(
        False, "for ImageNet: crop 8 to 100 % of the area, read the images as they are needed"
    )
    resize: int = _field(
        0, "pixels of a test image's shorter side before the crop in its middle; 0: no more than it"
    )
    color_jitter: float = _field(0.0, "of brightness, contrast and saturation; ImageNet: 0.4")
    lighting: float = _field(0.0, "std of the noise along the colours' axes; ImageNet: 0.1")
    policy: str = _field(
        "none", "none, trivial_augment (Mueller & Hutter 2021, wide) or rand_augment"
    )
    policy_operations: int = _field(2, "operations an image, N of RandAugment (Cubuk et al. 2019)")
    policy_magnitude: int = _field(14, "strength of 0 to 30, M of RandAugment")
    cutout: int = _field(0, "pixels: side of the square set to the mean (DeVries & Taylor 2017)")
    mixup: float = _field(0.0, "alpha of mixup (Zhang et al. 2018), 0: off")
    cutmix: float = _field(0.0, "alpha of CutMix (Yun et al. 2019), 0: off")
    label_smoothing: float = _field(0.0, "share of the label spread over all classes")
    train_sizes: tuple[int, ...] = _field(
        (), "pixels: sizes to train at, one after the other; empty: the images' own"
    )
    size_epochs: tuple[int, ...] = _field(
        (), "epochs, counted from 1, at whose start the next of train_sizes begins"
    )

    teacher: str = _field(
        "", "a run folder whose network is learnt from too (Hinton et al. 2015); empty: none"
    )
    teacher_share: float = _field(0.9, "share of the teacher in the loss; the labels have the rest")
    temperature: float = _field(4.0, "that softens teacher and student")

    precision: str = _field("float32", "float32, mixed_bfloat16 or mixed_float16")
    synchronized_bn: bool = _field(False, "batch statistics over all devices; paper: each its own")
    train_images: int = _field(0, "train on the first so many images only; 0: on all")
    evaluate_every: int = _field(1, "epochs between test-set evaluations (never used to choose)")
    seed: int = _field(1, "of weights, order, augmentation and dropout")

    def __post_init__(self) -> None:
        """Refuse numbers that describe no run."""
        for name in "epochs batch_size evaluate_every image_size policy_operations".split():
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        amounts = "pad train_images seed cutout resize lighting color_jitter mixup cutmix sam"
        for name in [*amounts.split(), "warmup_epochs", "weight_decay"]:
            _require(self, name, getattr(self, name) >= 0, "0 or more")
        for name in ("momentum", "label_smoothing", "average"):
            _require(self, name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name in ("learning_rate", "drop_factor", "vector_rate", "temperature"):
            _require(self, name, getattr(self, name) > 0, "above 0")
        for name, choices in _CHOICES.items():
            _require(self, name, getattr(self, name) in choices, "one of " + ", ".join(choices))
        _require(self, "teacher_share", 0 <= self.teacher_share <= 1, "in [0, 1]")
        _require(self, "policy_magnitude", 0 <= self.policy_magnitude <= 30, "in 0 to 30")
        self._check_together()

    def _check_together(self) -> None:
        """Refuse options that contradict each other."""
        for name in ("drop_epochs", "size_epochs"):
            epochs = getattr(self, name)
            rising = all(a < b for a, b in zip((0, *epochs), epochs, strict=False))
            _require(self, name, rising, "epochs counted from 1, in rising order")
        sizes = len(self.train_sizes)
        fits = len(self.size_epochs) == max(sizes - 1, 0)
        _require(self, "size_epochs", fits, f"one fewer than the {sizes} sizes in train_sizes")
        _require(self, "train_sizes", all(s >= 8 for s in self.train_sizes), "8 pixels or more")
        one_mix = not (self.mixup and self.cutmix)
        _require(self, "cutmix", one_mix, "0 where mixup is used; one of them mixes a batch")
        # What needs pixels of 0 to 255 cannot have whitened ones.
        plain = self.policy == "none" and not (self.mixup or self.color_jitter or self.lighting)
        plain = plain and not (self.random_resized_crop or self.teacher)
        _require(
            self,
            "whitening",
            plain or not self.whitening,
            "False with policy, mixup, color_jitter, lighting, random_resized_crop or teacher",
        )
        _require(self, "sam", not (self.sam and self.teacher), "0 with a teacher")
        _require(self, "extra", self.dataset == "svhn" or not self.extra, "False but for svhn")
        if self.form == "imagenet":
            for name in ("dropout", "stochastic_depth", "blocks_per_group"):
                _require(self, name, not getattr(self, name), "0 or None with form=imagenet")

    @property
    def network_name(self) -> str:
        """The paper's label: "WRN-28-10", with the block where it is not B(3,3)."""
        label = f"WRN-{self.depth}-{self.width:g}"
        if self.form == "imagenet":
            return label
        if self.block.replace(" ", "") == "bottleneck":
            return f"pre-ResNet-{self.depth}" + (f"x{self.width:g}" if self.width != 1 else "")
        return label if self.block.replace(" ", "") == "B(3,3)" else f"{label}-{self.block}"

    def size_in(self, epoch: int) -> int | None:
        """Pixels that images are trained at in an epoch, counted from 0; None: their own."""
        if not self.train_sizes:
            return None
        return self.train_sizes[sum(epoch + 1 >= start for start in self.size_epochs)]

    def shortened(self, epochs: int) -> "Recipe":
        """The same schedule over another number of epochs: the drops keep their share."""

        def moved(marks: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(1 + round((mark - 1) * epochs / self.epochs) for mark in marks)

        return dataclasses.replace(
            self,
            epochs=epochs,
            drop_epochs=tuple(sorted(set(moved(self.drop_epochs)))),
            size_epochs=moved(self.size_epochs),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for recipe.json."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in vars(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """The recipe of a recipe.json."""
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


def _require(recipe: Recipe, name: str, fine: bool, expected: str) -> None:
    if not fine:
        raise InputError(f"`{name}` must be {expected}. Received: {name}={getattr(recipe, name)!r}")
