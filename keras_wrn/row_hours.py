"""The hours that a row of the paper takes here, at the speed of a few training steps."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from keras_wrn import run_folder, step_time
from keras_wrn.errors import InputError
from keras_wrn.paper_systems import TRAIN_IMAGES
from keras_wrn.paper_tables import Row
from keras_wrn.recipe import Recipe

SPEED_FILE = "speed.json"
# What recipes/coco.py does unasked; Table 9's detector has no `Recipe`.
DETECTOR = {"epochs": 12, "image_size": 512, "batch_size": 16}
_PHOTOS, _CLASSES = 117_266, 80  # of COCO's train2017, those with boxes
_BOXES, _MOST_BOXES = 7, 93  # of a photo there, on average and at most
_STEPS, _TIMINGS = 4, 3  # of a row's speed
# What is stored of a speed.
_POSITIVE = ("images_per_second", "batch", "image_size")
_FACTS = {*_POSITIVE, "multiply_adds", "network", "precision", "n", "hardware", "date"}


def measure_speeds(
    rows: Sequence[Row], workdir: Path, *, precision: str = "", batch: int = 0
) -> None:
    """Time a few steps of each row's network, for the hours that the row would take.

    What has been timed with this batch size is not timed again. The results are in speed.json of
    the work folder.

    Args:
        rows: of `reproduction.select`.
        workdir: the folder of all runs.
        precision: as `Recipe.precision`; "" for the recipe's own. Detectors have float32 alone.
        batch: images a step; 0 for the recipe's own batch size.
    """
    import keras

    speeds = read_speeds(workdir)
    for row in rows:
        if row.recipe is None and not row.unit:
            continue
        recipe = _in_precision(row, precision)
        images = batch or (recipe.batch_size if recipe else DETECTOR["batch_size"])
        network = speed_key(recipe) if recipe else _detector_key(row)
        key = f"{network}, {images} a step"
        if key in speeds:
            continue
        keras.backend.clear_session()
        if recipe:
            times = step_time.time_steps({row.folder: recipe}, images, _STEPS, _TIMINGS)
        else:
            times = _time_detector(row, images)
        rate = images / statistics.median(times[row.folder])
        speeds[key] = {
            "network": network,
            "images_per_second": rate,
            "multiply_adds": row.multiply_adds,
            "image_size": recipe.image_size if recipe else DETECTOR["image_size"],
            "precision": recipe.precision if recipe else "float32",
            "batch": images,
            "n": _TIMINGS,
            **step_time.here(),
        }
        workdir.mkdir(parents=True, exist_ok=True)
        run_folder.write_json(workdir / SPEED_FILE, speeds)
        logging.info("%s: %.3g images/s", key, rate)


def _in_precision(row: Row, precision: str) -> Recipe | None:
    if row.recipe is None:
        return None
    return dataclasses.replace(row.recipe, precision=precision or row.recipe.precision)


def _time_detector(row: Row, batch: int) -> dict[str, list[float]]:
    """`step_time.time_steps` of a row's detector, on noise with as many boxes as COCO has."""
    import tensorflow as tf

    from keras_wrn import detection
    from keras_wrn.coco import PAD

    settings, size = dict(row.settings), DETECTOR["image_size"]
    detector = detection.build_detector(
        _CLASSES, depth=settings["depth"], width=settings["width"], image_size=size
    )
    detection.compile_detector(detector, 1e-4)
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    boxes = np.full((batch, _MOST_BOXES, 4), PAD, np.float32)
    classes = np.full((batch, _MOST_BOXES), PAD, np.float32)
    for number in range(_BOXES):
        boxes[:, number], classes[:, number] = (32 * number, 32 * number, 64, 64), number
    noise = tf.data.Dataset.from_tensors((images, {"boxes": boxes, "classes": classes}))
    fits = {row.folder: (detector, noise.repeat(_STEPS + 1))}
    return step_time.time_fits(fits, _STEPS, _TIMINGS)


def read_speeds(workdir: Path) -> dict[str, Any]:
    """What `measure_speeds` has stored; empty where it has not.

    Raises:
        InputError: the file is damaged.
    """
    path = workdir / SPEED_FILE
    speeds = run_folder.read_json(path) if path.exists() else {}
    try:
        whole = all(of.keys() >= _FACTS for of in speeds.values())
        whole = whole and all(of[n] > 0 for of in speeds.values() for n in _POSITIVE)
        whole = whole and all(of["multiply_adds"] >= 0 for of in speeds.values())
    except (AttributeError, TypeError):
        whole = False
    if not whole:
        raise InputError(f"{path} is damaged. Delete it to time again.")
    return speeds


def speed_key(recipe: Recipe) -> str:
    """What makes a step's time: the network, the image size and the precision."""
    blocks = f" N={recipe.blocks_per_group}" if recipe.blocks_per_group else ""
    return f"{recipe.network_name}{blocks}, {recipe.image_size} px, {recipe.precision}"


def _detector_key(row: Row) -> str:
    return f"RetinaNet on {row.system}, {DETECTOR['image_size']} px, float32"


def hours(row: Row, speeds: Mapping[str, Any], precision: str = "") -> float | None:
    """Hours of the training steps of one run, at a measured speed.

    Where the row's own network was not timed, the timed one of the same image size that is nearest
    to it in multiply-adds stands for it, in proportion. Of several batch sizes the nearest to the
    recipe's counts.

    Args:
        row: of a table.
        speeds: of `read_speeds`.
        precision: as `Recipe.precision`; "" for the recipe's own.

    Returns:
        Hours, or None where nothing like it was timed in this precision, or nothing trains it.
    """
    recipe = _in_precision(row, precision)
    if recipe is None:
        timed = [s for s in speeds.values() if row.unit and s["network"] == _detector_key(row)]
        if not timed:
            return None
        like = min(timed, key=lambda speed: abs(speed["batch"] - DETECTOR["batch_size"]))
        return DETECTOR["epochs"] * _PHOTOS / like["images_per_second"] / 3600
    images = TRAIN_IMAGES[row.dataset]
    seen = recipe.epochs * (images - images % recipe.batch_size)
    wanted = (recipe.precision, recipe.image_size)
    alike = [s for s in speeds.values() if (s["precision"], s["image_size"]) == wanted]
    alike = [s for s in alike if s["network"] == speed_key(recipe)] or alike
    if not alike:
        return None

    def distance(speed: Mapping[str, Any]) -> tuple[float, int]:
        size = abs(math.log(speed["multiply_adds"] / row.multiply_adds))
        return size, abs(speed["batch"] - recipe.batch_size)

    near = min(alike, key=distance)
    rate = near["images_per_second"] * near["multiply_adds"] / row.multiply_adds
    return seen / rate / 3600
