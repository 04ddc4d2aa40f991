"""Other people's checkpoints of wide residual networks, as Keras models.

`convert` reads a file, sees from its names who wrote it (dialects.py), reads depth, width and
classes off the shapes, builds that network with that dialect's conventions and fills it,
strictly: every tensor of the file has its place, and every place its tensor.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_wrn
from keras_wrn.checkpoint_files import read_checkpoint
from keras_wrn.converted import Converted
from keras_wrn.dialects import (
    DIALECTS,
    Dialect,
    KeyMap,
    Statistics,
    dialect_called,
    key_map_dialect,
)
from keras_wrn.errors import InputError
from keras_wrn.layer_names import (
    BATCH_NORM_TENSORS,
    OTHER_TENSORS,
    TORCH_LAYOUT,
    sort_by_layer,
)
from keras_wrn.network_shapes import Network, Weights, read_network

_FROM_TORCH = {4: (2, 3, 1, 0), 2: (1, 0)}  # dimensions -> where Keras has each axis
_READ_OFF = ("depth", "width", "block", "blocks_per_group", "classes", "weights")


def convert(
    path: str | os.PathLike[str],
    dialect: str | None = None,
    *,
    key_map: KeyMap | str | os.PathLike[str] | None = None,
    **options: Any,
) -> keras.Model:
    """Build the network of a checkpoint of another implementation, with its weights.

    A network that normalises its images itself (DeepMind's robust networks; RobustBench's with
    `mu` and `sigma`) is converted with a stock Normalization layer in front, so that it takes
    images in [0, 1] as the original does. Where a file of DeepMind's leaves out the constants,
    they are CIFAR-10's or CIFAR-100's, by the number of classes. Every other network takes what
    its owner fed it.

    Args:
        path: a PyTorch .pt or .pth file, .safetensors, .npz or .h5, or "hf://owner/repo/file"
            ("hf://owner/repo@revision/file"). Pickles are read without running them.
        dialect: "authors", "xternalz" (also TRADES and RobustBench), "deepmind" (SiLU),
            "deepmind_relu", "torchvision" (also timm) or "uncertainty_baselines"; None to see
            it from the names of the tensors, which cannot tell "deepmind_relu".
        key_map: for any other: name of a layer in the checkpoint -> name of a layer of
            `WideResNet`, None for a layer to leave out, as a dictionary, a function or the path
            of a JSON file. {g}, {b}, {i} in a dictionary count groups, blocks and layers from
            1, {g0}, {b0}, {i0} from 0.
        **options: as of `WideResNet`, or of `WideResNet50_2`, except what the checkpoint says
            itself (depth, width, block, classes). `conventions` replaces the dialect's.
            `classifier_activation=None` gives the logits that most originals end in.

    Returns:
        A functional model of stock Keras layers.

    Raises:
        InputError: the file cannot be read, no dialect names its tensors so, or tensors are
            missing, unknown or of another shape; the message lists them.

    Example:
        >>> model = convert("Carmon2019Unlabeled.pt")  # doctest: +SKIP
        >>> model.name  # doctest: +SKIP
        'wide_resnet28_10'
        >>> names = {
        ...     "conv1": "stem_conv",
        ...     "block{g}.nblockLayer.{b0}.batch_norm{i}": "group{g}_block{b}_bn{i}",
        ...     "block{g}.nblockLayer.{b0}.conv{i}": "group{g}_block{b}_conv{i}",
        ...     "block{g}.nblockLayer.{b0}.conv_inp": "group{g}_block{b}_proj",
        ...     "batch_norm": "head_bn",
        ...     "fc": "predictions",
        ... }
        >>> model = convert("attention_transfer.pth", key_map=names)  # doctest: +SKIP
    """
    return convert_checkpoint(path, dialect, key_map=key_map, **options).model


def convert_checkpoint(
    path: str | os.PathLike[str],
    dialect: str | None = None,
    *,
    key_map: KeyMap | str | os.PathLike[str] | None = None,
    **options: Any,
) -> Converted:
    """Do what `convert` does, and tell what was found. Arguments and errors are the same."""
    if given := [name for name in _READ_OFF if name in options]:
        raise InputError(
            f"The checkpoint itself says what the network is. Received also: {', '.join(given)}"
        )
    chosen = dialect_called(dialect) if dialect is not None else None
    if isinstance(key_map, str | os.PathLike):
        key_map = _read_key_map(Path(key_map))
    layers = sort_by_layer(read_checkpoint(path), path)
    if key_map is not None:
        chosen = key_map_dialect(key_map, chosen)
    chosen = chosen or _recognise(layers, path)

    theirs = chosen.translate(layers)
    weights, unknown = _weights(layers, theirs, chosen)
    network = read_network(weights, str(path))
    statistics = _statistics(layers, chosen, network)
    arguments = dict(network.arguments)
    if network.builder == "WideResNet":
        arguments["conventions"] = options.pop("conventions", chosen.conventions)
    model = _build(network.builder, arguments, options, network.channels, statistics)
    if not options.get("include_top", True):
        weights.pop("predictions", None)
    _fill(model, weights, unknown, chosen, path)
    return Converted(model, chosen.name, network.builder, arguments, statistics)


def _read_key_map(path: Path) -> KeyMap:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"`key_map` must be a JSON file that exists. Received: {path}") from error
    except ValueError as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error


def _recognise(layers: dict[str, dict[str, np.ndarray]], path: object) -> Dialect:
    """The dialect that knows the most of these names; the first one of equals."""
    known = {dialect: len(dialect.translate(layers)) for dialect in DIALECTS}
    best = max(DIALECTS, key=lambda dialect: known[dialect])
    if 2 * known[best] >= len(layers):
        return best
    raise InputError(
        f"{path} has names that no dialect uses: {', '.join(sorted(layers)[:6])} ... "
        f"Known: {', '.join(dialect.name for dialect in DIALECTS)}. Say with `key_map` which "
        "layer is which."
    )


def _weights(
    layers: dict[str, dict[str, np.ndarray]], theirs: dict[str, str], dialect: Dialect
) -> tuple[Weights, list[str]]:
    """Tensors by our names and in Keras' layout, and the names that have no place."""
    weights: Weights = {}
    unknown = []
    for layer in set(layers) - set(theirs.values()):
        if not dialect.ignores(layer):
            unknown += [f"{layer}.{suffix}" for suffix in layers[layer]]
    for ours, layer in theirs.items():
        is_batch_norm = "bn" in ours.rpartition("_")[2]
        names = BATCH_NORM_TENSORS if is_batch_norm else OTHER_TENSORS
        weights[ours] = {}
        for suffix, tensor in layers[layer].items():
            if suffix not in names or names[suffix] in weights[ours]:
                unknown.append(f"{layer}.{suffix}")
                continue
            axes = _FROM_TORCH.get(tensor.ndim) if suffix == TORCH_LAYOUT else None
            weights[ours][names[suffix]] = tensor.transpose(axes) if axes else tensor
    return weights, sorted(unknown)


