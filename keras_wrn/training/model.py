"""The model that is trained: augmentation, normalisation and the network's training clone."""

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_wrn.applications.named import build_network
from keras_wrn.augment.colour import ColorJitter, Lighting
from keras_wrn.augment.geometry import Cutout, RandomCropFlip
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import Preprocessing, normalization
from keras_wrn.optimizers import TorchSGD
from keras_wrn.training import losses, schedules
from keras_wrn.training.clone import training_clone
from keras_wrn.training.recipe import Recipe
from keras_wrn.training.sharpness_aware import SharpnessAwareModel
from keras_wrn.training.teacher import load_teacher


@dataclass
class TrainingModel:
    """A recipe's network on its way from images to loss.

    Attributes:
        recipe: what is trained.
        network: the network that is kept, of stock layers.
        clone: its training clone, which learns.
        optimizer: the one optimiser of the run.
        model: what is fitted: uint8 images to logits, augmentation included.
        front: its first part, uint8 images to what the network sees.
        teacher: what the network learns from beside the labels; its logits stand after the
            network's own in the model's output.
    """

    recipe: Recipe
    preprocessing: Preprocessing
    shape: tuple[int, ...]
    network: keras.Model
    clone: keras.Model
    optimizer: keras.optimizers.Optimizer
    teacher: keras.Model | None = None
    model: keras.Model = field(init=False)
    front: keras.Model = field(init=False)

    def __post_init__(self) -> None:
        """Make the layers that keep their draws when the image size changes."""
        recipe = self.recipe
        self._before: list[keras.layers.Layer] = [
            RandomCropFlip(
                # Images that were cropped when they were read are only flipped.
                0 if recipe.random_resized_crop else recipe.pad,
                recipe.flip and not recipe.alternating_flip,
                name="random_crop_flip",
            )
        ]
        if recipe.color_jitter:
            self._before.append(ColorJitter(recipe.color_jitter, name="color_jitter"))
        if recipe.lighting:
            self._before.append(Lighting(recipe.lighting, name="lighting"))
        self._size = 0
        self._after = [Cutout(recipe.cutout, name="cutout")] if recipe.cutout else []
        self.compile_at(self.size_in(0))

    def size_in(self, epoch: int) -> int:
        """Height and width in pixels that the network sees in an epoch, counted from 0."""
        return self.recipe.size_in(epoch) or self.shape[0]

    def compile_at(self, size: int) -> None:
        """Make and compile the model for one image size; weights, momentum and draws stay.

        For the size that it has already, the model stays, and what is traced of it.
        """
        if size == self._size:
            return
        self._size = size
        whitened = self.preprocessing.whitening is not None
        images = keras.Input(self.shape, dtype="float32" if whitened else "uint8", name="images")
        x = images
        for layer in self._before:
            x = layer(x)
        if not whitened:  # whitened images come so
            x = normalization(self.preprocessing)(x)
        for layer in self._after:
            x = layer(x)
        if size != self.shape[0]:
            x = keras.layers.Resizing(size, size, antialias=True, dtype="float32")(x)
        self.front = keras.Model(images, x, name="front")
        if self.recipe.sam:
            self.model = SharpnessAwareModel(self.front, self.clone, self.recipe.sam)
        else:
            self.model = keras.Model(images, self._logits(x), name="trainer")
        loss, error = losses.cross_entropy(self.recipe.label_smoothing), losses.error
        if self.teacher is not None:
            loss = losses.distillation(loss, self.recipe.teacher_share, self.recipe.temperature)
            error = losses.student_error
        # XLA is slower than TensorFlow's own kernels on CPUs; Keras' "auto" knows where it helps.
        self.model.compile(self.optimizer, loss=loss, metrics=[error], jit_compile="auto")
        # Built before the first step, or Keras traces the training step twice.
        self.optimizer.build(self.model.trainable_variables)

    def _logits(self, x: Any) -> Any:
        """The network's logits, and after them its teacher's."""
        if self.teacher is None:
            return self.clone(x)
        both = [self.clone(x), self.teacher(x, training=False)]
        return keras.layers.Concatenate(dtype="float32", name="student_and_teacher")(both)

    def augmented(self, images: np.ndarray) -> np.ndarray:
        """Training images as the network sees them, uint8 (n, size, size, 3), to look at."""
        seen = ops.convert_to_numpy(self.front(ops.convert_to_tensor(images), training=True))
        if self.preprocessing.whitening is None:
            pixels = seen * self.preprocessing.std + self.preprocessing.mean
        else:
            pixels = 127.5 + 127.5 * seen / np.abs(seen).max()
        return np.rint(pixels).clip(0, 255).astype(np.uint8)


def build(
    recipe: Recipe, preprocessing: Preprocessing, shape: tuple[int, ...], steps_per_epoch: int
) -> TrainingModel:
    """Build what a recipe trains.

    Args:
        recipe: what to build.
        preprocessing: the statistics and classes of the data set.
        shape: (height, width, 3) of the images.
        steps_per_epoch: steps of a whole epoch, for the schedule.
    """
    if recipe.sam and keras.config.backend() != "tensorflow":
        raise InputError("`sam` works with KERAS_BACKEND=tensorflow only. Use sam=0 here.")
    network = build_network(
        network_card(recipe, shape, len(preprocessing.class_names)),
        input_shape=(None, None, shape[2]) if recipe.train_sizes else shape,
        classifier_activation=None,
    )
    optimizer = TorchSGD(
        schedules.learning_rate(recipe, steps_per_epoch),
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        vector_rate=recipe.vector_rate,
    )
    clone = training_clone(network, precision=recipe.precision, synchronized=recipe.synchronized_bn)
    teacher = None
    if recipe.teacher:
        teacher = load_teacher(recipe.teacher, preprocessing, recipe.precision)
    return TrainingModel(recipe, preprocessing, shape, network, clone, optimizer, teacher)


def network_card(recipe: Recipe, shape: tuple[int, ...], classes: int) -> dict[str, Any]:
    """What a card says of a recipe's network: a function of keras_wrn and its arguments."""
    card: dict[str, Any]
    if recipe.form == "cifar":
        names = ("depth", "width", "block", "dropout", "blocks_per_group", "stochastic_depth")
        card = {"builder": "WideResNet", **{name: getattr(recipe, name) for name in names}}
    elif recipe.depth in (18, 34):
        card = {"builder": f"WideResNet{recipe.depth}", "width": recipe.width}
    elif recipe.depth in (50, 101) and recipe.width == 2:
        card = {"builder": f"WideResNet{recipe.depth}_2"}
    else:
        raise InputError(
            "With form=imagenet there are depth 18 and 34 of any width, and 50 and 101 of width 2. "
            f"Received: depth={recipe.depth}, width={recipe.width:g}."
        )
    return {**card, "classes": classes, "input_shape": list(shape)}
