"""What the networks have of keras.applications: arguments, Keras' settings, saving, mistakes."""

import json
import math
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from golden.make_layer_names import layers_of
from model_parts import images, outputs, source
from quick_weights import give_random_weights, zero_kernels  # noqa: F401 - a fixture

from keras_wrn.applications.wide_resnet import WideResNet
from keras_wrn.applications.wide_resnet_imagenet import WideResNet18
from keras_wrn.errors import InputError
from keras_wrn.networks.blocks import Conventions

pytestmark = pytest.mark.usefixtures("zero_kernels")


def test_head_and_pooling():
    model = WideResNet(10, 1, classes=7)
    give_random_weights(model)
    probabilities = outputs(model, images(2, 32, 32, 3))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert probabilities.shape == (2, 7)

    features = WideResNet(10, 2, include_top=False)
    assert features.input_shape == (None, None, None, 3)
    assert features.output_shape == (None, None, None, 128)
    assert features.layers[-1].name == "head_relu"
    for pooling, pool in (("avg", np.mean), ("max", np.max)):
        maps = WideResNet(10, 2, include_top=False, input_shape=(16, 24, 3))
        pooled = WideResNet(10, 2, include_top=False, input_shape=(16, 24, 3), pooling=pooling)
        assert maps.output_shape == (None, 4, 6, 128)
        assert pooled.output_shape == (None, 128)
        assert pooled.layers[-1].name == f"{pooling}_pool"
        for model in (maps, pooled):
            give_random_weights(model)
        y = images(1, 16, 24, 3)
        expected = pool(outputs(maps, y), axis=(1, 2))
        np.testing.assert_allclose(outputs(pooled, y), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "linear", None])
def test_classifier_activation(activation):
    model = WideResNet(10, 1, classifier_activation=activation)
    assert model.layers[-1].activation is keras.activations.get(activation)


@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_1_and_4_channels(channels):
    model = WideResNet(10, 1, input_shape=(32, 32, channels))
    assert model.get_layer("stem_conv").kernel.shape == (3, 3, channels, 16)
    assert outputs(model, images(1, 32, 32, channels)).shape == (1, 10)
    features = WideResNet(10, 1, include_top=False, input_shape=(None, None, channels))
    assert features.input_shape == (None, None, None, channels)


def test_images_of_any_size_from_8_pixels():
    model = WideResNet(10, 1, input_shape=(None, None, 3))
    for height, width in ((8, 8), (9, 13)):
        assert outputs(model, images(2, height, width, 3)).shape == (2, 10)
        assert WideResNet(10, 1, input_shape=(height, width, 3)).output_shape == (None, 10)


def test_an_input_tensor_is_built_on():
    given = keras.Input((16, 16, 1), name="given")
    model = WideResNet(10, 1, input_tensor=given)
    assert model.input is given

    pixels = keras.Input((16, 16, 3), dtype="uint8", name="pixels")
    scaled = keras.layers.Rescaling(1 / 255, name="scaled")(pixels)
    model = WideResNet(10, 1, input_tensor=scaled)
    assert model.input is pixels
    assert source(model.get_layer("stem_conv")) == "scaled"
    x = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    give_random_weights(model)
    inner = keras.Model(scaled, model.output)
    np.testing.assert_allclose(outputs(model, x), outputs(inner, x / np.float32(255)), rtol=1e-5)


def test_a_model_takes_one_tensor_without_a_warning(recwarn):
    outputs(WideResNet(10, 1), images(1, 32, 32, 3))
    assert not [str(w.message) for w in recwarn if "structure" in str(w.message)]


def test_counts_and_rates_may_come_out_of_numpy():
    labels = np.array([0, 4, 2])
    rates = {"dropout": np.float32(0.25), "stochastic_depth": np.float32(0.5)}
    model = WideResNet(np.int64(10), np.float32(1), **rates, classes=labels.max() + 1)
    assert model.get_layer("group1_block1_drop2").rate == 0.25
    assert model.output_shape == (None, 5)
    keras.models.model_from_json(model.to_json())


