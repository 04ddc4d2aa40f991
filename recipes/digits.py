"""A Wide ResNet on scikit-learn's handwritten digits: real, embedded, no download.

    python recipes/digits.py

1,437 training images, 360 test images mostly of other writers, 8x8 pixels enlarged to 32x32.
WRN-16-1 by the paper's optimiser over 30 epochs of 22 steps, about a minute on two cores. No flips,
since a mirrored digit is another sign, and crops of 2 pixels, half a pixel of the original scan.
A few test images are left in samples/ of the run folder, for `keras-wrn predict`.

Expected test error: 1.94 % and 2.22 % with seeds 1 and 2 (docs/results.md); nearest neighbour has
4.4 %.
"""

from pathlib import Path

from keras_wrn.cli.recipe_flags import run
from keras_wrn.training.recipe import Recipe

RECIPE = Recipe(
    dataset="digits",
    depth=16,
    width=1,
    epochs=30,
    drop_epochs=(10, 19, 25),
    batch_size=64,
    pad=2,
    flip=False,
)
SAMPLES = 3


def save_samples(workdir: str) -> None:
    """Write the first test images as PNG files."""
    from PIL import Image

    from keras_wrn import datasets

    folder = Path(workdir) / "samples"
    folder.mkdir(exist_ok=True)
    test = datasets.load("digits").test
    for number in range(SAMPLES):
        name = f"test-{number}-is-{test.labels[number]}.png"
        Image.fromarray(test.images[number]).save(folder / name)


if __name__ == "__main__":
    run(RECIPE, finish=save_samples)
