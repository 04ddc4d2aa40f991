"""Other people's checkpoints of wide residual networks, as Keras models.

`convert` reads a file, sees from its names who wrote it (dialects.py), reads depth, width and
classes off the shapes, builds that network with that dialect's conventions and fills it,
strictly: every tensor of the file has its place, and every place its tensor.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_wrn.applications import BUILDERS
from keras_wrn.checkpoints.dialects import (
    Dialect,
    KeyMap,
    Statistics,
)
from keras_wrn.checkpoints.translation import translate
from keras_wrn.errors import InputError
from keras_wrn.networks.recognition import Weights, count_parameters
from keras_wrn.system.files import write_whole

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
    found = translate(path, dialect, key_map=key_map)
    network, chosen, weights = found.network, found.dialect, dict(found.weights)
    arguments = dict(network.arguments)
    if network.builder == "WideResNet":
        arguments["conventions"] = options.pop("conventions", chosen.conventions)
    model = _build(network.builder, arguments, options, network.channels, found.statistics)
    if not options.get("include_top", True):
        weights.pop("predictions", None)
    _fill(model, weights, found.unknown, chosen, path)
    return Converted(model, chosen.name, network.builder, arguments, found.statistics)


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
    return BUILDERS[builder](**arguments, **options)


def _fill(
    model: keras.Model,
    weights: Weights,
    unknown: Sequence[str],
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
    unknown = [*unknown, *sorted(f"{layer} {name}" for layer, name in left)]
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


_MODEL, _WEIGHTS = ".keras", ".weights.h5"


@dataclasses.dataclass(frozen=True, eq=False)
class Converted:
    """A converted network, and how to build it again.

    Attributes:
        model: the network with the checkpoint's weights.
        dialect: whose names the checkpoint has.
        builder: the function of keras_wrn that builds the network.
        arguments: what that function was given.
        statistics: mean and std of images in [0, 1] where the model begins by normalising them,
            else None.
    """

    model: keras.Model
    dialect: str
    builder: str
    arguments: dict[str, Any]
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the model, or its weights, to a file that is there whole or not at all.

        Args:
            path: ends in .keras for the model, in .weights.h5 for the weights alone.

        Returns:
            What was written, for a person: the network, and what a weights file does not say.

        Raises:
            InputError: another ending.

        Example:
            >>> print(convert_checkpoint("wrn.pth").save("wrn.keras"))  # doctest: +SKIP
            wide_resnet28_10, 36,479,194 parameters named as by 'xternalz', is in wrn.keras.
        """
        target = check_target(path)
        whole = target.name.endswith(_MODEL)
        write_whole(target, self.model.save if whole else self.model.save_weights)
        count = count_parameters(self.model)
        told = (
            f"{self.model.name}, {count:,} parameters named as by {self.dialect!r}, is in {target}."
        )
        if whole:
            return told
        told += f"\nLoad it into {self._call()}"
        if self.statistics is not None:
            mean, std = (tuple(round(value, 6) for value in of) for of in self.statistics)
            told += f"\nIts images are (x - mean) / std of [0, 1] with mean {mean}, std {std};"
            told += f" a {_MODEL} file does that itself."
        return told

    def _call(self) -> str:
        """The Python that builds the network again."""
        arguments = dict(self.arguments)
        conventions = arguments.pop("conventions", None)
        given = [f"{name}={value!r}" for name, value in arguments.items()]
        of = dataclasses.fields(conventions) if conventions else ()
        ours = ((field.name, getattr(conventions, field.name), field.default) for field in of)
        if differences := [f"{name}={value!r}" for name, value, paper in ours if value != paper]:
            given.append(f"conventions=keras_wrn.Conventions({', '.join(differences)})")
        return f"keras_wrn.{self.builder}({', '.join(given)})"


def check_target(path: str | os.PathLike[str]) -> Path:
    """The path of a file to write a model to, if it says in which format.

    Args:
        path: a path.

    Returns:
        The path.

    Raises:
        InputError: it ends otherwise.
    """
    target = Path(path)
    if not target.name.endswith((_MODEL, _WEIGHTS)):
        raise InputError(f"The file to write must end in {_MODEL} or {_WEIGHTS}. Received: {path}")
    return target
