"""The peer: a Wide ResNet in PyTorch, written from the paper, with PyTorch's fastest options.

It uses nothing of keras_wrn. This file is not a program: the benchmarks import it.
"""

import gc
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """BN, ReLU, 3x3, BN, ReLU, 3x3; the projection takes the activated input."""

    def __init__(self, planes_in: int, planes: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(planes_in)
        self.conv1 = nn.Conv2d(planes_in, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.proj = None
        if planes_in != planes:
            self.proj = nn.Conv2d(planes_in, planes, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Feature maps to feature maps."""
        y = functional.relu(self.bn1(x), inplace=True)
        shortcut = x if self.proj is None else self.proj(y)
        return shortcut + self.conv2(functional.relu(self.bn2(self.conv1(y)), inplace=True))


class WideResNet(nn.Module):
    """WRN-n-k for 32x32 images."""

    def __init__(self, depth: int, width: int, classes: int = 10) -> None:
        super().__init__()
        planes = 16
        self.stem = nn.Conv2d(3, planes, 3, 1, 1, bias=False)
        blocks = []
        for group, base in enumerate((16, 32, 64)):
            for number in range((depth - 4) // 6):
                stride = 2 if group and not number else 1
                blocks.append(Block(planes, base * width, stride))
                planes = base * width
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(planes)
        self.fc = nn.Linear(planes, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (n, 3, 32, 32) to logits (n, classes)."""
        x = functional.relu(self.bn(self.blocks(self.stem(x))), inplace=True)
        return self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))


def training_run(
    depth: int,
    width: int,
    batch: int,
    steps: int,
    *,
    bfloat16: bool,
    channels_last: bool,
    device: str = "cpu",
    compiled: bool = False,
    mode: str = "default",
) -> Callable[[], object]:
    """A function that makes `steps` training steps on one batch, which stays on the device."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = WideResNet(depth, width).to(device, memory_format=layout).train()
    images = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=layout)
    labels = torch.randint(10, (batch,), device=device)
    network = model
    if compiled:
        # See `inference_run`.
        network = torch.compile(model, mode=mode, dynamic=False, fullgraph=True)
    optimizer = torch.optim.SGD(
        model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
    )

    def run() -> None:
        for _ in range(steps):
            with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
                loss = functional.cross_entropy(network(images).float(), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss.item()  # waits for the device

    return run


def matrix_run(
    side: int, repeats: int, *, bfloat16: bool, device: str = "cpu"
) -> Callable[[], object]:
    """A function that multiplies two square matrices `repeats` times."""
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    matrix = torch.randn(side, side, device=device).to(dtype)

    def run() -> None:
        with torch.inference_mode():
            for _ in range(repeats):
                product = matrix @ matrix
            product[0, 0].item()  # waits for the device

    return run


def forget() -> None:
    """Drop compiled networks; else one of other shapes is compiled for dynamic shapes."""
    torch.compiler.reset()
    gc.collect()
    torch.cuda.empty_cache()


def inference_run(
    depth: int,
    width: int,
    batch: int,
    *,
    bfloat16: bool,
    channels_last: bool,
    compiled: bool = False,
    autocast: bool = False,
) -> Callable[[], object]:
    """A function that predicts one batch.

    In bfloat16, the weights are cast once; with `autocast`, float32 weights are cast at each call.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    dtype = torch.bfloat16 if bfloat16 and not autocast else torch.float32
    model = WideResNet(depth, width).to(dtype=dtype, memory_format=layout).eval()
    images = torch.randn(batch, 3, 32, 32).to(dtype=dtype, memory_format=layout)
    network = model
    if compiled:
        # Without dynamic=False, another batch size is compiled for dynamic shapes. Without
        # fullgraph, PyTorch silently runs eagerly after it has compiled the class eight times.
        network = torch.compile(model, dynamic=False, fullgraph=True, options={"freezing": True})

    def run() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            functional.softmax(network(images).float(), dim=1)

    return run
