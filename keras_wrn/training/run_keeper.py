"""`RunKeeper`: a run's history, saved state, clocks and signals, so that it can resume."""

import math
import signal
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import logging
from keras import ops

from keras_wrn.errors import InputError, Interrupted
from keras_wrn.training import run_folder
from keras_wrn.training.callbacks import WeightAverage
from keras_wrn.training.devices import settle, to_numpy
from keras_wrn.training.workers import AGREED_EVERY, agreed_signal, cluster, is_chief

HISTORY_COLUMNS = tuple(
    "epoch step loss error val_loss val_error learning_rate images_per_second seconds".split()
)
SAVE_EVERY = 600.0  # seconds between saved states
LOG_EVERY = 60.0  # seconds between lines of the log


class RunKeeper(keras.callbacks.Callback):
    """Keep a run's history and state, so that the same command resumes it.

    The state is all variables of the model and its optimiser, the step, and the means of the
    metrics in the current epoch. It is saved when the last save is `save_every` seconds old, and
    on SIGTERM or Ctrl-C, after which `Interrupted` is raised. A loss or weights that are not finite
    end the run with an `InputError`, and the last state stays.

    Args:
        workdir: the run folder.
        recipe: the run's options, of which `epochs` and `batch_size` are read.
        steps_per_epoch: steps of a whole epoch.
        columns: columns of history.csv.
        average: the moving average of the weights, if the recipe keeps one.
        save_every: seconds between saved states.

    Attributes:
        step: steps done, over the whole run.
        rows: rows of the history.
        seconds: wall-clock seconds of training, earlier sessions included.
        cpu_seconds: processor seconds of the same.
    """

    def __init__(
        self,
        workdir: Path,
        recipe: Any,
        steps_per_epoch: int,
        *,
        columns: tuple[str, ...] = HISTORY_COLUMNS,
        average: WeightAverage | None = None,
        save_every: float = SAVE_EVERY,
    ) -> None:
        super().__init__()
        self.workdir = workdir
        self.recipe = recipe
        self.steps_per_epoch = steps_per_epoch
        self.columns = columns
        self.average = average
        self.save_every = save_every
        self.step = 0
        self.rows: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self._saved_step: int | None = None
        self._signal: int | None = None
        self._old_handlers: dict[int, Any] = {}
        self._means: dict[str, Any] = {}  # of the current epoch, over `_mean_steps` steps
        self._mean_steps = 0
        self._earlier: tuple[int, dict[str, float]] = (0, {})  # steps and means of it before a stop

    def restore(self, model: keras.Model) -> None:
        """Load the saved state, if there is one, into a built model and the average."""
        saved = run_folder.load_state(self.workdir)
        if saved is None:
            return
        arrays, facts = saved
        variables = _state_variables(model)
        expected = [tuple(variable.shape) for variable in variables]
        if self.average is not None:
            expected += [array.shape for array in self.average.weights]
        run_folder.check_shapes(self.workdir, arrays, expected)
        for variable, array in zip(variables, arrays[: len(variables)], strict=True):
            variable.assign(array)
        if self.average is not None:
            self.average.weights = arrays[len(variables) :]
            self.average.step = facts["step"]
        self.step = facts["step"]
        self._earlier = (facts["mean_steps"], facts["means"])
        self.rows = facts["history"]
        self.seconds, self.cpu_seconds = facts["seconds"], facts["cpu_seconds"]
        self._saved_step = self.step
        logging.info("resuming after step %d of the saved state", self.step)

    @property
    def unfinished_epoch(self) -> int | None:
        """The epoch, counted from 0, that a resumed run is in the middle of, if any."""
        epoch, done = divmod(self.step, self.steps_per_epoch)
        return epoch if done else self.unvalidated[0] if self.unvalidated else None

    @property
    def unvalidated(self) -> tuple[int, dict[str, float]] | None:
        """An epoch that was stopped in its validation, counted from 0, and its means, if any."""
        epoch, done = divmod(self.step, self.steps_per_epoch)
        steps, means = self._earlier
        return (epoch - 1, means) if steps and not done else None

    def stretches(self, breaks: tuple[int, ...] = ()) -> list[tuple[int, int, int]]:
        """Split the rest of the run into calls of `fit`.

        Args:
            breaks: epochs, counted from 1, that begin a call of their own.

        Returns:
            Triples: first epoch and one after the last, counted from 0, and steps per epoch. The
            rest of an interrupted epoch is a call of its own.
        """
        epoch, done = divmod(self.step, self.steps_per_epoch)
        found = [(epoch, epoch + 1, self.steps_per_epoch - done)] if done else []
        epoch += bool(done)
        for end in [*(b - 1 for b in breaks if b <= self.recipe.epochs), self.recipe.epochs]:
            if end > epoch:
                found.append((epoch, end, self.steps_per_epoch))
                epoch = end
        return found

    def catch_signals(self) -> None:
        """Let SIGTERM and Ctrl-C stop the run after the current step."""
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._old_handlers[number] = signal.signal(number, self._note_signal)
            except ValueError:  # only the main thread may set handlers
                return

    def release_signals(self) -> None:
        """Restore the former signal handlers."""
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        self._old_handlers = {}

    def _stop_if_asked(self) -> None:
        self._signal = agreed_signal(self._signal)
        if self._signal is not None:
            self.save()
            raise Interrupted(self._signal, self.step)

    def _note_signal(self, number: int, frame: object) -> None:
        self._signal = number
        if number == signal.SIGINT:
            logging.info("stopping after this step; Ctrl-C again stops at once, without saving")
            # A handler of Python's waits for the step; in a notebook the process must live on.
            at_once = signal.default_int_handler if _interactive() else signal.SIG_DFL
            signal.signal(signal.SIGINT, at_once)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start the clocks of this call of `fit`."""
        self._last_save = self._last_log = self._last_tick = time.monotonic()
        self._last_cpu = time.process_time()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the clocks of an epoch."""
        self._epoch_start = (self.step, self.seconds)
        self._last_tick, self._last_cpu = time.monotonic(), time.process_time()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count the step; log, save and stop when due."""
        self.step += 1
        self._tick()
        self._means = logs or {}
        self._mean_steps = self.step - self._epoch_start[0]
        # Keras has read the metrics of the step already: to look at them costs nothing.
        self._require_finite(self._means.get("loss", 0.0), "loss")
        now = time.monotonic()
        if now - self._last_log >= LOG_EVERY:
            self._last_log = now
            self._log(logs or {})
        if self.step % self.steps_per_epoch == 0:
            return  # on_epoch_end follows, and saves with the epoch's row
        # To ask the other workers takes milliseconds.
        if cluster() is None or self.step % AGREED_EVERY == 0:
            self._stop_if_asked()
        if now - self._last_save >= self.save_every:
            self.save()

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop in the middle of a validation; the run goes on with all of it."""
        self._stop_if_asked()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add a row to the history."""
        logs = {} if logs is None else logs
        steps, seconds = self._epoch_start
        elapsed = max(self.seconds - seconds, 1e-9)
        logs.update(self._whole_epoch({key: logs[key] for key in self._means if key in logs}))
        self._earlier, self._means, self._mean_steps = (0, {}), {}, 0
        logs["learning_rate"] = _last_rate(self.model.optimizer)
        if self.step > steps:  # and not only the validation of an earlier process' steps
            logs["images_per_second"] = (self.step - steps) * self.recipe.batch_size / elapsed
        row = {"epoch": epoch + 1, "step": self.step, "seconds": round(self.seconds, 1), **logs}
        self.rows.append({key: row[key] for key in self.columns if key in row})
        if is_chief():
            run_folder.write_history(self.workdir, self.columns, self.rows)
        self._last_tick, self._last_cpu = time.monotonic(), time.process_time()
        self._signal = agreed_signal(self._signal)
        if self._signal is not None or time.monotonic() - self._last_save >= self.save_every:
            self.save()
        if self._signal is not None and self.step < self.recipe.epochs * self.steps_per_epoch:
            raise Interrupted(self._signal, self.step)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Save: what follows the last step, such as the measuring, may be stopped."""
        if self.step != self._saved_step:
            self.save()

    def save(self) -> None:
        """Save the state now; of several workers, the chief does."""
        self._last_save = time.monotonic()
        if not is_chief():
            return
        settle(self.model)
        arrays = [to_numpy(variable) for variable in _state_variables(self.model)]
        for array in arrays:
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                self._require_finite(np.nan, "largest weight")
        if self.average is not None:
            arrays += self.average.weights
        facts = {
            "step": self.step,
            "means": self._whole_epoch(self._means) or self._earlier[1],
            "mean_steps": self._earlier[0] + self._mean_steps,
            "history": self.rows,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
        }
        run_folder.save_state(self.workdir, arrays, facts)
        self._last_save, self._saved_step = time.monotonic(), self.step

    def _require_finite(self, value: float, name: str) -> None:
        if math.isfinite(value):
            return
        settle(self.model)  # for the rate in the message
        if self._saved_step is None:
            kept = "No state was saved before"
        else:
            kept = f"The state after step {self._saved_step} is kept in {self.workdir}"
        raise InputError(
            f"The {name} is {value} after step {self.step} (epoch "
            f"{(self.step - 1) // self.steps_per_epoch + 1}), at a learning rate of "
            f"{_last_rate(self.model.optimizer):g}. {kept}. Take a lower `learning_rate`, "
            "in another folder."
        )

    def _whole_epoch(self, means: dict[str, Any]) -> dict[str, float]:
        """Means over the whole current epoch, the part before a stop included."""
        before, earlier = self._earlier
        total = max(before + self._mean_steps, 1)
        return {
            key: (before * earlier.get(key, 0.0) + self._mean_steps * float(mean)) / total
            for key, mean in means.items()
        }

    def _tick(self) -> None:
        now, cpu = time.monotonic(), time.process_time()
        self.seconds += now - self._last_tick
        self.cpu_seconds += cpu - self._last_cpu
        self._last_tick, self._last_cpu = now, cpu

    def _log(self, logs: dict[str, Any]) -> None:
        steps, seconds = self._epoch_start
        speed = (self.step - steps) / max(self.seconds - seconds, 1e-9)
        total = self.recipe.epochs * self.steps_per_epoch
        logging.info(
            "epoch %d/%d, step %d/%d, %s, %.0f images/s, %.0f min to go",
            self.step // self.steps_per_epoch + 1,
            self.recipe.epochs,
            self.step,
            total,
            ", ".join(f"{name} {float(mean):.4f}" for name, mean in logs.items()),
            speed * self.recipe.batch_size,
            (total - self.step) / max(speed, 1e-9) / 60,
        )


def _interactive() -> bool:
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules


def _last_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """The learning rate of the last step; `optimizer.learning_rate` is the next step's."""
    schedule = optimizer._learning_rate
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return float(ops.convert_to_numpy(schedule(optimizer.iterations - 1)))
    return float(to_numpy(schedule))


def _state_variables(model: keras.Model) -> list[Any]:
    """All variables of a compiled model but its metrics', each once, in a fixed order."""
    metrics = {id(variable) for variable in model.metrics_variables}
    every = {id(v): v for v in [*model.variables, *model.optimizer.variables]}
    return [variable for key, variable in every.items() if key not in metrics]
