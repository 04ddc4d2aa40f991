"""Cards of runs of the paper's rows, made in no time."""

import dataclasses
import json

from keras_wrn.paper.reproduction import folder_of, recipe_for, select


def write_card(workdir, row, seed, error, scale=None, **changes):
    """Write what `training.train` would, as far as `reproduction.gather` reads it."""
    recipe = dataclasses.replace(recipe_for(row, scale), seed=seed)
    folder = folder_of(row, workdir, scale) / f"seed{seed}"
    folder.mkdir(parents=True)
    card = {
        "recipe": recipe.to_dict(),
        "metrics": {"n": 10_000, "error": error / 100, "top5_error": error / 300},
        "seed": seed,
        "parameters": row.parameters,
        "hours": 2.0,
        "hardware": "1 x a processor",
        "versions": {"backend": "tensorflow"},
        **changes,
    }
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def row_of(table, key, dataset="cifar10"):
    """One row."""
    [row] = select([table], [key], [dataset])
    return row
