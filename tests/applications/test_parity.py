"""The networks compute what the authors' do: against NumPy and against PyTorch.

Every comparison gives both sides the same random weights and images. `-rP` or `-s` prints the
largest difference of each, relative to the largest logit.
"""

import functools
import importlib.util

import keras
import numpy as np
import pytest
from model_parts import TOLERANCE, difference, images, outputs
from quick_weights import give_random_weights, zero_kernels  # noqa: F401 - a fixture
from reference_network import (
    PostActivation,
    PreActivation,
    post_activation_logits,
    pre_activation_logits,
    silu,
    softmax,
)

from keras_wrn.applications import wide_resnet_imagenet
from keras_wrn.applications.wide_resnet import WideResNet
from keras_wrn.networks.blocks import Conventions

pytestmark = pytest.mark.usefixtures("zero_kernels")  # every test sets its weights
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="PyTorch is not installed; it is a second reference and never needed",
)

SIZES = ((32, 32), (33, 29))  # pixels; odd ones show where the zeros are padded
EVEN_SIZES = ((32, 32), (16, 24))

SMALL = {
    "16-1": ({"depth": 16, "width": 1}, PreActivation((3, 3), 2)),
    "16-2": ({"depth": 16, "width": 2}, PreActivation((3, 3), 2)),
    "10-1.5": ({"depth": 10, "width": 1.5}, PreActivation((3, 3), 1)),
    "dropout": (
        {"depth": 16, "width": 1, "dropout": 0.3, "stochastic_depth": 0.5},
        PreActivation((3, 3), 2),
    ),
    "B(3,1,3)": ({"depth": 13, "width": 2, "block": "B(3,1,3)"}, PreActivation((3, 1, 3), 1)),
    "B(1,3,1)": ({"depth": 13, "width": 2, "block": "B(1,3,1)"}, PreActivation((1, 3, 1), 1)),
    "B(3), N=2": (
        {"depth": 40, "width": 1, "block": "B(3)", "blocks_per_group": 2},
        PreActivation((3,), 2),
    ),
    "bottleneck": (
        {"depth": 20, "width": 1, "block": "bottleneck"},
        PreActivation((1, 3, 1), 2),
    ),
    "silu": (
        {"depth": 10, "width": 1, "conventions": Conventions(activation="silu")},
        PreActivation((3, 3), 1, activation=silu),
    ),
    "same": (
        {"depth": 10, "width": 2, "conventions": Conventions(strided_padding=(0, 1))},
        PreActivation((3, 3), 1, strided_padding=(0, 1)),
    ),
    "raw projection": (
        {"depth": 10, "width": 2, "conventions": Conventions(projection_input="raw")},
        PreActivation((3, 3), 1, projection_input="raw"),
    ),
}
IMAGENET = {
    "18-1.5": (
        lambda **options: wide_resnet_imagenet.WideResNet18(1.5, **options),
        PostActivation((3, 3), (2, 2, 2, 2)),
    ),
    "50-2": (
        wide_resnet_imagenet.WideResNet50_2,
        PostActivation((1, 3, 1), (3, 4, 6, 3)),
    ),
}


def small(options, classes=10):
    """A network for small images of any size that returns logits."""
    return WideResNet(
        **options, input_shape=(None, None, 3), classes=classes, classifier_activation=None
    )


@pytest.fixture
def report(record_property, request):
    """Check a difference, and write it down where a reader of the test run finds it."""

    def check(ours, reference, tolerance=TOLERANCE, of=""):
        figure = difference(ours, reference)
        name = f"{request.node.callspec.id if hasattr(request.node, 'callspec') else ''} {of}"
        print(f"{keras.config.backend()} {request.node.originalname} {name}: {figure:.2e}")
        record_property(f"max_relative_difference {of}".strip(), figure)
        assert figure < tolerance

    return check


@functools.lru_cache(maxsize=1)  # the references of one network are tested one after another
def computed(case):
    """Random weights of a network, and its logits for images of each size."""
    if case in SMALL:
        model = small(SMALL[case][0])
        sizes = EVEN_SIZES if case == "same" else SIZES
    else:
        build = IMAGENET[case][0]
        model = build(input_shape=(None, None, 3), classes=20, classifier_activation=None)
        sizes = ((64, 64), (65, 71)) if case.startswith("18") else ((64, 64),)
    weights = give_random_weights(model)
    batches = [images(2, *size, 3) for size in sizes]
    return weights, [(x, outputs(model, x)) for x in batches]


def numpy_logits(case, weights, x):
    if case in SMALL:
        return pre_activation_logits(x, weights, SMALL[case][1])
    return post_activation_logits(x, weights, IMAGENET[case][1])


