"""TensorBoard's logs of a run, where TensorFlow can write them."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import logging

from keras_wrn import run_folder
from keras_wrn.backend import tensorflow_installed


def tensorboard(workdir: Path, samples: np.ndarray | None) -> list[keras.callbacks.Callback]:
    """TensorBoard's callback and the first augmented images, where TensorFlow can write them.

    Args:
        workdir: the run folder; logs go into logs/ in it.
        samples: uint8 (n, height, width, 3), augmented images to show, at a run's beginning.
    """
    if not tensorflow_installed():
        logging.info("TensorFlow is not installed: history.csv is written, TensorBoard logs not")
        return []
    import tensorflow as tf

    folder = workdir / run_folder.LOG_FOLDER
    try:
        if samples is not None:
            with tf.summary.create_file_writer(str(folder / "train")).as_default():
                tf.summary.image("augmented", samples, step=0, max_outputs=len(samples))
        return [_TensorBoard(str(folder), write_graph=False)]
    except ModuleNotFoundError as error:
        logging.info("%s is not installed: TensorBoard logs are not written", error.name)
        return []


class _TensorBoard(keras.callbacks.TensorBoard):
    """Keras' callback, which would log the rate of the next step instead of the last."""

    def _collect_learning_rate(self, logs: dict[str, Any]) -> dict[str, Any]:
        return logs
