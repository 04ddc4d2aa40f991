"""Checkpoints as other people write them, made without keras_wrn's table of dialects.

Each function here says what a repository calls the parts of its network, written down from that
repository; groups, blocks and layers count from 1. `checkpoint` turns weights under keras_wrn's
layer names (see reference_network.py) into the arrays of such a checkpoint, in Torch's layout.
"""

import re

import numpy as np
from reference_network import convolve, normalise


def authors(part, g=0, b=0, i=0):
    block = f"group{g - 1}.block{b - 1}"
    return {
        "stem": "conv0",
        "conv": f"{block}.conv{i - 1}",
        "bn": f"{block}.bn{i - 1}",
        "proj": f"{block}.convdim",
        "head": "bn",
        "fc": "fc",
    }[part]


def xternalz(part, g=0, b=0, i=0):
    block = f"block{g}.layer.{b - 1}"
    return {
        "stem": "conv1",
        "conv": f"{block}.conv{i}",
        "bn": f"{block}.bn{i}",
        "proj": f"{block}.convShortcut",
        "head": "bn1",
        "fc": "fc",
    }[part]


def deepmind(part, g=0, b=0, i=0):
    block = f"layer.{g - 1}.block.{b - 1}"
    return {
        "stem": "init_conv",
        "conv": f"{block}.conv_{i - 1}",
        "bn": f"{block}.batchnorm_{i - 1}",
        "proj": f"{block}.shortcut",
        "head": "batchnorm",
        "fc": "logits",
    }[part]


def attention_transfer(part, g=0, b=0, i=0):
    """A repository outside the table: see `KEY_MAP`."""
    block = f"block{g}.nblockLayer.{b - 1}"
    return {
        "stem": "conv1",
        "conv": f"{block}.conv{i}",
        "bn": f"{block}.batch_norm{i}",
        "proj": f"{block}.conv_inp",
        "head": "batch_norm",
        "fc": "fc",
    }[part]


KEY_MAP = {
    "conv1": "stem_conv",
    "block{g}.nblockLayer.{b0}.batch_norm{i}": "group{g}_block{b}_bn{i}",
    "block{g}.nblockLayer.{b0}.conv{i}": "group{g}_block{b}_conv{i}",
    "block{g}.nblockLayer.{b0}.conv_inp": "group{g}_block{b}_proj",
    "batch_norm": "head_bn",
    "fc": "predictions",
}


def meliketoy(part, g=0, b=0, i=0):
    block = f"layer{g}.{b - 1}"
    return {
        "stem": "conv1",
        "conv": f"{block}.conv{i}",
        "bn": f"{block}.bn{i}",
        "proj": f"{block}.shortcut.0",
        "head": "bn1",
        "fc": "linear",
    }[part]


def torchvision(part, g=0, b=0, i=0):
    block = f"layer{g}.{b - 1}"
    return {
        "stem": "conv1",
        "stem_bn": "bn1",
        "conv": f"{block}.conv{i}",
        "bn": f"{block}.bn{i}",
        "proj": f"{block}.downsample.0",
        "proj_bn": f"{block}.downsample.1",
        "fc": "fc",
    }[part]


_PARTS = {
    "stem_conv": ("stem",),
    "stem_bn": ("stem_bn",),
    "head_bn": ("head",),
    "predictions": ("fc",),
}


def their_name(dialect, layer):
    """What a dialect calls a layer of keras_wrn."""
    if layer in _PARTS:
        return dialect(*_PARTS[layer])
    g, b, part, i = re.fullmatch(r"group(\d+)_block(\d+)_([a-z_]+)(\d*)", layer).groups()
    return dialect(part, int(g), int(b), int(i or 0))


def checkpoint(dialect, weights):
    """Weights under keras_wrn's layer names, as this dialect's Torch tensors."""
    tensors = {}
    for layer, arrays in weights.items():
        name = their_name(dialect, layer)
        if len(arrays) == 4:
            for suffix, array in zip(("weight", "bias", "running_mean", "running_var"), arrays):
                tensors[f"{name}.{suffix}"] = array
            if dialect is not authors:
                tensors[f"{name}.num_batches_tracked"] = np.asarray(7)
        elif len(arrays) == 2:
            tensors[f"{name}.weight"], tensors[f"{name}.bias"] = arrays[0].T, arrays[1]
        else:
            # The authors' convolutions are functions of a tensor, which has the layer's name.
            key = name if dialect is authors else f"{name}.weight"
            tensors[key] = arrays[0].transpose(3, 2, 0, 1)
    return {name: np.asarray(array, order="C") for name, array in tensors.items()}


# Forward passes of two repositories, on their own tensors in Torch's layout.


class _Tensors:
    """Torch's layers as functions of named tensors, in float64, channels last."""

    def __init__(self, tensors, epsilon, slope=0.0):
        self.tensors, self.epsilon, self.slope = tensors, epsilon, slope

    def conv(self, name, x, stride=1, padding=1):
        kernel = self.tensors[f"{name}.weight"].transpose(2, 3, 1, 0)
        x = convolve(x, kernel, stride, (padding, padding))
        return x + self.tensors.get(f"{name}.bias", 0.0)

    def bn_relu(self, name, x):
        parts = ("weight", "bias", "running_mean", "running_var")
        x = normalise(x, [self.tensors[f"{name}.{part}"] for part in parts], self.epsilon)
        return np.where(x > 0, x, self.slope * x)

    def classify(self, name, x):
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return x.mean(axis=(1, 2)) @ weight.T + bias

    def __contains__(self, name):
        return f"{name}.weight" in self.tensors


