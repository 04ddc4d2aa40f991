"""Test error against the FLOP of the training run, beside public records.

    python benchmarks/accuracy_per_flop.py runs/seed1 runs/seed2 saved_models/wrn-16-4-cifar10
    python benchmarks/accuracy_per_flop.py runs/* --predict 28-10 --pflop 30,67

Reads the cards of finished runs or published weights. Runs that differ only in the seed are one
row, with n and the standard deviation. FLOP are those of convolutions and dense layers, forward and
backward. The records are of other networks, as their authors published them; most use changes of
architecture that a WRN of the paper's shape cannot have. airbench's are averages over moved and
mirrored test images. --mirror adds the runs' error averaged over each image and its mirror image,
the closest comparison at twice the cost of inference.

--predict extrapolates a curve through the runs to another network. The curve is a least-squares fit
to every run: the logarithm of the error is linear in the logarithms of the network's FLOP per image
and of the number of training images; smaller images count by their FLOP. The curve has no floor, so
far from the runs it is too optimistic. The printed range is its prediction without one of the rows.
A second estimate is printed if the paper trained both that network and a run's network: the run's
error, moved along the curve to as many images, times the ratio of the paper's errors.
"""

import dataclasses
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from interleaved import parse_network, run, write

from keras_wrn.errors import InputError
from keras_wrn.paper import tables
from keras_wrn.system import markdown
from keras_wrn.training.cost import FLOP_OF_TRAINING, multiply_adds_of, training_flop
from keras_wrn.training.recipe import Recipe
from keras_wrn.weights.card import TEST_SET, read_card

RECORDS = (
    ("airbench94 (Jordan 2024), CIFAR-10", 6.0, 0.36),
    ("airbench95 (Jordan 2024), CIFAR-10", 5.0, 1.4),
    ("airbench96 (Jordan 2024), CIFAR-10", 4.0, 4.9),
    ("airbench96 with data filtering, CIFAR-10", 4.0, 3.1),
    ("standard ResNet-18 (as airbench cites it), CIFAR-10", 4.0, 32.3),
    ("WRN-16-4 of the paper, 200 epochs, CIFAR-10", 5.02, 23.6),
    ("WRN-28-10 of the paper, 200 epochs, CIFAR-10", 4.00, 314.6),
)


def measure(folders: list[str]) -> None:
    """Print the table of the runs and the records."""
    options = flags.FLAGS
    network = options.predict and parse_network(options.predict)
    budgets = budgets_of(options.pflop)
    rows = measured(folders)
    if network and len({(row["recipe"]["dataset"], row["measured_on"]) for row in rows}) > 1:
        raise InputError("--predict is for runs of one data set, measured on the same images.")
    if options.mirror and any(row["measured_on"] != TEST_SET for row in rows):
        raise InputError("--mirror is for runs that were measured on the test set.")
    for row in rows if options.mirror else ():
        row["mirrored"] = [mirrored_error(folder) for folder in row["folders"]]
    lines = [
        [
            row["name"],
            summary(row["errors"]),
            summary(row["mirrored"]) if "mirrored" in row else "",
            len(row["errors"]),
            f"{row['pflop']:.3g}",
            f"{statistics.mean(row['hours']):.2f}",
            row["hardware"],
        ]
        for row in rows
    ]
    for name, error, pflop in RECORDS:
        lines.append([name, f"{error:.2f}", "", "", f"{pflop:.3g}", "", ""])
    header = ["what", "test error, %", "mirrored too", "n", "PFLOP", "hours", "hardware"]
    print(markdown.table(header, lines))
    promises = [predict(rows, network, pflop) for pflop in budgets] if network else []
    for promise in promises:
        print(
            f"\nWRN-{options.predict}, {promise['pflop']:g} PFLOP (as {promise['epochs']:.1f} "
            f"epochs of 50,000 images at full size): {promise['error']:.2f} % "
            f"({promise['least']:.2f} to {promise['most']:.2f} without one of the rows); the runs "
            f"are off by {promise['off']:.1%} at most"
        )
        for name, error in promise["by_ratio"].items():
            print(f"  {error:.2f} % by the paper's ratio to {name}")
    write({"rows": rows, "records": RECORDS, "predictions": promises})


def mirrored_error(folder: str) -> float:
    """Test error in percent, with probabilities averaged over each image and its mirror image.

    Raises:
        InputError: the folder cannot be loaded, or its data set is missing.
    """
    from keras_wrn import load_trained
    from keras_wrn.inference.classifier import class_probabilities
    from keras_wrn.inference.evaluation import top_k_error
    from keras_wrn.inference.own_images import images_of

    trained = load_trained(folder)
    images, labels = images_of(trained, "test").test
    both = [
        class_probabilities(trained.model, view, trained.preprocessing)
        for view in (images, images[:, :, ::-1])
    ]
    return 100 * top_k_error(sum(both), labels, 1)


