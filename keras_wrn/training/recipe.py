"""What a training run is: every number with its unit and its source, in one frozen record."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from keras_wrn.errors import InputError

SCHEDULES = ("steps", "cosine", "one_cycle", "constant")
POLICIES = ("none", "trivial_augment", "rand_augment")
FORMS = ("cifar", "imagenet")
PRECISIONS = ("float32", "mixed_bfloat16")
_CHOICES = {"schedule": SCHEDULES, "precision": PRECISIONS, "policy": POLICIES, "form": FORMS}


def option(default: Any, help_text: str) -> Any:
    """A field of a dataclass that is a flag of the command line, explained by its help."""
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

    dataset: str = option(
        "cifar10", "cifar10, cifar100, svhn, digits, a folder of class folders, or tfds:NAME"
    )
    image_size: int = option(32, "height and width in pixels, for folders of images and ImageNet")
    extra: bool = option(False, "add SVHN's 531,131 extra training images; paper: yes")
    whitening: bool = option(
        False, "contrast normalisation and ZCA whitening (paper, Tables 2 to 4) for mean and std"
    )
    form: str = option("cifar", "cifar: pre-activation, Table 1; imagenet: Tables 7 and 8")
    depth: int = option(28, "n: convolutions on the longest path")
    width: float = option(10.0, "k: widening factor")
    block: str = option("B(3,3)", "B(M) for a list M of 1s and 3s, or 'bottleneck'")
    blocks_per_group: int | None = option(None, "N, where it shall not follow from the depth")
    dropout: float = option(0.0, "drop rate inside blocks; paper: 0.3 on CIFAR, 0.4 on SVHN")
    stochastic_depth: float = option(0.0, "drop rate of the last block, growing linearly")

    epochs: int = option(200, "passes over the training images; paper: 200")
    batch_size: int = option(128, "images a step, over all devices together; paper: 128")
    learning_rate: float = option(0.1, "the highest rate of the schedule; paper: 0.1")
    schedule: str = option("steps", "steps (paper), cosine, one_cycle or constant")
    drop_epochs: tuple[int, ...] = option(
        (60, 120, 160), "epochs, counted from 1, at whose start the rate drops; paper: 60,120,160"
    )
    drop_factor: float = option(0.2, "what a drop multiplies the rate by; paper: 0.2")
    reset_velocity: bool = option(True, "forget momentum at a drop, as the authors' code does")
    warmup_epochs: float = option(0.0, "epochs of linear rise to the highest rate")
    momentum: float = option(0.9, "of SGD; paper: 0.9")
    nesterov: bool = option(True, "Nesterov momentum; paper: yes")
    weight_decay: float = option(5e-4, "coupled L2 decay of all trainables; paper: 5e-4")

    vector_rate: float = option(
        1.0, "multiplies the rate of biases and batch normalisation; paper: 1"
    )
    sam: float = option(0.0, "radius rho of sharpness-aware minimisation, 0: off; 2 passes a step")
    average: float = option(
        0.0,
        "decay a step of the weights' moving average that is kept, 0: off; history.csv has the "
        "test error of the weights themselves",
    )

    pad: int = option(4, "pixels of reflection padding before the random crop; paper: 4")
    flip: bool = option(True, "mirror half of the images; paper: yes")
    alternating_flip: bool = option(
        False, "mirror each image in every second epoch, instead of by chance; needs flip"
    )
    random_resized_crop: bool = option(
        False, "for ImageNet: crop 8 to 100 % of the area, read the images as they are needed"
    )
    resize: int = option(
        0,
        "with random_resized_crop: pixels of a test image's shorter side before the crop in its "
        "middle; 0: no more than it",
    )
    color_jitter: float = option(0.0, "of brightness, contrast and saturation; ImageNet: 0.4")
    lighting: float = option(0.0, "std of the noise along the colours' axes; ImageNet: 0.1")
    policy: str = option(
        "none", "none, trivial_augment (Mueller & Hutter 2021, wide) or rand_augment"
    )
    policy_operations: int = option(2, "operations an image, N of RandAugment (Cubuk et al. 2019)")
    policy_magnitude: int = option(14, "strength of 0 to 30, M of RandAugment")
    cutout: int = option(0, "pixels: side of the square set to the mean (DeVries & Taylor 2017)")
    mixup: float = option(0.0, "alpha of mixup (Zhang et al. 2018), 0: off")
    cutmix: float = option(0.0, "alpha of CutMix (Yun et al. 2019), 0: off")
    label_smoothing: float = option(0.0, "share of the label spread over all classes")
    train_sizes: tuple[int, ...] = option(
        (), "pixels: sizes to train at, one after the other; empty: the images' own"
    )
    size_epochs: tuple[int, ...] = option(
        (), "epochs, counted from 1, at whose start the next of train_sizes begins"
    )

    teacher: str = option(
        "", "a run folder whose network is learnt from too (Hinton et al. 2015); empty: none"
    )
    teacher_share: float = option(0.9, "share of the teacher in the loss; the labels have the rest")
    temperature: float = option(4.0, "that softens teacher and student")

    precision: str = option("float32", "float32 or mixed_bfloat16")
    synchronized_bn: bool = option(False, "batch statistics over all devices; paper: each its own")
    train_images: int = option(
        0, "train on so many images only: the first, or of a folder from all classes; 0: on all"
    )
    held_out: int = option(
        0,
        "training images that are kept from training and measured in the test set's place, to "
        "choose recipes by; the same ones for all seeds",
    )
    evaluate_every: int = option(1, "epochs between test-set evaluations (never used to choose)")
    seed: int = option(1, "of weights, order, augmentation and dropout")

    def __post_init__(self) -> None:
        """Refuse numbers that describe no run."""
        for name in "epochs batch_size evaluate_every image_size policy_operations".split():
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        amounts = "pad train_images held_out cutout resize lighting color_jitter mixup cutmix sam"
        for name in [*amounts.split(), "warmup_epochs", "weight_decay"]:
            _require(self, name, getattr(self, name) >= 0, "0 or more")
        for name in ("momentum", "label_smoothing", "average"):
            _require(self, name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name in ("learning_rate", "drop_factor", "vector_rate", "temperature"):
            _require(self, name, getattr(self, name) > 0, "above 0")
        for name, choices in _CHOICES.items():
            _require(self, name, getattr(self, name) in choices, "one of " + ", ".join(choices))
        _require(self, "seed", 0 <= self.seed < 2**32, "0 or more and below 2**32")
        _require(self, "teacher_share", 0 <= self.teacher_share <= 1, "in [0, 1]")
        _require(self, "policy_magnitude", 0 <= self.policy_magnitude <= 30, "in 0 to 30")
        self._check_together()

    def _check_together(self) -> None:
        """Refuse options that contradict each other."""
        for name in ("drop_epochs", "size_epochs"):
            epochs = getattr(self, name)
            rising = all(a <= b for a, b in zip((1, *epochs), epochs, strict=False))
            _require(self, name, rising, "epochs counted from 1, rising or equal")
        _require(self, "warmup_epochs", self.warmup_epochs < self.epochs, "below epochs")
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
        own_size = not (self.train_sizes and self.teacher)
        _require(self, "train_sizes", own_size, "empty with a teacher, which has one size")
        mirrors = self.flip or not self.alternating_flip
        _require(self, "alternating_flip", mirrors, "False where flip is")
        as_needed = self.random_resized_crop
        _require(self, "resize", as_needed or not self.resize, "0 without random_resized_crop")
        streamed = as_needed or not self.dataset.startswith("tfds:")
        _require(self, "random_resized_crop", streamed, "True for what tensorflow_datasets has")
        whole = as_needed or self.train_images
        _require(
            self,
            "held_out",
            not (self.held_out and whole),
            "0 with random_resized_crop or train_images",
        )
        _require(self, "extra", self.dataset == "svhn" or not self.extra, "False but for svhn")
        if self.form == "imagenet":
            for name in ("dropout", "stochastic_depth", "blocks_per_group"):
                _require(self, name, not getattr(self, name), "0 or None with form=imagenet")
            given = self.block.replace(" ", "") != "B(3,3)"
            _require(self, "block", not given, "left out with form=imagenet: the depth decides")

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
        """The same schedule over another number of epochs: drops and warm-up keep their share.

        The first epoch is always at the highest rate, and no drop is lost: in a run of few
        epochs several may stand at the start of one.
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
