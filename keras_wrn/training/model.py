"""What `fit` trains: augmentation, normalisation, the training clone, and a teacher if any."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_wrn.applications import build_network
from keras_wrn.augment.colour import ColorJitter, Lighting
from keras_wrn.augment.geometry import Cutout, RandomCropFlip
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import Preprocessing, normalization
from keras_wrn.inference.trained import load_trained
from keras_wrn.optimizers import TorchSGD
from keras_wrn.training import losses, schedules
from keras_wrn.training.clone import training_clone
from keras_wrn.training.devices import ReplicatedModel
from keras_wrn.training.recipe import Recipe
from keras_wrn.training.sharpness_aware import SharpnessAwareModel


@dataclass
class TrainingModel:
    """A recipe's network with all that stands between images and loss.

    Attributes:
        recipe: the run's options.
        preprocessing: statistics and class names of the data set.
        shape: (height, width, 3) of the images.
        network: the network that is stored, of stock layers.
        clone: its training clone, whose weights are trained.
        optimizer: the run's only optimiser.
        teacher: the network to imitate, if any. Its logits follow the network's own in the
            model's output.
        model: the compiled model that `fit` trains: uint8 images to logits, augmentation
            included.
        front: the model's first part: uint8 images to the network's input.
    """

    recipe: Recipe
    preprocessing: Preprocessing
    shape: tuple[int, ...]
    network: keras.Model
    clone: keras.Model
    optimizer: keras.optimizers.Optimizer
    teacher: keras.Model | None = None
    model: ReplicatedModel = field(init=False)
    front: keras.Model = field(init=False)

    def __post_init__(self) -> None:
        """Make the augmentation layers once: their random state outlives a change of size."""
        recipe = self.recipe
        self._before: list[keras.layers.Layer] = [
            RandomCropFlip(
                # Images that were cropped on reading are only flipped.
                0 if recipe.random_resized_crop else recipe.pad,
                recipe.flip and not recipe.alternating_flip,
                name="random_crop_flip",
            )
        ]
        if recipe.color_jitter:
            self._before.append(ColorJitter(recipe.color_jitter, name="color_jitter"))
        if recipe.lighting:
            self._before.append(Lighting(recipe.lighting, name="lighting"))
        self._after = [Cutout(recipe.cutout, name="cutout")] if recipe.cutout else []
        self._size = 0
        self.compile_at(self.size_in(0))

    def size_in(self, epoch: int) -> int:
        """Height and width in pixels of the network's input in an epoch, counted from 0."""
        return self.recipe.size_in(epoch) or self.shape[0]

    def compile_at(self, size: int) -> None:
        """Build and compile the model for an image size; weights, momentum and draws stay.

        If the size is unchanged, keep the compiled model.
        """
        if size == self._size:
            return
        self._size = size
        whitened = self.preprocessing.whitening is not None
        images = keras.Input(self.shape, dtype="float32" if whitened else "uint8", name="images")
        x = images
        for layer in self._before:
            x = layer(x)
        if not whitened:
            x = normalization(self.preprocessing)(x)
        for layer in self._after:
            x = layer(x)
        if size != self.shape[0]:
            x = keras.layers.Resizing(size, size, antialias=True, dtype="float32")(x)
        self.front = keras.Model(images, x, name="front")
        if self.recipe.sam:
            self.model = SharpnessAwareModel(self.front, self.clone, self.recipe.sam)
        else:
            self.model = ReplicatedModel(images, self._logits(x), name="training_model")
        self.model.count_confusions(self.clone.output_shape[-1])
        loss, error = losses.cross_entropy(self.recipe.label_smoothing), losses.error
        if self.teacher is not None:
            loss = losses.distillation(loss, self.recipe.teacher_share, self.recipe.temperature)
            error = losses.student_error
        # Metric and optimiser have their variables before the first step; if that step made them,
        # TensorFlow would trace it twice.
        metric = keras.metrics.MeanMetricWrapper(error, name="error")
        self.optimizer.build(self.model.trainable_variables)
        # XLA is slower than TensorFlow's own kernels on CPUs; Keras' "auto" knows where it helps.
        self.model.compile(self.optimizer, loss=loss, metrics=[metric], jit_compile="auto")

    def _logits(self, x: Any) -> Any:
        """The network's logits, followed by its teacher's."""
        if self.teacher is None:
            return self.clone(x)
        both = [self.clone(x), self.teacher(x, training=False)]
        return keras.layers.Concatenate(dtype="float32", name="student_and_teacher")(both)

    def augmented(self, images: np.ndarray) -> np.ndarray:
        """Augment training images for display.

        Args:
            images: uint8 (n, height, width, 3), or whitened float32.

        Returns:
            uint8 (n, size, size, 3): the network's input, scaled back to pixels.
        """
        seen = ops.convert_to_numpy(self.front(ops.convert_to_tensor(images), training=True))
        if self.preprocessing.whitening is None:
            pixels = seen * self.preprocessing.std + self.preprocessing.mean
        else:
            pixels = 127.5 + 127.5 * seen / np.abs(seen).max()
        return np.rint(pixels).clip(0, 255).astype(np.uint8)


