"""Conversion is strict, and takes the options of the network."""

import foreign_networks as foreign
import keras
import numpy as np
import pytest
from foreign_checkpoints import (
    CONSTANTS,
    MEAN,
    STD,
    compare,
    images,
    small_weights,
    write_npz,
)
from quick_weights import zero_kernels  # noqa: F401 - a fixture
from reference_network import PreActivation, pre_activation_logits, silu

from keras_wrn.applications.conversion import convert, convert_checkpoint
from keras_wrn.errors import InputError
from keras_wrn.networks.blocks import Conventions

pytestmark = pytest.mark.usefixtures("zero_kernels")


# What a file is, and which network is in it.


WRAPPERS = ("", "module.", "model.", "module.model.", "_orig_mod.", "1.", "0.1.", "wrn.", "a.b.")


@pytest.mark.parametrize("prefix", WRAPPERS)
def test_wrappers_leave_no_trace(tmp_path, prefix):
    tensors = foreign.checkpoint(foreign.deepmind, small_weights(10, 1, classes=7))
    tensors |= {name: CONSTANTS[name] for name in ("mean", "std")}
    tensors |= {"n_averaged": np.asarray(3), "step": np.asarray([7])}
    path = write_npz(tmp_path / "a.npz", {prefix + name: of for name, of in tensors.items()})
    found = convert_checkpoint(path)
    assert (found.dialect, found.model.name) == ("deepmind", "wide_resnet10_1")
    assert found.arguments["classes"] == 7
    np.testing.assert_allclose(found.statistics, (MEAN, STD), rtol=1e-6)


@pytest.mark.parametrize(
    ("normaliser", "network", "names"),
    [
        ("0.", "1.", ("mean", "std")),
        ("module.0.", "module.1.", ("mean", "std")),
        ("1.0.", "1.1.", ("mu", "sigma")),
        ("model.0.", "model.1.model.", ("means", "sds")),
        ("normalize.", "model.", ("mean", "std")),
        ("", "", ("mean", "std")),
    ],
)
@pytest.mark.parametrize("scale", [1, 255])
def test_the_constants_of_any_wrapper_normalise(tmp_path, normaliser, network, names, scale):
    weights = small_weights(10, 1)
    tensors = {network + k: v for k, v in foreign.checkpoint(foreign.xternalz, weights).items()}
    constants = (CONSTANTS["mean"] * scale, CONSTANTS["std"] * scale)
    tensors |= dict(zip((normaliser + name for name in names), constants, strict=True))
    found = convert_checkpoint(write_npz(tmp_path / "a.npz", tensors), classifier_activation=None)
    x = images() * scale
    seen = (x - np.float32(MEAN) * scale) / (np.float32(STD) * scale)
    compare(found.model, pre_activation_logits(seen, weights, PreActivation((3, 3), 1)), x)
    assert ("images on 0..255" if scale == 255 else "images in [0, 1]") in found.notes[-1]


def test_a_layer_without_tensors_before_the_network_is_noted(tmp_path):
    tensors = foreign.checkpoint(foreign.xternalz, small_weights(10, 1))
    noted = {"1.": True, "module.1.": True, "0.1.": True, "0.": False, "0.0.": False, "": False}
    for prefix, is_noted in noted.items():
        names = {prefix + name: of for name, of in tensors.items()}
        path = write_npz(tmp_path / "a.npz", names | {"n_averaged": np.asarray(2)})
        notes = " ".join(convert_checkpoint(path).notes)
        assert ("a layer without stored values came before" in notes) == is_noted


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mean", "unknown: mean"),
        ("std", "unknown: std"),
        ("mu", "lacks the constants: mu and sigma"),
        ("0.sigma", "lacks the constants: mu and sigma"),
    ],
)
def test_half_of_the_constants_are_refused(tmp_path, name, sentence):
    tensors = foreign.checkpoint(foreign.xternalz, small_weights(10, 1))
    tensors[name] = CONSTANTS["mean"]
    with pytest.raises(InputError, match=sentence):
        convert(write_npz(tmp_path / "a.npz", tensors))


def test_convert_says_what_it_assumed(tmp_path, capsys, tensors):
    convert(write_npz(tmp_path / "a.npz", tensors))
    assert "Assumed, because names do not tell: relu, zeros (1, 1)" in capsys.readouterr().out


def test_constants_that_nobody_knows_are_asked_for(tmp_path):
    tensors = foreign.checkpoint(foreign.deepmind, small_weights(10, 1, classes=7))
    with pytest.raises(InputError, match="lacks the constants: mean and std"):
        convert(write_npz(tmp_path / "a.npz", tensors))
    tensors["mean"] = CONSTANTS["mean"]
    with pytest.raises(InputError, match="lacks the constants: mean and std"):
        convert(write_npz(tmp_path / "a.npz", tensors))
    tensors |= {"mean": np.zeros(2), "std": np.ones(2)}
    with pytest.raises(InputError, match="must be one for each of 3 channels. Received: 2 and 2"):
        convert(write_npz(tmp_path / "a.npz", tensors))


