"""A row of the paper in minutes: fewer images and epochs, narrower networks, and saying so."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from keras_wrn.errors import InputError
from keras_wrn.paper.systems import TRAIN_IMAGES
from keras_wrn.training.recipe import Recipe

# The embedded digits, a tenth of the epochs: 1,437 images in batches of 64, as recipes/digits.py
# has them, without flips, since a mirrored digit is another sign.
_DIGITS_EPOCHS = 0.1
_SVHN_TRAIN = 73_257  # images without the extra ones
_DIGITS_CHANGES: dict[str, Any] = {
    "dataset": "digits",
    "extra": False,
    "whitening": False,
    "batch_size": 64,
    "pad": 2,
    "flip": False,
    "image_size": 32,
    "resize": 0,
    "random_resized_crop": False,
    "color_jitter": 0.0,
    "lighting": 0.0,
}


@dataclass(frozen=True)
class Scale:
    """How a recipe is made smaller; the shape of its schedule stays.

    Attributes:
        share: of the steps: its square root in images and its square root in epochs. None: the
            embedded digits, in a tenth of the epochs.
        narrow: what widths are divided by, so that multiply-adds fall with its square.
    """

    share: float | None = None
    narrow: float = 1.0

    @property
    def folder(self) -> str:
        """Where scaled runs lie in the work folder, apart from the paper's own."""
        name = "digits" if self.share is None else f"{self.share:g}"
        return f"scaled-{name}" + (f"-narrow-{self.narrow:g}" if self.narrow != 1 else "")

    def smaller(self, recipe: Recipe) -> Recipe:
        """The recipe, scaled down.

        Example:
            >>> Scale(0.01, narrow=4).smaller(Recipe()).drop_epochs
            (7, 13, 17)
        """
        part = _DIGITS_EPOCHS if self.share is None else self.share**0.5
        short = recipe.shortened(max(1, round(part * recipe.epochs)))
        rare = max(1, short.epochs // 5)  # a test set as large as the paper's costs time
        # The bottlenecks of ImageNet have one width.
        narrow = 1.0 if recipe.form == "imagenet" and recipe.depth > 34 else self.narrow
        short = dataclasses.replace(short, width=recipe.width / narrow, evaluate_every=rare)
        if self.share is None:
            return dataclasses.replace(short, **_DIGITS_CHANGES)
        images = round(part * (_SVHN_TRAIN if recipe.extra else TRAIN_IMAGES[recipe.dataset]))
        return dataclasses.replace(short, extra=False, train_images=max(images, short.batch_size))

    def describe(self) -> str:
        """What a reader of a scaled table has to know first."""
        if self.share is None:
            data = (
                "the embedded digits (1,437 training images, batches of 64, no flips, mean/std) "
                "in place of the paper's data, for a tenth of its epochs"
            )
        else:
            part = 100 * self.share**0.5
            data = (
                f"{part:.3g} % of the training images (of SVHN's without the extra ones) "
                f"for {part:.3g} % of the epochs"
            )
        widths = (
            f"; widths divided by {self.narrow:g}, multiply-adds by {self.narrow**2:g}, but for "
            "ImageNet's bottlenecks"
            if self.narrow != 1
            else ""
        )
        return f"SCALED DOWN, not the paper's experiment: {data}{widths}."


def parse_scale(text: str, narrow: float) -> Scale | None:
    """Read `--scale` and `--narrow`.

    Args:
        text: "digits", a share of the steps in (0, 1), or "" for the paper's own scale.
        narrow: what widths are divided by, 1 or more.

    Raises:
        InputError: neither of these.
    """
    if narrow < 1:
        raise InputError(f"`narrow` must be 1 or more. Received: narrow={narrow:g}")
    if not text:
        if narrow != 1:
            raise InputError("`narrow` is for scaled runs. Give --scale too.")
        return None
    if text == "digits":
        return Scale(None, narrow)
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise InputError(
            f"`scale` must be digits, or a share of the steps between 0 and 1. Received: {text!r}"
        )
    return Scale(share, narrow)
