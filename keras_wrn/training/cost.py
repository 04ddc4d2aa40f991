"""Cost of a network: multiply-adds per image, floating-point operations of a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.training.recipe import Recipe

if TYPE_CHECKING:
    import keras

# A multiplication and an addition; the backward pass costs twice the forward pass.
FLOP_OF_TRAINING = 2 * 3


def multiply_adds(model: keras.Model) -> int:
    """Count the multiply-adds of convolutions and dense layers for one image.

    Example:
        >>> multiply_adds(keras_wrn.WideResNet16_4())
        392612352
    """
    import keras

    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            _, height, width, _ = layer.output.shape
            total += height * width * int(np.prod(layer.kernel.shape))
        elif isinstance(layer, keras.layers.Dense):
            total += int(np.prod(layer.kernel.shape))
    return total


def multiply_adds_of(card: dict[str, Any], size: int | None = None) -> int:
    """Count the multiply-adds of the network that a card describes, built without weights.

    Args:
        card: "network" of a card: "builder", "input_shape" and the builder's other arguments.
        size: height and width in pixels; None: those of the input shape.
    """
    import keras

    from keras_wrn.applications import build_network

    changed = {} if size is None else {"input_shape": [size, size, card["input_shape"][-1]]}
    with keras.StatelessScope(initialize_variables=False):
        return multiply_adds(build_network(card, **changed))


def training_flop(card: dict[str, Any]) -> float | None:
    """Count the floating-point operations of a finished run, in convolutions and dense layers.

    Each image counts at its size in that epoch; a step of sharpness-aware minimisation counts
    twice. A teacher and batch normalisation do not count.

    Args:
        card: the run's card; "recipe", "epochs", "steps" and "network" are read.

    Returns:
        The operations, or None if the card does not say how the network was trained.

    Example:
        >>> training_flop(keras_wrn.load_trained("RUN").card)  # doctest: +SKIP
        1.6e+13
    """
    try:
        recipe = Recipe.from_dict(card["recipe"])
        epochs = card.get("epochs") or recipe.epochs
        images = card["steps"] / epochs * recipe.batch_size
    except (KeyError, TypeError, InputError):
        return None
    sizes = [recipe.size_in(epoch) for epoch in range(epochs)]
    a_pass = sum(multiply_adds_of(card["network"], size) * sizes.count(size) for size in set(sizes))
    return float(FLOP_OF_TRAINING * a_pass * images * (2 if recipe.sam else 1))