def test_stages_of_a_model_are_features():
    model = WideResNet(10, 1)
    stage = keras.Model(model.input, model.get_layer("group2_block1_add").output)
    assert outputs(stage, images(2, 32, 32, 3)).shape == (2, 16, 16, 32)


# Keras' settings


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_dtype_policies(policy):
    if policy == "float64" and keras.config.backend() == "jax":
        pytest.skip("JAX computes in float32 unless jax_enable_x64 is set")
    x = images(2, 32, 32, 3)
    reference = WideResNet(10, 1)
    give_random_weights(reference)
    keras.config.set_dtype_policy(policy)
    model = WideResNet(10, 1)
    give_random_weights(model)
    dtype = "float64" if policy == "float64" else "float32"
    assert {weight.dtype for weight in model.weights} == {dtype}
    assert model.output.dtype == dtype
    assert model.get_layer("stem_conv").compute_dtype == policy.removeprefix("mixed_")
    probabilities = outputs(model, x.astype(dtype))
    assert probabilities.dtype == dtype
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    tolerance = 0.05 if policy == "mixed_bfloat16" else 1e-4
    np.testing.assert_allclose(probabilities, outputs(reference, x), atol=tolerance)
    # The policies are the layers' own: they come back where the global policy is another.
    keras.config.set_dtype_policy("float32")
    again = type(model).from_config(model.get_config())
    assert again.output.dtype == dtype
    assert again.get_layer("stem_conv").compute_dtype == policy.removeprefix("mixed_")


# Saving

