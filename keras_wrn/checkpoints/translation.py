"""Translate a checkpoint's tensors into our layer names and Keras' layout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_wrn.checkpoints.dialects import (
    DIALECTS,
    Dialect,
    KeyMap,
    Statistics,
    dialect_called,
    key_map_dialect,
)
from keras_wrn.checkpoints.files import read_checkpoint
from keras_wrn.checkpoints.layer_names import (
    BATCH_NORM_TENSORS,
    OTHER_TENSORS,
    TORCH_LAYOUT,
    sort_by_layer,
)
from keras_wrn.errors import InputError
from keras_wrn.networks.recognition import Recognised, Weights, read_network
from keras_wrn.system.files import read_json

_FROM_TORCH = {4: (2, 3, 1, 0), 2: (1, 0)}  # dimensions -> Torch's axes in Keras' order


@dataclass(frozen=True)
class Translation:
    """A checkpoint in our names.

    Attributes:
        network: the network to build.
        dialect: the checkpoint's.
        weights: our layer -> variable -> array, in Keras' layout.
        unknown: names of tensors without a place in the network.
        statistics: mean and std of images in [0, 1], if the network normalises its images.
    """

    network: Recognised
    dialect: Dialect
    weights: Weights
    unknown: list[str]
    statistics: Statistics | None


def translate(
    path: str | os.PathLike[str],
    dialect: str | None = None,
    *,
    key_map: KeyMap | str | os.PathLike[str] | None = None,
) -> Translation:
    """Read a checkpoint and translate its names.

    Args:
        path: the checkpoint, as for `convert`.
        dialect: its dialect, or None to recognise it.
        key_map: names in place of a dialect's, as for `convert`.

    Returns:
        The network and its weights.

    Raises:
        InputError: the file cannot be read, or no dialect has its names.
    """
    chosen = dialect_called(dialect) if dialect is not None else None
    if isinstance(key_map, str | os.PathLike):
        key_map = _read_key_map(Path(key_map))
    layers = sort_by_layer(read_checkpoint(path), path)
    if key_map is not None:
        chosen = key_map_dialect(key_map, chosen)
    chosen = chosen or _recognise(layers, path)
    weights, unknown = _translate_weights(layers, chosen.translate(layers), chosen)
    network = read_network(weights, str(path))
    return Translation(network, chosen, weights, unknown, _read_statistics(layers, chosen, network))


def _read_key_map(path: Path) -> KeyMap:
    if not path.is_file():
        raise InputError(f"`key_map` must be a JSON file that exists. Received: {path}")
    return read_json(path)


def _recognise(layers: dict[str, dict[str, np.ndarray]], path: object) -> Dialect:
    """Find the dialect that knows the most of these names; of equals, the first."""
    known = {dialect: len(dialect.translate(layers)) for dialect in DIALECTS}
    best = max(DIALECTS, key=lambda dialect: known[dialect])
    if 2 * known[best] >= len(layers):
        return best
    raise InputError(
        f"{path} has names that no dialect uses: {', '.join(sorted(layers)[:6])} ... "
        f"Known: {', '.join(dialect.name for dialect in DIALECTS)}. Name the layers with "
        "`key_map`."
    )


def _translate_weights(
    layers: dict[str, dict[str, np.ndarray]], theirs: dict[str, str], dialect: Dialect
) -> tuple[Weights, list[str]]:
    """Translate tensors into our names and Keras' layout; list those without a place."""
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


def _read_statistics(
    layers: dict[str, dict[str, np.ndarray]], dialect: Dialect, network: Recognised
) -> Statistics | None:
    """Find the mean and std with which the network normalises its images."""
    names, classes, channels = dialect.statistics or (), network.classes, network.channels
    found = [layers[name] for name in names if name in layers]
    if len(found) == 2:
        mean, std = (tuple(map(float, layer[TORCH_LAYOUT].ravel())) for layer in found)
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
