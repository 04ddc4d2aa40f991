"""Convert other people's checkpoints of wide residual networks into Keras models.

`convert` reads a file, recognises its dialect by the tensors' names (`checkpoints.dialects`) and
its depth, width and classes by their shapes. It builds that network with the conventions of the
dialect, and copies the weights strictly: no tensor is left over, and none is missing.
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
from keras_wrn.checkpoints.dialects import Dialect, KeyMap, Statistics
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
    """Build the network of another implementation's checkpoint, with its weights.

    Some networks normalise their images themselves: DeepMind's robust networks, and RobustBench's
    with `mu` and `sigma`. They get a stock Normalization layer in front, and take images in
    [0, 1] as the originals do. If a file of DeepMind's lacks the constants, they are CIFAR-10's or
    CIFAR-100's, by the number of classes. Other networks take the images that their owner used.

    Args:
        path: a PyTorch .pt or .pth file, .safetensors, .npz or .h5, or "hf://owner/repo/file"
            ("hf://owner/repo@revision/file"). A pickle can run no code.
        dialect: "authors", "xternalz" (also TRADES and RobustBench), "deepmind" (SiLU),
            "deepmind_relu", "torchvision" (also timm) or "uncertainty_baselines". None:
            recognise it by the names of the tensors, which cannot tell "deepmind_relu".
        key_map: for other dialects: name of a layer in the checkpoint -> name of a layer of
            `WideResNet`, or None to leave a layer out. A dictionary, a function or the path of a
            JSON file. {g}, {b}, {i} in a dictionary count groups, blocks and layers from 1,
            {g0}, {b0}, {i0} from 0.
        **options: of `WideResNet` or `WideResNet50_2`, except those that the checkpoint gives
            (depth, width, block, classes). `conventions` replaces the dialect's.
            `classifier_activation=None` gives logits, as most originals do.

    Returns:
        A functional model of stock Keras layers.

    Raises:
        InputError: the file cannot be read, no dialect has its names, or tensors are missing,
            unknown or of another shape; the message lists them.

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
    """Convert as `convert` does, and return what was found. Arguments and errors are the same."""
    if given := [name for name in _READ_OFF if name in options]:
        raise InputError(
            f"The checkpoint gives the network and its weights. Received also: {', '.join(given)}"
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
    """Build the checkpoint's network with fresh weights."""
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
    """Copy the weights; raise an InputError before that if any is missing or left over."""
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
    """A converted network.

    Attributes:
        model: the network with the checkpoint's weights.
        dialect: whose names the checkpoint has.
        builder: the function of keras_wrn that builds the network.
        arguments: of that function.
        statistics: mean and std of images in [0, 1] if the model normalises them, else None.
    """

    model: keras.Model
    dialect: str
    builder: str
    arguments: dict[str, Any]
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the model or its weights; the file appears when it is complete.

        Args:
            path: ends in .keras for the model, in .weights.h5 for the weights alone.

        Returns:
            Sentences for a person: the network, and what a weights file leaves out.

        Raises:
            InputError: another ending.

        Example:
            >>> print(convert_checkpoint("wrn.pth").save("wrn.keras"))  # doctest: +SKIP
            wide_resnet28_10, 36,479,194 parameters named as by 'xternalz', is in wrn.keras.
        """
        target = check_target(path)
        is_model = target.name.endswith(_MODEL)
        write_whole(target, self.model.save if is_model else self.model.save_weights)
        count = count_parameters(self.model)
        text = (
            f"{self.model.name}, {count:,} parameters named as by {self.dialect!r}, is in {target}."
        )
        if is_model:
            return text
        text += f"\nLoad it into {self._call()}"
        if self.statistics is not None:
            mean, std = (tuple(round(v, 6) for v in values) for values in self.statistics)
            text += f"\nIts images are (x - mean) / std of [0, 1] with mean {mean}, std {std};"
            text += f" a {_MODEL} file does that itself."
        return text

    def _call(self) -> str:
        """Write the Python that builds the network."""
        arguments = dict(self.arguments)
        conventions = arguments.pop("conventions", None)
        given = [f"{name}={value!r}" for name, value in arguments.items()]
        differences = [
            f"{field.name}={getattr(conventions, field.name)!r}"
            for field in (dataclasses.fields(conventions) if conventions else ())
            if getattr(conventions, field.name) != field.default
        ]
        if differences:
            given.append(f"conventions=keras_wrn.Conventions({', '.join(differences)})")
        return f"keras_wrn.{self.builder}({', '.join(given)})"


def check_target(path: str | os.PathLike[str]) -> Path:
    """Check the ending of a file to write a model to.

    Args:
        path: must end in .keras or .weights.h5.

    Returns:
        The path.

    Raises:
        InputError: the path has another ending.
    """
    target = Path(path)
    if not target.name.endswith((_MODEL, _WEIGHTS)):
        raise InputError(f"The file to write must end in {_MODEL} or {_WEIGHTS}. Received: {path}")
    return target