def _statistics(
    layers: dict[str, dict[str, np.ndarray]], dialect: Dialect, network: Network
) -> Statistics | None:
    """Mean and std that the network normalises its images with."""
    names, classes, channels = dialect.statistics or (), network.classes, network.channels
    found = [layers[name] for name in names if name in layers]
    if len(found) == 2:
        mean, std = (tuple(map(float, of[TORCH_LAYOUT].ravel())) for of in found)
        if not len(mean) == len(std) == channels:
            raise InputError(
                f"{' and '.join(names)} must be one for each of {channels} channels. "
                f"Received: {len(mean)} and {len(std)}"
            )
        return mean, std
    if classes is not None and classes in dialect.default_statistics:
        return dialect.default_statistics[classes]
    if found or dialect.default_statistics:
        raise InputError(
            f"A network of the dialect {dialect.name!r} normalises its images, and the checkpoint "
            f"lacks the constants: {', '.join(name for name in names if name not in layers)}."
        )
    return None


def _build(
    builder: str,
    arguments: dict[str, Any],
    options: dict[str, Any],
    channels: int,
    statistics: Statistics | None,
) -> keras.Model:
    """The network that the checkpoint is of, with fresh weights."""
    options = dict(options)
    if options.get("input_shape") is None and options.get("input_tensor") is None:
        size = 32 if builder == "WideResNet" else 224
        side = size if options.get("include_top", True) else None
        options["input_shape"] = (side, side, channels)
    if statistics is not None:
        shape, images = options.pop("input_shape", None), options.get("input_tensor")
        mean, std = statistics
        normalise = keras.layers.Normalization(
            axis=-1, mean=mean, variance=[value**2 for value in std], name="normalization"
        )
        options["input_tensor"] = normalise(keras.Input(shape) if images is None else images)
    return getattr(keras_wrn, builder)(**arguments, **options)


def _fill(
    model: keras.Model,
    weights: Weights,
    unknown: list[str],
    dialect: Dialect,
    path: str | os.PathLike[str],
) -> None:
    """Copy the weights, if every one of the model's is there and none is left over."""
    places = {layer.name: layer for layer in model.layers if layer.weights}
    missing, misshapen = [], []
    left = {(layer, name) for layer, tensors in weights.items() for name in tensors}
    for layer in places.values():
        their_name = dialect.their_name(layer.name)
        for variable in layer.weights:
            left.discard((layer.name, variable.name))
            place = f"{layer.name} {variable.name}" + (f" ({their_name})" if their_name else "")
            tensor = weights.get(layer.name, {}).get(variable.name)
            if tensor is None:
                missing.append(place)
            elif tensor.shape != tuple(variable.shape):
                misshapen.append(f"{place} {tensor.shape}, expected {tuple(variable.shape)}")
    unknown = unknown + sorted(f"{layer} {name}" for layer, name in left)
    found = (("missing", missing), ("unknown", unknown), ("of another shape", misshapen))
    if any(names for _, names in found):
        raise InputError(
            f"{path} does not hold exactly the tensors of {model.name} as {dialect.name!r} names "
            "them, and nothing was converted."
            + "".join(f"\n{title}: {', '.join(names)}" for title, names in found if names)
        )
    for layer in places.values():
        for variable in layer.weights:
            values = weights[layer.name][variable.name]
            variable.assign(np.ascontiguousarray(values, "float32"))