def fixmatch_logits(images, tensors, blocks, epsilon=1e-5):
    """kekmodel's and TorchSSL's: `conv1(out if self.equalInOut else x)`, so that the first block
    of groups 2 and 3 has a bn1 that it does not use. The first group activates before both."""
    net = _Tensors(tensors, epsilon, slope=0.1)
    x = net.conv("conv1", images)
    for g in (1, 2, 3):
        for b in range(blocks):
            name, stride = f"block{g}.layer.{b}", 2 if g > 1 and b == 0 else 1
            widens = f"{name}.convShortcut" in net
            if widens and g == 1:
                x = net.bn_relu(f"{name}.bn1", x)
            out = x if widens else net.bn_relu(f"{name}.bn1", x)
            out = net.bn_relu(f"{name}.bn2", net.conv(f"{name}.conv1", out, stride))
            out = net.conv(f"{name}.conv2", out)
            x = (net.conv(f"{name}.convShortcut", x, stride, 0) if widens else x) + out
    return net.classify("fc", net.bn_relu("bn1", x))


def meliketoy_logits(images, tensors, blocks):
    """Biased convolutions, the stride in conv2, and a shortcut of the raw input."""
    net = _Tensors(tensors, 1e-5)
    x = net.conv("conv1", images)
    for g in (1, 2, 3):
        for b in range(blocks):
            name, stride = f"layer{g}.{b}", 2 if g > 1 and b == 0 else 1
            out = net.conv(f"{name}.conv1", net.bn_relu(f"{name}.bn1", x))
            out = net.conv(f"{name}.conv2", net.bn_relu(f"{name}.bn2", out), stride)
            widens = f"{name}.shortcut.0" in net
            x = out + (net.conv(f"{name}.shortcut.0", x, stride, 0) if widens else x)
    return net.classify("linear", net.bn_relu("bn1", x))


def with_biases(tensors, seed=1):
    """The same checkpoint with a bias in every convolution."""
    random = np.random.default_rng(seed)
    return tensors | {
        name.removesuffix("weight") + "bias": random.normal(0, 0.3, len(array)).astype(np.float32)
        for name, array in tensors.items()
        if array.ndim == 4
    }


def keras_checkpoint(weights, blocks, name):
    """The same as Keras 2 names it in order of creation; name("conv2d", 3, "kernel") -> key."""
    tensors = {}
    counts = {"conv2d": 0, "batch_normalization": 0, "dense": 0}

    def add(kind, layer, suffixes):
        for suffix, array in zip(suffixes, weights[layer], strict=True):
            tensors[name(kind, counts[kind], suffix)] = array
        counts[kind] += 1

    norm = ("gamma", "beta", "moving_mean", "moving_variance")
    add("conv2d", "stem_conv", ("kernel",))
    for g in (1, 2, 3):
        for b in range(1, blocks + 1):
            for i in (1, 2):
                add("batch_normalization", f"group{g}_block{b}_bn{i}", norm)
                add("conv2d", f"group{g}_block{b}_conv{i}", ("kernel",))
            if f"group{g}_block{b}_proj" in weights:
                add("conv2d", f"group{g}_block{b}_proj", ("kernel",))
    add("batch_normalization", "head_bn", norm)
    add("dense", "predictions", ("kernel", "bias"))
    return tensors


def network_shapes(depth, width, classes=10, channels=3):
    """Shapes of WRN-depth-width of B(3,3), by layer; for `reference_network.random_weights`."""
    blocks = (depth - 4) // 6
    shapes = {"stem_conv": [(3, 3, channels, 16)]}
    planes_in = 16
    for g, base in ((1, 16), (2, 32), (3, 64)):
        planes = int(base * width)
        for b in range(1, blocks + 1):
            name = f"group{g}_block{b}"
            shapes[f"{name}_bn1"] = [(planes_in,)] * 4
            shapes[f"{name}_conv1"] = [(3, 3, planes_in, planes)]
            shapes[f"{name}_bn2"] = [(planes,)] * 4
            shapes[f"{name}_conv2"] = [(3, 3, planes, planes)]
            if planes_in != planes:
                shapes[f"{name}_proj"] = [(1, 1, planes_in, planes)]
            planes_in = planes
    shapes["head_bn"] = [(planes_in,)] * 4
    shapes["predictions"] = [(planes_in, classes), (classes,)]
    return shapes


def imagenet_shapes(blocks, inner, outer, classes=10):
    """Shapes of a post-activation ResNet; inner planes equal to outer make basic blocks."""
    bottleneck = inner != outer
    shapes = {"stem_conv": [(7, 7, 3, 64)], "stem_bn": [(64,)] * 4}
    planes_in = 64
    for g, count in enumerate(blocks, start=1):
        thin, wide = inner << (g - 1), outer << (g - 1)
        for b in range(1, count + 1):
            name = f"group{g}_block{b}"
            kernels = ((1, thin), (3, thin), (1, wide)) if bottleneck else ((3, thin), (3, thin))
            planes = planes_in
            for i, (size, out) in enumerate(kernels, start=1):
                shapes[f"{name}_conv{i}"] = [(size, size, planes, out)]
                shapes[f"{name}_bn{i}"] = [(out,)] * 4
                planes = out
            if (g > 1 and b == 1) or planes_in != wide:
                shapes[f"{name}_proj"] = [(1, 1, planes_in, wide)]
                shapes[f"{name}_proj_bn"] = [(wide,)] * 4
            planes_in = wide
    shapes["predictions"] = [(planes_in, classes), (classes,)]
    return shapes
