"""Ensembles: one model whose probabilities are the mean of its members'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.insight.graph import ENSEMBLE_MEAN, input_like, leaf_layers, walk

_OTHER_DROPOUT = (
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
)


def ensemble(models: Sequence[keras.Model], *, name: str = "ensemble") -> keras.Model:
    """Make one classifier of several, whose probabilities are the mean of theirs.

    `keras_wrn.evaluate`, `predict`, `export` and `assess` take it like any other model.

    Args:
        models: two or more classifiers that end in a softmax, of the same classes and of images
            normalised in the same way. The ensemble shares their weights.
        name: the name of the model.

    Returns:
        A functional model of stock Keras layers: normalised images to (batch, classes).

    Raises:
        InputError: fewer than two models, or models that do not fit each other.

    Example:
        >>> members = [keras_wrn.WideResNet(10, 1), keras_wrn.WideResNet(10, 2)]
        >>> keras_wrn.ensemble(members).output_shape
        (None, 10)

    Source: Lakshminarayanan et al., "Deep Ensembles", arXiv:1612.01474.
    """
    models = list(models)
    if len(models) < 2:
        raise InputError(f"`models` must be two or more. Received: {len(models)}.")
    shapes = {(model.input_shape, model.output_shape) for model in models}
    if len(shapes) > 1 or len(models[0].output_shape) != 2:
        received = ", ".join(f"{m.name}: {m.input_shape} to {m.output_shape}" for m in models)
        raise InputError(
            "`models` must be classifiers with the same images and the same number of classes. "
            f"Received: {received}."
        )
    last = [leaf_layers(model)[-1] for model in models]
    softmax = keras.activations.softmax
    if nested := [model.name for model in models if model.layers[-1].name == ENSEMBLE_MEAN]:
        raise InputError(
            f"`models` must be single networks. Received: {nested[0]}, an ensemble: give its "
            "members."
        )
    if logits := [
        model.name
        for model, layer in zip(models, last, strict=True)
        if getattr(layer, "activation", None) is not softmax
        and not isinstance(layer, keras.layers.Softmax)
    ]:
        raise InputError(
            '`models` must return probabilities: build them with classifier_activation="softmax". '
            f"Received: {logits[0]}, which does not end in a softmax."
        )
    images = keras.Input(models[0].input_shape[1:], name="images")
    # Two networks of one builder have one name; layers of a model must have different ones.
    members = [
        keras.Model(model.input, model.output, name=f"member{number}_{model.name}")
        for number, model in enumerate(models, start=1)
    ]
    mean = keras.layers.Average(name=ENSEMBLE_MEAN)([member(images) for member in members])
    return keras.Model(images, mean, name=name)


def members_of(model: keras.Model) -> list[keras.Model]:
    """The members of an ensemble that `ensemble` made; any other model is its own only member."""
    if model.layers[-1].name != ENSEMBLE_MEAN:
        return [model]
    return [layer for layer in model.layers if hasattr(layer, "layers")]


def with_dropout(model: keras.Model, seed: int = 0) -> keras.Model:
    """Make a model whose dropout draws in inference too, for Monte Carlo dropout.

    Args:
        model: a functional model with Dropout layers, stochastic depth's included.
        seed: of the draws, which go on from one batch to the next.

    Returns:
        A model that shares the weights of `model`.

    Raises:
        InputError: the model has no dropout, or another kind of it.

    Example:
        >>> layers = [keras.Input((8,)), keras.layers.Dropout(0.5)]
        >>> model = with_dropout(keras.Sequential(layers))
        >>> sorted(set(model.predict(np.ones((4, 8)), verbose=0).ravel().tolist()))
        [0.0, 2.0]

    Source: Gal and Ghahramani, "Dropout as a Bayesian Approximation", arXiv:1506.02142.
    """

    class AlwaysDropout(keras.layers.Dropout):
        """Dropout that ignores `training`, which a functional model passes to every layer."""

        def call(self, inputs: Any, training: bool = False) -> Any:
            return super().call(inputs, training=True)

    drawn: list[Any] = []

    def visit(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, _OTHER_DROPOUT) and layer.rate > 0:
            raise InputError(
                "Monte Carlo dropout is of keras.layers.Dropout. Received: "
                f"{layer.name} ({type(layer).__name__})."
            )
        if isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
            rate, noise_shape, number = layer.rate, layer.noise_shape, seed + len(drawn)
            layer = AlwaysDropout(rate, noise_shape, seed=number, name=layer.name)
            drawn.append(layer)
        return layer(*args, **kwargs)

    images = input_like(model)
    (outputs,) = walk(model, [images], visit)
    if not drawn:
        raise InputError(
            f"Monte Carlo dropout needs a network with dropout. Received: {model.name}, which "
            "has none."
        )
    return keras.Model(images, outputs, name=f"{model.name}_dropout")


def combine_logits(logits: np.ndarray) -> np.ndarray:
    """Combine the logits of several members or passes.

    The softmax of the result is the mean of the softmaxes, and its log-sum-exp (the negative
    energy) is the mean of the log-sum-exps.

    Args:
        logits: (members, n, classes).

    Returns:
        Logits (n, classes), of the dtype of `logits`.

    Example:
        >>> combine_logits(np.log([[[0.5, 0.5]], [[0.75, 0.25]]])).round(4)
        array([[-0.47  , -0.9808]])
    """
    energy = log_sum_exp(logits)[..., None]
    log_mean = log_sum_exp(np.moveaxis(logits - energy, 0, -1)) - np.log(len(logits))
    return (log_mean + energy.mean(axis=0)).astype(logits.dtype)


def log_sum_exp(values: np.ndarray) -> np.ndarray:
    """The logarithm of the sum of exponentials along the last axis, without overflow."""
    top = values.max(axis=-1, keepdims=True)
    return np.log(np.sum(np.exp(values - top), axis=-1)) + top[..., 0]
