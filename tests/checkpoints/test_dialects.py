"""Other people's networks compute the same as Keras models: against NumPy and against PyTorch.

Every network has random weights and random statistics of its batch normalisations. `-rP` or
`-s` prints the largest difference of each dialect, relative to the largest logit.
"""

from functools import partial

import foreign_networks as foreign
import h5py
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
    write_pth,
)
from model_parts import TOLERANCE, difference, outputs
from quick_weights import zero_kernels  # noqa: F401 - a fixture
from reference_network import (
    PostActivation,
    PreActivation,
    post_activation_logits,
    pre_activation_logits,
    random_weights,
    silu,
)

from keras_wrn.applications.conversion import convert, convert_checkpoint
from keras_wrn.checkpoints.dialects import DIALECTS
from keras_wrn.errors import InputError
from keras_wrn.networks.blocks import Conventions

pytestmark = pytest.mark.usefixtures("zero_kernels")


# Against the NumPy networks.

PAPER = PreActivation((3, 3), 2)
DEEPMIND = PAPER._replace(strided_padding=(0, 1))
SMALL = {
    # what the table calls it: names, constants inside, the network, options
    "authors": (foreign.authors, (), PAPER, {}),
    "xternalz": (foreign.xternalz, (), PAPER, {}),
    "xternalz, normalised": (foreign.xternalz, ("mu", "sigma"), PAPER, {}),
    "deepmind": (
        foreign.deepmind,
        ("mean", "std"),
        DEEPMIND._replace(activation=silu),
        {},
    ),
    "deepmind_relu": (
        foreign.deepmind,
        ("mean", "std"),
        DEEPMIND,
        {"dialect": "deepmind_relu"},
    ),
    "attention_transfer": (foreign.attention_transfer, (), PAPER, {}),
    "key_map": (foreign.attention_transfer, (), PAPER, {"key_map": foreign.KEY_MAP}),
}


@pytest.mark.parametrize("case", SMALL)
def test_small_networks_equal_the_numpy_network(tmp_path, case):
    names, constants, net, options = SMALL[case]
    weights = small_weights()
    tensors = foreign.checkpoint(names, weights) | {name: CONSTANTS[name] for name in constants}
    write = write_pth if names is foreign.xternalz else write_npz
    path = write(tmp_path / "a.checkpoint.npz", tensors)
    found = convert_checkpoint(path, **options, classifier_activation=None)
    assert found.dialect == case.partition(",")[0]
    assert found.model.name == "wide_resnet16_2"
    x = images()
    seen = (x - np.float32(MEAN)) / np.float32(STD) if constants else x
    compare(found.model, pre_activation_logits(seen, weights, net), x)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize(("dialect", "epsilon"), [("fixmatch", 1e-5), ("torchssl", 1e-3)])
def test_leaky_networks_equal_their_own_forward_pass(tmp_path, dialect, epsilon, width):
    tensors = foreign.checkpoint(foreign.xternalz, small_weights(width=width))
    path = write_pth(tmp_path / "a.pth", tensors)
    found = convert_checkpoint(path, dialect, classifier_activation=None)
    reference = foreign.fixmatch_logits(images(), tensors, 2, epsilon)
    compare(found.model, reference)
    # Names alone cannot tell it from xternalz'; the note states what was assumed.
    plain = convert_checkpoint(path, classifier_activation=None)
    assert difference(outputs(plain.model, images()), reference) > 0.1
    assert "the same names: 'fixmatch', 'torchssl'; dialect=" in plain.notes[0]
    assert "projections of the raw input after group 1, beside them" in found.notes[-1]
    assert "leaky_relu of slope 0.1" in found.notes[-1] and "not tell: relu," in plain.notes[-1]


def test_a_leaky_slope_alone_is_a_convention(tmp_path):
    weights = small_weights()
    path = write_npz(tmp_path / "a.npz", foreign.checkpoint(foreign.xternalz, weights))
    conventions = Conventions(activation="leaky_relu", negative_slope=0.01)
    net = PAPER._replace(activation=lambda x: np.where(x > 0, x, 0.01 * x))
    model = convert(path, conventions=conventions, classifier_activation=None)
    compare(model, pre_activation_logits(images(), weights, net))


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("width", [1, 2])
def test_biased_networks_equal_their_own_forward_pass(tmp_path, width, biased):
    tensors = foreign.checkpoint(foreign.meliketoy, small_weights(width=width))
    tensors = foreign.with_biases(tensors) if biased else tensors
    found = convert_checkpoint(write_npz(tmp_path / "a.npz", tensors), classifier_activation=None)
    assert found.dialect == "meliketoy"
    assert found.arguments["conventions"].conv_bias is biased
    compare(found.model, foreign.meliketoy_logits(images(), tensors, 2))


