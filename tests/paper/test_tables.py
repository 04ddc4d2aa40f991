"""The paper's rows: its numbers, typed again here, the exact counts, and the recipes."""

import runpy
from pathlib import Path

import keras
import pytest
from quick_weights import zero_kernels  # noqa: F401 - a fixture

from keras_wrn.cli import recipe_flags
from keras_wrn.paper.reproduction import check_networks
from keras_wrn.paper.systems import CIFAR, IMAGENET, SVHN, recipe_of
from keras_wrn.paper.tables import CURVES, FIGURE_4, ROWS
from keras_wrn.training import schedules

RECIPES = Path(__file__).parents[2] / "recipes"

# As the paper prints them: error, error (CIFAR-100, or top-5), count; then the exact counts.
PRINTED = """
table2 b131 cifar10 6.06 - 1.4M 1,429,082
table2 b31 cifar10 5.78 - 1.2M 1,211,354
table2 b13 cifar10 6.42 - 1.3M 1,297,370
table2 b311 cifar10 5.86 - 1.3M 1,343,066
table2 b33 cifar10 5.73 - 1.5M 1,467,610
table2 b313 cifar10 5.78 - 1.1M 1,145,498
table3 l1 cifar10 6.69 - 2.2M 2,243,546
table3 l2 cifar10 5.43 - 2.2M 2,243,546
table3 l3 cifar10 5.65 - 2.2M 2,243,546
table3 l4 cifar10 5.93 - 2.2M 2,243,546
table4 40-1 cifar 6.85 30.89 0.6M 563,930 569,780
table4 40-2 cifar 5.33 26.04 2.2M 2,243,546 2,255,156
table4 40-4 cifar 4.97 22.89 8.9M 8,949,210 8,972,340
table4 40-8 cifar 4.66 - 35.7M 35,748,314 35,794,484
table4 28-10 cifar 4.17 20.50 36.5M 36,479,194 36,536,884
table4 28-12 cifar 4.33 20.43 52.5M 52,517,850 52,587,060
table4 22-8 cifar 4.38 21.22 17.2M 17,158,106 17,204,276
table4 22-10 cifar 4.44 20.75 26.8M 26,797,914 26,855,604
table4 16-8 cifar 4.81 22.07 11.0M 10,961,370 11,007,540
table4 16-10 cifar 4.56 21.59 17.1M 17,116,634 17,174,324
table5 nin cifar 8.81 35.67 -
table5 dsn cifar 8.22 34.57 -
table5 fitnet cifar 8.39 35.04 -
table5 highway cifar 7.72 32.39 -
table5 elu cifar 6.55 24.28 -
table5 resnet-110 cifar 6.43 25.16 1.7M
table5 resnet-1202 cifar 7.93 27.82 10.2M
table5 stochastic-depth-1202 cifar10 4.91 - 10.2M
table5 stochastic-depth-110 cifar 5.23 24.58 1.7M 1,730,522 1,736,372
table5 pre-resnet-110 cifar 6.37 - 1.7M 1,730,522 1,736,372
table5 pre-resnet-164 cifar 5.46 24.33 1.7M 1,703,258 1,726,388
table5 pre-resnet-1001 cifar 4.92 22.71 10.2M 10,327,706 10,350,836
table5 pre-resnet-1001-batch64 cifar10 4.64 - 10.2M 10,327,706
table5 40-4 cifar 4.53 21.18 8.9M 8,949,210 8,972,340
table5 16-8 cifar 4.27 20.43 11.0M 10,961,370 11,007,540
table5 28-10 cifar 4.00 19.25 36.5M 36,479,194 36,536,884
table6 16-4 cifar 5.02 24.03 - 2,748,890 2,772,020
table6 16-4-dropout cifar 5.24 23.91 - 2,748,890 2,772,020
table6 16-4 svhn 1.85 - - 2,748,890
table6 16-4-dropout svhn 1.64 - - 2,748,890
table6 28-10 cifar 4.00 19.25 36.5M 36,479,194 36,536,884
table6 28-10-dropout cifar 3.89 18.85 36.5M 36,479,194 36,536,884
table6 52-1 cifar 6.43 29.89 - 758,362 764,212
table6 52-1-dropout cifar 6.28 29.78 - 758,362 764,212
table6 52-1 svhn 2.08 - - 758,362
table6 52-1-dropout svhn 1.70 - - 758,362
table6 16-8 svhn 1.81 - 11.0M 10,961,370
table6 16-8-dropout svhn 1.54 - 11.0M 10,961,370
table7 18-1 imagenet 30.4 10.93 11.7M 11,689,512
table7 18-1.5 imagenet 27.06 9.0 25.9M 25,875,816
table7 18-2 imagenet 25.58 8.06 45.6M 45,618,216
table7 18-3 imagenet 24.06 7.33 101.8M 101,783,976
table7 34-1 imagenet 26.77 8.67 21.8M 21,797,672
table7 34-1.5 imagenet 24.5 7.58 48.6M 48,613,608
table7 34-2 imagenet 23.39 7.00 86.0M 86,036,008
table7 34-3 imagenet - - - 192,712,872
table8 resnet-50 imagenet 24.01 7.02 25.6M
table8 resnet-101 imagenet 22.44 6.21 44.5M
table8 resnet-152 imagenet 22.16 6.16 60.2M
table8 50-2 imagenet 21.9 6.03 68.9M 68,883,240
table8 pre-resnet-200 imagenet 21.66 5.79 64.7M
table9 40-10-dropout cifar 3.8 18.3 56M 55,841,754 55,899,444
table9 16-8-dropout svhn 1.54 - 11.0M 10,961,370
table9 50-2 imagenet 21.9 5.79 68.9M 68,883,240
table9 34-2 coco 35.2 - -
"""
BY_FOLDER = {row.folder: row for row in ROWS}


