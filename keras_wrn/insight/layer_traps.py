"""Checks of layers: batch normalisation, weight decay, biases, numbers of parameters.

Each check reads a network and says what it found, what the paper has, what the difference costs
and how to mend it. Costs without a figure were not measured.
"""

from __future__ import annotations

import math
from typing import Any

from keras_wrn.insight.findings import LUA, Finding, Findings, where
from keras_wrn.insight.residual import ResidualNetwork
from keras_wrn.networks.blocks import BOTTLENECK, GROUPS, PAPER

_DECAY = 5e-4  # of CIFAR and SVHN, section 3
_IMAGENET_DECAY = 1e-4  # fb.resnet.torch's


def bn_momentum(network: ResidualNetwork) -> Findings:
    """Torch's momentum 0.1 is Keras' 0.9; Keras' default is 0.99."""
    values: dict[float, list[Any]] = {}
    for layer in network.layers("norm"):
        values.setdefault(round(float(layer.momentum), 6), []).append(layer)
    values.pop(PAPER.bn_momentum, None)
    for momentum, layers in values.items():
        if momentum < 0.5:
            cost = (
                "Torch's number counts the new part, Keras' the old: the moving statistics are "
                "those of the last few batches, and the test error jumps from epoch to epoch."
            )
        else:
            cost = "The moving statistics lag behind the weights; early test errors are too high."
        yield Finding(
            "bn_momentum",
            f"momentum={momentum:g} in {where(layers)}",
            "momentum=0.9, which is Torch's 0.1",
            "section 3; Torch's default",
            cost,
            "BatchNormalization(momentum=0.9)",
        )


def bn_epsilon(network: ResidualNetwork) -> Findings:
    """Keras' default of epsilon is a hundred times Torch's."""
    layers = [x for x in network.layers("norm") if abs(x.epsilon / PAPER.bn_epsilon - 1) > 0.01]
    if layers:
        yield Finding(
            "bn_epsilon",
            f"epsilon={layers[0].epsilon:g} in {where(layers)}",
            "epsilon=1e-05",
            "section 3; Torch's default",
            "Planes of small variance are scaled down; weights trained with the other value give "
            "other logits.",
            "BatchNormalization(epsilon=1e-5), and train or convert again",
        )


def weight_decay(network: ResidualNetwork) -> Findings:
    """Keras' L2 counts the square, not its half, and its optimisers' decay is decoupled."""
    wanted = _IMAGENET_DECAY if network.for_imagenet else _DECAY
    layers = network.layers("conv") + network.layers("dense")
    strengths = {layer: _l2(layer.kernel_regularizer) for layer in layers}
    strong = [layer for layer, l2 in strengths.items() if abs(l2 / wanted - 1) < 0.1]
    source = "section 3; authors' train.lua, optim.sgd"
    if strong:
        yield Finding(
            "l2_twice_too_strong",
            f"L2({strengths[strong[0]]:g}) in {where(strong)}",
            f"L2({wanted / 2:g}) for a weight decay of {wanted:g}",
            source,
            "Keras adds l2 * w**2, whose gradient is 2 * l2 * w: after 2,000 steps at 0.1 a weight "
            "without gradient is at 0.134 of its value instead of 0.368.",
            f"keras.regularizers.L2({wanted / 2:g})",
        )
    norms = network.layers("norm")
    free = [x for x in norms if not _l2(x.gamma_regularizer) or not _l2(x.beta_regularizer)]
    if any(strengths.values()) and free:
        yield Finding(
            "decay_without_bn",
            f"L2 on kernels, none on scale and offset of {where(free)}",
            "weight decay of every parameter, batch normalisation and biases included",
            source,
            "Noticeably higher error, by the README of google-research/sam.",
            "gamma_regularizer and beta_regularizer too, or keras_wrn.optimizers.TorchSGD",
        )
    # In mixed_float16 Keras wraps the optimiser.
    optimizer = getattr(network.optimizer, "inner_optimizer", network.optimizer)
    decay = getattr(optimizer, "weight_decay", None)
    if decay and type(optimizer).__module__.startswith("keras."):
        yield Finding(
            "decoupled_decay",
            f"{type(optimizer).__name__}(weight_decay={decay:g})",
            f"weight decay of {wanted:g} added to the gradient, before momentum",
            source,
            "Keras subtracts learning_rate * decay * w beside the momentum: with 5e-4 and momentum "
            "0.9 ten times too weak.",
            "keras_wrn.optimizers.TorchSGD, or L2 of half the decay on every parameter",
        )


