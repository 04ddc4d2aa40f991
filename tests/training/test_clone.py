"""The training clone computes what the network computes, only faster."""

import keras
import numpy as np
import pytest

from keras_wrn.applications.wide_resnet import WideResNet
from keras_wrn.errors import InputError
from keras_wrn.training.clone import FusedBatchNormalization, training_clone

ON_TENSORFLOW = keras.config.backend() == "tensorflow"
needs_tensorflow = pytest.mark.skipif(
    not ON_TENSORFLOW, reason="the fused operation is TensorFlow's"
)


def _randomise(model, seed=4):
    """Give batch normalisation statistics and scales that would show a mix-up."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            planes = layer.gamma.shape[0]
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, planes),
                    rng.normal(size=planes),
                    rng.normal(size=planes),
                    rng.uniform(0.5, 1.5, planes),
                ]
            )


def _images(count=8, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 16, 16, 3)).astype("float32")


def test_the_clone_has_the_same_names_and_weights():
    network = WideResNet(10, 2, dropout=0.3, input_shape=(16, 16, 3))
    clone = training_clone(network)
    names = [[layer.name for layer in model.layers[1:]] for model in (clone, network)]
    assert names[0] == names[1]
    for ours, theirs in zip(network.get_weights(), clone.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    fused = [isinstance(layer, FusedBatchNormalization) for layer in clone.layers]
    assert any(fused) == ON_TENSORFLOW
    assert not any(isinstance(layer, FusedBatchNormalization) for layer in network.layers)


@needs_tensorflow
@pytest.mark.parametrize("training", [False, True])
def test_outputs_and_moving_statistics_are_the_stock_layers(training):
    network = WideResNet(10, 2, input_shape=(16, 16, 3), classifier_activation=None)
    _randomise(network)
    clone = training_clone(network)
    expected = keras.ops.convert_to_numpy(network(_images(), training=training))
    got = keras.ops.convert_to_numpy(clone(_images(), training=training))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    for ours, theirs in zip(network.get_weights(), clone.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)


@needs_tensorflow
def test_three_training_steps_lead_to_the_same_weights():
    network = WideResNet(10, 1, input_shape=(16, 16, 3), classifier_activation=None)
    clone = training_clone(network)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    labels = np.arange(8) % 10
    for model in (network, clone):
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, jit_compile=False)
        for step in range(3):
            model.train_on_batch(_images(seed=step), labels)
    for ours, theirs in zip(network.get_weights(), clone.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, ours, atol=3e-4)


@needs_tensorflow
def test_bfloat16_stays_near_float32():
    network = WideResNet(10, 2, input_shape=(16, 16, 3), classifier_activation=None)
    _randomise(network)
    clone = training_clone(network, precision="mixed_bfloat16")
    expected = keras.ops.convert_to_numpy(network(_images()))
    got = keras.ops.convert_to_numpy(keras.ops.cast(clone(_images()), "float32"))
    assert np.abs(got - expected).max() < 0.05 * np.abs(expected).max()
    assert clone.get_layer("group1_block1_conv1").compute_dtype == "bfloat16"
    assert clone.get_layer("predictions").compute_dtype == "float32"
    assert clone.get_layer("group1_block1_conv1").kernel.dtype == "float32"


@needs_tensorflow
def test_synchronised_statistics_use_the_stock_layer():
    clone = training_clone(WideResNet(10, 1, input_shape=(16, 16, 3)), synchronized=True)
    layers = [la for la in clone.layers if isinstance(la, keras.layers.BatchNormalization)]
    assert layers and all(
        type(layer) is keras.layers.BatchNormalization and layer.synchronized for layer in layers
    )


@needs_tensorflow
def test_a_frozen_layer_uses_its_moving_statistics_in_training():
    stock = keras.layers.BatchNormalization()
    fused = FusedBatchNormalization()
    images = _images()
    for layer in (stock, fused):
        layer.build(images.shape)
        layer.set_weights([np.full(3, 2.0), np.ones(3), np.full(3, 0.5), np.full(3, 4.0)])
        layer.trainable = False
    np.testing.assert_allclose(
        fused(images, training=True).numpy(), stock(images, training=True).numpy(), atol=1e-5
    )
    np.testing.assert_array_equal(fused.moving_mean.numpy(), np.full(3, 0.5, "float32"))


@pytest.mark.skipif(ON_TENSORFLOW, reason="TensorFlow has them")
def test_synchronised_statistics_are_refused_in_a_sentence_elsewhere():
    with pytest.raises(InputError, match="Received: synchronized=True"):
        training_clone(WideResNet(10, 1, input_shape=(16, 16, 3)), synchronized=True)