def predict(rows: list[dict], network: tuple[int, int], pflop: float) -> dict[str, Any]:
    """Predict the error of a network by the curve through runs of several networks and lengths.

    Args:
        rows: of `measured`.
        network: depth and width; images are 32x32.
        pflop: PFLOP of its training.

    Returns:
        "pflop"; "epochs", of 50,000 images; "error", the test error in percent; "least" and "most",
        the predictions without one of the rows; "off", the largest relative error of the curve on
        the runs; "by_ratio", name of a row -> the error by the ratio of the paper's errors.

    Raises:
        InputError: there are fewer than four rows, or they do not differ in network and length.
    """
    card = {"builder": "WideResNet", "depth": network[0], "width": network[1], "classes": 10}
    flop_of_an_image = FLOP_OF_TRAINING * multiply_adds_of({**card, "input_shape": [32, 32, 3]})
    images = pflop * 1e15 / flop_of_an_image
    point = _point(flop_of_an_image, images)
    without_one = [_curve([row for row in rows if row is not left]) for left in rows]
    curve = _curve(rows)
    others = [np.exp(point @ coefficients) for coefficients in without_one]
    off = [
        abs(np.exp(_point_of(row) @ curve) / error - 1) for row in rows for error in row["errors"]
    ]
    return {
        "pflop": pflop,
        "epochs": images / 50_000,
        "error": float(np.exp(point @ curve)),
        "least": float(min(others)),
        "most": float(max(others)),
        "off": float(max(off)),
        "by_ratio": _by_ratio(rows, network, images, curve[2]),
    }


def _by_ratio(
    rows: list[dict], network: tuple[int, int], images: float, slope: float
) -> dict[str, float]:
    """The error after `images` images, by the paper's ratio to each row's network."""
    known = {
        (row.recipe.depth, row.recipe.width): row.errors[0]
        for row in tables.ROWS
        if row.recipe is not None
        and row.dataset == "cifar10"
        and row.table in ("table5", "table6")
        and (row.recipe.block, row.recipe.dropout) == ("B(3,3)", 0)
    }
    found = {}
    for row in rows:
        base = row["recipe"]["depth"], row["recipe"]["width"]
        if row["recipe"]["dataset"] == "cifar10" and network in known and base in known:
            factor = known[network] / known[base] * (images / _images_of(row)) ** slope
            found[row["name"]] = float(statistics.mean(row["errors"]) * factor)
    return found


def budgets_of(texts: list[str]) -> list[float]:
    """The numbers of --pflop."""
    try:
        budgets = [float(text) for text in texts]
    except ValueError:
        budgets = []
    if not budgets or not all(0 < budget < np.inf for budget in budgets):
        raise InputError(f"--pflop are numbers above 0. Received: {', '.join(texts)}.")
    return budgets


def _images_of(row: dict) -> float:
    """Training images of full size that cost as many FLOP as the run."""
    return row["pflop"] * 1e15 / row["flop_of_an_image"]


def _point(flop_of_an_image: float, images: float) -> np.ndarray:
    """The terms that the curve is linear in."""
    return np.array([1.0, np.log(flop_of_an_image), np.log(images)])


def _point_of(row: dict) -> np.ndarray:
    return _point(row["flop_of_an_image"], _images_of(row))


def _curve(rows: list[dict]) -> np.ndarray:
    errors = [error for row in rows for error in row["errors"]]
    where = np.array([_point_of(row) for row in rows for _ in row["errors"]]).reshape(-1, 3)
    if np.linalg.matrix_rank(where) < 3:
        raise InputError(
            "A prediction needs runs of two networks and of two lengths, and one row more. "
            f"Received: {', '.join(row['name'] for row in rows) or 'none'}."
        )
    return np.linalg.lstsq(where, np.log(errors), rcond=None)[0]


def summary(errors: list[float]) -> str:
    """Mean, standard deviation (from two) and each error: "5.10 ± 0.14 (5.00, 5.20)"."""
    deviation = f" ± {statistics.stdev(errors):.2f}" if len(errors) > 1 else ""
    each = ", ".join(f"{error:.2f}" for error in errors)
    return f"{statistics.mean(errors):.2f}{deviation} ({each})"


def measured(folders: list[str]) -> list[dict]:
    """A row for the runs of each recipe, in the order of their FLOP."""
    rows: dict[tuple[Recipe, int], dict] = {}
    for folder in folders:
        card = read_card(Path(folder)).to_dict()
        recipe = _recipe_of(card, folder)
        flop = card.get("training_flop") or training_flop(card)
        if flop is None:
            raise InputError(f"{folder} does not say how many steps it was trained for.")
        measured_on = card.get("metrics_of", TEST_SET)
        key = recipe, card["epochs"]  # fewer than the recipe's in a run that was ended early
        if key not in rows:
            rows[key] = {
                "name": f"{card['name']}, {card['epochs']} epochs, {card['dataset']}"
                + ("" if measured_on == TEST_SET else f", error of {measured_on}"),
                "measured_on": measured_on,
                "folders": [],
                "errors": [],
                "hours": [],
                "pflop": flop / 1e15,
                "flop_of_an_image": FLOP_OF_TRAINING * multiply_adds_of(card["network"]),
                "hardware": card["hardware"],
                "recipe": card["recipe"],
            }
        row = rows[key]
        row["folders"].append(folder)
        row["errors"].append(100 * card["metrics"]["error"])
        row["hours"].append(card["hours"])
    return sorted(rows.values(), key=lambda row: row["pflop"])


def _recipe_of(card: dict, folder: str) -> Recipe:
    """The recipe without its seed; options that an older card lacks have their defaults."""
    try:
        recipe = Recipe.from_dict(card["recipe"])
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{folder} does not say by which recipe it was trained.") from None
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    return dataclasses.replace(recipe, seed=0, evaluate_every=1)


if __name__ == "__main__":
    flags.DEFINE_string("predict", None, "depth and width of a network to predict, such as 28-10")
    flags.DEFINE_bool("mirror", False, "also average over mirror images: twice the inference")
    flags.DEFINE_list("pflop", ["30"], "PFLOP of its training, such as 30,67")
    run(measure, takes_arguments=True)
