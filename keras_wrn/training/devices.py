"""The devices that a run trains on: their number, their random draws, their statistics."""

import contextlib
import functools
from typing import Any

import keras
import numpy as np
from absl import logging
from keras import ops

from keras_wrn.errors import InputError
from keras_wrn.training.losses import ConfusionMatrix
from keras_wrn.training.recipe import Recipe
from keras_wrn.training.workers import cluster

MOST_CLASSES = 1000  # of a confusion matrix: as many rows and columns of pixels on a screen


class ReplicatedModel(keras.Model):
    """A functional model that `fit` takes on several devices with batches of any size.

    Before the first step Keras 3.15 averages the first batch over the devices, to learn its shape
    (`_maybe_symbolic_build` in keras/src/backend/tensorflow/trainer.py); shares of different size
    have no average. Here the shapes come from the model's input. Nothing changes on one device.

    On several machines Keras takes the mean of a step's figures over their first axis
    (`reduce_per_replica` there), which a number does not have; here it gets one
    (keras-team/keras#20585).

    Attributes:
        confusion: counts the images of the last validation by true and predicted class; None for
            more than 1,000 classes.
    """

    confusion: ConfusionMatrix | None = None
    _validates = False

    def count_confusions(self, classes: int) -> None:
        """Let each validation count its images in `confusion`."""
        if classes <= MOST_CLASSES:
            self.confusion = ConfusionMatrix(classes)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Update the metrics; of a validation, the confusion matrix too."""
        if self.confusion is not None and self._validates:
            self.confusion.update_state(y, y_pred)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def train_step(self, *arguments: Any) -> Any:
        """Take a step."""
        return across_workers(super().train_step(*arguments))

    def test_step(self, *arguments: Any) -> Any:
        """Evaluate a batch."""
        self._validates = True  # while the step is traced
        try:
            return across_workers(super().test_step(*arguments))
        finally:
            self._validates = False

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        if self._distribute_strategy is None:
            return
        images = keras.KerasTensor((None, *self.input_shape[1:]), self.inputs[0].dtype)
        with self._distribute_strategy.scope():
            self._symbolic_build(data_batch=(images, keras.KerasTensor((None,), "int64")))


def across_workers(figures: Any) -> Any:
    """Give the figures of a step an axis, where there are several machines."""
    if cluster() is None:
        return figures
    return {name: figure[None] for name, figure in figures.items()}


class FirstStatistics(keras.callbacks.Callback):
    """Give all replicas the first one's moving statistics before each validation.

    Without `synchronized_bn` each replica moves its own. The first replica's are the ones that are
    saved and stored, so that they are also the ones to validate.
    """

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Copy them."""
        workers = cluster()
        for variable in self.model.non_trainable_variables:
            if variable.name.startswith("moving_"):
                value = to_numpy(variable)
                variable.assign(value if workers is None else workers.of_chief(value))


def to_numpy(variable: Any) -> np.ndarray:
    """Copy a variable's value; of a mirrored one, the first replica's."""
    value = variable.value
    # NumPy cannot read a mirrored scalar inside the scope of its strategy.
    return value.numpy() if keras.config.backend() == "tensorflow" else ops.convert_to_numpy(value)


def settle(model: keras.Model) -> None:
    """In the middle of `fit`, give a model's variables their values, which JAX keeps apart."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def draw_apart(model: keras.Model) -> None:
    """Give each replica its own seed for crops, flips and dropout; only TensorFlow needs it.

    Keras copies a generator's state to all replicas, so all would draw the same. The first
    replica's state is the one that is saved. It stays, so a resumed run has the same draws.
    """
    if keras.config.backend() != "tensorflow":
        return
    import tensorflow as tf

    states = [v for v in model.variables if v.name == "seed_generator_state"]

    def move() -> None:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        for state in states:
            state.assign(state.value + tf.cast(tf.stack([replica, 0]), state.value.dtype))

    tf.distribute.get_strategy().run(move)


@contextlib.contextmanager
def device_scope(recipe: Recipe) -> Any:
    """Enter the scope of all devices, if there are several; yields their number.

    That is MirroredStrategy's on TensorFlow, MultiWorkerMirroredStrategy's on several machines, and
    DataParallel's on JAX; Torch has one device.

    Raises:
        InputError: the batch size does not divide by their number.
    """
    workers, devices = cluster(), _devices()
    replicas = len(devices) if workers is None else workers.strategy.num_replicas_in_sync
    if replicas < 2:
        yield 1
        return
    if recipe.batch_size % replicas:
        raise InputError(
            f"`batch_size` is over all devices together and must divide by {replicas}. "
            f"Received: batch_size={recipe.batch_size}"
        )
    logging.info("training on %d devices", replicas)
    with _scope(devices) if workers is None else workers.strategy.scope():
        yield replicas


def _devices() -> list[str]:
    if keras.config.backend() == "jax":
        import jax

        if (count := jax.process_count()) > 1:
            raise InputError(
                "With JAX, `train` runs in one process. docs/training.md has a program for "
                f"several. Received: {count} processes."
            )
        return list(keras.distribution.list_devices())
    if keras.config.backend() != "tensorflow":
        return ["one"]
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]


def _scope(devices: list[str]) -> Any:
    if keras.config.backend() == "jax":
        return _DataParallel(devices=devices).scope()
    return _mirrored(tuple(devices)).scope()


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> Any:
    """The one strategy of a process: a second one takes the first one's messages for its own."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


class _DataParallel(keras.distribution.DataParallel):
    """Keras' class, but a batch that the devices cannot share is given whole to each of them.

    Keras lays out all batches of an iterator as it does the first one.
    """

    def get_data_layout(self, data_shape: Any) -> Any:
        """Share the first axis, or nothing."""
        if data_shape[0] % self.num_model_replicas == 0:
            return super().get_data_layout(data_shape)
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)
