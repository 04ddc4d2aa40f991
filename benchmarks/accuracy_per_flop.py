"""Test error against the arithmetic that a training run took, beside the public records.

    python benchmarks/accuracy_per_flop.py runs/seed1 runs/seed2 saved_models/wrn-16-4-cifar10

Reads the cards of finished runs or published weights; runs that differ in the seed alone are one
row, with n and the standard deviation. Operations are those of convolutions and dense layers,
forward and backward. The records are other networks, most of them with tricks of architecture that
a WRN of the paper's shape cannot use; they are as their authors publish them.
"""

import dataclasses
import statistics
from pathlib import Path

from interleaved import markdown, run, write

from keras_wrn.cards import TEST_SET, metrics_of, read_card
from keras_wrn.cost import training_flop
from keras_wrn.errors import InputError
from keras_wrn.recipe import Recipe

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
    rows = measured(folders)
    lines = [
        [
            row["name"],
            said_errors(row["errors"]),
            len(row["errors"]),
            f"{row['pflop']:.3g}",
            f"{statistics.mean(row['hours']):.2f}",
            row["hardware"],
        ]
        for row in rows
    ]
    records = [[name, f"{error:.2f}", "", f"{pflop:.3g}", "", ""] for name, error, pflop in RECORDS]
    header = ["what", "test error, %", "n", "PFLOP", "hours", "hardware"]
    print(markdown(header, lines + records))
    write({"rows": rows, "records": RECORDS})


def said_errors(errors: list[float]) -> str:
    """Mean, standard deviation (of two or more) and each: "5.10 ± 0.14 (5.00, 5.20)"."""
    deviation = f" ± {statistics.stdev(errors):.2f}" if len(errors) > 1 else ""
    each = ", ".join(f"{error:.2f}" for error in errors)
    return f"{statistics.mean(errors):.2f}{deviation} ({each})"


def measured(folders: list[str]) -> list[dict]:
    """The runs in folders, those of one recipe together, in the order of their operations."""
    rows: dict[Recipe, dict] = {}
    for folder in folders:
        card = read_card(Path(folder))
        recipe = _recipe_of(card, folder)
        flop = card.get("training_flop") or training_flop(card)
        if flop is None:
            raise InputError(f"{folder} does not say how many steps it was trained for.")
        of = metrics_of(card)
        row = rows.setdefault(
            recipe,
            {
                "name": f"{card['name']}, {card['epochs']} epochs, {card['dataset']}"
                + ("" if of == TEST_SET else f", error of {of}"),
                "errors": [],
                "hours": [],
                "pflop": flop / 1e15,
                "hardware": card["hardware"],
                "recipe": card["recipe"],
            },
        )
        row["errors"].append(100 * card["metrics"]["error"])
        row["hours"].append(card["hours"])
    return sorted(rows.values(), key=lambda row: row["pflop"])


def _recipe_of(card: dict, folder: str) -> Recipe:
    """The recipe without its seed; cards of older versions leave out what they did not know."""
    try:
        recipe = Recipe.from_dict(card["recipe"])
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{folder} does not say by which recipe it was trained.") from None
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    return dataclasses.replace(recipe, seed=0, evaluate_every=1)


if __name__ == "__main__":
    run(measure, takes_arguments=True)
