"""How long a training step takes here: Figure 4, and the hours that a row of the paper needs."""

import dataclasses
import datetime
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from keras_wrn import run_folder
from keras_wrn.errors import InputError
from keras_wrn.paper_systems import TRAIN_IMAGES, recipe_of
from keras_wrn.paper_tables import FIGURE_4, FIGURE_4_BATCH, Row
from keras_wrn.recipe import Recipe
from keras_wrn.scaled_down import Scale

SPEED_FILE = "speed.json"
REFERENCE = "40-4"  # what Figure 4's ratios are to
_STEPS, _TIMINGS = 4, 3  # of a row's speed
# What is stored of a speed.
_POSITIVE = ("images_per_second", "multiply_adds", "batch", "image_size")
_FACTS = {*_POSITIVE, "network", "precision", "n", "hardware", "date"}
# Keras traces 1,001 layers for minutes; on CPUs a third of them shows the same.
_SCALED_DEPTH = ("pre-resnet-326", {"depth": 326})
_SCALED_BATCH = 8  # images
SCALED_FIGURE_4 = "SCALED DOWN: 8 images a step in place of 32, and 326 layers in place of 1,001."


def time_steps(
    recipes: Mapping[str, Recipe], batch: int, steps: int, repeats: int
) -> dict[str, list[float]]:
    """Time training steps, forward, backward and update, of several networks in turn.

    Images are noise in memory and nothing is augmented. The first call of each network, which
    compiles it, does not count, and of each call neither does the first step, with what `fit` does
    before it.

    Args:
        recipes: by any names.
        batch: images a step.
        steps: steps of one timing.
        repeats: timings of each network; all networks are timed once before one is again.

    Returns:
        Seconds a step, `repeats` of them for each name.
    """
    from keras_wrn import trainer
    from keras_wrn.batches import InOrder
    from keras_wrn.callbacks import StepClock
    from keras_wrn.preprocessing import PREPROCESSING
    from keras_wrn.untuned import untuned

    rng = np.random.default_rng(0)
    fits = {}
    for name, recipe in recipes.items():
        known = PREPROCESSING[recipe.dataset]
        names = known.class_names or ("",) * 1000
        size = recipe.image_size
        count = (steps + 1) * batch
        images = rng.integers(0, 256, (count, size, size, 3), np.uint8)
        labels = rng.integers(0, len(names), count)
        model = trainer.build(
            _bare(recipe, batch), dataclasses.replace(known, class_names=names), (size, size, 3), 1
        ).model
        fits[name] = (model, untuned(InOrder(images, labels, batch)))
    seconds: dict[str, list[float]] = {name: [] for name in recipes}
    for repeat in range(repeats + 1):
        for name, (model, batches) in fits.items():
            clock = StepClock()
            start = time.perf_counter()
            model.fit(batches, shuffle=False, verbose=0, callbacks=[clock])
            if repeat:
                seconds[name].append(clock.seconds / steps)
            else:
                logging.info("%s: compiled in %.0f s", name, time.perf_counter() - start)
    return seconds


def _bare(recipe: Recipe, batch: int) -> Recipe:
    """The network and optimiser of a recipe, without what is done to its images."""
    return dataclasses.replace(
        recipe,
        batch_size=batch,
        pad=0,
        flip=False,
        whitening=False,
        random_resized_crop=False,
        resize=0,
        color_jitter=0.0,
        lighting=0.0,
        schedule="constant",
    )


def time_figure_4(
    workdir: Path, *, scale: Scale | None = None, precision: str = "", repeats: int = 0
) -> dict[str, Any]:
    """Time the networks of Figure 4 and store the result in the work folder.

    Args:
        workdir: the folder of all runs.
        scale: makes 8 images a step of 32, and 326 layers of 1,001; widths stay, since thin
            and wide are what is compared.
        precision: as `Recipe.precision`; "" for float32.
        repeats: timings of each network; by default 10, scaled 3.

    Returns:
        What is stored: seconds a step by system, and where and how they were measured.
    """
    changes = {"precision": precision or "float32"}
    recipes = {timed.system: recipe_of("cifar10", timed.system, **changes) for timed in FIGURE_4}
    batch, steps = FIGURE_4_BATCH, 20
    if scale:
        name, shallower = _SCALED_DEPTH
        deep = recipes.pop("pre-resnet-1001")
        recipes[name] = dataclasses.replace(deep, **shallower)  # type: ignore[arg-type]
        batch, steps = _SCALED_BATCH, 2
    seconds = time_steps(recipes, batch, steps, repeats or (3 if scale else 10))
    result = {
        "format": 1,
        "minibatch": batch,
        "steps": steps,
        "seconds": seconds,
        "precision": changes["precision"],
        **_here(),
    }
    path = figure_4_path(workdir, scale, precision)
    path.parent.mkdir(parents=True, exist_ok=True)
    run_folder.write_json(path, result)
    return result


