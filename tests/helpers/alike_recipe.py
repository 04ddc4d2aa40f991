"""The short run whose figures must not depend on the number of devices or workers."""

from keras_wrn.training.recipe import Recipe

# Neither 1076 training images nor 361 to validate on divide by two or three.
ALIKE = Recipe(
    dataset="digits",
    depth=10,
    width=0.25,
    epochs=1,
    drop_epochs=(),
    batch_size=192,
    held_out=361,
    learning_rate=0.02,
    pad=0,
    flip=False,
    synchronized_bn=True,
)