def test_biases_are_seen_in_the_file_of_any_dialect(tmp_path):
    weights = small_weights()
    tensors = foreign.with_biases(foreign.checkpoint(foreign.xternalz, weights))
    model = convert(write_npz(tmp_path / "a.npz", tensors), classifier_activation=None)
    _, bias = model.get_layer("group2_block1_proj").get_weights()
    np.testing.assert_array_equal(bias, tensors["block2.layer.0.convShortcut.bias"])
    unbiased = pre_activation_logits(images(), weights, PAPER)
    assert difference(outputs(model, images()), unbiased) > 0.01


KERAS_NAMES = {
    "keras.h5": lambda kind, n, of: "{0}/{0}/{1}:0".format(f"{kind}_{n}" if n else kind, of),
    "second model.h5": lambda kind, n, of: f"model_weights/{kind}_{n + 40}/{kind}_{n + 40}/{of}:0",
    "variables.npz": lambda kind, n, of: f"{kind}_{n}/{of}:0" if n else f"{kind}/{of}:0",
}


@pytest.mark.parametrize("file", KERAS_NAMES)
@pytest.mark.parametrize("width", [1, 2])
def test_uncertainty_baselines_equals_the_numpy_network(tmp_path, file, width):
    weights = small_weights(width=width)
    tensors = foreign.keras_checkpoint(weights, 2, KERAS_NAMES[file])
    path = tmp_path / file
    if path.suffix == ".h5":
        with h5py.File(path, "w") as opened:
            for name, array in tensors.items():
                opened[name] = array
            opened["optimizer_weights/SGD/momentum:0"] = np.zeros(3)
    else:
        np.savez(path, **tensors)
    found = convert_checkpoint(path, classifier_activation=None)
    assert found.dialect == "uncertainty_baselines"
    net = PreActivation((3, 3), 2, strided_padding=(0, 1), projection_input="raw")
    compare(found.model, pre_activation_logits(images(), weights, net))


def test_uncertainty_baselines_equals_a_network_made_like_it(tmp_path):
    """Stock layers in that repository's order, with "same" padding and Keras' own file."""
    layers = keras.layers

    def norm(x):
        x = layers.BatchNormalization(epsilon=1e-5, momentum=0.9)(x)
        return layers.Activation("relu")(x)

    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs)
    for planes, stride in ((32, 1), (64, 2), (128, 2)):
        y = layers.Conv2D(planes, 3, stride, padding="same", use_bias=False)(norm(x))
        y = layers.Conv2D(planes, 3, padding="same", use_bias=False)(norm(y))
        x = layers.Conv2D(planes, 1, stride, padding="same", use_bias=False)(x)
        x = layers.add([x, y])
    x = layers.Flatten()(layers.AveragePooling2D(8)(norm(x)))
    theirs = keras.Model(inputs, layers.Dense(10)(x))
    random = np.random.default_rng(0)
    theirs.set_weights(
        [random.normal(0.3, 0.1, w.shape) ** 2 if w.ndim == 1 else random.normal(0, 0.1, w.shape)
         for w in theirs.get_weights()]
    )  # fmt: skip
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for layer in theirs.layers:
            for variable in layer.weights:
                file[f"{layer.name}/{layer.name}/{variable.name}:0"] = np.asarray(variable)
    model = convert(tmp_path / "a.h5", classifier_activation=None)
    compare(model, outputs(theirs, images()))


def test_tensorflow_checkpoint_names_in_an_npz(tmp_path):
    """layer_with_weights-N numbers convolutions and normalisations together."""
    weights = small_weights(depth=10)
    keys = foreign.keras_checkpoint(weights, 1, lambda kind, n, of: (kind, n, of))
    order = [("conv2d", 0)]
    order += [("batch_normalization", 0), ("conv2d", 1), ("batch_normalization", 1)]
    # Keras walks the graph from its end: there the projection can come before its neighbour.
    order += [("conv2d", 3), ("conv2d", 2)]
    for g in (1, 2):
        order += [("batch_normalization", 2 * g), ("conv2d", 3 * g + 1)]
        order += [("batch_normalization", 2 * g + 1), ("conv2d", 3 * g + 2), ("conv2d", 3 * g + 3)]
    order += [("batch_normalization", 6), ("dense", 0)]
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    tensors = {
        f"model/layer_with_weights-{order.index(key[:2])}/{key[2]}{suffix}": array
        for key, array in keys.items()
    }
    tensors[f"save_counter{suffix}"] = np.array(3)
    model = convert(write_npz(tmp_path / "a.npz", tensors), classifier_activation=None)
    net = PreActivation((3, 3), 1, strided_padding=(0, 1), projection_input="raw")
    compare(model, pre_activation_logits(images(), weights, net))


@pytest.mark.parametrize("blocks", [(2, 2, 2, 2), (3, 4, 6, 3)])
def test_imagenet_networks_of_basic_blocks_equal_the_numpy_network(tmp_path, blocks):
    weights = random_weights(foreign.imagenet_shapes(blocks, 16, 16))
    path = write_npz(tmp_path / "a.npz", foreign.checkpoint(foreign.torchvision, weights))
    options = {"input_shape": (64, 64, 3), "classifier_activation": None}
    found = convert_checkpoint(path, **options)
    assert found.builder == f"WideResNet{2 * sum(blocks) + 2}"
    assert found.arguments == {"width": 0.25, "classes": 10}
    assert "names do not tell: relu, also after additions" in found.notes[-1]
    x = images((64, 64))
    compare(found.model, post_activation_logits(x, weights, PostActivation((3, 3), blocks)), x)
    with pytest.raises(InputError, match="Conventions are for the networks of Table 1. WRN-"):
        convert(path, conventions=Conventions())