def build(
    recipe: Recipe, preprocessing: Preprocessing, shape: tuple[int, ...], steps_per_epoch: int
) -> TrainingModel:
    """Build and compile the model that a recipe trains.

    Args:
        recipe: the run's options.
        preprocessing: statistics and class names of the data set.
        shape: (height, width, 3) of the images.
        steps_per_epoch: steps of a whole epoch, for the schedule.

    Raises:
        InputError: the recipe asks for a network, teacher or backend that it cannot have.
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
    """Describe a recipe's network as a card does: a builder of keras_wrn and its arguments.

    Raises:
        InputError: form=imagenet has no such depth and width.
    """
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


def load_teacher(folder: str | Path, preprocessing: Preprocessing, precision: str) -> keras.Model:
    """Load a trained network for distillation: normalised images to logits, never trained.

    Args:
        folder: a finished run, or a folder of published weights.
        preprocessing: the student's; the teacher gets the same augmented, normalised images.
        precision: of its layers, as `training_clone` takes it.

    Raises:
        InputError: the folder has no finished run, or the run has another image size, other
            classes or other statistics than the student.

    Source: Hinton et al. 2015, arXiv:1503.02531.
    """
    trained = load_trained(folder)
    theirs, size = trained.preprocessing, preprocessing.size
    height, width = trained.model.input_shape[1:3]
    if (height, width) != (size, size):
        raise InputError(
            f"`teacher` must take the student's images, of {size}x{size} pixels. "
            f"Received: {folder}, for images of {height}x{width}."
        )
    statistics = (preprocessing.mean, preprocessing.std)
    if theirs.whitening is not None or (theirs.mean, theirs.std) != statistics:
        raise InputError(
            "`teacher` must have been trained with the student's statistics: mean "
            f"{preprocessing.mean}, std {preprocessing.std}. Received: {folder} with mean "
            f"{theirs.mean}, std {theirs.std}{', whitened' if theirs.whitening else ''}."
        )
    if theirs.class_names != preprocessing.class_names:
        raise InputError(
            "`teacher` must have the student's classes, "
            f"{len(preprocessing.class_names)} that begin with {preprocessing.class_names[:3]}. "
            f"Received: {folder} with {len(theirs.class_names)} that begin with "
            f"{theirs.class_names[:3]}."
        )
    clone = training_clone(trained.model, precision=precision)
    clone.get_layer("predictions").activation = keras.activations.linear
    for layer in clone.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # `fit` would draw for a teacher too, whatever `training` it is given
    # Teacher and student may share an architecture, and so a name.
    teacher = keras.Model(clone.input, clone.output, name="teacher")
    teacher.trainable = False
    return teacher