def _l2(regularizer: Any) -> float:
    return float(getattr(regularizer, "l2", 0.0) or 0.0)


def biased_convolutions(network: ResidualNetwork) -> Findings:
    """Convolutions have no bias."""
    layers = [layer for layer in network.layers("conv") if layer.use_bias]
    if layers:
        count = sum(layer.filters for layer in layers)
        folded = "" if network.layers("norm") else "; without batch normalisation, it is folded in"
        yield Finding(
            "biased_convolutions",
            f"use_bias=True in {where(layers)}{folded}",
            "use_bias=False; the classifier alone has a bias",
            LUA,
            f"{count:,} parameters more; batch normalisation takes most of them out again.",
            "Conv2D(use_bias=False)",
        )


def parameter_count(network: ResidualNetwork) -> Findings:
    """The number of trainable parameters is that of the paper's layout."""
    counts, classifiers = [len(group) for group in network.groups], network.layers("dense")
    if network.for_imagenet or len(counts) != len(GROUPS) or not classifiers:
        return
    last = network.groups[-1][-1].convolutions[0 if network.bottleneck else -1]
    width = network.label[1] if network.label else last.filters / GROUPS[-1][0]
    expected = _expected(network, width, counts, classifiers[-1].units)
    received = _received(network)
    differences = {name: received[name] - expected[name] for name in expected}
    if any(differences.values()):
        parts = ", ".join(f"{name} {n:+,}" for name, n in differences.items() if n)
        yield Finding(
            "parameter_count",
            f"{sum(received.values()):,} trainable parameters, {sum(differences.values()):+,}: "
            f"{parts}",
            f"{sum(expected.values()):,} for {max(counts)} blocks a group of width {width:g}",
            "Table 1",
            "A part is missing, added or of another size.",
            "compare with keras_wrn.WideResNet(...).summary()",
        )


def _expected(
    network: ResidualNetwork, width: float, counts: list[int], classes: int
) -> dict[str, int]:
    """Parameters of the paper's layout by what they are."""
    expansion = BOTTLENECK.expansion if network.bottleneck else 1
    planes = 16
    kernels, norms = 9 * int(network.stem.input.shape[-1]) * planes, 0
    for count, (base, _) in zip(counts, GROUPS, strict=True):
        inner = int(base * width)
        for _ in range(count):
            if planes != inner * expansion:
                kernels += planes * inner * expansion
            for position, size in enumerate(network.kernels, start=1):
                norms += 2 * planes
                filters = inner * (expansion if position == len(network.kernels) else 1)
                kernels += size * size * planes * filters
                planes = filters
    norms += 2 * planes
    return {
        "convolutions": kernels,
        "their biases": 0,
        "batch normalisations": norms,
        "classifier": planes * classes + classes,
    }


def _received(network: ResidualNetwork) -> dict[str, int]:
    """Parameters of a network by what they are."""
    convolutions = network.layers("conv")
    biases = sum(layer.filters for layer in convolutions if layer.use_bias)
    scales = [w for layer in network.layers("norm") for w in (layer.gamma, layer.beta)]
    return {
        "convolutions": sum(layer.count_params() for layer in convolutions) - biases,
        "their biases": biases,
        "batch normalisations": sum(math.prod(w.shape) for w in scales if w is not None),
        "classifier": sum(layer.count_params() for layer in network.layers("dense")),
    }
