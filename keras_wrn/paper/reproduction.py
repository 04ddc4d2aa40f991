"""Select rows of the paper's tables, train them, and gather what the runs in a folder say.

A run lies in WORKDIR/table4/28-10-cifar10/seed1, as `training.train` leaves it; its card.json is
its result. Rows of one recipe share their runs, wherever the paper prints them. Scaled runs lie
in a folder of their own and count in its tables alone.
"""

import dataclasses
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import logging

from keras_wrn.errors import InputError
from keras_wrn.paper.scale import Scale
from keras_wrn.paper.tables import CURVES, FIGURE_4, FIGURES, ROWS, TABLES, Row
from keras_wrn.system.files import read_json
from keras_wrn.training.recipe import Recipe
from keras_wrn.weights.card import CARD_FILE

# What does not make another experiment of a run.
_FREE = ("seed", "precision", "evaluate_every", "synchronized_bn")


@dataclass(frozen=True)
class Run:
    """What one finished run says of itself.

    Attributes:
        folder: the run folder.
        seed: of the run.
        errors: test error in percent, for ImageNet top-1 and top-5; or what the row has instead.
        parameters: trainable parameters.
        epochs: of the run.
        hours: of training.
        made_on: hardware, precision and backend, in words.
    """

    folder: Path
    seed: int
    errors: tuple[float, ...]
    parameters: int
    epochs: int
    hours: float
    made_on: str