def torch_logits(case, weights, x):
    import torch_network

    module = torch_network.WideResNet if case in SMALL else torch_network.ImageNetResNet
    net = (SMALL | IMAGENET)[case][1]
    return module(weights, net.kernels, net.blocks).logits(x)


CONVENTIONS = ("silu", "same", "raw projection")  # not the authors', so not in their module
COMPARISONS = [
    pytest.param(case, reference, marks=marks, id=f"{case} {reference.__name__}")
    for case in (*SMALL, *IMAGENET)
    for reference, marks in ((numpy_logits, ()), (torch_logits, needs_torch))
    if not (case in CONVENTIONS and reference is torch_logits)
]


@pytest.mark.parametrize(("case", "reference"), COMPARISONS)
def test_logits_equal_the_reference(case, reference, report):
    weights, results = computed(case)
    for x, ours in results:
        report(ours, reference(case, weights, x), of=f"{x.shape[1]}x{x.shape[2]}")


def test_probabilities_equal_the_numpy_network(report):
    model = WideResNet(10, 1)
    weights = give_random_weights(model)
    x = images(2, 32, 32, 3)
    report(outputs(model, x), softmax(pre_activation_logits(x, weights, PreActivation((3, 3), 1))))


def test_the_reference_refuses_weights_that_it_does_not_use():
    model = small({"depth": 16, "width": 1})
    weights = give_random_weights(model)
    with pytest.raises(ValueError, match="group1_block2_bn1"):
        pre_activation_logits(images(2, 8, 8, 3), weights, PreActivation((3, 3), 1))


def test_dropout_and_stochastic_depth_leave_inference_alone():
    x = images(2, 32, 32, 3)
    plain, dropped = (
        small({"depth": 10, "width": 1, "dropout": rate, "stochastic_depth": rate})
        for rate in (0.0, 0.4)
    )
    weights = give_random_weights(plain)
    assert weights.keys() == give_random_weights(dropped).keys()
    assert difference(outputs(dropped, x), outputs(plain, x)) < 1e-6
    assert difference(outputs(plain, x, training=True), outputs(dropped, x, training=True)) > 0.05


# What other implementations do differently gives other outputs with the same weights.


@pytest.mark.parametrize(
    "conventions",
    [
        Conventions(strided_padding=(0, 1)),
        Conventions(projection_input="raw"),
        Conventions(activation="silu"),
        Conventions(bn_epsilon=1e-3),
    ],
    ids=["same padding", "raw projection", "silu", "epsilon"],
)
def test_conventions_change_what_the_same_weights_compute(conventions):
    paper = small({"depth": 16, "width": 2})
    other = small({"depth": 16, "width": 2, "conventions": conventions})
    weights = give_random_weights(paper)
    assert weights.keys() == give_random_weights(other).keys()
    x = images(2, 32, 32, 3)
    assert difference(outputs(other, x), outputs(paper, x)) > 10 * TOLERANCE


def test_padding_0_1_is_what_same_does_to_even_sizes(report):
    def with_same(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.ZeroPadding2D):
            config["padding"] = 0
        if isinstance(layer, keras.layers.Conv2D) and config["kernel_size"] == (3, 3):
            config["padding"] = "same"
        return type(layer).from_config(config)

    explicit = small({"depth": 16, "width": 2, "conventions": Conventions(strided_padding=(0, 1))})
    paper = small({"depth": 16, "width": 2})
    same = keras.models.clone_model(paper, clone_function=with_same)
    for model in (explicit, paper, same):
        give_random_weights(model)
    x = images(2, 32, 32, 3)
    report(outputs(explicit, x), outputs(same, x), tolerance=1e-6)
    assert difference(outputs(same, x), outputs(paper, x)) > 0.01


@needs_torch
def test_training_mode_equals_the_torch_network(report):
    import torch_network

    model = small({"depth": 16, "width": 1})
    weights = give_random_weights(model)
    reference = torch_network.WideResNet(weights, (3, 3), 2).train()
    x = images(8, 16, 16, 3)
    report(outputs(model, x, training=True), reference.logits(x), of="logits")

    ours = model.get_layer("head_bn")
    theirs = reference.layers["head_bn"]
    mean, variance = (
        keras.ops.convert_to_numpy(v + 0.0)  # a tensor: NumPy 2 warns of Keras' variables
        for v in (ours.moving_mean, ours.moving_variance)
    )
    report(mean, theirs.running_mean.numpy(), of="moving mean")
    # Keras keeps the variance of the batch, Torch its unbiased estimate: n / (n - 1) times that.
    n = 8 * 4 * 4
    kept = np.float32(0.9) * weights["head_bn"][3]
    report((variance - kept) * n / (n - 1), theirs.running_var.numpy() - kept, of="variance")
