"""Estimate the hours that a row of the paper takes, from the speed of a few training steps."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from keras_wrn.errors import InputError
from keras_wrn.paper import step_time
from keras_wrn.paper.systems import TRAIN_IMAGES
from keras_wrn.paper.tables import Row
from keras_wrn.system import machine
from keras_wrn.system.files import read_json, write_json
from keras_wrn.training.recipe import Recipe

SPEED_FILE = "speed.json"
# The defaults of recipes/coco.py; Table 9's detector has no `Recipe`.
DETECTOR = {"epochs": 12, "image_size": 512, "batch_size": 16}
_CLASSES = 80  # of COCO
_BOXES, _MOST_BOXES = 7, 93  # per photo of train2017, mean and maximum
_STEPS, _TIMINGS = 4, 3  # per row
# The fields of a stored speed.
_POSITIVE = ("images_per_second", "batch", "image_size")
_FACTS = {*_POSITIVE, "multiply_adds", "network", "precision", "n", "hardware", "date"}


def measure_speeds(
    rows: Sequence[Row], workdir: Path, *, precision: str = "", batch: int = 0
) -> None:
    """Time a few training steps of each row's network and store them in WORKDIR/speed.json.

    Networks that are stored with this batch size are not timed again.

    Args:
        rows: of `reproduction.select`.
        workdir: the folder of all runs.
        precision: as `Recipe.precision`; "" for the recipe's own. Detectors have float32 only.
        batch: images per step; 0 for the recipe's own batch size.
    """
    import keras

    speeds = read_speeds(workdir)
    for row in rows:
        training = _training(row, precision)
        if training is None:
            continue
        images = batch or training.batch_size
        key = f"{training.network}, {images} a step"
        if key in speeds:
            continue
        keras.backend.clear_session()
        if training.recipe:
            recipes = {row.folder: training.recipe}
            times = step_time.time_steps(recipes, images, _STEPS, _TIMINGS)
        else:
            times = _time_detector(row, images)
        rate = images / statistics.median(times[row.folder])
        speeds[key] = {
            "network": training.network,
            "images_per_second": rate,
            "multiply_adds": row.multiply_adds,
            "image_size": training.image_size,
            "precision": training.precision,
            "batch": images,
            "n": _TIMINGS,
            **machine.conditions(),
        }
        workdir.mkdir(parents=True, exist_ok=True)
        write_json(workdir / SPEED_FILE, speeds)
        logging.info("%s: %.3g images/s", key, rate)


class _Training(NamedTuple):
    """What determines a row's hours; `images` counts those of all epochs."""

    network: str
    image_size: int
    precision: str
    batch_size: int
    images: int
    recipe: Recipe | None = None


def _training(row: Row, precision: str) -> _Training | None:
    """How a row is trained; None if nothing trains it."""
    images = TRAIN_IMAGES[row.dataset]
    if row.unit:
        size = DETECTOR["image_size"]
        network = f"RetinaNet on {row.system}, {size} px, float32"
        batch = DETECTOR["batch_size"]
        return _Training(network, size, "float32", batch, DETECTOR["epochs"] * images)
    if row.recipe is None:
        return None
    recipe = dataclasses.replace(row.recipe, precision=precision or row.recipe.precision)
    return _Training(
        speed_key(recipe),
        recipe.image_size,
        recipe.precision,
        recipe.batch_size,
        recipe.epochs * (images - images % recipe.batch_size),
        recipe,
    )


def _time_detector(row: Row, batch: int) -> dict[str, list[float]]:
    """Time training steps of a row's detector, on noise with as many boxes as COCO's photos."""
    import tensorflow as tf

    from keras_wrn.detection import retinanet
    from keras_wrn.detection.coco import PAD

    settings, size = dict(row.settings), DETECTOR["image_size"]
    detector = retinanet.build_detector(
        _CLASSES, depth=settings["depth"], width=settings["width"], image_size=size
    )
    retinanet.compile_detector(detector, 1e-4)
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    boxes = np.full((batch, _MOST_BOXES, 4), PAD, np.float32)
    classes = np.full((batch, _MOST_BOXES), PAD, np.float32)
    for number in range(_BOXES):
        boxes[:, number], classes[:, number] = (32 * number, 32 * number, 64, 64), number
    noise = tf.data.Dataset.from_tensors((images, {"boxes": boxes, "classes": classes}))
    fits = {row.folder: (detector, noise.repeat(_STEPS + 1))}
    return step_time.time_fits(fits, _STEPS, _TIMINGS)


def read_speeds(workdir: Path) -> dict[str, Any]:
    """Read the speeds that `measure_speeds` stored; empty if there are none.

    Raises:
        InputError: the file is damaged.
    """
    path = workdir / SPEED_FILE
    speeds = read_json(path) if path.exists() else {}
    try:
        complete = all(
            speed.keys() >= _FACTS
            and all(speed[name] > 0 for name in _POSITIVE)
            and speed["multiply_adds"] >= 0
            for speed in speeds.values()
        )
    except (AttributeError, TypeError):
        complete = False
    if not complete:
        raise InputError(f"{path} is damaged. Delete it to time again.")
    return speeds


def speed_key(recipe: Recipe) -> str:
    """The name of a timed network: with the image size and the precision."""
    blocks = f" N={recipe.blocks_per_group}" if recipe.blocks_per_group else ""
    return f"{recipe.network_name}{blocks}, {recipe.image_size} px, {recipe.precision}"


def estimated_hours(row: Row, speeds: Mapping[str, Any], precision: str = "") -> float | None:
    """Estimate the hours of one run's training steps from a measured speed.

    If the row's own network was not timed, the estimate scales the speed of the timed network of
    the same image size that is nearest in multiply-adds. Of several batch sizes, the nearest to
    the recipe's counts.

    Args:
        row: a row of `tables.ROWS`.
        speeds: of `read_speeds`.
        precision: as `Recipe.precision`; "" for the recipe's own.

    Returns:
        Hours, or None if no such network was timed in this precision, or nothing trains the row.
    """
    training = _training(row, precision)
    if training is None:
        return None
    wanted = (training.precision, training.image_size)
    alike = [s for s in speeds.values() if (s["precision"], s["image_size"]) == wanted]
    own = [s for s in alike if s["network"] == training.network]
    if own:
        near = min(own, key=lambda speed: abs(speed["batch"] - training.batch_size))
        return training.images / near["images_per_second"] / 3600
    alike = [s for s in alike if s["multiply_adds"] and row.multiply_adds]
    if not alike:
        return None

    def distance(speed: Mapping[str, Any]) -> tuple[float, int]:
        size = abs(math.log(speed["multiply_adds"] / row.multiply_adds))
        return size, abs(speed["batch"] - training.batch_size)

    near = min(alike, key=distance)
    rate = near["images_per_second"] * near["multiply_adds"] / row.multiply_adds
    return training.images / rate / 3600
