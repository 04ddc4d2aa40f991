"""TrivialAugment and RandAugment: operations of random kind, another one for each image.

Both draw from the same fourteen operations, at strengths of their own. They are applied by Pillow,
as their authors did; Keras' RandAugment draws its operations once for a whole batch.
"""

from dataclasses import dataclass

import numpy as np

LEVELS = 31  # of strength, 0 the weakest
OPERATIONS = (
    "identity",
    "autocontrast",
    "equalize",
    "rotate",
    "solarize",
    "color",
    "posterize",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)


@dataclass(frozen=True)
class Strengths:
    """What each operation does at level 1; at level 0 it does nothing.

    Attributes:
        degrees: of rotation.
        shear: pixels sideways a pixel down.
        shift: share of the image's width or height.
        enhance: change of the factor of colour, contrast, brightness and sharpness, from 1.
        bits: that posterising takes away, of 8.
    """

    degrees: float
    shear: float
    shift: float
    enhance: float
    bits: int


# Mueller & Hutter 2021, arXiv:2103.10158, Table 1, "wide"; 32 pixels of 32.
TRIVIAL_WIDE = Strengths(degrees=135, shear=0.99, shift=1.0, enhance=0.99, bits=6)
# Cubuk et al. 2019, arXiv:1909.13719, in the ranges of AutoAugment; 150 pixels of ImageNet's 331.
RAND_AUGMENT = Strengths(degrees=30, shear=0.3, shift=150 / 331, enhance=0.9, bits=4)


def trivial_augment(images: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Apply one operation to each image, of a strength drawn evenly; nothing is to be tuned.

    Args:
        images: uint8 (n, height, width, 3).
        draws: the source of chance.

    Returns:
        uint8 images of the same shape; the fill of what is moved in is black, as in the
        authors' code.

    Source: Mueller & Hutter 2021, arXiv:2103.10158, algorithm 1.
    """
    levels = draws.integers(LEVELS, size=len(images)) / (LEVELS - 1)
    return _apply(images, levels, TRIVIAL_WIDE, draws)


def rand_augment(
    images: np.ndarray, operations: int, magnitude: int, draws: np.random.Generator
) -> np.ndarray:
    """Apply so many operations to each image, one after the other, all of one strength.

    Args:
        images: uint8 (n, height, width, 3).
        operations: N of the paper, >= 1, drawn with replacement.
        magnitude: M of the paper, 0 to 30. The paper has N = 3, M = 5 for WRN-28-10 on CIFAR-10
            and N = 2, M = 14 on CIFAR-100.
        draws: the source of chance.

    Returns:
        uint8 images of the same shape, filled with black.

    Source: Cubuk et al. 2019, arXiv:1909.13719, section 3. Differs: autocontrast, equalize and
    identity have no strength; what has a direction takes either, by chance.
    """
    levels = np.full(len(images), magnitude / (LEVELS - 1))
    for _ in range(operations):
        images = _apply(images, levels, RAND_AUGMENT, draws)
    return images


def _apply(
    images: np.ndarray, levels: np.ndarray, strengths: Strengths, draws: np.random.Generator
) -> np.ndarray:
    """Apply an operation drawn for each image."""
    operations = draws.integers(len(OPERATIONS), size=len(images))
    signs = draws.choice((-1.0, 1.0), size=len(images))
    return np.stack(
        [
            apply_operation(image, OPERATIONS[operation], level, sign, strengths)
            for image, operation, level, sign in zip(images, operations, levels, signs, strict=True)
        ]
    )


def apply_operation(
    image: np.ndarray, operation: str, level: float, sign: float, strengths: Strengths
) -> np.ndarray:
    """Apply one operation to one image.

    Args:
        image: uint8 (height, width, 3).
        operation: one of `OPERATIONS`.
        level: strength in [0, 1].
        sign: 1 or -1, for what has a direction.
        strengths: what level 1 is.
    """
    from PIL import Image, ImageEnhance, ImageOps

    if operation == "identity":
        return image
    picture = Image.fromarray(image)
    amount = sign * level
    match operation:
        case "autocontrast":
            changed = ImageOps.autocontrast(picture)
        case "equalize":
            changed = ImageOps.equalize(picture)
        case "solarize":
            changed = ImageOps.solarize(picture, round(256 * (1 - level)))
        case "posterize":
            changed = ImageOps.posterize(picture, 8 - round(strengths.bits * level))
        case "color" | "contrast" | "brightness" | "sharpness":
            enhance = getattr(ImageEnhance, operation.capitalize())
            changed = enhance(picture).enhance(1 + strengths.enhance * amount)
        case "rotate":
            changed = picture.rotate(strengths.degrees * amount)
        case _:
            coefficients = _affine(operation, amount, strengths, picture.size)
            changed = picture.transform(picture.size, Image.Transform.AFFINE, coefficients)
    return np.asarray(changed)


def _affine(
    operation: str, amount: float, strengths: Strengths, size: tuple[int, int]
) -> tuple[float, ...]:
    """The coefficients (a, b, c, d, e, f) of Pillow's affine map."""
    shear = strengths.shear * amount
    right, down = (strengths.shift * amount * side for side in size)
    return {
        "shear_x": (1, shear, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, shear, 1, 0),
        "translate_x": (1, 0, right, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, down),
    }[operation]
