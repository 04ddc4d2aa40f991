"""The moving average of the weights: what is kept where a recipe asks for it."""

from typing import Any

import keras
import numpy as np

EVERY = 10  # steps between updates: the cost of one is spread over them


class WeightAverage(keras.callbacks.Callback):
    """Average all weights of a network exponentially over the steps.

    The moving statistics of batch normalisation are averaged with the weights. In the first
    steps the decay is smaller, so that the start is forgotten: min(decay, (1 + t) / (10 + t)).

    Args:
        network: whose weights.
        decay: a step, in (0, 1).
        step: where the run stands.
    """

    def __init__(self, network: keras.Model, decay: float, step: int = 0) -> None:
        super().__init__()
        self.network = network
        self.decay = decay
        self.step = step
        self.weights: list[np.ndarray] = network.get_weights()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Move the average towards the weights."""
        self.step += 1
        if self.step % EVERY:
            return
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        updates = self.step / EVERY
        kept = min(self.decay**EVERY, (1 + updates) / (10 + updates))
        self.weights = [
            average + (1 - kept) * (weight - average)
            for average, weight in zip(self.weights, self.network.get_weights(), strict=True)
        ]
