"""Feature maps of a Wide ResNet by name, as one model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras

from keras_wrn.errors import InputError
from keras_wrn.insight.graph import check_unique, input_like, leaf_layers, walk

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
    table = _layers_of_features(found)
    layers = {name: table.get(name, name) for name in names}
    for name, layer in layers.items():
        if layer not in found:
            raise InputError(
                f"`names` must be of {', '.join(sorted(table)) or 'the layers'}, or names of "
                f"layers. Received: {name!r}."
            )
        check_unique(model, layer)
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


def _layers_of_features(found: Sequence[str]) -> dict[str, str]:
    """The layer behind each feature that the layers of a model give."""
    table: dict[str, str] = {}
    for layer in found:
        match = re.fullmatch(r"((group\d+)_block\d+_)(add|relu\d+)", layer)
        # An ImageNet block ends in a ReLU behind its addition.
        if match and (match[3] == "add" or table.get(match[2], "").startswith(match[1])):
            table[match[2]] = layer
    last = max(table, default="")
    if last:
        table["head"] = "head_relu" if "head_relu" in found else table[last]
        table[_POOLED] = "avg_pool" if "avg_pool" in found else table["head"]
    if "stem_conv" in found:
        table["stem"] = "stem_pool" if "stem_pool" in found else "stem_conv"
    return table