@dataclass(frozen=True)
class Outcome:
    """A row with the runs that there are of it."""

    row: Row
    recipe: Recipe | None
    runs: tuple[Run, ...] = ()

    def errors(self, which: int = 0) -> list[float]:
        """Test errors in percent, sorted: top-1, or top-5 of ImageNet with 1."""
        return sorted(run.errors[which] for run in self.runs)

    def median_run(self) -> Run:
        """The run whose error is the median; of an even number, the lower of the two."""
        return sorted(self.runs, key=lambda run: run.errors)[(len(self.runs) - 1) // 2]

    def median(self, which: int = 0) -> float:
        """The median of the errors in percent."""
        return statistics.median(self.errors(which))


def select(
    experiments: Sequence[str], rows: Sequence[str] = (), datasets: Sequence[str] = ()
) -> list[Row]:
    """The rows of tables and figures.

    Args:
        experiments: such as "table4" and "figure2", or "all". Figure 4 has no rows.
        rows: keys of rows, such as "28-10"; all without.
        datasets: such as "cifar10"; all without.

    Raises:
        InputError: a table, row or data set that there is not; the sentence says what there is.

    Example:
        >>> [row.folder for row in select(["table4"], ["28-10"])]
        ['table4/28-10-cifar10', 'table4/28-10-cifar100']
    """
    names = [*TABLES, *FIGURES]
    wanted = names if "all" in experiments else list(experiments)
    _known("experiment", [name for name in experiments if name != "all"], [*names, "all"])
    drawn = {c.folder for name in wanted for panel in CURVES.get(name, {}).values() for c in panel}
    found = [row for row in ROWS if row.table in wanted or row.folder in drawn]
    _known("row", rows, list(dict.fromkeys(row.key for row in found)))
    found = [row for row in found if not rows or row.key in rows]
    _known("data set", datasets, list(dict.fromkeys(row.dataset for row in found)))
    return [row for row in found if not datasets or row.dataset in datasets]


def _known(what: str, wanted: Sequence[str], there: Sequence[str]) -> None:
    unknown = [name for name in wanted if name not in there]
    if unknown:
        listed = f"There are: {', '.join(there)}." if there else "None has been selected."
        raise InputError(f"There is no {what} {', '.join(unknown)} here. {listed}")


def networks_of_figure_4() -> list[Row]:
    """A row of each network that Figure 4 times; it times them without training one."""
    return [
        next(row for row in ROWS if (row.key, row.dataset) == (timed.system, "cifar10"))
        for timed in FIGURE_4
    ]


def recipe_for(row: Row, scale: Scale | None) -> Recipe | None:
    """The recipe of a row, scaled down if so asked; None for a row that nothing here trains."""
    return scale.smaller(row.recipe) if scale and row.recipe else row.recipe


def folder_of(row: Row, workdir: Path, scale: Scale | None) -> Path:
    """The folder of a row's runs: that of the first row with the same recipe."""
    recipe = recipe_for(row, scale)
    first = next(r for r in ROWS if r is row or (recipe and recipe_for(r, scale) == recipe))
    return (workdir / scale.folder if scale else workdir) / first.folder


def without_twins(rows: Sequence[Row], scale: Scale | None) -> list[Row]:
    """Each run once in a table: on the digits, the rows of several data sets are the same."""
    if scale is None or scale.share is not None:
        return list(rows)
    first: dict[tuple[str, Path], Row] = {}
    for row in rows:
        first.setdefault((row.table, folder_of(row, Path(), scale)), row)
    return list(first.values())


def train_rows(
    rows: Sequence[Row],
    workdir: Path,
    *,
    runs: int | None = None,
    data_dir: str | None = None,
    scale: Scale | None = None,
    precision: str = "",
) -> list[str]:
    """Train what is not trained yet, the first seed of all rows before the second.

    Args:
        rows: of `select`.
        workdir: the folder of all runs; what was interrupted in it goes on.
        runs: how many of each row; by default as many as the paper's figure is of, and one of a
            scaled row.
        data_dir: where the data sets are; default ~/.keras/datasets.
        scale: how the rows are scaled down, if at all.
        precision: as `Recipe.precision`; "" for the recipe's own.

    Returns:
        Sentences about the rows that could not be trained, such as for missing data.
    """
    import keras

    from keras_wrn.training.run import train

    counts = {row.folder: runs or (1 if scale else row.runs) for row in rows if row.recipe}
    failures: dict[str, str] = {}
    for seed in range(1, max(counts.values(), default=0) + 1):
        for row in rows:
            recipe = recipe_for(row, scale)
            if recipe is None or seed > counts[row.folder] or row.folder in failures:
                continue
            recipe = dataclasses.replace(recipe, seed=seed, precision=precision or recipe.precision)
            folder = folder_of(row, workdir, scale) / f"seed{seed}"
            if not (folder / CARD_FILE).exists():
                logging.info("%s, seed %d", row.folder, seed)
            keras.backend.clear_session()
            try:
                train(recipe, folder, data_dir=data_dir)
            except InputError as error:
                failures[row.folder] = f"{row.folder}: {error}"
                logging.error("%s", failures[row.folder])
    return list(failures.values())


def gather(row: Row, workdir: Path, scale: Scale | None = None) -> Outcome:
    """What the finished runs of a row say.

    Raises:
        InputError: a card that is damaged, or of another recipe.
    """
    recipe = recipe_for(row, scale)
    if recipe is None and not row.command:
        return Outcome(row, None)
    cards = sorted(folder_of(row, workdir, scale).glob(f"seed*/{CARD_FILE}"))
    found = [_read_run(path, row, recipe) for path in cards]
    return Outcome(row, recipe, tuple(sorted(found, key=lambda run: run.seed)))


def _read_run(path: Path, row: Row, recipe: Recipe | None) -> Run:
    card = read_json(path)
    try:
        theirs, metrics = card["recipe"], card["metrics"]
        names = ("error", "top5_error") if row.dataset == "imagenet" else ("error",)
        wrong = _wrong_of_detector(card, row) if row.unit else ""
        if row.unit:
            names, metrics = (row.unit,), metrics["pycocotools"]
        run = Run(
            path.parent,
            int(theirs["seed"]),
            tuple(100 * float(metrics[name]) for name in names),
            int(card["parameters"]),
            int(theirs["epochs"]),
            float(card["hours"]),
            f"{card['hardware']}, {theirs.get('precision', 'float32')}, "
            f"{card['versions']['backend']}",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: it lacks or misstates {error}.") from error
    if recipe:
        ours = {key: value for key, value in recipe.to_dict().items() if key not in _FREE}
        wrong = _difference(ours, Recipe.from_dict(theirs).to_dict())
    if wrong:
        raise InputError(
            f"{path} is of another experiment than {row.folder}: {wrong}. Move that run elsewhere."
        )
    return run


def _wrong_of_detector(card: dict[str, Any], row: Row) -> str:
    """What makes a detector's run another experiment than its row's; "" if nothing does."""
    if card["metrics"]["photos"] != "held out":
        return f"its {row.unit} is of the photos that it was trained on"
    return _difference(dict(row.settings), card["recipe"])


def _difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """The first of our settings that is another there, in words; "" if none is."""
    for key, value in ours.items():
        if theirs[key] != value:
            return f"{key} is {theirs[key]!r} there and {value!r} here"
    return ""


def check_networks(rows: Sequence[Row], scale: Scale | None = None) -> Iterator[dict[str, Any]]:
    """Build the network of each row, without its weights, and count it.

    Keras' stateless scope makes variables that have a shape but no values, so that the 193
    million parameters of WRN-34-3 take no memory. The Keras session is cleared afterwards.

    Args:
        rows: of `select`.
        scale: how the rows are scaled down, if at all; the counts are then not the paper's.

    Yields:
        For each row with a recipe: "row", "parameters", "multiply_adds" of one image, and
        "right": whether the parameters are the paper's, None where they are scaled.
    """
    import keras

    from keras_wrn.applications.named import build_network
    from keras_wrn.training.cost import multiply_adds
    from keras_wrn.training.model import network_card

    counted: dict[str, tuple[int, int]] = {}
    for row in rows:
        recipe = recipe_for(row, scale)
        if recipe is None:
            continue
        classes = {"cifar100": 100, "imagenet": 1000}.get(recipe.dataset, 10)
        card = network_card(recipe, (recipe.image_size, recipe.image_size, 3), classes)
        # Neither has parameters.
        card |= {"dropout": 0.0, "stochastic_depth": 0.0} if recipe.form == "cifar" else {}
        if str(card) not in counted:
            with keras.StatelessScope(initialize_variables=False):
                network = build_network(card)
            parameters = sum(math.prod(v.shape) for v in network.trainable_variables)
            counted[str(card)] = (parameters, multiply_adds(network))
            keras.backend.clear_session()
        parameters, multiplications = counted[str(card)]
        yield {
            "row": row,
            "parameters": parameters,
            "multiply_adds": multiplications,
            "right": None if scale else parameters == row.parameters,
        }
