"""The devices that a run trains on, and their random draws."""

import contextlib
from typing import Any

import keras
from absl import logging

from keras_wrn.errors import InputError
from keras_wrn.training.recipe import Recipe


def draw_apart(model: keras.Model) -> None:
    """Give each replica its own seed for crops, flips and dropout.

    Keras copies a generator's state to all replicas, so all would draw the same. The first
    replica's state is the one that is saved. It stays, so a resumed run has the same draws.
    """
    import tensorflow as tf

    states = [v for v in model.variables if v.name == "seed_generator_state"]

    def move() -> None:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        for state in states:
            state.assign(state.value + tf.cast(tf.stack([replica, 0]), state.value.dtype))

    tf.distribute.get_strategy().run(move)


@contextlib.contextmanager
def device_scope(recipe: Recipe) -> Any:
    """Enter MirroredStrategy's scope if TensorFlow has several devices; yields their number.

    Raises:
        InputError: the batch size does not divide by their number.
    """
    if keras.config.backend() != "tensorflow":
        yield 1
        return
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        yield 1
        return
    if recipe.batch_size % len(devices):
        raise InputError(
            f"`batch_size` is over all devices together and must divide by {len(devices)}. "
            f"Received: batch_size={recipe.batch_size}"
        )
    logging.info("training on %d devices", len(devices))
    with tf.distribute.MirroredStrategy([device.name for device in devices]).scope():
        yield len(devices)
