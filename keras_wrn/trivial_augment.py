"""TrivialAugment: one operation an image, of a strength drawn evenly; nothing to tune.

Mueller & Hutter 2021, arXiv:2103.10158, the "wide" space of its Table 1.
"""

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


def trivial_augment(images: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Apply an operation drawn for each image.

    Args:
        images: uint8 (n, height, width, 3).
        draws: the source of chance.

    Returns:
        uint8 images of the same shape; the fill of what is moved in is black, as in the
        authors' code.
    """
    operations = draws.integers(len(OPERATIONS), size=len(images))
    levels = draws.integers(LEVELS, size=len(images)) / (LEVELS - 1)
    signs = draws.choice((-1.0, 1.0), size=len(images))
    return np.stack(
        [
            apply_operation(image, OPERATIONS[operation], level, sign)
            for image, operation, level, sign in zip(images, operations, levels, signs, strict=True)
        ]
    )


def apply_operation(image: np.ndarray, operation: str, level: float, sign: float) -> np.ndarray:
    """Apply one operation to one image.

    Args:
        image: uint8 (height, width, 3).
        operation: one of `OPERATIONS`.
        level: strength in [0, 1].
        sign: 1 or -1, for what has a direction.
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
            changed = ImageOps.posterize(picture, 8 - round(6 * level))
        case "color" | "contrast" | "brightness" | "sharpness":
            enhance = getattr(ImageEnhance, operation.capitalize())
            changed = enhance(picture).enhance(1 + 0.99 * amount)
        case "rotate":
            changed = picture.rotate(135 * amount)
        case _:
            changed = picture.transform(
                picture.size, Image.Transform.AFFINE, _affine(operation, amount)
            )
    return np.asarray(changed)


def _affine(operation: str, amount: float) -> tuple[float, ...]:
    """The coefficients (a, b, c, d, e, f) of Pillow's affine map."""
    shear, pixels = 0.99 * amount, 32 * amount
    return {
        "shear_x": (1, shear, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, shear, 1, 0),
        "translate_x": (1, 0, pixels, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, pixels),
    }[operation]
