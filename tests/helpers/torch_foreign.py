"""Other people's networks as PyTorch modules, with their names and their own forward passes.

The names come from foreign_networks.py; a module hangs at each of them, so that `state_dict()`
is that repository's. What a network does differently is said where it is made.
"""

import torch
from torch import nn
from torch.nn import functional


class _Foreign(nn.Module):
    """A tree of modules, each at the place that its dotted name says."""

    def __init__(self, names):
        super().__init__()
        self.names = names

    def put(self, name, module):
        *path, last = name.split(".")
        place = self
        for step in path:
            if not hasattr(place, step):
                place.add_module(step, nn.Module())
            place = getattr(place, step)
        place.add_module(last, module)

    def at(self, part, g=0, b=0, i=0):
        return self.get_submodule(self.names(part, g, b, i))

    def randomise(self, seed=0):
        """Weights of a working network, and statistics that are far from a new one's."""
        random = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.data.uniform_(0.5, 1.5, generator=random)
                module.bias.data.normal_(0, 0.3, generator=random)
                module.running_mean.normal_(0, 0.3, generator=random)
                module.running_var.uniform_(0.5, 2.0, generator=random)
            elif isinstance(module, nn.Conv2d | nn.Linear):
                fan_in = module.weight[0].numel()
                module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=random)
        return self.eval()

    def outputs(self, images):
        with torch.no_grad():
            return self(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()


class PreActivation(_Foreign):
    """A WRN for small images."""

    def __init__(
        self, names, depth, width, classes=10, *, activation=functional.relu, pad=None, mean_std=()
    ):
        super().__init__(names)
        self.blocks, self.activation, self.pad = (depth - 4) // 6, activation, pad
        planes_in = 16
        self.put(names("stem"), nn.Conv2d(3, 16, 3, padding=1, bias=False))
        for g, base in ((1, 16), (2, 32), (3, 64)):
            planes = base * width
            for b in range(1, self.blocks + 1):
                stride = 2 if b == 1 and g > 1 else 1
                padding = 0 if pad and stride == 2 else 1
                first = nn.Conv2d(planes_in, planes, 3, stride, padding, bias=False)
                self.put(names("bn", g, b, 1), nn.BatchNorm2d(planes_in))
                self.put(names("conv", g, b, 1), first)
                self.put(names("bn", g, b, 2), nn.BatchNorm2d(planes))
                self.put(names("conv", g, b, 2), nn.Conv2d(planes, planes, 3, 1, 1, bias=False))
                if planes_in != planes:
                    shortcut = nn.Conv2d(planes_in, planes, 1, stride, bias=False)
                    self.put(names("proj", g, b), shortcut)
                planes_in = planes
        self.put(names("head"), nn.BatchNorm2d(planes_in))
        self.put(names("fc"), nn.Linear(planes_in, classes))
        self.constants = [name for name, _ in mean_std]
        for name, values in mean_std:
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1))

    def forward(self, x):
        if self.constants:
            mean, std = (getattr(self, name) for name in self.constants)
            x = (x - mean) / std
        x = self.at("stem")(x)
        for g in (1, 2, 3):
            for b in range(1, self.blocks + 1):
                first = self.activation(self.at("bn", g, b, 1)(x))
                padded = first
                if self.pad and b == 1 and g > 1:
                    before, after = self.pad
                    padded = functional.pad(first, (before, after, before, after))
                y = self.at("conv", g, b, 1)(padded)
                y = self.at("conv", g, b, 2)(self.activation(self.at("bn", g, b, 2)(y)))
                x = (self.at("proj", g, b)(first) if self.widens(g, b) else x) + y
        x = self.activation(self.at("head")(x))
        return self.at("fc")(x.mean((2, 3)))

    def widens(self, g, b):
        convolution = self.at("conv", g, b, 1)
        return convolution.in_channels != convolution.out_channels


class Bottlenecks(_Foreign):
    """wide_resnet50_2 and its deeper sister; post-activation, for ImageNet."""

    def __init__(self, names, blocks, classes):
        super().__init__(names)
        self.blocks = blocks
        self.put(names("stem"), nn.Conv2d(3, 64, 7, 2, 3, bias=False))
        self.put(names("stem_bn"), nn.BatchNorm2d(64))
        planes_in = 64
        for g, count in enumerate(blocks, start=1):
            thin, wide = 64 << g, 128 << g
            for b in range(1, count + 1):
                stride = 2 if b == 1 and g > 1 else 1
                sizes = ((planes_in, thin, 1, 1), (thin, thin, 3, stride), (thin, wide, 1, 1))
                for i, (inside, outside, size, step) in enumerate(sizes, start=1):
                    convolution = nn.Conv2d(inside, outside, size, step, size // 2, bias=False)
                    self.put(names("conv", g, b, i), convolution)
                    self.put(names("bn", g, b, i), nn.BatchNorm2d(outside))
                if b == 1:
                    self.put(names("proj", g, b), nn.Conv2d(planes_in, wide, 1, stride, bias=False))
                    self.put(names("proj_bn", g, b), nn.BatchNorm2d(wide))
                planes_in = wide
        self.put(names("fc"), nn.Linear(planes_in, classes))

    def forward(self, x):
        x = functional.relu(self.at("stem_bn")(self.at("stem")(x)))
        x = functional.max_pool2d(x, 3, 2, 1)
        for g, count in enumerate(self.blocks, start=1):
            for b in range(1, count + 1):
                y = x
                for i in (1, 2, 3):
                    y = self.at("bn", g, b, i)(self.at("conv", g, b, i)(y))
                    y = functional.relu(y) if i < 3 else y
                if b == 1:
                    x = self.at("proj_bn", g, b)(self.at("proj", g, b)(x))
                x = functional.relu(x + y)
        return self.at("fc")(x.mean((2, 3)))