def test_a_second_first_group_that_nothing_passes_is_left_out(tmp_path):
    tensors = foreign.checkpoint(foreign.xternalz, small_weights(10, 1))
    extra = {f"sub_{key}": of for key, of in tensors.items() if key.startswith("block1")}
    path = write_npz(tmp_path / "a.npz", tensors | extra)
    assert convert_checkpoint(path).dialect == "xternalz"


# Strictness.


@pytest.fixture
def tensors():
    return foreign.checkpoint(foreign.xternalz, small_weights(10, 1))


def test_missing_unknown_and_misshapen_tensors_are_listed(tmp_path, tensors):
    del tensors["block2.layer.0.conv2.weight"], tensors["bn1.running_var"], tensors["fc.bias"]
    tensors["block1.layer.0.bn1.weight"] = np.zeros(17, np.float32)
    tensors["fc.weight"] = np.zeros((10, 63), np.float32)
    tensors |= {"block1.layer.0.conv1.bias": np.zeros(16), "projection.weight": np.zeros((2, 2))}
    tensors["fc.running_mean"] = np.zeros(3)
    with pytest.raises(InputError) as refused:
        convert(write_npz(tmp_path / "a.npz", tensors))
    head, *lists = str(refused.value).split("\n")
    assert head.endswith(
        "does not hold exactly the tensors of wide_resnet10_1 as 'xternalz' names them, and "
        "nothing was converted."
    )
    assert lists == [
        "missing: group2_block1_conv2 kernel (block2.layer.0.conv2), "
        "head_bn moving_variance (bn1), predictions bias (fc)",
        "unknown: fc.running_mean, projection.weight, group1_block1_conv1 bias",
        "of another shape: group1_block1_bn1 gamma (block1.layer.0.bn1) (17,), expected (16,), "
        "predictions kernel (fc) (63, 10), expected (64, 10)",
    ]


def test_a_block_that_is_missing_is_noticed(tmp_path):
    tensors = foreign.checkpoint(foreign.authors, small_weights(16, 1))
    gone = {name for name in tensors if name.startswith("group1.block1.")}
    path = write_npz(tmp_path / "a.npz", {k: v for k, v in tensors.items() if k not in gone})
    with pytest.raises(InputError, match=r"missing: group2_block2_bn1 gamma \(group1.block1.bn0\)"):
        convert(path)


@pytest.mark.parametrize(
    "names", [{"features.0.weight": (4, 3, 3, 3)}, {"conv1.weight": (16, 3, 3, 3), "a": (1,)}]
)
def test_unknown_and_poor_files_are_refused(tmp_path, names):
    path = write_npz(tmp_path / "a.npz", {k: np.zeros(s, np.float32) for k, s in names.items()})
    with pytest.raises(InputError, match="Name the layers with `key_map`|has no convolutions"):
        convert(path)


def test_the_dialect_can_be_said_and_is_checked(tmp_path, tensors):
    path = write_npz(tmp_path / "a.npz", tensors)
    assert convert_checkpoint(path, "robustbench").dialect == "xternalz"
    with pytest.raises(InputError, match="`dialect` must be None or one of 'authors', 'xternalz'"):
        convert(path, "caffe")
    with pytest.raises(
        InputError, match="knows 0 of its 17 layers.*those of 'xternalz', which knows 17"
    ):
        convert(path, "deepmind")


def test_two_names_for_one_tensor_are_refused(tmp_path, tensors):
    tensors["module.conv1.weight"] = tensors["conv1.weight"]
    with pytest.raises(InputError, match="has two tensors for conv1"):
        convert(write_npz(tmp_path / "a.npz", tensors))


@pytest.mark.parametrize("option", ["depth", "width", "block", "classes", "weights"])
def test_what_the_file_says_cannot_be_said(tmp_path, option):
    with pytest.raises(InputError, match=f"Received also: {option}"):
        convert(tmp_path / "a.npz", **{option: 1})


# Options, and key maps.


def test_options_are_those_of_the_network(tmp_path, tensors):
    path = write_npz(tmp_path / "a.npz", tensors)
    model = convert(path)
    assert model.get_layer("predictions").activation is keras.activations.softmax
    assert model.input_shape == (None, 32, 32, 3)
    features = convert(path, include_top=False, pooling="avg", name="features", dropout=0.3)
    assert (features.name, features.output_shape) == ("features", (None, 64))
    assert features.get_layer("group1_block1_drop2").rate == 0.3
    inputs = keras.Input((16, 16, 3))
    assert convert(path, input_tensor=inputs).input is inputs
    weights = small_weights(10, 1)
    net = PreActivation((3, 3), 1, activation=silu, strided_padding=(0, 1))
    conventions = Conventions(activation="silu", strided_padding=(0, 1))
    other = convert(path, conventions=conventions, classifier_activation=None)
    compare(other, pre_activation_logits(images(), weights, net))


def test_a_headless_file_makes_a_headless_network(tmp_path, tensors):
    headless = {key: of for key, of in tensors.items() if not key.startswith("fc.")}
    path = write_npz(tmp_path / "a.npz", headless)
    assert convert(path, include_top=False).output_shape == (None, None, None, 64)
    with pytest.raises(InputError, match=r"missing: predictions kernel \(fc\), predictions bias"):
        convert(path)
