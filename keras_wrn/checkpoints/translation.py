"""Translate a checkpoint's tensors into our layer names and Keras' layout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from keras_wrn.checkpoints.dialects import (
    DIALECTS,
    Dialect,
    KeyMap,
    Statistics,
    dialect_called,
    key_map_dialect,
)
from keras_wrn.checkpoints.files import read_network_of
from keras_wrn.checkpoints.layer_names import (
    BATCH_NORM_TENSORS,
    OTHER_TENSORS,
    STATISTICS,
    TORCH_LAYOUT,
    Layers,
    follows_hidden_layer,
    sort_by_layer,
    without_first_name,
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
        statistics: mean and std of images, if the network normalises its images.
        notes: sentences about what the file leaves open.
    """

    network: Recognised
    dialect: Dialect
    weights: Weights
    unknown: list[str]
    statistics: Statistics | None
    notes: tuple[str, ...] = ()


def translate(
    path: str | os.PathLike[str],
    dialect: str | None = None,
    *,
    key_map: KeyMap | str | os.PathLike[str] | None = None,
    which: str | None = None,
) -> Translation:
    """Read a checkpoint and translate its names.

    Args:
        path: the checkpoint, as for `convert`.
        dialect: its dialect, or None to recognise it.
        key_map: names in place of a dialect's, as for `convert`.
        which: the key of one network of several in the file.

    Returns:
        The network and its weights.

    Raises:
        InputError: the file cannot be read, or no dialect has its names.
    """
    chosen = dialect_called(dialect) if dialect is not None else None
    if isinstance(key_map, str | os.PathLike):
        key_map = _read_key_map(Path(key_map))
    choice = read_network_of(path, which)
    layers: Layers = sort_by_layer(choice.tensors, path)
    if key_map is not None:
        chosen = key_map_dialect(key_map, chosen)
    else:
        layers = without_first_name(layers)
        if chosen is not None:
            _check_dialect(chosen, layers, path)
    notes = [choice.described()]
    if chosen is None:
        chosen = _recognise(layers, path)
        same = [other.name for other in DIALECTS if other.names == chosen.names]
        if len(same) > 1:
            others = ", ".join(repr(name) for name in same if name != chosen.name)
            notes.append(
                f"Read as {chosen.name!r}. Other networks have the same names: {others}; "
                "dialect= (--dialect) takes one of them."
            )
    constants = _find_constants(layers, chosen)
    weights, unknown = _translate_weights(
        {name: layer for name, layer in layers.items() if name not in constants},
        chosen.translate(layers),
        chosen,
    )
    network = read_network(weights, str(path))
    statistics = _read_statistics(layers, constants, chosen, network)
    if statistics is None and follows_hidden_layer(choice.tensors):
        notes.append(
            "The names begin with a number above 0: a layer without stored values came before the "
            "network, such as one that normalises images. It is not in the file."
        )
    return Translation(network, chosen, weights, unknown, statistics, tuple(filter(None, notes)))


def _read_key_map(path: Path) -> KeyMap:
    if not path.is_file():
        raise InputError(f"`key_map` must be a JSON file that exists. Received: {path}")
    return read_json(path)


def _recognise(layers: Layers, path: object) -> Dialect:
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


def _check_dialect(dialect: Dialect, layers: Layers, path: object) -> None:
    """Raise InputError if a dialect that the caller named has other names than the file."""
    known = len(dialect.translate(layers))
    if 2 * known >= len(layers):
        return
    best = max(DIALECTS, key=lambda other: len(other.translate(layers)))
    found = f"{', '.join(sorted(layers)[:6])} ..."
    if (others := len(best.translate(layers))) > known:
        found += f" They are those of {best.name!r}, which knows {others}."
    raise InputError(
        f"{path} has other names than {dialect.name!r}, which knows {known} of its {len(layers)} "
        f"layers. Found: {found} Leave `dialect` (--dialect) out to recognise the names."
    )


def _translate_weights(
    layers: Layers, theirs: dict[str, str], dialect: Dialect
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


def _find_constants(layers: Layers, dialect: Dialect) -> tuple[str, ...]:
    """Find the names of mean and std; a wrapper of any dialect may have brought them."""
    left_out = () if callable(dialect.names) else dialect.names
    pairs = (dialect.statistics or (), *STATISTICS)
    complete = [pair for pair in pairs if all(n in layers and n not in left_out for n in pair)]
    return next(filter(None, complete), ())


def _read_statistics(
    layers: Layers, constants: tuple[str, ...], dialect: Dialect, network: Recognised
) -> Statistics | None:
    """Read the mean and std with which the network normalises its images."""
    classes, channels = network.classes, network.channels
    if constants:
        mean, std = (tuple(map(float, layers[name][TORCH_LAYOUT].ravel())) for name in constants)
        if not len(mean) == len(std) == channels:
            raise InputError(
                f"Mean and std must be one for each of {channels} channels. "
                f"Received: {len(mean)} and {len(std)}"
            )
        if min(std) <= 0:
            raise InputError(f"The std of images must be above 0. Received: {std}")
        return mean, std
    if classes is not None and classes in dialect.default_statistics:
        return dialect.default_statistics[classes]
    if dialect.default_statistics or any(name in layers for name in dialect.statistics or ()):
        raise InputError(
            f"A network of the dialect {dialect.name!r} normalises its images, and the checkpoint "
            f"lacks the constants: {' and '.join(dialect.statistics or ())}."
        )
    return None
