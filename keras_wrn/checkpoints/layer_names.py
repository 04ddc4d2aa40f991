"""Parse tensor names: layer, variable, order.

Torch writes "module.block1.layer.0.bn1.running_mean", Keras "conv2d_3/kernel:0", TensorFlow
"model/layer_with_weights-3/kernel/.ATTRIBUTES/VARIABLE_VALUE".
"""

import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from keras_wrn.errors import InputError

# Wrappers put their name in front of every other: DataParallel, averaged models, Lightning,
# torch.compile; nn.Sequential puts a number, where a layer that normalises comes first.
_WRAPPER = re.compile(
    r"(module|model|_orig_mod|net|network|backbone|encoder|online_model|\d+(?=\.[^.]+\.))\."
)
_NAMED_WRAPPERS = r"^((module|model|_orig_mod)\.)+"
# Constants of a network or layer that normalises images: mean and std.
STATISTICS = (("mean", "std"), ("mu", "sigma"), ("means", "stds"), ("means", "sds"))
_CONSTANT = "|".join(sorted({name for pair in STATISTICS for name in pair}))
_NORMALISER = re.compile(rf"(?i)(\d+|\w*norm\w*|\w*preproc\w*|transform\w*)\.({_CONSTANT})")
# Counters that wrappers and batch normalisations keep; no network computes with them.
_COUNTERS = {
    *("num_batches_tracked", "n_averaged", "num_updates", "initted", "step", "decay"),
    "save_counter",
}
# Suffix of a tensor's name -> Keras' variable, in batch normalisation and in other layers.
# Torch's "weight" has the output planes first, Keras' "kernel" has them last.
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
TORCH_LAYOUT = "weight"  # the suffix of tensors that need transposing
_COUNT = r"\{([gbi]0?)\}"
Layers = Mapping[str, Mapping[str, np.ndarray]]  # layer -> suffix -> tensor


def sort_by_layer(
    tensors: Mapping[str, np.ndarray], source: object
) -> dict[str, dict[str, np.ndarray]]:
    """Sort tensors by layer.

    Args:
        tensors: name -> tensor.
        source: the file, for messages.

    Returns:
        Layer, without wrappers -> suffix -> tensor. Constants that normalise images are layers
        called "mean" and "std" or as in `STATISTICS`.

    Raises:
        InputError: two tensors have one name without wrappers.
    """
    layers: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for key, tensor in tensors.items():
        name = key.partition("/.ATTRIBUTES")[0]  # a TensorFlow checkpoint's
        if tensor.size == 1 and re.split(r"[./]", name)[-1] in _COUNTERS:
            continue
        layer, suffix = _split(name)
        if suffix in layers[layer]:
            raise InputError(
                f"{source} has two tensors for {layer}: one of that name, and {key} in a wrapper."
            )
        layers[layer][suffix] = tensor
    return {layer: found for layer, found in layers.items() if found}


def follows_hidden_layer(names: Iterable[str]) -> bool:
    """Whether nn.Sequential has a layer without tensors before the network: "1." but no "0."."""
    left = [re.sub(_NAMED_WRAPPERS, "", name) for name in names if name.count(".") > 1]
    first = {name.partition(".")[0] for name in left}
    if not first or not all(name.isdigit() for name in first):
        return False
    if first == {"0"}:  # a Sequential in a Sequential
        return follows_hidden_layer(name.partition(".")[2] for name in left)
    return "0" not in first


def without_first_name(layers: Layers) -> Layers:
    """Remove what all names begin with: "wrn." of the attribute that held the network."""
    constants = {name for pair in STATISTICS for name in pair}
    named = [layer for layer in layers if layer not in constants]
    if len({layer.partition(".")[0] for layer in named}) != 1 or not all("." in n for n in named):
        return layers
    return without_first_name(
        {layer.partition(".")[2] if layer in named else layer: layers[layer] for layer in layers}
    )


def _split(key: str) -> tuple[str, str]:
    """Split the name that Torch, Keras or TensorFlow gave a tensor into layer and suffix."""
    if "/" in key:
        # "model_weights/conv2d_1/conv2d_1/kernel:0", "model/.../kernel/.ATTRIBUTES/VARIABLE_VALUE"
        parts = key.split("/")
        return parts[-2], parts[-1].partition(":")[0]
    while not (constant := _NORMALISER.fullmatch(key)) and (wrapper := _WRAPPER.match(key)):
        key = key[wrapper.end() :]
    if constant:
        return constant[2].lower(), TORCH_LAYOUT
    layer, _, suffix = key.rpartition(".")
    if layer and suffix in SUFFIXES:
        return layer, suffix
    # The authors' convolutions and normalising constants have no suffix.
    return key, TORCH_LAYOUT


def number_layers(layers: Layers) -> dict[str, str]:
    """Name layers whose names only count: conv2d, conv2d_1, batch_normalization, dense, ...

    A TensorFlow checkpoint calls them layer_with_weights-0, -1, ... In both, the 3x3 convolutions
    come in the order of the blocks, and the 1x1 projections in the order of the groups.

    Args:
        layers: layer -> suffix -> tensor.

    Returns:
        Their layer -> our layer.
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
    # With width 1 the first group has no projection.
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
    """Translate names by rules with counts in them, such as {g}."""

    def __init__(self, names: Mapping[str, str | None]) -> None:
        self.rules = [(pattern_of(theirs), ours) for theirs, ours in names.items()]

    def __call__(self, layer: str) -> str | None:
        """The new name of a layer, or None if no rule gives one."""
        for pattern, ours in self.rules:
            if match := pattern.fullmatch(layer):
                renamed = None if ours is None else fill(ours, match)
                if ours is not None and renamed is None:
                    raise InputError(
                        "A new name in a key map may use only the counts {g}, {b} and {i} of the "
                        f"old name. Received: {ours!r} for {layer!r}"
                    )
                return renamed
        return None


@functools.lru_cache
def pattern_of(template: str) -> re.Pattern[str]:
    """Make a regular expression of "layer{g0}.block.{b0}.conv_{i0}"."""
    text, *rest = re.split(_COUNT, template)  # text, the name of a count, text, ...
    pattern, seen = re.escape(text), set()
    for name, text in zip(rest[::2], rest[1::2], strict=True):
        # A count that comes again must have the same value.
        pattern += f"(?P={name})" if name in seen else rf"(?P<{name}>\d+)"
        pattern += re.escape(text)
        seen.add(name)
    return re.compile(pattern)


def fill(template: str, match: re.Match[str]) -> str | None:
    """Put the counts of a match into a template; None if the match lacks one of them."""
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
