"""The recipe record: its defaults are the paper's, and nonsense is refused."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from keras_wrn.errors import InputError
from keras_wrn.training.recipe import Recipe


def test_the_defaults_are_the_papers_cifar_recipe():
    recipe = Recipe()
    assert (recipe.learning_rate, recipe.momentum, recipe.nesterov) == (0.1, 0.9, True)
    assert (recipe.weight_decay, recipe.batch_size, recipe.epochs) == (5e-4, 128, 200)
    assert (recipe.drop_epochs, recipe.drop_factor) == ((60, 120, 160), 0.2)
    assert (recipe.pad, recipe.flip, recipe.dropout) == (4, True, 0.0)


def test_it_survives_json():
    recipe = Recipe(depth=16, width=1.5, block="B(3,1,3)", drop_epochs=(2,), blocks_per_group=3)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_values_of_numpy_and_paths_become_plain():
    recipe = Recipe(
        depth=np.int64(16),
        learning_rate=np.float64(0.2),
        drop_epochs=np.array([2, 3]),
        size_epochs=(),
        teacher=Path("runs/t"),
    )
    plain = Recipe(depth=16, learning_rate=0.2, drop_epochs=(2, 3), teacher="runs/t")
    assert json.dumps(recipe.to_dict()) == json.dumps(plain.to_dict())


def test_it_is_frozen_and_every_field_is_explained():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().epochs = 3
    assert all(len(field.metadata["help"]) > 10 for field in dataclasses.fields(Recipe))


@pytest.mark.parametrize(
    ("epochs", "drops"),
    [(200, (60, 120, 160)), (50, (16, 31, 41)), (4, (2, 3, 4)), (2, (2, 2, 3)), (1, (2, 2, 2))],
)
def test_a_shortened_run_keeps_the_share_of_its_drops(epochs, drops):
    assert Recipe().shortened(epochs).drop_epochs == drops
    assert Recipe().shortened(epochs).epochs == epochs


def test_a_shortened_run_keeps_the_share_of_its_sizes_and_warm_up():
    recipe = Recipe(train_sizes=(16, 24, 32), size_epochs=(51, 101), warmup_epochs=10)
    short = recipe.shortened(20)
    assert (short.size_epochs, short.warmup_epochs) == ((6, 11), 1.0)
    shortest = recipe.shortened(1)
    assert shortest.size_epochs == (1, 1) and shortest.size_in(0) == 32


@pytest.mark.parametrize(
    ("depth", "width", "block", "label"),
    [
        (28, 10, "B(3,3)", "WRN-28-10"),
        (16, 1.5, "B(3, 3)", "WRN-16-1.5"),
        (22, 2, "B(3,1,3)", "WRN-22-2-B(3,1,3)"),
        (164, 1, "bottleneck", "pre-ResNet-164"),
    ],
)
def test_the_papers_label(depth, width, block, label):
    assert Recipe(depth=depth, width=width, block=block).network_name == label


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"label_smoothing": 1.0},
        {"schedule": "stairs"},
        {"precision": "int8"},
        {"precision": "mixed_float16"},
        {"warmup_epochs": 200},
        {"seed": -1},
        {"seed": 2**32},
        {"block": "B(3,1,3)", "form": "imagenet"},
        {"resize": 256},
        {"alternating_flip": True, "flip": False},
        {"train_sizes": (16,), "teacher": "RUN"},
        {"random_resized_crop": False, "dataset": "tfds:cifar10"},
        {"drop_epochs": (60, 30)},
        {"drop_epochs": (0, 30)},
        {"pad": -1},
        {"evaluate_every": 0},
    ],
)
def test_nonsense_is_refused_with_what_came(values):
    with pytest.raises(InputError, match=f"`{next(iter(values))}` must be .* Received"):
        Recipe(**values)


def test_an_unknown_field_is_named():
    with pytest.raises(InputError, match="no field colour"):
        Recipe.from_dict({"colour": 1})
