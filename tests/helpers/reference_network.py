"""The authors' networks in plain NumPy, to hold keras_wrn's against.

Written from the paper (Table 1, Figure 1, section 2) and the facts of the authors' Lua code, in
float64, with no import of keras or keras_wrn: a network is a few loops over named weights. The
weights are a dictionary, layer name -> list of arrays in the order in which Keras keeps them:
[kernel (height, width, in, out)], [gamma, beta, mean, variance] or [kernel (in, out), bias].
Each forward pass checks that it has used every weight that it was given.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Weights = Mapping[str, Sequence[np.ndarray]]
EPSILON = 1e-5  # Torch's batch normalisation


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1.0 + np.exp(-x))


class PreActivation(NamedTuple):
    """WRN-n-k-B(M) for small images: what cannot be read off the weights' shapes."""

    kernels: tuple[int, ...]  # M, the kernel sizes of a block
    blocks: int  # N, blocks in each of the three groups
    activation: Callable[[np.ndarray], np.ndarray] = relu
    strided_padding: tuple[int, int] = (1, 1)  # before and after; Torch's
    projection_input: str = "activated"


class PostActivation(NamedTuple):
    """WRN-18, 34, 50-2, 101-2 for ImageNet: conv-BN-ReLU, the last ReLU after the addition."""

    kernels: tuple[int, ...]  # (3, 3) or (1, 3, 1)
    blocks: tuple[int, ...]  # in each of the four groups


def pre_activation_logits(
    images: np.ndarray, weights: Weights, net: PreActivation, epsilon: float = EPSILON
) -> np.ndarray:
    """Figure 1: x + F(x), where F is (BN, activation, convolution) as often as M is long."""
    used = _Used(weights)
    x = convolve(images, used["stem_conv"][0], padding=(1, 1))
    for group, group_stride in ((1, 1), (2, 2), (3, 2)):
        for block in range(1, net.blocks + 1):
            prefix = f"group{group}_block{block}_"
            stride = group_stride if block == 1 else 1
            first = net.activation(normalise(x, used[prefix + "bn1"], epsilon))
            branch = first
            for i, kernel in enumerate(net.kernels, start=1):
                if i > 1:
                    branch = net.activation(normalise(branch, used[f"{prefix}bn{i}"], epsilon))
                step = stride if i == 1 else 1
                padding = net.strided_padding if step == 2 else (1, 1)
                if kernel == 1:
                    padding = (0, 0)
                branch = convolve(branch, used[f"{prefix}conv{i}"][0], step, padding)
            shortcut = x
            # "nInputPlane ~= nOutputPlane" is the authors' condition, not the stride.
            if x.shape[-1] != branch.shape[-1]:
                source = first if net.projection_input == "activated" else x
                shortcut = convolve(source, used[prefix + "proj"][0], stride, (0, 0))
            x = shortcut + branch
    x = net.activation(normalise(x, used["head_bn"], epsilon))
    return used.all(classify(x, used["predictions"]))


def post_activation_logits(
    images: np.ndarray, weights: Weights, net: PostActivation, epsilon: float = EPSILON
) -> np.ndarray:
    """The ResNets that Tables 7 and 8 widen, with the stride in a block's first 3x3."""
    used = _Used(weights)
    x = convolve(images, used["stem_conv"][0], 2, (3, 3))
    x = relu(normalise(x, used["stem_bn"], epsilon))
    x = pool_3x3_by_2(x)
    for group, blocks in enumerate(net.blocks, start=1):
        for block in range(1, blocks + 1):
            prefix = f"group{group}_block{block}_"
            stride = 2 if group > 1 and block == 1 else 1
            branch = x
            strided = net.kernels.index(3)
            for i, kernel in enumerate(net.kernels):
                if i > 0:
                    branch = relu(branch)
                step = stride if i == strided else 1
                half = kernel // 2
                branch = convolve(branch, used[f"{prefix}conv{i + 1}"][0], step, (half, half))
                branch = normalise(branch, used[f"{prefix}bn{i + 1}"], epsilon)
            shortcut = x
            if stride == 2 or x.shape[-1] != branch.shape[-1]:
                shortcut = convolve(x, used[prefix + "proj"][0], stride, (0, 0))
                shortcut = normalise(shortcut, used[prefix + "proj_bn"], epsilon)
            x = relu(shortcut + branch)
    return used.all(classify(x, used["predictions"]))


def convolve(
    x: np.ndarray, kernel: np.ndarray, stride: int = 1, padding: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """Cross-correlation of (batch, height, width, in) with (height, width, in, out)."""
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), padding, padding, (0, 0)))
    windows = sliding_window_view(padded, kernel.shape[:2], axis=(1, 2))[:, ::stride, ::stride]
    return np.tensordot(windows, np.asarray(kernel, np.float64), axes=([4, 5, 3], [0, 1, 2]))


def normalise(x: np.ndarray, parameters: Sequence[np.ndarray], epsilon: float) -> np.ndarray:
    """Batch normalisation at inference."""
    gamma, beta, mean, variance = (np.asarray(p, np.float64) for p in parameters)
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def pool_3x3_by_2(x: np.ndarray) -> np.ndarray:
    """Maximum pooling with padding 1, as Torch pads it: with minus infinity."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    return windows.max(axis=(4, 5))


def classify(x: np.ndarray, linear: Sequence[np.ndarray]) -> np.ndarray:
    """Average over the image, then the linear layer."""
    kernel, bias = (np.asarray(p, np.float64) for p in linear)
    return x.mean(axis=(1, 2)) @ kernel + bias


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def random_weights(
    shapes: Mapping[str, Sequence[tuple[int, ...]]], seed: int = 0
) -> dict[str, list[np.ndarray]]:
    """Weights for layers of these shapes that leave no part of a network without effect.

    Kernels are he-normal, so that activations keep their size; batch normalisation gets scales,
    offsets, means and variances that are all far from the 1, 0, 0, 1 of a new network. Equal
    names, shapes and seeds give equal weights.
    """
    random = np.random.default_rng(seed)
    weights = {}
    for name, (first, *others) in sorted(shapes.items()):
        if len(others) == 3:
            values = [
                random.uniform(0.5, 1.5, first),
                random.normal(0.0, 0.3, first),
                random.normal(0.0, 0.3, first),
                random.uniform(0.5, 2.0, first),
            ]
        else:
            values = [random.normal(0.0, np.sqrt(2.0 / np.prod(first[:-1])), first)]
            values += [random.normal(0.0, 0.3, shape) for shape in others]
        weights[name] = [value.astype(np.float32) for value in values]
    return weights


class _Used(dict):
    """Weights that remember which of them were asked for."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Sequence[np.ndarray]:
        self.names.add(name)
        return super().__getitem__(name)

    def all(self, result: np.ndarray) -> np.ndarray:
        """`result`, if there is no weight that it does not depend on."""
        unused = sorted(set(self) - self.names)
        if unused:
            raise ValueError(f"The reference network has no layers for: {', '.join(unused)}.")
        return result
