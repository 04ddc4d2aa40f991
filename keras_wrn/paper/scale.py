"""Scale a row of the paper down to minutes: fewer images and epochs, narrower networks."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from keras_wrn.errors import InputError
from keras_wrn.paper.systems import TRAIN_IMAGES
from keras_wrn.training.recipe import Recipe

# A tenth of the epochs on the embedded digits: 1,437 images in batches of 64, as in
# recipes/digits.py. No flips, since a mirrored digit is another sign.
_DIGITS_EPOCHS = 0.1
_SVHN_TRAIN = 73_257  # images without the extra ones
# The options that turn off all augmentation and whitening of the paper's recipes.
PLAIN: dict[str, Any] = {"pad": 0, "flip": False, "whitening": False, "resize": 0}
PLAIN |= {"random_resized_crop": False, "color_jitter": 0.0, "lighting": 0.0}
_DIGITS: dict[str, Any] = {"dataset": "digits", "extra": False, "image_size": 32, "batch_size": 64}
_DIGITS_CHANGES = {**PLAIN, **_DIGITS, "pad": 2}


@dataclass(frozen=True)
class Scale:
    """How to make a recipe smaller; the shape of its schedule stays.

    Attributes:
        share: share of the steps: its square root in images, and again in epochs. None: the
            embedded digits, for a tenth of the epochs.
        narrow: divides the widths, so it divides the multiply-adds by its square.
    """

    share: float | None = None
    narrow: float = 1.0

    @property
    def folder(self) -> str:
        """The folder of the scaled runs, in the folder of all runs."""
        name = "digits" if self.share is None else f"{self.share:g}"
        return f"scaled-{name}" + (f"-narrow-{self.narrow:g}" if self.narrow != 1 else "")

    def smaller(self, recipe: Recipe) -> Recipe:
        """Scale a recipe down.

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
        """What a reader of a scaled table must know first, in a sentence."""
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
    """Parse `--scale` and `--narrow`.

    Args:
        text: "digits", a share of the steps in (0, 1), or "" for full size.
        narrow: divides the widths, 1 or more.

    Returns:
        The scale; None for full size.

    Raises:
        InputError: a value is out of range.
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
