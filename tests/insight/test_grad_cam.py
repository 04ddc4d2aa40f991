"""Grad-CAM of flat and nested models, against hand-made networks and against PyTorch."""

import keras
import numpy as np
import pytest

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import PREPROCESSING
from keras_wrn.inference.classifier import with_preprocessing
from keras_wrn.insight.grad_cam import draw_grad_cam, grad_cam


def image(seed=0, size=32):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype("uint8")


def randomised(model, seed=0):
    """Weights that give every plane something to say."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        shape = tuple(weight.shape)
        values = (
            random.normal(0, 0.15, shape) if len(shape) > 1 else random.uniform(0.5, 1.5, shape)
        )
        weight.assign(values.astype("float32"))
    return model


def test_behind_average_pooling_it_is_the_weighted_sum_of_planes():
    """There the gradient of a logit is the classifier's column over the number of pixels."""
    model = randomised(keras_wrn.WideResNet(10, 1))
    x = keras_wrn.preprocess_input(image(), "cifar10")
    heat = grad_cam(model, x, 7)
    maps = keras.Model(model.input, model.get_layer("head_relu").output)(x[None], training=False)
    maps = keras.ops.convert_to_numpy(maps)[0]
    column = keras.ops.convert_to_numpy(model.get_layer("predictions").kernel)[:, 7]
    expected = np.maximum(maps @ column / 64, 0)
    assert heat.shape == (8, 8)
    assert heat.max() > 0
    np.testing.assert_allclose(heat, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [None, "group2_block1_add", "group1_block1_conv1"])
def test_a_nested_model_has_the_heat_of_the_flat_one(layer):
    """A layer in the middle has shortcuts around it: the image still counts on the way beside."""
    model = randomised(keras_wrn.WideResNet(10, 1))
    outer = with_preprocessing(model, PREPROCESSING["cifar10"])
    flat = grad_cam(model, keras_wrn.preprocess_input(image(), "cifar10"), 3, layer=layer)
    assert flat.max() > 0
    np.testing.assert_allclose(grad_cam(outer, image(), 3, layer=layer), flat, rtol=1e-3, atol=1e-5)


def test_the_softmax_does_not_matter():
    logits = randomised(keras_wrn.WideResNet(10, 1, classifier_activation=None))
    softmax = randomised(keras_wrn.WideResNet(10, 1))
    x = keras_wrn.preprocess_input(image(), "cifar10")
    np.testing.assert_allclose(grad_cam(logits, x, 2), grad_cam(softmax, x, 2), rtol=1e-4)


@pytest.mark.parametrize("number", [1, 2])
def test_equals_pytorch_s_autograd(number):
    torch = pytest.importorskip("torch", reason="PyTorch is a reference, never needed")
    layers = keras.layers
    model = randomised(
        keras.Sequential(
            [
                keras.Input((16, 16, 3)),
                layers.Conv2D(8, 3, padding="same", activation="relu", name="maps1"),
                layers.Conv2D(6, 3, padding="same", activation="tanh", name="maps2"),
                layers.Flatten(),
                layers.Dense(5, activation="softmax"),
            ]
        )
    )
    x = image(1, 16).astype("float32") / 255
    ours = grad_cam(model, x, 4, layer=f"maps{number}")
    weights = [torch.tensor(np.asarray(w)) for w in model.get_weights()]
    first, first_bias, second, second_bias, kernel, bias = weights

    def conv(y, w, b):
        return torch.nn.functional.conv2d(y, w.permute(3, 2, 0, 1), b, padding=1)

    maps1 = torch.relu(conv(torch.tensor(x).permute(2, 0, 1)[None], first, first_bias))
    maps1.requires_grad_(True)
    maps2 = torch.tanh(conv(maps1, second, second_bias))
    logits = maps2.permute(0, 2, 3, 1).flatten(1) @ kernel + bias
    maps = (maps1, maps2)[number - 1]
    (slope,) = torch.autograd.grad(logits[0, 4], maps)
    theirs = torch.relu((slope.mean((2, 3), keepdim=True) * maps).sum(1))[0].detach().numpy()
    assert theirs.max() > 0
    assert np.abs(ours - theirs).max() < 1e-4 * theirs.max()


def test_the_drawing_is_red_where_the_heat_is():
    heat = np.zeros((8, 8), "float32")
    heat[1, 6] = 3
    drawn = draw_grad_cam(np.full((32, 32, 3), 100, "uint8"), heat)
    assert drawn.shape == (32, 32, 3)
    assert drawn.dtype == np.uint8
    assert np.unravel_index(drawn[..., 0].argmax(), (32, 32)) in {
        (5, 25),
        (5, 26),
        (6, 25),
        (6, 26),
    }
    assert drawn[-1, 0].tolist() == [50, 50, 178]
    np.testing.assert_array_equal(draw_grad_cam(image(), heat, 0.0), image())


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"image": np.ones((1, 32, 32, 3))}, "must be one image of the model's shape"),
        ({"class_index": 10}, "must be from 0 to 9. Received: class_index=10"),
        ({"layer": "avg_pool"}, "Received: layer='avg_pool'. The last ones are .*head_relu"),
    ],
)
def test_wrong_input_gets_a_sentence(wrong, sentence):
    arguments = {"image": np.ones((32, 32, 3), "float32"), "class_index": 0} | wrong
    with pytest.raises(InputError, match=sentence):
        grad_cam(keras_wrn.WideResNet(10, 1), **arguments)


def test_an_ensemble_has_no_single_layer():
    both = keras_wrn.ensemble([keras_wrn.WideResNet(10, 1), keras_wrn.WideResNet(10, 1)])
    with pytest.raises(InputError, match="one layer with the name 'head_relu'.* with 2"):
        grad_cam(both, image(), 0)
    with pytest.raises(InputError, match="one layer with the name 'avg_pool'.* with 2"):
        keras_wrn.insight.features.features(both, ["pooled"])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"picture": np.ones((8, 8, 3))}, "must be uint8 .* Received: float64"),
        ({"heat": -np.ones((2, 2))}, "must be finite numbers from 0"),
        ({"strength": 2}, "must be in .0, 1."),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        draw_grad_cam(**({"picture": image(), "heat": np.ones((2, 2))} | wrong))
