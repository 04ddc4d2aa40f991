"""Logits and pooled features of images, from one pass of a network or of an ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import Preprocessing
from keras_wrn.inference.classifier import checked_images, run_batches
from keras_wrn.insight.ensembles import combine_logits, members_of, with_dropout
from keras_wrn.insight.graph import input_like, leaf_layers, refuse_quantized, walk


class Head(NamedTuple):
    """A linear classifier: logits = features @ kernel + bias, float32."""

    kernel: np.ndarray  # (features, classes)
    bias: np.ndarray  # (classes,)


class Outputs(NamedTuple):
    """What a classifier says of n images: float32 logits (n, classes), features (n, d)."""

    logits: np.ndarray
    features: np.ndarray


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads logits and features of images; `open_reader` makes it, `read` takes it.

    Attributes:
        classifier: the classifier that images are checked against.
        features: takes normalised images and returns the pooled features of each member.
        heads: the linear classifier of each member.
        preprocessing: the statistics that the classifier was trained with.
        batch_size: images a step.
        flip: whether each image is read once more, mirrored.
        dropout_passes: passes with dropout; 0: one pass without.
    """

    classifier: keras.Model
    features: keras.Model
    heads: tuple[Head, ...]
    preprocessing: Preprocessing
    batch_size: int
    flip: bool
    dropout_passes: int

    @property
    def head(self) -> Head:
        """One linear classifier of all members' features; its logits are the mean of theirs."""
        count = len(self.heads)
        kernel = np.concatenate([head.kernel for head in self.heads]) / np.float32(count)
        return Head(kernel, np.mean([head.bias for head in self.heads], axis=0))


def open_reader(
    model: keras.Model,
    preprocessing: Preprocessing,
    *,
    batch_size: int = 250,
    flip: bool = False,
    dropout_passes: int = 0,
    seed: int = 0,
) -> Reader:
    """Prepare to read logits and features of a classifier.

    Args:
        model: a classifier that ends in a linear layer, with or without a softmax; models inside
            it are looked into. Or an ensemble, as `keras_wrn.ensemble` makes it.
        preprocessing: the statistics that it was trained with.
        batch_size: images a step.
        flip: average over each image and its mirror image.
        dropout_passes: average over so many passes with dropout; 0 for one pass without.
        seed: of the dropout.

    Returns:
        The reader, which `read` takes.

    Raises:
        InputError: the model has another end, or no dropout to draw.

    Example:
        >>> from keras_wrn.images.preprocessing import PREPROCESSING
        >>> opened = open_reader(keras_wrn.WideResNet(10, 1), PREPROCESSING["digits"])
        >>> read(opened, np.zeros((2, 32, 32, 3), "uint8")).features.shape
        (2, 64)

    Source: Gal and Ghahramani, "Dropout as a Bayesian Approximation", arXiv:1506.02142.
    """
    passes = dropout_passes
    if isinstance(passes, bool) or not isinstance(passes, int) or passes < 0:
        raise InputError(f"`dropout_passes` must be a whole number from 0. Received: {passes!r}.")
    members = members_of(model)
    if passes:
        members = [with_dropout(member, seed) for member in members]
    layers = [_linear_layer(member) for member in members]
    networks = [
        _pooled(member, layer, number)
        for number, (member, layer) in enumerate(zip(members, layers, strict=True), start=1)
    ]
    images = input_like(model)
    return Reader(
        model,
        keras.Model(images, [network(images) for network in networks], name="features"),
        tuple(_head(layer) for layer in layers),
        preprocessing,
        batch_size,
        flip,
        passes,
    )


def read(reader: Reader, images: np.ndarray) -> Outputs:
    """Run a classifier over images as stored.

    Args:
        reader: made by `open_reader`.
        images: uint8, (n, height, width, channels).

    Returns:
        The logits, whose softmax is the mean of the probabilities of all members and passes, and
        the features: the mean over the passes, and those of all members side by side.

    Raises:
        InputError: images and model do not fit each other, or the network diverged in training.
    """
    return read_pixels(reader, checked_images(images, reader.classifier, reader.preprocessing))


def read_pixels(reader: Reader, images: np.ndarray) -> Outputs:
    """Run a classifier as `read` does, over images that may be float, on 0..255."""
    views = [images, images[:, :, ::-1]] if reader.flip else [images]
    passes = views * max(1, reader.dropout_passes)
    total: list[Any] = [np.float32(0)] * len(reader.heads)  # of the features, pass by pass
    each_logits = []
    for view in passes:
        found = run_batches(reader.features, view, reader.preprocessing, reader.batch_size)
        found = [features.astype(np.float32, copy=False) for features in found]
        total = [sum_ + features for sum_, features in zip(total, found, strict=True)]
        each_logits += [
            features @ head.kernel + head.bias
            for features, head in zip(found, reader.heads, strict=True)
        ]
    logits = np.stack(each_logits)
    if not np.isfinite(logits).all():
        raise InputError(
            "The model's output must be finite; a network that diverged in training cannot be "
            f"used. Received: NaN or infinity for some of {len(images)} images."
        )
    features = np.concatenate([sum_ / np.float32(len(passes)) for sum_ in total], axis=1)
    return Outputs(logits[0] if len(logits) == 1 else combine_logits(logits), features)


def _linear_layer(member: keras.Model) -> Any:
    """The linear layer that a classifier ends in, before its softmax."""
    softmax, linear = keras.activations.softmax, keras.activations.linear
    layers = leaf_layers(member)
    while isinstance(layers[-1], keras.layers.Softmax) or (
        isinstance(layers[-1], keras.layers.Activation) and layers[-1].activation is softmax
    ):
        layers.pop()
    last = layers[-1]
    if not isinstance(last, keras.layers.Dense) or last.activation not in (softmax, linear):
        raise InputError(
            "`model` must end in a Dense layer with a softmax, or without an activation. "
            f"Received: {member.name}, which ends in {last.name} ({type(last).__name__})."
        )
    refuse_quantized(last)
    return last


def _head(layer: Any) -> Head:
    kernel = keras.ops.convert_to_numpy(layer.kernel).astype(np.float32)
    if not layer.use_bias:
        return Head(kernel, np.zeros(layer.units, np.float32))
    return Head(kernel, keras.ops.convert_to_numpy(layer.bias).astype(np.float32))


def _pooled(member: keras.Model, linear: Any, number: int) -> keras.Model:
    """The network below the linear layer of a classifier."""
    taken = []

    def visit(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer is linear:
            taken.append(args[0])
        return layer(*args, **kwargs)

    images = input_like(member)
    walk(member, [images], visit)
    # The layers of two members may have the same names, and the models not.
    return keras.Model(images, taken[0], name=f"member{number}")
