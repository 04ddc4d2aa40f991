"""What names of layers and tensors in a checkpoint say: whose they are, which, and in what order.

Torch writes "module.block1.layer.0.bn1.running_mean", Keras "conv2d_3/kernel:0", TensorFlow
"model/layer_with_weights-3/kernel/.ATTRIBUTES/VARIABLE_VALUE".
"""

import functools
import re
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from keras_wrn.errors import InputError

# What wraps a network leaves its own name in front of every other: DataParallel, Lightning and
# normalising wrappers, torch.compile.
WRAPPERS = ("module.", "model.", "_orig_mod.", "net.")
# Suffix of a tensor's name -> what Keras calls it, for batch normalisation and for the rest.
# Torch keeps planes out first, and calls that a weight; Keras keeps them last, in a kernel.
BATCH_NORM_TENSORS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
    "gamma": "gamma",
    "beta": "beta",
    "moving_mean": "moving_mean",
    "moving_variance": "moving_variance",
}
OTHER_TENSORS = {"weight": "kernel", "kernel": "kernel", "bias": "bias"}
SUFFIXES = {*BATCH_NORM_TENSORS, *OTHER_TENSORS}
TORCH_LAYOUT = "weight"  # the suffix whose tensors are to be transposed
_COUNT = r"\{([gbi]0?)\}"
Layers = Mapping[str, Mapping[str, np.ndarray]]  # layer -> suffix -> tensor


def sort_by_layer(
    tensors: Mapping[str, np.ndarray], source: object
) -> dict[str, dict[str, np.ndarray]]:
    """Sort tensors by their layers: names without wrappers, suffix -> tensor."""
    layers: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for key, tensor in tensors.items():
        layer, suffix = _split(key)
        if suffix == "num_batches_tracked":
            continue
        if suffix in layers[layer]:
            raise InputError(
                f"{source} has two tensors for {layer}, its name and {key} without what wraps it."
            )
        layers[layer][suffix] = tensor
    return {layer: found for layer, found in layers.items() if found}


def _split(key: str) -> tuple[str, str]:
    """Layer and suffix in a tensor's name, written as Torch, Keras or TensorFlow write it."""
    if "/" in key:
        # "model_weights/conv2d_1/conv2d_1/kernel:0", "model/.../kernel/.ATTRIBUTES/VARIABLE_VALUE"
        parts = key.partition("/.ATTRIBUTES")[0].split("/")
        return parts[-2], parts[-1].partition(":")[0]
    while wrapper := next((prefix for prefix in WRAPPERS if key.startswith(prefix)), None):
        key = key.removeprefix(wrapper)
    layer, _, suffix = key.rpartition(".")
    if layer and suffix in {*SUFFIXES, "num_batches_tracked"}:
        return layer, suffix
    # The authors' convolutions and anybody's constants have names of their own.
    return key, TORCH_LAYOUT


def number_layers(layers: Layers) -> dict[str, str]:
    """Name the layers of a network whose names only say in which order they were made.

    Keras calls them conv2d, conv2d_1, batch_normalization, batch_normalization_1, dense; a
    TensorFlow checkpoint calls them layer_with_weights-0, -1, ... In either, the 3x3 convolutions
    come in the order of the blocks, the 1x1 projections in the order of the groups.
    """
    kinds: dict[str, list[str]] = {"conv": [], "projection": [], "bn": [], "dense": []}
    for layer in sorted(layers, key=_ordinal):
        tensors = layers[layer]
        kernel = tensors.get("kernel")
        if "gamma" in tensors or "beta" in tensors:
            kinds["bn"].append(layer)
        elif kernel is not None and kernel.ndim == 4:
            kinds["projection" if kernel.shape[:2] == (1, 1) else "conv"].append(layer)
        elif kernel is not None:
            kinds["dense"].append(layer)
    blocks = max(1, -(-(len(kinds["conv"]) - 1) // 6))
    places = [
        f"group{g}_block{b}_{{}}{i}"
        for g in (1, 2, 3)
        for b in range(1, blocks + 1)
        for i in (1, 2)
    ]
    convs = ["stem_conv", *(place.format("conv") for place in places)]
    norms = [*(place.format("bn") for place in places), "head_bn"]
    # Without widening the first group has no projection.
    groups = (1, 2, 3)[max(0, 3 - len(kinds["projection"])) :]
    projections = [f"group{g}_block1_proj" for g in groups]
    pairs = (
        *zip(kinds["conv"], convs, strict=False),
        *zip(kinds["bn"], norms, strict=False),
        *zip(kinds["projection"], projections, strict=False),
        *zip(kinds["dense"], ["predictions"], strict=False),
    )
    return dict(pairs)


class Renamer:
    """A mapping of names with counts in them, such as {g}, as a function."""

    def __init__(self, names: Mapping[str, str | None]) -> None:
        self.rules = [(pattern_of(theirs), ours) for theirs, ours in names.items()]

    def __call__(self, layer: str) -> str | None:
        """The new name of a layer, or None where there is none."""
        for pattern, ours in self.rules:
            match = pattern.fullmatch(layer)
            if not match:
                continue
            if ours is None:
                return None
            renamed = fill(ours, match)
            if renamed is None:
                raise InputError(
                    "A name in a key map may use the counts {g}, {b} and {i} that the name "
                    f"that it replaces has. Received: {ours!r} for {layer!r}"
                )
            return renamed
        return None


@functools.lru_cache
def pattern_of(template: str) -> re.Pattern[str]:
    """A regular expression for "layer{g0}.block.{b0}.conv_{i0}"."""
    pieces = re.split(_COUNT, template)  # text, the name of a count, text, ...
    seen: set[str] = set()
    for at in range(0, len(pieces), 2):
        pieces[at] = re.escape(pieces[at])
    for at in range(1, len(pieces), 2):
        name = pieces[at]
        pieces[at] = f"(?P={name})" if name in seen else rf"(?P<{name}>\d+)"
        seen.add(name)
    return re.compile("".join(pieces))


def fill(template: str, match: re.Match[str]) -> str | None:
    """The template with the counts of a match; None where it asks for one that is not there."""
    counts: dict[str, int] = {}
    for name, digits in match.groupdict().items():
        from_one = int(digits) + name.endswith("0")
        counts |= {name[0]: from_one, name[0] + "0": from_one - 1}
    if any(name not in counts for name in re.findall(_COUNT, template)):
        return None
    return re.sub(_COUNT, lambda found: str(counts[found[1]]), template)


def _ordinal(layer: str) -> int:
    match = re.search(r"[-_](\d+)$", layer)
    return int(match[1]) if match else 0
