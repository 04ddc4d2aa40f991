"""Batch normalisation by TensorFlow's fused operation.

Keras' BatchNormalization computes moments and normalises in separate operations, in float32
even under mixed precision; TensorFlow has one fused operation for it, which Keras never uses.
The layer below computes the same thing with it, in the clone that `train` steps.
"""

from typing import Any

import keras
from keras import ops


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
