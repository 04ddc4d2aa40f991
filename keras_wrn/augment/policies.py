"""TrivialAugment and RandAugment: random operations, drawn for each image.

Both draw from the same fourteen operations, with different strengths. Pillow applies them, as in
the authors' code. Keras' RandAugment draws its operations once for a whole batch.
"""

from dataclasses import dataclass

import numpy as np

LEVELS = 31  # of strength, from 0, the weakest
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
    """The strengths of the operations at level 1; at level 0 they do nothing.

    Attributes:
        degrees: of rotation.
        shear: pixels sideways per pixel down.
        shift: share of the image's width or height.
        enhance: distance from 1 of the factor of colour, contrast, brightness and sharpness.
        bits: removed by posterising, of 8.
    """

    degrees: float
    shear: float
    shift: float
    enhance: float
    bits: int


# Mueller & Hutter 2021, arXiv:2103.10158, Table 1, "wide"; shifts of 32 pixels in 32.
TRIVIAL_WIDE = Strengths(degrees=135, shear=0.99, shift=1.0, enhance=0.99, bits=6)
# Cubuk et al. 2019, arXiv:1909.13719, with AutoAugment's ranges; shifts of 150 pixels in 331.
RAND_AUGMENT = Strengths(degrees=30, shear=0.3, shift=150 / 331, enhance=0.9, bits=4)


def trivial_augment(images: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Apply one operation to each image, with a strength drawn uniformly.

    Args:
        images: uint8 (n, height, width, 3).
        draws: the random generator.

    Returns:
        uint8 images of the same shape; empty areas are black, as in the authors' code.

    Source: Mueller & Hutter 2021, arXiv:2103.10158, algorithm 1.
    """
    levels = draws.integers(LEVELS, size=len(images)) / (LEVELS - 1)
    return _apply(images, levels, TRIVIAL_WIDE, draws)


def rand_augment(
    images: np.ndarray, operations: int, magnitude: int, draws: np.random.Generator
) -> np.ndarray:
    """Apply several operations to each image, one after the other, with the same strength.

    Args:
        images: uint8 (n, height, width, 3).
        operations: the paper's N, >= 1, drawn with replacement.
        magnitude: the paper's M, 0 to 30, of which 30 is full strength, as in torchvision. The
            paper has N = 3, M = 5 for WRN-28-10 on CIFAR-10 and N = 2, M = 14 on CIFAR-100; its
            authors' code divides by 10, so that their M = 5 is 15 here.
        draws: the random generator.

    Returns:
        uint8 images of the same shape; empty areas are black.

    Source: Cubuk et al. 2019, arXiv:1909.13719, section 3. Differs: autocontrast, equalize and
    identity have no strength; the direction of the others is random.
    """
    levels = np.full(len(images), magnitude / (LEVELS - 1))
    for _ in range(operations):
        images = _apply(images, levels, RAND_AUGMENT, draws)
    return images


def _apply(
    images: np.ndarray, levels: np.ndarray, strengths: Strengths, draws: np.random.Generator
) -> np.ndarray:
    """Draw and apply one operation for each image."""
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
        sign: 1 or -1, for operations with a direction.
        strengths: the strengths at level 1.

    Returns:
        uint8 (height, width, 3).
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
    """Return the coefficients (a, b, c, d, e, f) of Pillow's affine transform."""
    shear = strengths.shear * amount
    right, down = (strengths.shift * amount * side for side in size)
    return {
        "shear_x": (1, shear, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, shear, 1, 0),
        "translate_x": (1, 0, right, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, down),
    }[operation]
