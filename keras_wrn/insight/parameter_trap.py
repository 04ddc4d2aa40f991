"""The check of the number of parameters, by what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_wrn.insight.findings import Finding, Findings
from keras_wrn.insight.residual import ResidualNetwork
from keras_wrn.networks.blocks import BOTTLENECK, GROUPS

if TYPE_CHECKING:
    import keras


def parameter_count(network: ResidualNetwork, model: keras.Model) -> Findings:
    """The number of trainable parameters is that of the paper's layout."""
    counts, classifiers = [len(group) for group in network.groups], network.layers("dense")
    if network.for_imagenet or len(counts) != len(GROUPS) or not classifiers:
        return
    width = network.label[1] if network.label else _width(network)
    expected = _expected(network, width, counts, classifiers[-1].units)
    received = _received(network)
    differences = {name: received[name] - expected[name] for name in expected}
    if any(differences.values()):
        parts = ", ".join(f"{name} {n:+,}" for name, n in differences.items() if n)
        total = sum(expected.values())
        yield Finding(
            "parameter_count",
            f"{sum(received.values()):,} trainable parameters, {sum(differences.values()):+,}: "
            f"{parts}",
            f"{total:,} for {max(counts)} blocks a group of width {width:g}",
            "Table 1",
            "A part is missing, added or of another size.",
            "compare with keras_wrn.WideResNet(...).summary()",
        )


def _width(network: ResidualNetwork) -> float:
    filters = network.groups[-1][-1].convolutions[0 if network.bottleneck else -1].filters
    return filters / GROUPS[-1][0]


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

    def total(weights: list[Any]) -> int:
        sizes = []
        for weight in weights:
            size = 1
            for side in weight.shape:
                size *= side
            sizes.append(size)
        return sum(sizes)

    convolutions = network.layers("conv")
    biases = sum(layer.filters for layer in convolutions if layer.use_bias)
    kernels = sum(total(layer.weights) for layer in convolutions) - biases
    norms = [
        [weight for weight in (layer.gamma, layer.beta) if weight is not None]
        for layer in network.layers("norm")
    ]
    return {
        "convolutions": kernels,
        "their biases": biases,
        "batch normalisations": sum(total(weights) for weights in norms),
        "classifier": sum(total(layer.weights) for layer in network.layers("dense")),
    }
