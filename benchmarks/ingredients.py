"""Which ingredients lower the error of a short run: one change at a time, at equal FLOP.

    python benchmarks/ingredients.py --workdir runs/ingredients --seeds 1,2

Trains WRN-16-1 on 45,000 training images of CIFAR-10 for the FLOP of six epochs, once for each
ingredient and seed. Prints a Markdown table of the error on the other 5,000 images after the last
step; the test set is not used. The same command resumes a stopped run and keeps finished ones.
"""

import dataclasses
import json
import statistics
from pathlib import Path

from absl import flags
from interleaved import run, write

from keras_wrn.errors import InputError
from keras_wrn.system import markdown
from keras_wrn.training.recipe import Recipe

BASE = Recipe(
    dataset="cifar10",
    depth=16,
    width=1,
    epochs=6,
    schedule="one_cycle",
    learning_rate=0.2,
    drop_epochs=(),
    precision="mixed_bfloat16",
    evaluate_every=100,
    held_out=5000,
)
# What changes, and who proposed it.
INGREDIENTS = {
    "base": ({}, "one-cycle (Smith 2018), peak 0.2 at a quarter (fastai)"),
    "steps": (
        {
            "schedule": "steps",
            "drop_epochs": Recipe().shortened(6).drop_epochs,
            "learning_rate": 0.1,
        },
        "the paper's, to scale",
    ),
    "float32": ({"precision": "float32"}, "the same in full precision"),
    "cosine": ({"schedule": "cosine", "warmup_epochs": 1.0}, "Loshchilov & Hutter 2017"),
    "rate 0.1": ({"learning_rate": 0.1}, "half the peak"),
    "rate 0.4": ({"learning_rate": 0.4}, "twice the peak"),
    "label smoothing 0.1": ({"label_smoothing": 0.1}, "Szegedy et al. 2016"),
    "24 to 32 px": (
        {"epochs": 8, "train_sizes": (24, 32), "size_epochs": (6,)},
        "progressive resizing (Howard 2018), 5 epochs at 24 and 3 at 32",
    ),
    "16 to 24 to 32 px": (
        {"epochs": 9, "train_sizes": (16, 24, 32), "size_epochs": (3, 6)},
        "2 epochs at 16, 3 at 24 and 4 at 32",
    ),
    "alternating flip": ({"alternating_flip": True}, "Jordan 2024"),
    "average 0.998": ({"average": 0.998}, "EMA of the weights (Polyak & Juditsky 1992)"),
    "vector rate 4": ({"vector_rate": 4.0}, "faster BN and biases (Page 2018)"),
    "cutout 8": ({"cutout": 8}, "DeVries & Taylor 2017"),
    "mixup 0.2": ({"mixup": 0.2}, "Zhang et al. 2018"),
    "trivial augment": ({"policy": "trivial_augment"}, "Mueller & Hutter 2021"),
    "sam 0.05": ({"sam": 0.05, "epochs": 3}, "Foret et al. 2021; half the steps, 2 passes each"),
}


def train_all(workdir: Path, seeds: list[int], names: list[str]) -> None:
    """Train the missing runs, all ingredients with the first seed before the second."""
    import keras

    from keras_wrn.training.run import train

    for seed in seeds:
        for name in names:
            recipe = dataclasses.replace(BASE, seed=seed, **INGREDIENTS[name][0])
            keras.backend.clear_session()
            card = train(recipe, workdir / f"{name.replace(' ', '-')}-{seed}")
            print(f"{name}, seed {seed}: error {card['metrics']['error']:.2%}", flush=True)


def measured(workdir: Path) -> dict[str, list[float]]:
    """The errors in percent of the finished runs, by ingredient."""
    errors: dict[str, list[float]] = {}
    for name in INGREDIENTS:
        cards = sorted(workdir.glob(f"{name.replace(' ', '-')}-[0-9]*/card.json"))
        found = [json.loads(path.read_text(encoding="utf-8")) for path in cards]
        errors[name] = [100 * card["metrics"]["error"] for card in found]
    return errors


def table(errors: dict[str, list[float]]) -> str:
    """A Markdown table of what `measured` found."""
    base = statistics.mean(errors["base"]) if errors["base"] else float("nan")
    rows = []
    for name, values in errors.items():
        why = INGREDIENTS[name][1]
        if not values:
            rows.append([name, "not measured", "", 0, why])
            continue
        mean = statistics.mean(values)
        each = ", ".join(f"{value:.2f}" for value in values)
        rows.append([name, f"{mean:.2f} ({each})", f"{mean - base:+.2f}", len(values), why])
    return markdown.table(["ingredient", "held-out error, %", "against base", "n", ""], rows)


def measure() -> None:
    """Train and print."""
    workdir = Path(flags.FLAGS.workdir)
    names = flags.FLAGS.only or list(INGREDIENTS)
    if unknown := sorted(set(names) - set(INGREDIENTS)):
        raise InputError(f"Unknown: {', '.join(unknown)}. There are: {', '.join(INGREDIENTS)}.")
    if not all(seed.isdigit() for seed in flags.FLAGS.seeds):
        raise InputError(f"Seeds are whole numbers. Received: {', '.join(flags.FLAGS.seeds)}.")
    if not flags.FLAGS.table:
        train_all(workdir, [int(seed) for seed in flags.FLAGS.seeds], names)
    errors = measured(workdir)
    print(table(errors))
    write({"errors": errors})


if __name__ == "__main__":
    flags.DEFINE_string("workdir", "runs/ingredients", "folder of the runs")
    flags.DEFINE_list("seeds", ["1", "2"], "seeds")
    flags.DEFINE_list("only", [], "ingredients to train; default all")
    flags.DEFINE_bool("table", False, "only print the table of the finished runs")
    run(measure, trains=True)
