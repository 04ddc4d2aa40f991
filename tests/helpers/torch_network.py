"""The authors' networks as PyTorch modules, the framework that they were published in.

A second reference beside reference_network.py, with Torch's own convolutions, batch
normalisation and pooling, in evaluation and in training mode. Knows nothing of keras_wrn but
its layer names, under which its weights arrive (see reference_network.py for their form).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class _Named(nn.Module):
    """A module whose layers are made from, and named after, a dictionary of weights."""

    def __init__(self, weights: Mapping[str, Sequence[np.ndarray]]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: _layer(value) for name, value in weights.items()})

    def conv(self, name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight = self.layers[name].weight
        return functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def bn_relu(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.layers[name](x))

    def head(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers["predictions"](functional.adaptive_avg_pool2d(x, 1).flatten(1))

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Logits (batch, classes) of images (batch, height, width, channels)."""
        with torch.no_grad():
            x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
            return self(x.float()).numpy()


class WideResNet(_Named):
    """models/wide-resnet.lua: three groups of pre-activation blocks with kernels M."""

    def __init__(
        self, weights: Mapping[str, Sequence[np.ndarray]], kernels: Sequence[int], blocks: int
    ) -> None:
        super().__init__(weights)
        self.kernels, self.blocks = kernels, blocks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv("stem_conv", x)
        for group in (1, 2, 3):
            for number in range(1, self.blocks + 1):
                stride = 2 if group > 1 and number == 1 else 1
                x = self.block(f"group{group}_block{number}", x, stride)
        return self.head(self.bn_relu("head_bn", x))

    def block(self, name: str, x: torch.Tensor, stride: int) -> torch.Tensor:
        activated = self.bn_relu(f"{name}_bn1", x)
        y = self.conv(f"{name}_conv1", activated, stride)
        for i in range(2, len(self.kernels) + 1):
            y = self.conv(f"{name}_conv{i}", self.bn_relu(f"{name}_bn{i}", y))
        if f"{name}_proj" in self.layers:
            return y + self.conv(f"{name}_proj", activated, stride)
        return y + x


class ImageNetResNet(_Named):
    """pretrained/ of the authors: post-activation, `blocks` in each of four groups."""

    def __init__(
        self, weights: Mapping[str, Sequence[np.ndarray]], kernels: Sequence[int], blocks
    ) -> None:
        super().__init__(weights)
        self.kernels, self.blocks = kernels, blocks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn_relu("stem_bn", self.conv("stem_conv", x, 2))
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        for group, blocks in enumerate(self.blocks, start=1):
            for number in range(1, blocks + 1):
                stride = 2 if group > 1 and number == 1 else 1
                x = self.block(f"group{group}_block{number}", x, stride)
        return self.head(x)

    def block(self, name: str, x: torch.Tensor, stride: int) -> torch.Tensor:
        y = x
        last = len(self.kernels)
        for i in range(1, last + 1):
            # The stride is in the 3x3 of a bottleneck, in the first 3x3 of a basic block.
            strided = 2 if last == 3 else 1
            y = self.conv(f"{name}_conv{i}", y, stride if i == strided else 1)
            y = self.layers[f"{name}_bn{i}"](y)
            y = functional.relu(y) if i < last else y
        if f"{name}_proj" in self.layers:
            x = self.layers[f"{name}_proj_bn"](self.conv(f"{name}_proj", x, stride))
        return functional.relu(x + y)


def _layer(weights: Sequence[np.ndarray]) -> nn.Module:
    """The Torch layer that holds these arrays."""
    first, *others = (torch.from_numpy(np.array(array)) for array in weights)
    if first.ndim == 4:
        height, width, planes_in, planes_out = first.shape
        layer = nn.Conv2d(planes_in, planes_out, (height, width), bias=False)
        layer.weight.data = first.permute(3, 2, 0, 1).contiguous()
    elif first.ndim == 2:
        layer = nn.Linear(*first.shape)
        layer.weight.data, layer.bias.data = first.T.contiguous(), others[0]
    else:
        layer = nn.BatchNorm2d(len(first), eps=1e-5, momentum=0.1)
        layer.weight.data = first
        layer.bias.data, layer.running_mean, layer.running_var = others
    return layer.eval()
