"""An audit names each trap in networks built wrong on purpose, and nothing in clean ones."""

import json

import foreign_networks as foreign
import keras
import numpy as np
import pytest
from foreign_checkpoints import CONSTANTS, small_weights, write_npz
from quick_weights import zero_kernels  # noqa: F401 - a fixture
from strange_networks import stranger

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.insight.audit import CHECKS, audit, audit_file
from keras_wrn.optimizers import TorchSGD

pytestmark = pytest.mark.usefixtures("zero_kernels")


def traps(model):
    return {finding.trap for finding in audit(model).findings}


@pytest.mark.parametrize("nested", [False, True])
def test_a_stranger_s_clean_network_is_clean(nested):
    found = audit(stranger(nested=nested, dropout="between"))
    assert found.findings == ()
    assert found.dialect is None
    assert "1, 1, 1 blocks of B(3,3), 303,706 trainable parameters" in found.network


@pytest.mark.parametrize(
    "build",
    [
        keras_wrn.WideResNet16_1,
        lambda: keras_wrn.WideResNet(22, 2, dropout=0.3, stochastic_depth=0.2, classes=100),
        lambda: keras_wrn.WideResNet(16, 1.5),
        lambda: keras_wrn.WideResNet(22, 2, "B(3,1,3)", blocks_per_group=3),
        lambda: keras_wrn.WideResNet(10, 2, "B(3)", input_shape=(16, 16, 1)),
        lambda: keras_wrn.WideResNet(20, 1, "bottleneck"),
        lambda: keras_wrn.WideResNet18(0.25),
        lambda: keras_wrn.WideResNet(16, 1, include_top=False),
    ],
)
def test_our_networks_are_clean(build):
    assert audit(build()).findings == ()


WRONG = {
    "momentum of Torch": ({"momentum": 0.1}, {"bn_momentum"}, "momentum=0.1 in", "momentum=0.9"),
    "momentum of Keras": ({"momentum": 0.99}, {"bn_momentum"}, "momentum=0.99 in", "lag behind"),
    "epsilon": ({"epsilon": 1e-3}, {"bn_epsilon"}, "epsilon=0.001 in", "epsilon=1e-05"),
    "L2": ({"l2": 5e-4}, {"l2_twice_too_strong"}, "L2(0.0005)", "L2(0.00025)"),
    "L2 of kernels alone": (
        {"l2": 2.5e-4, "decay_of_norms": False},
        {"decay_without_bn"},
        "none on scale and offset",
        "every parameter",
    ),
    "same": ({"padding": "same"}, {"same_padding"}, "padding 'same'", "up to 1.69"),
    "zeros at one side": ({"padding": "early"}, {"same_padding"}, "padding (0, 1)", "(1, 1)"),
    "raw": ({"shortcut": "raw"}, {"raw_shortcut"}, "before batch normalisation", "shared by both"),
    "3x3": (
        {"shortcut": "3x3"},
        {"shortcut_form", "parameter_count"},
        "convolutions +86,016",
        "303,706 for 1 blocks",
    ),
    "biases": (
        {"bias": True},
        {"biased_convolutions", "parameter_count"},
        "their biases +688",
        "use_bias=False",
    ),
    "dropout before BN": ({"dropout": "before norm"}, {"dropout_place"}, "dropout", "2.4"),
    "dropout on the shortcut": ({"dropout": "shortcut"}, {"dropout_place"}, "dropout", "2.4"),
    "dropout at the end": ({"dropout": "end"}, {"dropout_place"}, "dropout", "2.4"),
    "blocks": (
        {"counts": (1, 2, 1)},
        {"depth_rule"},
        "groups of 1, 2, 1 blocks",
        "three groups of N",
    ),
    "depth": (
        {"counts": (2, 2, 2), "name": "wide_resnet_22_2"},
        {"depth_rule"},
        "N=2 for the depth 22 in the name; N=2 is of depth 16",
        "N=3, or the depth 16",
    ),
    "width": (
        {"width": 1, "name": "WRN-10-2"},
        {"parameter_count"},
        "convolutions -",
        "of width 2",
    ),
    "stem": ({"stem": 32}, {"parameter_count"}, "convolutions +", "303,706"),
    "no last BN": (
        {"final_norm": False},
        {"parameter_count"},
        "-256: batch normalisations -256",
        "303,706",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_each_trap_is_named(case):
    wrong, expected, received, other = WRONG[case]
    found = audit(stranger(**wrong))
    assert {finding.trap for finding in found.findings} == expected
    text = str(found)
    assert received in text
    assert other in text
    for finding in found.findings:
        assert all(vars(finding).values())
        assert "Table" in finding.source or "section" in finding.source or "lua" in finding.source


def test_post_activation_is_named_on_small_images_only():
    found = audit(stranger(order="post"))
    assert "post_activation" in {finding.trap for finding in found.findings}
    assert "post_activation" not in traps(keras_wrn.WideResNet18(0.25))


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (lambda: keras.optimizers.SGD(0.1, 0.9, weight_decay=5e-4), {"decoupled_decay"}),
        (keras.optimizers.AdamW, {"decoupled_decay"}),
        (lambda: keras.optimizers.SGD(0.1, 0.9), set()),
        (lambda: TorchSGD(0.1, weight_decay=5e-4), set()),
    ],
)
def test_the_optimiser_of_a_compiled_model_is_read(optimizer, expected):
    model = stranger()
    model.compile(optimizer(), "sparse_categorical_crossentropy")
    assert traps(model) == expected


