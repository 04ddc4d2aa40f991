"""The training clone of a network: the same weights in faster layers, in a precision of its own.

It lives only while `train` steps it: what is saved is the network, of stock layers.
docs/performance.md says what each of the layers gains.
"""

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
        precision: the policy of every layer but those that the network keeps in float32 on
            purpose: "float32" or "mixed_bfloat16".
        synchronized: batch statistics over all replicas instead of each one's own (the paper's
            multi-GPU code has each one's own).

    Returns:
        The clone; `network.set_weights(clone.get_weights())` brings the training back.

    Raises:
        InputError: synchronized statistics on another backend than TensorFlow.
    """
    on_tensorflow = keras.config.backend() == "tensorflow"
    if synchronized and not on_tensorflow:
        raise InputError(
            "Synchronized batch statistics need KERAS_BACKEND=tensorflow. "
            f"Received: synchronized=True on {keras.config.backend()}"
        )
    fused = on_tensorflow and not synchronized
    products = on_tensorflow and precision == "mixed_bfloat16" and not _on_gpus()

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if layer.name != "predictions":
            config["dtype"] = precision
        if products and is_suitable(layer):
            return ProductGradientConv2D.from_config(config)
        if type(layer) is not keras.layers.BatchNormalization:
            return layer.__class__.from_config(config)
        if synchronized:
            return keras.layers.BatchNormalization.from_config({**config, "synchronized": True})
        if fused:
            return FusedBatchNormalization.from_config(config)
        return keras.layers.BatchNormalization.from_config(config)

    twin = keras.models.clone_model(network, clone_function=clone)
    twin.set_weights(network.get_weights())
    return twin


def _on_gpus() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU"))


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """keras.layers.BatchNormalization by TensorFlow's FusedBatchNormV3, same variables.

    The moving variance stays Keras' (biased, divided by n); the fused operation returns
    Torch's (divided by n - 1). Channels last, four dimensions, with scale and centre.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise (batch, height, width, channels) over all but the channels."""
        import tensorflow as tf

        x = ops.cast(inputs, self.compute_dtype)
        scale, offset = (ops.cast(v, "float32") for v in (self.gamma, self.beta))
        if not (training and self.trainable):
            return tf.raw_ops.FusedBatchNormV3(
                x=x,
                scale=scale,
                offset=offset,
                mean=ops.cast(self.moving_mean, "float32"),
                variance=ops.cast(self.moving_variance, "float32"),
                epsilon=self.epsilon,
                is_training=False,
            ).y
        empty = tf.zeros((0,), "float32")
        result = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=scale,
            offset=offset,
            mean=empty,
            variance=empty,
            epsilon=self.epsilon,
            exponential_avg_factor=1.0,
            is_training=True,
        )
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
