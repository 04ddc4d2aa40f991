"""Select rows of the paper's tables, and gather the results of their runs.

A run's folder is WORKDIR/table4/28-10-cifar10/seed1, as `training.run.train` leaves it; its result
is card.json. Rows with the same recipe share their runs. Scaled runs have a folder of their own and
count in its tables only.
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_wrn.errors import InputError
from keras_wrn.networks.recognition import count_parameters
from keras_wrn.paper.scale import Scale
from keras_wrn.paper.tables import CURVES, FIGURE_4, FIGURES, ROWS, TABLES, Row
from keras_wrn.system.files import read_json
from keras_wrn.training.recipe import Recipe
from keras_wrn.training.run_folder import first_difference
from keras_wrn.weights.card import CARD_FILE

# Options that may differ between runs of one row.
_FREE = ("seed", "precision", "evaluate_every", "synchronized_bn")


@dataclass(frozen=True)
class Run:
    """The result of a finished run.

    Attributes:
        folder: the run folder.
        seed: the run's seed.
        errors: test error in percent, on ImageNet top-1 and top-5; or a value in the row's unit.
        parameters: trainable parameters.
        epochs: epochs of training.
        hours: hours of training.
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
    """A row and its finished runs."""

    row: Row
    recipe: Recipe | None
    runs: tuple[Run, ...] = ()

    def errors(self, which: int = 0) -> list[float]:
        """Test errors in percent, sorted: top-1, or with `which` 1 ImageNet's top-5."""
        return sorted(run.errors[which] for run in self.runs)

    def median_run(self) -> Run:
        """The run of median error; of an even number, the lower of the two in the middle."""
        return sorted(self.runs, key=lambda run: run.errors)[(len(self.runs) - 1) // 2]

    def median(self, which: int = 0) -> float:
        """The median of the errors in percent."""
        return statistics.median(self.errors(which))


def median_and_range(values: Sequence[float]) -> str:
    """Format sorted values as "4.17 (4.00 to 4.50)", one value as "4.17"."""
    spread = f" ({values[0]:.2f} to {values[-1]:.2f})" if len(values) > 1 else ""
    return f"{statistics.median(values):.2f}{spread}"


def select(
    experiments: Sequence[str], rows: Sequence[str] = (), datasets: Sequence[str] = ()
) -> list[Row]:
    """Select rows of tables and figures.

    Args:
        experiments: such as "table4" and "figure2", or "all". Figure 4 has no rows.
        rows: keys of rows, such as "28-10"; empty: all.
        datasets: such as "cifar10"; empty: all.

    Raises:
        InputError: there is no such table, row or data set; the message lists those there are.

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
    """Select a row of each network that Figure 4 times; none of them is trained for it."""
    return [
        next(row for row in ROWS if (row.key, row.dataset) == (timed.system, "cifar10"))
        for timed in FIGURE_4
    ]


def recipe_for(row: Row, scale: Scale | None) -> Recipe | None:
    """The recipe of a row, scaled down if `scale` is given; None if nothing trains the row."""
    return scale.smaller(row.recipe) if scale and row.recipe else row.recipe


def folder_of(row: Row, workdir: Path, scale: Scale | None) -> Path:
    """The folder of a row's runs, which rows with the same recipe share."""
    recipe = recipe_for(row, scale)
    first = next(r for r in ROWS if r is row or (recipe and recipe_for(r, scale) == recipe))
    return (workdir / scale.folder if scale else workdir) / first.folder


def without_twins(rows: Sequence[Row], scale: Scale | None) -> list[Row]:
    """Drop rows whose runs a table has already: on the digits, several data sets are one."""
    if scale is None or scale.share is not None:
        return list(rows)
    first: dict[tuple[str, Path], Row] = {}
    for row in rows:
        first.setdefault((row.table, folder_of(row, Path(), scale)), row)
    return list(first.values())


def gather(row: Row, workdir: Path, scale: Scale | None = None) -> Outcome:
    """Read the finished runs of a row.

    Raises:
        InputError: a card is damaged, or of another recipe.
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
        stored = Recipe.from_dict(theirs).to_dict()
        wrong = first_difference({key: stored[key] for key in ours}, ours)
        if not wrong and card.get("epochs", theirs["epochs"]) != theirs["epochs"]:
            wrong = f"a callback ended it after {card['epochs']} of {theirs['epochs']} epochs"
    if wrong:
        raise InputError(
            f"{path} is of another experiment than {row.folder}: {wrong}. Move that run elsewhere."
        )
    return run


def _wrong_of_detector(card: dict[str, Any], row: Row) -> str:
    """Why a detector's run is another experiment than its row's; "" if it is not."""
    if card["metrics"]["photos"] != "held out":
        return f"its {row.unit} is of the photos that it was trained on"
    ours = dict(row.settings)
    return first_difference({key: card["recipe"][key] for key in ours}, ours)


def check_networks(rows: Sequence[Row], scale: Scale | None = None) -> Iterator[dict[str, Any]]:
    """Build the network of each row without weights and count its parameters.

    In Keras' stateless scope variables have a shape but no values, so the 193 million parameters
    of WRN-34-3 take no memory. Clears the Keras session afterwards.

    Args:
        rows: of `select`.
        scale: how the rows are scaled down, if at all; the counts are then not the paper's.

    Yields:
        For each row with a recipe: "row", "parameters", "multiply_adds" per image, and "right":
        whether the parameters are the paper's, None if scaled.
    """
    import keras

    from keras_wrn.applications import build_network
    from keras_wrn.training.cost import multiply_adds
    from keras_wrn.training.model import network_card

    counted: dict[str, tuple[int, int]] = {}
    for row in rows:
        recipe = recipe_for(row, scale)
        if recipe is None:
            continue
        classes = {"cifar100": 100, "imagenet": 1000}.get(recipe.dataset, 10)
        card = network_card(recipe, (recipe.image_size, recipe.image_size, 3), classes)
        # Dropout and stochastic depth have no parameters.
        card |= {"dropout": 0.0, "stochastic_depth": 0.0} if recipe.form == "cifar" else {}
        if str(card) not in counted:
            with keras.StatelessScope(initialize_variables=False):
                network = build_network(card)
            parameters = count_parameters(network)
            counted[str(card)] = (parameters, multiply_adds(network))
            keras.backend.clear_session()
        parameters, multiplications = counted[str(card)]
        yield {
            "row": row,
            "parameters": parameters,
            "multiply_adds": multiplications,
            "right": None if scale else parameters == row.parameters,
        }
