"""Callbacks of a run: velocity reset, step clock, moving average; and those of the caller."""

import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_wrn.training.devices import settle, to_numpy

EVERY = 10  # steps between updates of the average, which spreads their cost


class OneTraining(keras.callbacks.CallbackList):
    """The caller's callbacks, to which the several `fit`s of a run are one.

    Args:
        callbacks: of the caller.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        super().__init__(list(callbacks))
        self._begun = False
        self._logs: dict[str, Any] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begin, the first time."""
        if not self._begun:
            super().on_train_begin(logs)
        self._begun = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Wait for `finish`."""
        self._logs = logs

    def finish(self) -> None:
        """End, if it has begun."""
        if self._begun:
            super().on_train_end(self._logs)


class VelocityReset(keras.callbacks.Callback):
    """Reset the momentum at the start of the epochs where the learning rate drops.

    Source: both of the authors' codes make a new optimiser there (models/train.lua and
    pytorch/main.py).

    Args:
        drop_epochs: counted from 1.
        mid_epoch: the epoch, counted from 0, that a resumed run is in the middle of, if any. Its
            reset is done already.
    """

    def __init__(self, drop_epochs: tuple[int, ...], mid_epoch: int | None = None) -> None:
        super().__init__()
        self.drop_epochs = drop_epochs
        self.mid_epoch = mid_epoch

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Reset at a drop."""
        if epoch + 1 in self.drop_epochs and epoch != self.mid_epoch:
            self.model.optimizer.reset_velocity()


class StepClock(keras.callbacks.Callback):
    """Time the steps of a one-epoch `fit`, without what `fit` does before and after them.

    Attributes:
        seconds: from the end of the first step, or dispatch of steps, to the end of the last.
        cpu_seconds: processor seconds of the process in that time.
    """

    seconds = cpu_seconds = 0.0
    _start: tuple[float, float] | None = None

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Start when the first step is done."""
        if self._start is None:
            self._start = _clocks(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop when the last step is done."""
        start, end = self._start or (0.0, 0.0), _clocks(logs)
        self.seconds, self.cpu_seconds = end[0] - start[0], end[1] - start[1]


def _clocks(logs: dict[str, Any] | None) -> tuple[float, float]:
    """Read the clocks once the loss is known: the device may still be computing it."""
    float((logs or {})["loss"])
    return time.perf_counter(), time.process_time()


class WeightAverage(keras.callbacks.Callback):
    """Keep an exponential moving average of all weights, batch normalisation's included.

    In the first updates t the decay is smaller, min(decay, (1 + t) / (10 + t)), so that the
    average forgets the start.

    Args:
        network: the network whose weights are averaged.
        decay: per step, in (0, 1).
        step: steps that are done already.
    """

    def __init__(self, network: keras.Model, decay: float, step: int = 0) -> None:
        super().__init__()
        self.network = network
        self.decay = decay
        self.step = step
        self.weights: list[np.ndarray] = [to_numpy(variable) for variable in network.weights]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Move the average towards the weights."""
        self.step += 1
        if self.step % EVERY == 0:
            self._update(self.model, EVERY)

    def finish(self, model: keras.Model) -> None:
        """Move the average towards the last weights, where the last steps were fewer than ten."""
        if left := self.step % EVERY:
            self._update(model, left)

    def _update(self, model: keras.Model, steps: int) -> None:
        settle(model)
        updates = self.step / EVERY
        kept = min(self.decay**EVERY, (1 + updates) / (10 + updates)) ** (steps / EVERY)
        self.weights = [
            average + (1 - kept) * (to_numpy(variable) - average)
            for average, variable in zip(self.weights, self.network.weights, strict=True)
        ]