LOADER = """
import json, sys
sys.modules["keras_wrn"] = None  # to import it from here on is an error
import keras, numpy as np
# Zeros to start with: the weights must come out of the file. (And JAX compiles no initialiser.)
keras.initializers.VarianceScaling.__call__ = lambda self, s, dtype=None, **_: np.zeros(s, dtype)
expected = np.load("expected.npz")
figures = {}
for name in expected.files:
    if name.startswith("x_"):
        continue
    model = keras.saving.load_model(f"{name}.keras")
    y = keras.ops.convert_to_numpy(model(expected["x_" + name], training=False))
    figures[name] = float(np.abs(y - expected[name]).max())
print(json.dumps(figures))
"""


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="a program of its own, alike on every backend"
)
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
def test_a_saved_model_loads_where_keras_wrn_is_absent(tmp_path):
    conventions = Conventions(activation="silu", projection_input="raw")
    models = {
        "options": WideResNet(10, 1.5, dropout=0.3, stochastic_depth=0.4, conventions=conventions),
        "bottleneck": WideResNet(11, 1, "bottleneck", include_top=False, pooling="max"),
        "imagenet": WideResNet18(0.25, input_shape=(32, 32, 3)),
    }
    arrays = {}
    for name, model in models.items():
        x = images(2, 32, 32, 3)
        give_random_weights(model)
        model.save(tmp_path / f"{name}.keras")
        arrays |= {name: outputs(model, x), f"x_{name}": x}
    np.savez(tmp_path / "expected.npz", **arrays)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    program = subprocess.run(
        [sys.executable, "-c", LOADER],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert program.returncode == 0, program.stderr
    figures = json.loads(program.stdout.splitlines()[-1])
    assert figures.keys() == models.keys()
    assert max(figures.values()) < 1e-5


def test_configurations_round_trip():
    model = WideResNet(10, 2, "B(3,1)", dropout=0.3, stochastic_depth=0.2, blocks_per_group=1)
    for again in (
        keras.Model.from_config(model.get_config()),
        keras.models.model_from_json(model.to_json()),
        keras.models.clone_model(model),
    ):
        assert layers_of(again) == layers_of(model)
        assert again.get_layer("group3_block1_depth_drop").noise_shape == (None, 1, 1, 1)
        assert again.get_layer("group2_block1_drop2").rate == 0.3


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"depth": 27}, r"6\*N \+ 4 for B\(3,3\)\. Received: depth=27\. Nearest: 22, 28\."),
        ({"depth": 4}, "Received: depth=4. Nearest: 10, 16"),
        ({"depth": 165, "block": "bottleneck"}, r"9\*N \+ 2 .* depth=165\. Nearest: 164, 173"),
        ({"depth": 40, "block": "B(1,3,1,1,1)"}, r"Nearest: 34, 49"),
        ({"depth": 16.0}, "positive integer. Received: depth=16.0"),
        ({"depth": True}, "positive integer. Received: depth=True"),
        ({"block": "B(2,3)"}, r"list M of 1s and 3s.* Received: block='B\(2,3\)'"),
        ({"block": "basic"}, "'bottleneck'. Received: block='basic'"),
        ({"block": ()}, r"Received: block=\(\)"),
        ({"block": 5}, "Received: block=5"),
        ({"block": (3.0, 3)}, r"Received: block=\(3\.0, 3\)"),
        ({"block": (True, 3)}, r"Received: block=\(True, 3\)"),
        ({"block": None}, "Received: block=None"),
        ({"width": 0}, "Received: width=0"),
        ({"width": -1}, "Received: width=-1"),
        ({"width": math.nan}, "Received: width=nan"),
        ({"width": math.inf}, "Received: width=inf"),
        ({"width": 0.05}, "1/16 or more.* Received: width=0.05"),
        ({"width": "2"}, "Received: width='2'"),
        ({"width": True}, "Received: width=True"),
        ({"dropout": 1}, r"`dropout` must be in \[0, 1\)\. Received: dropout=1"),
        ({"dropout": -0.1}, "Received: dropout=-0.1"),
        ({"dropout": math.nan}, "Received: dropout=nan"),
        ({"dropout": "0.3"}, "Received: dropout='0.3'"),
        ({"stochastic_depth": 1.0}, r"`stochastic_depth` .* Received: stochastic_depth=1\.0"),
        ({"stochastic_depth": -1}, "Received: stochastic_depth=-1"),
        ({"blocks_per_group": 0}, "positive integer. Received: blocks_per_group=0"),
        ({"blocks_per_group": 1.5}, "Received: blocks_per_group=1.5"),
        ({"pooling": "sum"}, "None, 'avg' or 'max'. Received: pooling='sum'"),
        ({"classes": 0}, "positive integer. Received: classes=0"),
        ({"classes": 10.0}, "Received: classes=10.0"),
        ({"weights": 5}, "Received: weights=5"),
        ({"classifier_activation": "softmx"}, "Received: classifier_activation='softmx'"),
        ({"weights": "cifar10", "input_shape": (32, 32, 1)}, r"3 channels\. Received: .*32, 1"),
        (
            {"weights": "cifar10", "classifier_activation": "relu"},
            "None or 'softmax'. Received: classifier_activation='relu'",
        ),
        ({"input_shape": (32, 32)}, r"three numbers\. Received: input_shape=\(32, 32\)"),
        ({"input_shape": (32, 32, 3, 1)}, "three numbers. Received"),
        ({"input_shape": 32}, "three numbers. Received"),
        ({"input_shape": "32x32"}, "three numbers. Received"),
        ({"input_shape": ("32", "32", "3")}, "three numbers. Received"),
        ({"input_shape": (7, 32, 3)}, r"at least 8x8 pixels\. Received: input_shape=\(7, 32, 3\)"),
        ({"input_shape": (32, 32, None)}, "give the number of channels. Received"),
        ({"input_shape": (32, 32, 0)}, "give the number of channels. Received"),
        ({"input_tensor": np.zeros((1, 32, 32, 3))}, "Keras tensor.* Received: .*ndarray"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_mistakes_are_answered_in_a_sentence(arguments, sentence):
    options = {"depth": 10, "width": 1} | arguments
    with pytest.raises(InputError, match=sentence) as caught:
        WideResNet(**options)
    assert "Received: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_input_tensor_of_wrong_shape_is_refused():
    for shape in ((32, 3), (4, 4, 3)):
        with pytest.raises(InputError, match="Received: input_shape="):
            WideResNet(10, 1, input_tensor=keras.Input(shape))
