"""Command-line flags of a recipe script: one for each field of `Recipe`, and two folders.

The scripts in recipes/ are read from top to bottom; this is the part they share.
"""

import dataclasses
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging

from keras_wrn.errors import InputError, Interrupted
from keras_wrn.system.backend import require_keras
from keras_wrn.system.console import quiet_stderr, quiet_tensorflow
from keras_wrn.system.huge_pages import restart_with_huge_pages
from keras_wrn.training.recipe import Recipe
from keras_wrn.weights.card import TEST_SET, metrics_of

LISTS = ("drop_epochs", "train_sizes", "size_epochs")
# Flags that other recipes ignore. A recipe script may have defaults for them all the same.
ONLY: tuple[tuple[str, str, Callable[[Recipe], bool]], ...] = (
    (
        "policy_operations policy_magnitude",
        "with policy=rand_augment",
        lambda r: r.policy == "rand_augment",
    ),
    ("teacher_share temperature", "with a teacher", lambda r: r.teacher != ""),
    (
        "drop_epochs drop_factor reset_velocity",
        "with schedule=steps",
        lambda r: r.schedule == "steps",
    ),
    ("pad", "without random_resized_crop", lambda r: not r.random_resized_crop),
)


def run(recipe: Recipe, finish: Callable[[str], None] | None = None) -> None:
    """Parse the flags, train the recipe they describe, and say in a sentence what went wrong.

    Args:
        recipe: the defaults of the flags.
        finish: called with the run folder when the run is done.
    """
    restart_with_huge_pages()
    define(recipe)
    flags.DEFINE_string(
        "workdir",
        None,
        "run folder, where an interrupted run goes on; default runs/DATASET-NETWORK-SEED",
    )
    flags.DEFINE_string("data_dir", None, "where the data set is; default ~/.keras/datasets")
    app.run(lambda _: _main(recipe, finish))


def define(defaults: Any) -> None:
    """Define a flag for each `option` of a dataclass, with its value as the default."""
    types_of = typing.get_type_hints(type(defaults))
    for field in dataclasses.fields(defaults):
        value = getattr(defaults, field.name)
        text = field.metadata["help"]
        kind = types_of[field.name]
        if isinstance(kind, types.UnionType):
            kind = next(option for option in kind.__args__ if option is not type(None))
        if kind is bool:
            flags.DEFINE_bool(field.name, value, text)
        elif kind is int:
            flags.DEFINE_integer(field.name, value, text)
        elif kind is float:
            flags.DEFINE_float(field.name, value, text)
        elif kind is str:
            flags.DEFINE_string(field.name, value, text)
        else:
            flags.DEFINE_list(field.name, [str(item) for item in value], text)


def from_flags(recipe: Recipe) -> Recipe:
    """The recipe that the command line describes.

    Where --epochs is given, the drops of the rate, the changes of size and the warm-up keep their
    share of the run, unless they are given too. With --norandom_resized_crop there is no resize,
    unless it is given too. What is given and would be ignored is refused.
    """
    values = flags.FLAGS
    given = {f.name: values[f.name].value for f in dataclasses.fields(Recipe)}
    for name in LISTS:
        given[name] = _whole_numbers(name, given[name])
    if values["epochs"].present:
        shorter = recipe.shortened(max(1, given["epochs"]))
        for name in ("drop_epochs", "size_epochs", "warmup_epochs"):
            if not values[name].present:
                given[name] = getattr(shorter, name)
    if not given["random_resized_crop"] and not values["resize"].present:
        given["resize"] = 0
    chosen = Recipe(**given)
    for names, where, used in ONLY:
        for name in names.split():
            if values[name].present and not used(chosen):
                raise InputError(
                    f"`{name}` has an effect only {where}. Leave it out. "
                    f"Received: {name}={getattr(chosen, name)!r}"
                )
    return chosen


def _whole_numbers(name: str, texts: list[str]) -> tuple[int, ...]:
    try:
        return tuple(int(text) for text in texts)
    except ValueError as error:
        raise InputError(
            f"`{name}` must be whole numbers with commas between them, such as 60,120,160. "
            f"Received: {name}={','.join(texts)}"
        ) from error


def _main(recipe: Recipe, finish: Callable[[str], None] | None) -> None:
    quiet_tensorflow()
    logging.set_verbosity(logging.INFO)
    try:
        chosen = from_flags(recipe)
        data = chosen.dataset.rstrip("/").rsplit("/", 1)[-1]
        workdir = flags.FLAGS.workdir or f"runs/{data}-{chosen.network_name}-{chosen.seed}"
        with quiet_stderr():
            require_keras()
        from keras_wrn.training.run import train

        card = train(chosen, workdir, data_dir=flags.FLAGS.data_dir)
        print(_summary(card, workdir))
        if finish is not None:
            finish(workdir)
    except Interrupted as stop:
        print(f"{stop}; the same command goes on from there", file=sys.stderr)
        sys.exit(128 + stop.signal)
    except (InputError, ImportError, OSError) as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        sys.exit(2)


def _summary(card: dict[str, Any], workdir: str) -> str:
    metrics = card["metrics"]
    images = "test images" if metrics_of(card) == TEST_SET else metrics_of(card)
    return (
        f"{card['name']} on {card['dataset']}: error {100 * metrics['error']:.2f} %, "
        f"NLL {metrics['nll']:.3f}, ECE {metrics['ece']:.3f} on {metrics['n']:,} {images}; "
        f"{card['parameters']:,} parameters, {card['epochs']} epochs in "
        f"{60 * card['hours']:.1f} minutes. Everything about it is in {workdir}."
    )