def figure_4_path(workdir: Path, scale: Scale | None, precision: str = "") -> Path:
    """Where the times of Figure 4 are stored; "" is float32."""
    kind = f"-{precision}" if precision not in ("", "float32") else ""
    return workdir / ("scaled-figure4" if scale else "figure4") / f"timing{kind}.json"


def read_figure_4(
    workdir: Path, scale: Scale | None = None, precision: str = ""
) -> dict[str, Any] | None:
    """The stored times, or None; raises InputError where they are damaged."""
    path = figure_4_path(workdir, scale, precision)
    if not path.exists():
        return None
    result = run_folder.read_json(path)
    try:
        times = result["seconds"][REFERENCE]
        whole = all(len(of) == len(times) > 0 for of in result["seconds"].values())
        whole = whole and all(t > 0 for of in result["seconds"].values() for t in of)
        if not whole or not {"minibatch", "precision", "hardware", "date"} <= result.keys():
            raise ValueError("times are missing")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged: {error}. Delete it to time again.") from error
    return result


def ratios(seconds: Mapping[str, Sequence[float]], system: str) -> list[float]:
    """A system's times over those of WRN-40-4, timing by timing, sorted.

    Example:
        >>> ratios({"40-4": [1.0, 2.0], "16-10": [3.0, 4.0]}, "16-10")
        [2.0, 3.0]
    """
    return sorted(a / b for a, b in zip(seconds[system], seconds[REFERENCE], strict=True))


def measure_speeds(
    rows: Sequence[Row], workdir: Path, *, precision: str = "", batch: int = 0
) -> None:
    """Time a few steps of each row's network, for the hours that the row would take.

    What has been timed with this batch size is not timed again. The results are in speed.json of
    the work folder.

    Args:
        rows: of `reproduction.select`.
        workdir: the folder of all runs.
        precision: as `Recipe.precision`; "" for the recipe's own.
        batch: images a step; 0 for the recipe's own batch size.
    """
    import keras

    speeds = read_speeds(workdir)
    for row in rows:
        if row.recipe is None:
            continue
        recipe = dataclasses.replace(row.recipe, precision=precision or row.recipe.precision)
        images = batch or recipe.batch_size
        key = f"{speed_key(recipe)}, {images} a step"
        if key in speeds:
            continue
        keras.backend.clear_session()
        times = time_steps({row.folder: recipe}, images, _STEPS, _TIMINGS)[row.folder]
        rate = images / statistics.median(times)
        speeds[key] = {
            "network": speed_key(recipe),
            "images_per_second": rate,
            "multiply_adds": row.multiply_adds,
            "image_size": recipe.image_size,
            "precision": recipe.precision,
            "batch": images,
            "n": _TIMINGS,
            **_here(),
        }
        workdir.mkdir(parents=True, exist_ok=True)
        run_folder.write_json(workdir / SPEED_FILE, speeds)
        logging.info("%s: %.3g images/s", key, rate)


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
    except (AttributeError, TypeError):
        whole = False
    if not whole:
        raise InputError(f"{path} is damaged. Delete it to time again.")
    return speeds


def speed_key(recipe: Recipe) -> str:
    """What makes a step's time: the network, the image size and the precision."""
    blocks = f" N={recipe.blocks_per_group}" if recipe.blocks_per_group else ""
    return f"{recipe.network_name}{blocks}, {recipe.image_size} px, {recipe.precision}"


def hours(row: Row, speeds: Mapping[str, Any], precision: str = "") -> float | None:
    """Hours of the training steps of one run, at a measured speed.

    Where the row's own network was not timed, the timed one of the same image size that is nearest
    to it in multiply-adds stands for it, in proportion. Of several batch sizes the nearest to the
    recipe's counts.

    Args:
        row: with a recipe.
        speeds: of `read_speeds`.
        precision: as `Recipe.precision`; "" for the recipe's own.

    Returns:
        Hours, or None where nothing like it was timed in this precision.
    """
    if row.recipe is None:
        return None
    recipe = dataclasses.replace(row.recipe, precision=precision or row.recipe.precision)
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


def _here() -> dict[str, Any]:
    return {
        "hardware": run_folder.hardware(),
        "versions": run_folder.versions(),
        "date": datetime.date.today().isoformat(),
    }
