"""Learning rate as a function of the step, so that a resumed run needs its step only."""

from typing import Any

import keras
from keras import ops

from keras_wrn.training.recipe import Recipe

ONE_CYCLE_RISE = 0.25  # share of the steps before the peak without warm-up (fastai)


class PiecewiseLinear(keras.optimizers.schedules.LearningRateSchedule):
    """Linear interpolation between (step, rate) points; constant before and after them.

    Args:
        steps: at least two, rising.
        rates: one per step, >= 0.

    Example:
        >>> float(PiecewiseLinear([0, 10], [0.0, 1.0])(5))
        0.5
    """

    def __init__(self, steps: list[float], rates: list[float]) -> None:
        self.steps = [float(step) for step in steps]
        self.rates = [float(rate) for rate in rates]

    def __call__(self, step: Any) -> Any:
        """Compute the rate at a step."""
        step = ops.cast(step, "float32")
        rate = ops.convert_to_tensor(self.rates[0], "float32")
        spans = zip(self.steps, self.steps[1:], self.rates, self.rates[1:], strict=False)
        for start, end, low, high in spans:
            share = ops.clip((step - start) / max(end - start, 1e-9), 0.0, 1.0)
            rate = ops.where(step > start, (1.0 - share) * low + share * high, rate)
        return rate

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"steps": self.steps, "rates": self.rates}


def learning_rate(recipe: Recipe, steps_per_epoch: int) -> Any:
    """Make a recipe's schedule: a number, or a Keras schedule of the optimiser's step.

    "steps" drops at the start of the epochs in `drop_epochs`, counted from 1: with 390 steps per
    epoch and a drop at 60, step 59 * 390 is the first at the lower rate.
    """
    total = recipe.epochs * steps_per_epoch
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total - 1)
    peak = recipe.learning_rate
    if recipe.schedule == "steps":
        # In Keras, and in PiecewiseLinear, a boundary still has the rate before it.
        drops = [(epoch - 1) * steps_per_epoch - 1 for epoch in recipe.drop_epochs]
        rates = [peak * recipe.drop_factor**i for i in range(len(drops) + 1)]
        if warmup:
            after = [drop for drop in drops if drop > warmup]
            rates = rates[len(drops) - len(after) :]
            jumps = [step for drop in after for step in (drop, drop)]
            levels = [rate for rate in rates for _ in range(2)][:-1]
            return PiecewiseLinear([0, warmup, *jumps], [0.0, *levels])
        return keras.optimizers.schedules.PiecewiseConstantDecay(drops, rates) if drops else peak
    if recipe.schedule == "cosine":
        rise = {"warmup_target": peak, "warmup_steps": warmup} if warmup else {}
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else peak, total - warmup, **rise
        )
    if recipe.schedule == "one_cycle":
        top = warmup or round(ONE_CYCLE_RISE * total)
        return PiecewiseLinear([0, top, total], [0.0, peak, 0.0])
    return PiecewiseLinear([0, warmup], [0.0, peak]) if warmup else peak
