"""Walks through functional models: flat, nested, sequential."""

import keras
import numpy as np
import pytest
from model_parts import outputs

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import PREPROCESSING
from keras_wrn.inference.classifier import with_preprocessing
from keras_wrn.insight.graph import leaf_layers, logits_function, walk


def nested():
    return with_preprocessing(keras_wrn.WideResNet(10, 1), PREPROCESSING["cifar10"])


def sequential():
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4)]
    return keras.Sequential([*layers, keras.layers.Softmax()])


@pytest.mark.parametrize("make", [nested, sequential])
def test_a_walk_computes_what_the_model_computes(make):
    model = make()
    x = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:])).astype("uint8")
    call = lambda layer, *args, **kwargs: layer(*args, **kwargs)  # noqa: E731
    (found,) = walk(model, [keras.ops.convert_to_tensor(x)], call)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), outputs(model, x), atol=1e-6)


def test_the_layers_inside_are_seen_once():
    names = [layer.name for layer in leaf_layers(nested())]
    assert names[:2] == ["normalization", "stem_conv"]
    assert names[-1] == "predictions"
    assert len(names) == len(set(names))


def test_a_model_called_twice_is_walked_twice():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    start = keras.Input((4,))
    model = keras.Model(start, keras.layers.add([inner(start), inner(inner(start))]))
    seen = []
    walk(model, ["x"], lambda layer, *args: seen.append(layer.name))
    assert len(seen) == 4
    assert len(leaf_layers(model)) == 2


@pytest.mark.parametrize("make", [nested, sequential])
def test_logits_have_the_softmax_that_the_model_returns(make):
    model = make()
    x = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:])).astype("uint8")
    logits = keras.ops.convert_to_numpy(logits_function(model)(keras.ops.convert_to_tensor(x)))
    logits = logits.astype("float64")
    assert logits.min() < 0
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, outputs(model, x), atol=1e-6)


def test_logits_stay_as_they_are():
    model = keras_wrn.WideResNet(10, 1, classifier_activation=None)
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    found = keras.ops.convert_to_numpy(logits_function(model)(keras.ops.convert_to_tensor(x)))
    np.testing.assert_allclose(found, outputs(model, x), atol=1e-5)


def test_another_activation_is_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="sigmoid")])
    with pytest.raises(InputError, match="must end in a softmax or in logits.*sigmoid"):
        logits_function(model)


def test_a_model_without_a_graph_is_refused():
    class Subclass(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(InputError, match="whose graph can be read.*Subclass"):
        leaf_layers(Subclass())
