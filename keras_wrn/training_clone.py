"""The training clone of a network: the same weights in faster layers, in a precision of its own.

It lives only while `train` steps it: what is saved is the network, of stock layers.
docs/performance.md says what each of the layers gains.
"""

import keras

from keras_wrn.errors import InputError
from keras_wrn.fused_batch_norm import FusedBatchNormalization
from keras_wrn.weight_gradient import ProductGradientConv2D, is_suitable


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
