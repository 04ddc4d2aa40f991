"""A Wide ResNet on scikit-learn's handwritten digits: real, embedded, no download.

    python recipes/digits.py

1,437 training images, 360 test images of other writers, enlarged to 32x32. WRN-16-1 with the
paper's optimiser over 30 epochs; no flips, since a mirrored digit is another sign, and crops of
2 pixels, a quarter of a pixel of the original scan. When it is done it shows `evaluate`,
`predict` and `export` at work on the run folder.
"""

from keras_wrn.recipe import Recipe
from keras_wrn.recipe_flags import run

RECIPE = Recipe(
    dataset="digits",
    depth=16,
    width=1,
    epochs=30,
    drop_epochs=(9, 18, 24),
    batch_size=64,
    pad=2,
    flip=False,
    evaluate_every=1,
)

if __name__ == "__main__":
    run(RECIPE)