def _printed():
    """(folder, errors, printed count, exact count or None) of every row."""
    for line in PRINTED.strip().splitlines():
        table, key, data, first, second, count, *exact = line.split()
        counts = [int(number.replace(",", "")) for number in exact]
        count = "" if count == "-" else count
        errors = [float(error) if error != "-" else None for error in (first, second)]
        if data != "cifar":
            both = tuple(error for error in errors if error is not None)
            yield f"{table}/{key}-{data}", both, count, counts[0] if counts else None
            continue
        for i, name in enumerate(("cifar10", "cifar100")):
            own = () if errors[i] is None else (errors[i],)
            yield f"{table}/{key}-{name}", own, count, counts[i] if counts else None


def test_every_number_is_the_papers():
    ours = {r.folder: (r.errors, r.printed, r.parameters) for r in ROWS}
    theirs = {folder: facts for folder, *facts in _printed()}
    assert ours.keys() == theirs.keys()
    for folder, facts in theirs.items():
        assert ours[folder] == tuple(facts), folder
    assert len(BY_FOLDER) == len(ROWS)


def test_exact_counts_round_to_the_printed_ones():
    for row in ROWS:
        # The printed counts are with 10 classes. The 10.2M of ResNet-1001 are its authors'.
        if row.printed and row.parameters and "1001" not in row.key and row.dataset != "cifar100":
            digits = 1 if "." in row.printed else 0
            assert f"{row.parameters / 1e6:.{digits}f}M" == row.printed, row.folder


QUICK = [row for row in ROWS if row.table in ("table2", "table3", "table7", "table8")]


@pytest.mark.usefixtures("zero_kernels")
def test_networks_have_the_counts():
    built = list(check_networks(QUICK))
    assert len(built) == 19
    assert all(one["right"] for one in built)
    for one in built:
        assert one["multiply_adds"] / 1e6 == pytest.approx(one["row"].multiply_adds, rel=1e-3)
    # Thousand millions, as torchvision counts them
    assert next(row for row in ROWS if row.key == "18-3").multiply_adds == 14_724.4


@pytest.mark.slow
@pytest.mark.usefixtures("zero_kernels")
@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="counts do not depend on the backend"
)
def test_all_networks_have_the_counts():
    # ResNet-1001 takes as long as all others: once, with 10 classes, will do.
    again = BY_FOLDER["table5/pre-resnet-1001-cifar100"]
    assert again.parameters - BY_FOLDER["table5/pre-resnet-1001-cifar10"].parameters == 90 * 257
    built = list(check_networks([row for row in ROWS if row not in [*QUICK, again]]))
    assert [one["row"].folder for one in built if not one["right"]] == []
    assert len(built) == 56
    for one in built:
        assert one["multiply_adds"] / 1e6 == pytest.approx(one["row"].multiply_adds, rel=1e-3)


