"""The training clone of a network: the same weights in faster layers, in its own precision.

The clone exists during training only; the stored network has stock layers.
docs/performance.md has the gain of each layer.
"""

import functools
from typing import Any

import keras
from keras import ops

from keras_wrn.errors import InputError
from keras_wrn.training.weight_gradient import ProductGradientConv2D, is_suitable


def training_clone(
    network: keras.Model, *, precision: str = "float32", synchronized: bool = False
) -> keras.Model:
    """Clone a network for training: same names, same weights, faster layers.

    Args:
        network: a functional model of stock layers.
        precision: "float32" or "mixed_bfloat16", the policy of all layers but "predictions",
            which stays in float32.
        synchronized: batch statistics over all replicas, not per replica as in the paper's
            multi-GPU code.

    Returns:
        The clone. `network.set_weights(clone.get_weights())` copies the training back.

    Raises:
        InputError: synchronized statistics on a backend other than TensorFlow.
    """
    on_tensorflow = keras.config.backend() == "tensorflow"
    if synchronized and not on_tensorflow:
        raise InputError(
            "Synchronized batch statistics need KERAS_BACKEND=tensorflow. "
            f"Received: synchronized=True on {keras.config.backend()}"
        )
    products = on_tensorflow and precision == "mixed_bfloat16" and not _on_gpus()

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        kind, config = type(layer), layer.get_config()
        if layer.name != "predictions":
            config["dtype"] = precision
        if products and is_suitable(layer):
            kind = ProductGradientConv2D
        elif kind is keras.layers.BatchNormalization and synchronized:
            config["synchronized"] = True
        elif kind is keras.layers.BatchNormalization and on_tensorflow:
            kind = FusedBatchNormalization
        return kind.from_config(config)

    twin = keras.models.clone_model(network, clone_function=clone)
    twin.set_weights(network.get_weights())
    return twin


def _on_gpus() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU"))


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """keras.layers.BatchNormalization by TensorFlow's FusedBatchNormV3, with the same variables.

    The moving variance is Keras' (biased, divided by n); the fused operation returns Torch's
    (divided by n - 1). For (batch, height, width, channels), with scale and centre.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise (batch, height, width, channels) over all axes but the channels."""
        import tensorflow as tf

        x = ops.cast(inputs, self.compute_dtype)
        scale, offset = (ops.cast(v, "float32") for v in (self.gamma, self.beta))
        fused = functools.partial(
            tf.raw_ops.FusedBatchNormV3, x=x, scale=scale, offset=offset, epsilon=self.epsilon
        )
        if not (training and self.trainable):
            mean, variance = (
                ops.cast(v, "float32") for v in (self.moving_mean, self.moving_variance)
            )
            return fused(mean=mean, variance=variance, is_training=False).y
        empty = tf.zeros((0,), "float32")
        result = fused(mean=empty, variance=empty, exponential_avg_factor=1.0, is_training=True)
        shape = tf.shape(x)
        count = tf.cast(shape[0] * shape[1] * shape[2], "float32")
        variance = result.batch_variance * (count - 1.0) / count
        self._move(self.moving_mean, result.batch_mean)
        self._move(self.moving_variance, variance)
        return result.y

    def _move(self, moving: Any, batch: Any) -> None:
        moving.assign(
            moving * self.momentum + ops.cast(batch, moving.dtype) * (1.0 - self.momentum)
        )