def test_several_traps_are_all_named():
    """Keras' defaults, all at once."""
    found = traps(stranger(momentum=0.99, epsilon=1e-3, padding="same", bias=True, l2=5e-4))
    assert found >= {"bn_momentum", "bn_epsilon", "same_padding", "biased_convolutions"}
    assert "l2_twice_too_strong" in found


DIALECTS = {
    "authors": (foreign.authors, (), set()),
    "xternalz": (foreign.xternalz, ("mu", "sigma"), set()),
    "deepmind": (foreign.deepmind, ("mean", "std"), {"same_padding"}),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_checkpoint_s_dialect_is_said(tmp_path, dialect):
    names, constants, expected = DIALECTS[dialect]
    tensors = foreign.checkpoint(names, small_weights()) | {x: CONSTANTS[x] for x in constants}
    found = audit_file(write_npz(tmp_path / "a.npz", tensors))
    assert found.dialect == dialect
    assert {finding.trap for finding in found.findings} == expected
    assert all(
        finding.mend.startswith(f"none with weights of '{dialect}'") for finding in found.findings
    )


@pytest.mark.parametrize(
    ("conventions", "dialect"),
    [
        ({"strided_padding": (0, 1), "activation": "silu"}, "deepmind"),
        ({"strided_padding": (0, 1)}, "deepmind_relu"),
        ({"strided_padding": (0, 1), "projection_input": "raw"}, "uncertainty_baselines"),
        ({"projection_input": "raw"}, None),
        ({}, None),
    ],
)
def test_a_model_s_dialect_is_read_off_its_conventions(conventions, dialect):
    model = keras_wrn.WideResNet(10, 1, conventions=keras_wrn.Conventions(**conventions))
    assert audit(model).dialect == dialect


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.filterwarnings("ignore")
def test_a_keras_file_is_read(tmp_path, suffix):
    path = tmp_path / f"theirs{suffix}"
    stranger(bias=True).save(path)
    assert {x.trap for x in audit_file(path).findings} == {"biased_convolutions", "parameter_count"}


def test_the_json_has_everything():
    content = json.loads(json.dumps(audit(stranger(epsilon=1e-3)).to_json()))
    assert content["findings"][0]["trap"] == "bn_epsilon"
    assert set(content) == {"network", "dialect", "findings"}


def test_what_is_no_residual_network_is_refused():
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()], name="plain")
    with pytest.raises(InputError, match="must have residual blocks.*Received: plain"):
        audit(model)


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="must exist"):
        audit_file(tmp_path / "absent.keras")
    (tmp_path / "broken.keras").write_bytes(np.zeros(9).tobytes())
    with pytest.raises(InputError, match="cannot be loaded as a Keras model"):
        audit_file(tmp_path / "broken.keras")


def test_the_parameters_of_a_clean_stranger_are_the_paper_s():
    ours = keras_wrn.WideResNet(10, 2)
    assert sum(np.prod(weight.shape) for weight in ours.trainable_variables) == 303_706


def test_there_are_ten_checks():
    assert len(CHECKS) == 10
