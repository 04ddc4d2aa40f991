"""The part that recipe scripts share: a flag for each field of `Recipe`, training, a summary."""

import dataclasses
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any

from absl import flags

from keras_wrn.cli import program
from keras_wrn.errors import InputError
from keras_wrn.training import run_folder
from keras_wrn.training.recipe import CONDITIONS, Recipe
from keras_wrn.weights.card import TEST_SET

DEFINE: dict[type, Callable[..., object]] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}
LISTS = ("drop_epochs", "train_sizes", "size_epochs")


def run(recipe: Recipe, finish: Callable[[str], None] | None = None) -> None:
    """Train the recipe that the command line describes, and exit; see `program.run`.

    Args:
        recipe: the defaults of the flags.
        finish: called with the run folder when the run is done.
    """
    define(recipe)
    flags.DEFINE_string(
        "workdir", None, "run folder; default runs/DATASET-NETWORK-SEED. A stopped run goes on"
    )
    flags.DEFINE_string("data_dir", None, "folder of the data set; default ~/.keras/datasets")
    show_in_help("workdir")
    show_in_help("data_dir")

    def main(words: list[str]) -> str:
        program.refuse_words(words)
        return _train(recipe, finish)

    program.run(main, trains=True)


def define(defaults: Any) -> None:
    """Define a flag for each field of a dataclass of `option`s, with its value as the default."""
    types_of = typing.get_type_hints(type(defaults))
    for field in dataclasses.fields(defaults):
        value = getattr(defaults, field.name)
        text = field.metadata["help"]
        kind = types_of[field.name]
        if isinstance(kind, types.UnionType):
            kind = next(option for option in kind.__args__ if option is not type(None))
        if kind in DEFINE:
            DEFINE[kind](field.name, value, text)
        else:
            flags.DEFINE_list(field.name, [str(item) for item in value], text)
        show_in_help(field.name)


def show_in_help(name: str) -> None:
    """Show a flag by --help, which else shows only those that the script itself defines."""
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])


def values(dataclass: type) -> dict[str, Any]:
    """The flags of a dataclass's fields, after `define`."""
    return {field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(dataclass)}


def from_flags(recipe: Recipe) -> Recipe:
    """The recipe that the command line describes.

    With --epochs, the epochs of drops, of sizes and of the warm-up keep their share of the run,
    unless they are given too. With --norandom_resized_crop images are not resized, unless --resize
    is given too.

    Args:
        recipe: the defaults of the flags.

    Raises:
        InputError: a value is refused by `Recipe`, or a given flag has no effect.
    """
    given = values(Recipe)
    for name in LISTS:
        given[name] = _whole_numbers(name, given[name])
    if flags.FLAGS["epochs"].present:
        shorter = recipe.shortened(max(1, given["epochs"]))
        for name in ("drop_epochs", "size_epochs", "warmup_epochs"):
            if not flags.FLAGS[name].present:
                given[name] = getattr(shorter, name)
    if not given["random_resized_crop"] and not flags.FLAGS["resize"].present:
        given["resize"] = 0
    chosen = Recipe(**given)
    # A script's defaults may be without effect; flags that are given may not.
    for names, condition, key, holds in CONDITIONS:
        for name in names:
            if flags.FLAGS[name].present and not holds(getattr(chosen, key)):
                raise InputError(
                    f"`{name}` has an effect only {condition}. Leave it out. "
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


def _train(recipe: Recipe, finish: Callable[[str], None] | None) -> str:
    chosen = from_flags(recipe)
    # Both separators count, and no name on Windows has a colon.
    data = PureWindowsPath(chosen.dataset.removeprefix("tfds:")).name.replace(":", "-")
    workdir = flags.FLAGS.workdir or f"runs/{data}-{chosen.network_name}-{chosen.seed}"
    # Before the seconds that a backend takes to start.
    run_folder.check_run(Path(workdir), chosen.to_dict(), Recipe().to_dict())
    program.start_keras()
    from keras_wrn.training.run import train
    from keras_wrn.training.workers import is_chief

    card = train(chosen, workdir, data_dir=flags.FLAGS.data_dir)
    if finish is not None and is_chief():
        finish(workdir)
    return _summary(card, workdir)


def _summary(card: dict[str, Any], workdir: str) -> str:
    metrics = card["metrics"]
    measured = card.get("metrics_of", TEST_SET)
    images = "test images" if measured == TEST_SET else measured
    return (
        f"{card['name']} on {card['dataset']}: error {100 * metrics['error']:.2f} %, "
        f"NLL {metrics['nll']:.3f}, ECE {metrics['ece']:.3f} on {metrics['n']:,} {images}; "
        f"{card['parameters']:,} parameters, {card['epochs']} epochs in "
        f"{60 * card['hours']:.1f} minutes. Everything about it is in {workdir}."
    )
