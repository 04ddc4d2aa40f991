"""Class indices into words."""

import json

import numpy as np
import pytest

from keras_wrn.errors import InputError
from keras_wrn.images import class_names
from keras_wrn.images.class_names import decode_predictions
from keras_wrn.images.preprocessing import Preprocessing

OWN = Preprocessing((10.0, 20.0), (2.0, 4.0), 8, ("left", "right", "up"))


def test_decode_best_first():
    probabilities = np.zeros((2, 10), "float32")
    probabilities[0, [3, 5, 2]] = 0.75, 0.125, 0.125
    probabilities[1, 9] = 1
    decoded = decode_predictions(probabilities, top=3)
    assert decoded[0] == [(3, "cat", 0.75), (2, "bird", 0.125), (5, "dog", 0.125)]
    assert decoded[1][0] == (9, "truck", 1.0)
    assert [len(image) for image in decoded] == [3, 3]
    index, word, probability = decoded[0][0]
    assert (type(index), type(word), type(probability)) == (int, str, float)
    json.dumps(decoded)


def test_decode_gives_five_or_as_many_as_there_are():
    assert len(decode_predictions(np.full((1, 100), 0.01), dataset="cifar100")[0]) == 5
    assert [w for _, w, _ in decode_predictions([[0.2, 0.3, 0.5]], dataset=OWN)[0]] == [
        "up",
        "right",
        "left",
    ]
    assert decode_predictions(np.zeros((0, 10))) == []


def test_decode_a_tensor():
    import keras

    tensor = keras.ops.convert_to_tensor([[0.25, 0.0, 0.75]])
    assert decode_predictions(tensor, top=1, dataset=OWN) == [[(2, "up", 0.75)]]


@pytest.mark.parametrize("shape", [(10,), (1, 100), (1, 2, 10)])
def test_decode_wrong_shape(shape):
    with pytest.raises(InputError, match=r"shape \(n, 10\), one column per class. Received: shape"):
        decode_predictions(np.zeros(shape))


@pytest.mark.parametrize("top", [0, -1, 2.0, True, None])
def test_decode_wrong_top(top):
    with pytest.raises(InputError, match="`top` must be"):
        decode_predictions(np.zeros((1, 10)), top=top)


def test_decode_refuses_nan():
    with pytest.raises(InputError, match="NaN"):
        decode_predictions(np.full((1, 10), np.nan))


@pytest.fixture
def imagenet_names():
    class_names._imagenet_names.cache_clear()
    yield
    class_names._imagenet_names.cache_clear()


def test_decode_imagenet_through_keras(imagenet_names, monkeypatch):
    from keras.applications import imagenet_utils

    def decode(predictions, top):
        order = predictions.argsort(axis=1)[:, ::-1][:, :top]
        return [[(f"n{i}", f"thing {i}", row[i]) for i in best] for row, best in
                zip(predictions, order, strict=True)]  # fmt: skip

    monkeypatch.setattr(imagenet_utils, "decode_predictions", decode)
    probabilities = np.zeros((1, 1000))
    probabilities[0, [7, 400]] = 0.4, 0.6
    assert decode_predictions(probabilities, top=2, dataset="imagenet") == [
        [(400, "thing 400", 0.6), (7, "thing 7", 0.4)]
    ]


def test_decode_imagenet_without_a_network(imagenet_names, monkeypatch):
    from keras.applications import imagenet_utils

    def fail(predictions, top):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(imagenet_utils, "decode_predictions", fail)
    with pytest.raises(InputError, match=r"imagenet_class_index.json.*URL fetch failure"):
        decode_predictions(np.zeros((1, 1000)), dataset="imagenet")