def test_the_recipes_of_the_data_sets():
    for recipe in (CIFAR, SVHN, IMAGENET):
        assert (recipe.momentum, recipe.nesterov, recipe.schedule) == (0.9, True, "steps")
        assert (recipe.precision, recipe.evaluate_every) == ("float32", 1)
    assert (CIFAR.epochs, CIFAR.batch_size, CIFAR.weight_decay) == (200, 128, 5e-4)
    assert (CIFAR.pad, CIFAR.flip, CIFAR.reset_velocity) == (4, True, True)
    assert (SVHN.epochs, SVHN.batch_size, SVHN.weight_decay) == (160, 128, 5e-4)
    assert (SVHN.pad, SVHN.flip, SVHN.extra, SVHN.reset_velocity) == (0, False, True, True)
    assert (IMAGENET.epochs, IMAGENET.batch_size, IMAGENET.weight_decay) == (90, 256, 1e-4)
    assert (IMAGENET.image_size, IMAGENET.resize, IMAGENET.reset_velocity) == (224, 256, False)
    assert (IMAGENET.color_jitter, IMAGENET.lighting, IMAGENET.flip) == (0.4, 0.1, True)
    assert IMAGENET.random_resized_crop and IMAGENET.form == "imagenet"


@pytest.mark.parametrize(
    ("script", "dataset", "system"),
    [("cifar", "cifar10", "28-10"), ("imagenet", "imagenet", "50-2")],
)
def test_the_training_programs_have_the_same_recipes(script, dataset, system, monkeypatch):
    given = []
    monkeypatch.setattr(recipe_flags, "run", given.append)
    runpy.run_path(str(RECIPES / f"{script}.py"), run_name="__main__")
    assert given == [recipe_of(dataset, system)]


@pytest.mark.parametrize(
    ("recipe", "rates"),
    [
        (CIFAR, {0: 0.1, 58: 0.1, 59: 0.02, 119: 0.004, 159: 0.0008, 199: 0.0008}),
        (SVHN, {0: 0.01, 78: 0.01, 79: 0.001, 118: 0.001, 119: 0.0001, 159: 0.0001}),
        (IMAGENET, {0: 0.1, 29: 0.1, 30: 0.01, 59: 0.01, 60: 0.001, 89: 0.001}),
    ],
    ids=("cifar", "svhn", "imagenet"),
)
def test_the_rate_drops_where_the_paper_has_it(recipe, rates):
    """At the first and at the last step of an epoch, counted from 0."""
    rate = schedules.learning_rate(recipe, 10)
    for epoch, expected in rates.items():
        assert float(rate(10 * epoch)) == pytest.approx(expected), epoch
        assert float(rate(10 * epoch + 9)) == pytest.approx(expected), epoch


def test_each_row_has_the_recipe_of_its_table():
    for row in ROWS:
        if row.recipe is None:
            assert row.note
            continue
        assert row.recipe.dataset == row.dataset
        assert row.recipe.whitening == (row.table in ("table2", "table3", "table4"))
        expected = {"cifar10": 0.3, "cifar100": 0.3, "svhn": 0.4}.get(row.dataset)
        assert row.recipe.dropout == (expected if row.key.endswith("-dropout") else 0)
        assert row.recipe.batch_size == (
            64 if row.key.endswith("batch64") else 256 if row.dataset == "imagenet" else 128
        )
        assert row.recipe.seed == 1 and row.recipe.train_images == 0
        assert row.runs == (5 if "cifar" in row.dataset and row.table != "table9" else 1)


def test_figures_are_of_rows_of_the_tables():
    for panels in CURVES.values():
        for curves in panels.values():
            assert all(BY_FOLDER[curve.folder].recipe.whitening is False for curve in curves)
    assert [timed.milliseconds for timed in FIGURE_4] == [85, 512, 68, 164, 312]
