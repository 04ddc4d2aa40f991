"""Feature maps of a Wide ResNet by name, as one model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras

from keras_wrn.errors import InputError
from keras_wrn.insight.graph import input_like, leaf_layers, walk

_POOLED = "pooled"


def features(model: keras.Model, names: Sequence[str]) -> keras.Model:
    """Make a model that returns feature maps of several scales.

    Args:
        model: a network of keras_wrn, with or without classifier, possibly inside another model
            (behind its preprocessing).
        names: "stem", "group1", "group2", ... for what the stem and the groups of blocks return;
            "head" for the last batch normalisation and ReLU (ImageNet's form has none: its last
            group); "pooled" for the mean over the pixels of the head, (batch, planes); or the
            name of any layer.

    Returns:
        A model of the same layers and weights: images as `model` takes them to a dictionary of
        (batch, rows, columns, planes), by these names. Train it, export it or save it as any
        other.

    Raises:
        InputError: there is no such feature; the sentence lists those there are.

    Example:
        >>> model = features(keras_wrn.WideResNet(10, 1), ["group2", "group3", "pooled"])
        >>> maps = model(np.zeros((1, 32, 32, 3), "float32"))
        >>> {name: tuple(map.shape) for name, map in maps.items()}
        {'group2': (1, 16, 16, 32), 'group3': (1, 8, 8, 64), 'pooled': (1, 64)}
    """
    if isinstance(names, str) or not names:
        raise InputError(f"`names` must be a list of names of features. Received: {names!r}.")
    found = [layer.name for layer in leaf_layers(model)]
    layers = {name: _layer_name(name, found) for name in names}
    seen: dict[str, Any] = {}

    def keep(layer: Any, *args: Any, **kwargs: Any) -> Any:
        seen[layer.name] = layer(*args, **kwargs)
        return seen[layer.name]

    images = input_like(model)
    walk(model, [images], keep)
    outputs = {name: seen[layer] for name, layer in layers.items()}
    if _POOLED in outputs and len(outputs[_POOLED].shape) == 4:
        pool = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name=_POOLED)
        outputs[_POOLED] = pool(outputs[_POOLED])
    return keras.Model(images, outputs, name=f"{model.name}_features")


def _layer_name(name: str, found: Sequence[str]) -> str:
    """The layer that gives a feature."""
    groups: dict[str, str] = {}
    for layer in found:
        match = re.fullmatch(r"(group\d+)_block\d+_(add|relu\d+)", layer)
        # An ImageNet block ends in a ReLU behind its addition.
        if match and (match[2] == "add" or groups.get(match[1], "").startswith(_block(layer))):
            groups[match[1]] = layer
    last = max(groups, default="")
    table = {**groups}
    if "stem_conv" in found:
        table["stem"] = "stem_pool" if "stem_pool" in found else "stem_conv"
    if groups:
        table["head"] = "head_relu" if "head_relu" in found else groups[last]
        table[_POOLED] = "avg_pool" if "avg_pool" in found else table["head"]
    if name in table:
        return table[name]
    if name in found:
        return name
    raise InputError(
        f"`names` must be of {', '.join(sorted(table)) or 'the layers'}, or names of layers. "
        f"Received: {name!r}."
    )


def _block(layer: str) -> str:
    """The block of a layer, with its separator."""
    return layer.rpartition("_")[0] + "_"
