"""Convert other people's checkpoints of wide residual networks into Keras models.

`convert` reads a file, recognises its dialect by the tensors' names (`checkpoints.dialects`) and
its depth, width and classes by their shapes. It builds that network with the conventions of the
dialect, and copies the weights strictly: no tensor is left over, and none is missing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_wrn.applications import BUILDERS
from keras_wrn.applications.converted import Converted, assumed
from keras_wrn.checkpoints.dialects import Dialect, KeyMap, Statistics
from keras_wrn.checkpoints.translation import Translation, translate
from keras_wrn.errors import InputError
from keras_wrn.networks.blocks import Conventions
from keras_wrn.networks.recognition import Weights
from keras_wrn.system.console import progress, say

_READ_OFF = ("depth", "width", "block", "blocks_per_group", "classes", "weights")


def convert(
    path: str | os.PathLike[str],
    dialect: str | None = None,
    *,
    key_map: KeyMap | str | os.PathLike[str] | None = None,
    which: str | None = None,
    **options: Any,
) -> keras.Model:
    """Build the network of another implementation's checkpoint, with its weights.

    Some networks normalise their images themselves: DeepMind's robust networks, RobustBench's
    with `mu` and `sigma`, and any network in a wrapper that holds mean and std. They get a stock
    Normalization layer in front, and take images in [0, 1] as the originals do, or on 0..255 if
    their constants are on that scale. If a file of DeepMind's lacks the constants, they are
    CIFAR-10's or CIFAR-100's, by the number of classes. Other networks take the images that their
    owner used.

    Names do not tell everything that a network computes. A line on the screen states what was
    assumed: activation, padding, stride, shortcuts and epsilon. If one is wrong, so are the
    logits: compare one batch with the original, and give `dialect` or `conventions`. Biases of
    convolutions are seen in the file.

    Args:
        path: a PyTorch .pt or .pth file, .safetensors, .npz or .h5, or "hf://owner/repo/file"
            ("hf://owner/repo@revision/file"). A pickle can run no code.
        dialect: "authors", "xternalz" (also TRADES and RobustBench), "fixmatch" (PyTorch's ports
            of FixMatch and MixMatch), "torchssl" (also USB), "deepmind" (SiLU), "deepmind_relu",
            "torchvision" (also timm), "attention_transfer" (nblockLayer), "meliketoy" or
            "uncertainty_baselines". None: recognise it by the names of the tensors, which cannot
            tell "fixmatch", "torchssl" and "deepmind_relu".
        key_map: for other dialects: name of a layer in the checkpoint -> name of a layer of
            `WideResNet`, or None to leave a layer out. A dictionary, a function or the path of a
            JSON file. {g}, {b}, {i} in a dictionary count groups, blocks and layers from 1,
            {g0}, {b0}, {i0} from 0.
        which: the key of one network of several in a file, such as "ema". None: the network that
            was trained, rather than an average of its weights.
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
        ...     "stage{g}.{b0}.norm{i}": "group{g}_block{b}_bn{i}",
        ...     "stage{g}.{b0}.conv{i}": "group{g}_block{b}_conv{i}",
        ...     "stage{g}.{b0}.shortcut": "group{g}_block{b}_proj",
        ...     "norm": "head_bn",
        ...     "classifier": "predictions",
        ... }
        >>> model = convert("mine.pth", key_map=names)  # doctest: +SKIP
        >>> slope = keras_wrn.Conventions(activation="leaky_relu", negative_slope=0.1)
        >>> model = convert("leaky.pth", conventions=slope)  # doctest: +SKIP
    """
    found = convert_checkpoint(path, dialect, key_map=key_map, which=which, **options)
    say("\n".join((f"{path}:", *found.notes)))
    return found.model


def convert_checkpoint(
    path: str | os.PathLike[str],
    dialect: str | None = None,
    *,
    key_map: KeyMap | str | os.PathLike[str] | None = None,
    which: str | None = None,
    **options: Any,
) -> Converted:
    """Convert as `convert` does, and return what was found. Arguments and errors are the same."""
    if given := [name for name in _READ_OFF if name in options]:
        raise InputError(
            f"The checkpoint gives the network and its weights. Received also: {', '.join(given)}"
        )
    with progress("Converting", 3) as advance:
        found = translate(path, dialect, key_map=key_map, which=which)
        advance(1)
        arguments, weights = _arguments_and_weights(found, options)
        network = found.network
        model = _build(network.builder, arguments, options, network.channels, found.statistics)
        advance(1)
        if not options.get("include_top", True):
            weights.pop("predictions", None)
        _fill(model, weights, found.unknown, found.dialect, path)
        advance(1)
    notes = (*found.notes, assumed(arguments.get("conventions"), found.statistics))
    name = found.dialect.name
    return Converted(model, name, network.builder, arguments, found.statistics, notes)


def _arguments_and_weights(
    found: Translation, options: dict[str, Any]
) -> tuple[dict[str, Any], Weights]:
    """The arguments of the network's builder, and the weights that it has layers for."""
    network, weights = found.network, dict(found.weights)
    arguments = dict(network.arguments)
    if network.builder == "WideResNet":
        conventions = options.pop("conventions", found.dialect.conventions)
        kernels = [tensors for name, tensors in weights.items() if "conv" in name or "proj" in name]
        if isinstance(conventions, Conventions):
            biased = all("bias" in tensors for tensors in kernels)
            arguments["conventions"] = replace(conventions, conv_bias=biased)
            if conventions.branch_input == "raw":
                # Such a checkpoint has these layers, and its network never uses them.
                for group in filter(conventions.projects_raw, (1, 2, 3)):
                    if f"group{group}_block1_proj" in weights:
                        weights.pop(f"group{group}_block1_bn1", None)
        else:
            arguments["conventions"] = conventions
    elif "conventions" in options:
        raise InputError(
            f"Conventions are for the networks of Table 1. {network.title} has its authors' own."
        )
    return arguments, weights


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