# Against PyTorch's own modules, in PyTorch's own files.


def torch_networks():
    import torch_foreign
    from torch.nn import functional

    small = torch_foreign.PreActivation
    constants = (("mean", MEAN), ("std", STD))
    return {
        "authors": partial(small, foreign.authors, 16, 2),
        "xternalz": partial(small, foreign.xternalz, 16, 2, 100),
        "deepmind": partial(
            small,
            foreign.deepmind,
            16,
            2,
            activation=functional.silu,
            pad=(0, 1),
            mean_std=constants,
        ),
        "deepmind_relu": partial(small, foreign.deepmind, 10, 3, pad=(0, 1), mean_std=constants),
        "torchvision": partial(
            torch_foreign.Bottlenecks, foreign.torchvision, (3, 4, 6, 3), classes=20
        ),
        "key_map": partial(small, foreign.attention_transfer, 10, 1),
    }


@pytest.mark.parametrize(
    "case", ["authors", "xternalz", "deepmind", "deepmind_relu", "torchvision", "key_map"]
)
def test_networks_equal_the_torch_network(tmp_path, case):
    torch = pytest.importorskip("torch", reason="PyTorch is a second reference, never needed")
    theirs = torch_networks()[case]().randomise()
    state = theirs.state_dict()
    if case == "authors":
        state = {
            name.removesuffix(".weight") if tensor.ndim == 4 else name: tensor
            for name, tensor in state.items()
        }
        state = {"params": state, "epoch": 200, "optimizer": {"param_groups": []}}
    torch.save(state, tmp_path / "a.pth")
    options = {"deepmind_relu": {"dialect": "deepmind_relu"}, "torchvision": {}}.get(case, {})
    if case == "key_map":
        options = {"key_map": foreign.KEY_MAP}
    x = images((64, 64) if case == "torchvision" else (32, 32))
    options["input_shape"] = x.shape[1:]
    found = convert_checkpoint(tmp_path / "a.pth", **options, classifier_activation=None)
    (tmp_path / "a.pth").unlink()  # 275 MB of the largest, which pytest would keep
    assert found.dialect == case
    compare(found.model, theirs.outputs(x), x)


@pytest.mark.parametrize("classes", [10, 100])
def test_deepmind_without_constants_takes_the_data_set_s(tmp_path, classes):
    weights = small_weights(10, 1, classes)
    path = write_npz(tmp_path / "a.npz", foreign.checkpoint(foreign.deepmind, weights))
    mean, std = {
        10: ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
        100: ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    }[classes]
    net = PreActivation((3, 3), 1, activation=silu, strided_padding=(0, 1))
    x = images()
    reference = pre_activation_logits((x - np.array(mean)) / np.array(std), weights, net)
    compare(convert(path, classifier_activation=None), reference, x)


# What the table says of the networks matters.


@pytest.mark.parametrize("case", ["deepmind", "deepmind_relu", "uncertainty_baselines"])
def test_the_paper_s_conventions_give_something_else(tmp_path, case):
    weights = small_weights(10)
    if case == "uncertainty_baselines":
        tensors = foreign.keras_checkpoint(weights, 1, KERAS_NAMES["variables.npz"])
    else:
        tensors = foreign.checkpoint(foreign.deepmind, weights)
    path = write_npz(tmp_path / "a.npz", tensors)
    options = {"dialect": case, "classifier_activation": None}
    right = outputs(convert(path, **options), images())
    wrong = outputs(convert(path, **options, conventions=Conventions()), images())
    assert difference(wrong, right) > 100 * TOLERANCE


@pytest.mark.parametrize(
    "wrong",
    [
        {"strided_padding": (1, 1), "projection_input": "raw"},
        {"strided_padding": (0, 1), "projection_input": "activated"},
    ],
)
def test_each_convention_of_uncertainty_baselines_matters(tmp_path, wrong):
    weights = small_weights(10)
    tensors = foreign.keras_checkpoint(weights, 1, KERAS_NAMES["variables.npz"])
    path = write_npz(tmp_path / "a.npz", tensors)
    net = PreActivation((3, 3), 1, strided_padding=(0, 1), projection_input="raw")
    reference = pre_activation_logits(images(), weights, net)
    model = convert(path, conventions=Conventions(**wrong), classifier_activation=None)
    assert difference(outputs(model, images()), reference) > 100 * TOLERANCE


def test_the_table_has_one_row_for_each_name():
    names = [name for dialect in DIALECTS for name in (dialect.name, *dialect.aliases)]
    assert len(names) == len(set(names))
