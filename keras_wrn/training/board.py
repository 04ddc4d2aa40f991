"""A run's logs for TensorBoard, in TensorBoard's own format, on any backend."""

from __future__ import annotations

import importlib.util
import io
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import logging

from keras_wrn.training import pictures
from keras_wrn.training.devices import settle, to_numpy
from keras_wrn.training.model import TrainingModel
from keras_wrn.training.run_keeper import RunKeeper
from keras_wrn.training.workers import cluster, is_chief

LOG_FOLDER = "logs"


class Board(keras.callbacks.Callback):
    """Log each epoch: figures, norms of weights and gradients, and the confusion matrix.

    logs/train has loss, error, learning rate, images per second, and by part of the network (stem,
    group1, ..., head) the L2 norm of the trainable weights and of their gradients. Gradients are of
    the loss without weight decay, in the last step of the epoch. logs/validation has loss, error
    and confusion matrix. Steps are epochs, counted from 1.

    The training step stays as it is: a gradient is what the optimiser's velocities gained by the
    step. An epoch that was stopped in its validation has no gradients, because another process
    made its last step.

    Args:
        training_model: the network and its optimiser.
        keeper: the run's, which is called before this callback.
    """

    def __init__(self, training_model: TrainingModel, keeper: RunKeeper) -> None:
        super().__init__()
        self.class_names = training_model.preprocessing.class_names
        self.optimizer = training_model.optimizer
        self.variables = training_model.clone.trainable_variables
        self.keeper = keeper
        self.folder = keeper.workdir / LOG_FOLDER
        self.draws = pictures.can_draw()
        self._without_gradient: list[np.ndarray] = []

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Before an epoch's last step, note what the velocities would be without a gradient."""
        if (self.keeper.step + 1) % self.keeper.steps_per_epoch:
            return
        settle(self.model)
        momentum, decay = self.optimizer.momentum, self.optimizer.coupled_weight_decay
        self._without_gradient = [
            momentum * to_numpy(velocity) + decay * to_numpy(variable)
            for variable, velocity in self._pairs()
        ]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the epoch."""
        logs = logs or {}
        settle(self.model)
        figures = {f"epoch_{name}": float(value) for name, value in logs.items()}
        validation = {
            name.replace("_val_", "_"): figures.pop(name)
            for name in list(figures)
            if name.startswith("epoch_val_")
        }
        figures |= self._norms("weight_norm", [to_numpy(variable) for variable in self.variables])
        if self._without_gradient:
            gradients = [
                to_numpy(velocity) - rest
                for (_, velocity), rest in zip(self._pairs(), self._without_gradient, strict=True)
            ]
            figures |= self._norms("gradient_norm", gradients)
            self._without_gradient = []
        _append(self.folder / "train", [_scalar(*item) for item in figures.items()], epoch + 1)
        values = [_scalar(*item) for item in validation.items()]
        if validation and self.model.confusion is not None:
            counts = to_numpy(self.model.confusion.counts)  # on every worker, because it sums
            if self.draws:
                picture = pictures.confusion_matrix(counts.astype(int), self.class_names)
                values.append(_image("confusion_matrix", picture))
        if values:
            _append(self.folder / "validation", values, epoch + 1)

    def _pairs(self) -> list[tuple[Any, Any]]:
        return list(zip(self.variables, self.optimizer.velocities, strict=True))

    def _norms(self, name: str, arrays: Sequence[np.ndarray]) -> dict[str, float]:
        """The L2 norm of each part of the network."""
        squares: defaultdict[str, float] = defaultdict(float)
        for variable, array in zip(self.variables, arrays, strict=True):
            prefix = variable.path.partition("_")[0]
            part = prefix if prefix.startswith(("stem", "group")) else "head"
            squares[f"{name}/{part}"] += float(np.sum(np.square(array, dtype=np.float64)))
        return {tag: square**0.5 for tag, square in squares.items()}


def open_board(
    training_model: TrainingModel, keeper: RunKeeper, samples: np.ndarray | None
) -> list[Board]:
    """Begin a run's logs with its recipe, for the tab HPARAMS, and with augmented images.

    Recipe and final metrics stand in logs/final: HPARAMS shows every figure of that folder.

    Args:
        training_model: the network and its recipe.
        keeper: the run's.
        samples: uint8 (n, height, width, 3), augmented images; None where a run goes on.

    Returns:
        The callback; none where TensorBoard is not installed, which the log says.
    """
    absent = not _installed()
    if (workers := cluster()) is not None:
        absent = bool(workers.sum(absent))  # the confusion matrix is added up over all of them
    if absent:
        logging.info("tensorboard is not installed: no logs for it. pip install tensorboard")
        return []
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    recipe = training_model.recipe.to_dict().items()
    plain = {k: v if isinstance(v, bool | int | float) else _text(v) for k, v in recipe}
    folder = keeper.workdir / LOG_FOLDER
    trial = f"{keeper.workdir.name} in {keeper.workdir.resolve().parent}"  # a unique name
    _append(folder / "final", hparams_pb(plain, trial_id=trial).value, 0)
    if samples is not None:
        _append(folder / "train", [_image("augmented", pictures.tiled(samples))], 0)
    return [Board(training_model, keeper)]


def log_result(workdir: Path, metrics: dict[str, Any], epochs: int) -> None:
    """Log the metrics of the stored weights, which the tab HPARAMS shows beside the recipe."""
    if _installed():
        values = [_scalar(f"final/{k}", value) for k, value in metrics.items() if k != "n"]
        _append(workdir / LOG_FOLDER / "final", values, epochs)


def _installed() -> bool:
    return importlib.util.find_spec("tensorboard") is not None


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _scalar(tag: str, number: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.scalar.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    return Summary.Value(
        tag=tag,
        metadata=create_summary_metadata("", ""),
        tensor=make_tensor_proto(number, "float32"),
    )


def _image(tag: str, image: np.ndarray) -> Any:
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.image.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    png = io.BytesIO()
    Image.fromarray(image).save(png, "PNG")
    height, width = image.shape[:2]
    content = [str(width).encode(), str(height).encode(), png.getvalue()]
    return Summary.Value(
        tag=tag, metadata=create_summary_metadata("", ""), tensor=make_tensor_proto(content)
    )


def _append(folder: Path, values: Sequence[Any], step: int) -> None:
    """Add values to the file of this process in a folder; of several workers, the chief does."""
    if not is_chief():
        return
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{_STARTED}.{os.getpid()}"
    events = [Event(wall_time=time.time(), step=step, summary=Summary(value=values))]
    if not path.exists():
        events.insert(0, Event(wall_time=time.time(), file_version="brain.Event:2"))
    with path.open("ab") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())


_STARTED = int(time.time())  # TensorBoard reads the files of a folder in the order of their times
