"""Time training steps of several networks in turn, for the paper's Figure 4."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from keras_wrn.errors import InputError
from keras_wrn.paper.scale import PLAIN, Scale
from keras_wrn.paper.systems import recipe_of
from keras_wrn.paper.tables import FIGURE_4, FIGURE_4_BATCH
from keras_wrn.system.files import read_json, write_json
from keras_wrn.system.machine import conditions
from keras_wrn.training.recipe import Recipe

REFERENCE = "40-4"  # the denominator of Figure 4's ratios
# Keras traces 1,001 layers for minutes; a third of them shows the same on CPUs.
_SCALED_DEPTH = ("pre-resnet-326", {"depth": 326})
_SCALED_BATCH = 8  # images
SCALED_FIGURE_4 = "SCALED DOWN: 8 images a step in place of 32, and 326 layers in place of 1,001."


def time_steps(
    recipes: Mapping[str, Recipe], batch: int, steps: int, repeats: int
) -> dict[str, list[float]]:
    """Time training steps (forward, backward, update) of several networks in turn.

    The images are noise in memory, without augmentation.

    Args:
        recipes: the networks and optimisers, by any name.
        batch: images per step.
        steps: steps per timing.
        repeats: timings per network. Each round times every network once.

    Returns:
        Name -> seconds per step, `repeats` of them.
    """
    from keras_wrn.images.preprocessing import PREPROCESSING
    from keras_wrn.training.batches import InOrder, untuned
    from keras_wrn.training.model import build

    rng = np.random.default_rng(0)
    fits = {}
    for name, recipe in recipes.items():
        known = PREPROCESSING[recipe.dataset]
        names = known.class_names or ("",) * 1000
        size = recipe.image_size
        count = (steps + 1) * batch
        bare = dataclasses.replace(recipe, batch_size=batch, schedule="constant", **PLAIN)
        images = rng.integers(0, 256, (count, size, size, 3), np.uint8)
        labels = rng.integers(0, len(names), count)
        model = build(bare, dataclasses.replace(known, class_names=names), (size, size, 3), 1).model
        fits[name] = (model, untuned(InOrder(images, labels, batch)))
    return time_fits(fits, steps, repeats)


def time_fits(
    fits: Mapping[str, tuple[Any, Any]], steps: int, repeats: int
) -> dict[str, list[float]]:
    """Time training steps of compiled models in turn.

    The first call of `fit` compiles, so it does not count; nor does the first step of each call.

    Args:
        fits: name -> (compiled model, `steps` + 1 batches).
        steps: steps per timing.
        repeats: timings per model.

    Returns:
        Name -> seconds per step, `repeats` of them.
    """
    from keras_wrn.training.callbacks import StepClock

    seconds: dict[str, list[float]] = {name: [] for name in fits}
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


def time_figure_4(
    workdir: Path, *, scale: Scale | None = None, precision: str = "", repeats: int = 0
) -> dict[str, Any]:
    """Time the networks of Figure 4 and store the result in the work folder.

    Args:
        workdir: the folder of all runs.
        scale: if given, 8 images per step, not 32, and 326 layers, not 1,001. Widths stay: the
            figure compares thin and wide networks.
        precision: as `Recipe.precision`; "" for float32.
        repeats: timings per network; 0: 10, or 3 if scaled.

    Returns:
        The stored result: seconds per step by system, and how they were measured.
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
        **conditions(),
    }
    path = figure_4_path(workdir, scale, precision)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result)
    return result


def figure_4_path(workdir: Path, scale: Scale | None, precision: str = "") -> Path:
    """The file of Figure 4's times; `precision` "" is float32."""
    kind = f"-{precision}" if precision not in ("", "float32") else ""
    return workdir / ("scaled-figure4" if scale else "figure4") / f"timing{kind}.json"


def read_figure_4(
    workdir: Path, scale: Scale | None = None, precision: str = ""
) -> dict[str, Any] | None:
    """Read the stored times; None if there are none. Raises InputError if they are damaged."""
    path = figure_4_path(workdir, scale, precision)
    if not path.exists():
        return None
    result = read_json(path)
    try:
        times = result["seconds"][REFERENCE]
        columns = result["seconds"].values()
        complete = all(len(seconds) == len(times) > 0 for seconds in columns)
        complete = complete and all(t > 0 for seconds in columns for t in seconds)
        if not complete or not {"minibatch", "precision", "hardware", "date"} <= result.keys():
            raise ValueError("times are missing")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged: {error}. Delete it to time again.") from error
    return result


def ratios(seconds: Mapping[str, Sequence[float]], system: str) -> list[float]:
    """Divide a system's times by WRN-40-4's, timing by timing; sorted.

    Example:
        >>> ratios({"40-4": [1.0, 2.0], "16-10": [3.0, 4.0]}, "16-10")
        [2.0, 3.0]
    """
    return sorted(a / b for a, b in zip(seconds[system], seconds[REFERENCE], strict=True))
