"""A small folder of images in ImageNet's layout, and a recipe that trains on it."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from keras_wrn.training.recipe import Recipe

SMALL = Recipe(
    form="imagenet",
    depth=18,
    width=0.25,
    image_size=32,
    random_resized_crop=True,
    color_jitter=0.4,
    lighting=0.1,
    pad=0,
    epochs=2,
    drop_epochs=(2,),
    batch_size=8,
    weight_decay=1e-4,
)


def recipe_for(dataset: object, **changes: object) -> Recipe:
    """The small recipe for a data set."""
    return dataclasses.replace(SMALL, dataset=str(dataset), **changes)


def pixels(height: int, width: int, seed: int) -> np.ndarray:
    """A smooth picture with some noise, uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
    large = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    return (large + rng.normal(0, 10, large.shape)).clip(0, 255).astype(np.uint8)


def save(path: Path, image: Image.Image, **options: object) -> None:
    """Write an image, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def write_folder(root: Path) -> Path:
    """Two classes of 10 training and 4 validation images of many shapes."""
    for c, name in enumerate(("ant", "bee")):
        for i in range(14):
            image = Image.fromarray(pixels(30 + 3 * i, 61 - 2 * i, 100 * c + i))
            part = root / ("train" if i < 10 else "val") / name
            save(part / f"{i:02}.JPEG", image, quality=95, format="JPEG")
    return root
