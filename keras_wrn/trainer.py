"""The model that is trained: augmentation, normalisation and the network's training clone."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_wrn import schedules
from keras_wrn.augment import RandomCropFlip
from keras_wrn.fused_batch_norm import training_clone
from keras_wrn.optimizers import TorchSGD
from keras_wrn.preprocessing import Preprocessing, normalization
from keras_wrn.recipe import Recipe
from keras_wrn.wide_resnet import WideResNet


class Networks(NamedTuple):
    """The network that is kept, its training clone, and the model around the clone."""

    network: keras.Model
    clone: keras.Model
    trainer: keras.Model


def build(recipe: Recipe, preprocessing: Preprocessing, shape: tuple[int, ...]) -> Networks:
    """Build the network, its training clone, and augmentation and normalisation before it.

    Args:
        recipe: what to build.
        preprocessing: the statistics of the data set.
        shape: (height, width, 3) of the images.
    """
    network = WideResNet(
        **network_arguments(recipe),
        input_shape=shape,
        classes=len(preprocessing.class_names),
        classifier_activation=None,
    )
    clone = training_clone(network, precision=recipe.precision, synchronized=recipe.synchronized_bn)
    images = keras.Input(shape=shape, dtype="uint8", name="images")
    x = images
    if recipe.pad or recipe.flip:
        x = RandomCropFlip(recipe.pad, recipe.flip, name="random_crop_flip")(x)
    trainer = keras.Model(images, clone(normalization(preprocessing)(x)), name="trainer")
    return Networks(network, clone, trainer)


def compile_trainer(trainer: keras.Model, recipe: Recipe, steps_per_epoch: int) -> None:
    """Give the training model the recipe's optimiser, loss and error."""
    optimizer = TorchSGD(
        schedules.learning_rate(recipe, steps_per_epoch),
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    # XLA is slower than TensorFlow's own kernels on CPUs; Keras' "auto" knows where it helps.
    trainer.compile(
        optimizer, loss=_loss(recipe.label_smoothing), metrics=[error], jit_compile="auto"
    )
    # Built before the first step, or Keras traces the training step twice.
    optimizer.build(trainer.trainable_variables)


def error(y_true: Any, y_pred: Any) -> Any:
    """Top-1 error of each image, 0 or 1; what the paper reports."""
    wrong = ops.not_equal(ops.argmax(y_pred, axis=-1), ops.cast(ops.reshape(y_true, [-1]), "int32"))
    return ops.cast(wrong, "float32")


def network_arguments(recipe: Recipe) -> dict[str, Any]:
    """The arguments of `WideResNet` that a recipe determines."""
    names = ("depth", "width", "block", "dropout", "blocks_per_group", "stochastic_depth")
    return {name: getattr(recipe, name) for name in names}


def _loss(label_smoothing: float) -> Any:
    if not label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def smoothed_cross_entropy(y_true: Any, y_pred: Any) -> Any:
        classes = y_pred.shape[-1]
        target = ops.one_hot(ops.cast(ops.reshape(y_true, [-1]), "int32"), classes)
        return keras.losses.categorical_crossentropy(
            target, y_pred, from_logits=True, label_smoothing=label_smoothing
        )

    return smoothed_cross_entropy
