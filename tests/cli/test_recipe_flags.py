"""The command line of the recipes: what they parse, and that mistakes are sentences."""

import dataclasses
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from absl import app, flags, logging

from keras_wrn.cli import program, recipe_flags
from keras_wrn.errors import InputError, Interrupted
from keras_wrn.training import run as training
from keras_wrn.training.recipe import Recipe
from keras_wrn.weights.card import HELD_OUT

REPOSITORY = Path(__file__).parents[2]
RECIPES = {path.stem: path for path in (REPOSITORY / "recipes").glob("*.py")}
OWN_FLAGS = ("coco", "reproduce", "serve_ray")  # the others have a flag for each field of `Recipe`
on_tensorflow = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="a program of its own, alike on every backend"
)


@pytest.fixture
def command_line(monkeypatch):
    """Give `absl.app.run` a command line in place of pytest's, and note exit statuses.

    Afterwards the flags are gone.
    """
    before, verbosity = set(flags.FLAGS), logging.get_verbosity()
    statuses = []

    def command_line(*arguments):
        monkeypatch.setattr(
            app,
            "run",
            lambda main: statuses.append(main(flags.FLAGS(["recipe.py", *arguments]))),
        )
        return statuses

    yield command_line
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)
    logging.set_verbosity(verbosity)


@pytest.fixture
def parsed(command_line, monkeypatch):
    """What a recipe becomes by a command line."""
    command_line()
    monkeypatch.setattr(program, "run", lambda main, **_: None)

    def parsed(recipe, *arguments):
        recipe_flags.run(recipe)
        flags.FLAGS(["recipe.py", *arguments])
        return recipe_flags.from_flags(recipe)

    return parsed


def test_every_field_is_a_flag(parsed):
    line = ["--dataset=svhn", "--extra", "--width=1.5", "--blocks_per_group=3", "--drop_epochs=2,5"]
    expected = Recipe(dataset="svhn", extra=True, width=1.5, blocks_per_group=3, drop_epochs=(2, 5))
    assert parsed(Recipe(), *line) == expected


def test_the_help_of_a_program_shows_every_flag(parsed):
    parsed(Recipe())
    shown = flags.FLAGS.main_module_help()
    names = [*(field.name for field in dataclasses.fields(Recipe)), "workdir", "data_dir"]
    assert [name for name in names if f"--{name}:" not in shown.replace("[no]", "")] == []


def test_without_flags_it_is_the_recipe_itself(parsed):
    recipe = Recipe(depth=16, train_sizes=(16, 32), size_epochs=(9,), flip=False)
    assert parsed(recipe) == recipe


@pytest.mark.parametrize(
    ("line", "drops", "sizes"),
    [
        (["--epochs=20"], (7, 13, 17), (11,)),
        (["--epochs=20", "--drop_epochs=3"], (3,), (11,)),
        (["--epochs=20", "--size_epochs=4"], (7, 13, 17), (4,)),
    ],
)
def test_with_fewer_epochs_the_drops_and_sizes_keep_their_share(parsed, line, drops, sizes):
    recipe = parsed(Recipe(train_sizes=(16, 32), size_epochs=(101,)), *line)
    assert (recipe.epochs, recipe.drop_epochs, recipe.size_epochs) == (20, drops, sizes)


@pytest.mark.parametrize(("line", "warmup"), [([], 1), (["--warmup_epochs=5"], 5)])
def test_with_fewer_epochs_the_warm_up_keeps_its_share(parsed, line, warmup):
    assert parsed(Recipe(warmup_epochs=10), "--epochs=20", *line).warmup_epochs == warmup


@pytest.mark.parametrize(("line", "resize"), [([], 256), (["--norandom_resized_crop"], 0)])
def test_images_that_are_not_cropped_as_they_are_read_are_not_resized(parsed, line, resize):
    assert parsed(Recipe(random_resized_crop=True, resize=256), *line).resize == resize


def test_a_resize_that_would_be_ignored_is_refused(parsed):
    with pytest.raises(InputError, match="`resize` must be 0 without random_resized_crop"):
        parsed(Recipe(random_resized_crop=True), "--norandom_resized_crop", "--resize=256")


IGNORED = [
    (["--policy_operations=1"], "--policy=rand_augment"),
    (["--policy=trivial_augment", "--policy_magnitude=9"], "--policy=rand_augment"),
    (["--teacher_share=0.5"], "--teacher=runs/large"),
    (["--temperature=2"], "--teacher=runs/large"),
    (["--schedule=cosine", "--drop_epochs=3"], "--schedule=steps"),
    (["--schedule=one_cycle", "--drop_factor=0.5"], "--schedule=steps"),
    (["--schedule=constant", "--noreset_velocity"], "--schedule=steps"),
    (["--random_resized_crop", "--pad=2"], "--norandom_resized_crop"),
]


@pytest.mark.parametrize("line", [line for line, _ in IGNORED])
def test_what_would_be_ignored_is_refused(parsed, line):
    name = line[-1].removeprefix("--").removeprefix("no").partition("=")[0]
    with pytest.raises(InputError, match=rf"`{name}` has an effect only with.* Received: {name}="):
        parsed(Recipe(), *line)


@pytest.mark.parametrize("line", [[*line, more] for line, more in IGNORED])
def test_what_is_not_ignored_is_taken(parsed, line):
    recipe = parsed(Recipe(), *line)
    given = dict(flag.removeprefix("--").split("=") for flag in line if "=" in flag)  # the last one
    for name, text in given.items():
        value = getattr(recipe, name)
        assert value == (
            tuple(map(int, text.split(","))) if isinstance(value, tuple) else type(value)(text)
        )


def test_the_defaults_of_a_script_may_be_ignored(parsed):
    recipe = Recipe(schedule="cosine", drop_epochs=(2,), pad=2, temperature=2.0)
    assert parsed(recipe, "--random_resized_crop").pad == 2


def test_what_is_no_number_is_refused(parsed):
    with pytest.raises(InputError, match="`drop_epochs` must be whole numbers.* drop_epochs=1,a"):
        parsed(Recipe(), "--drop_epochs=1,a")


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - set(OWN_FLAGS)))
def test_each_training_program_parses_its_flags(command_line, monkeypatch, name):
    given = []

    def note(recipe, finish):
        given.append((recipe, recipe_flags.from_flags(recipe)))

    monkeypatch.setattr(recipe_flags, "_train", note)
    command_line()
    runpy.run_path(str(RECIPES[name]), run_name="__main__")
    [(recipe, parsed)] = given
    assert parsed == recipe


@pytest.mark.parametrize("name", OWN_FLAGS)
def test_the_other_programs_parse_theirs(command_line, monkeypatch, name):
    parsed = []
    monkeypatch.setattr(app, "run", lambda main: parsed.append(flags.FLAGS(["x.py", "table4"])))
    runpy.run_path(str(RECIPES[name]), run_name="__main__")
    assert parsed == [["x.py", "table4"]]


# What the programs say


def train(command_line, tmp_path, *arguments):
    """Run a recipe in this process; returns the exit status."""
    statuses = command_line(*arguments, f"--workdir={tmp_path / 'run'}")
    recipe_flags.run(Recipe())
    assert not (tmp_path / "run").exists()
    return statuses[-1]


def test_words_that_are_no_flags_are_refused(command_line, capsys):
    statuses = command_line("--flip", "false", "epochs=3")
    recipe_flags.run(Recipe())
    assert statuses == [2]
    assert "--name or --noname for what is on or off. Received: false epochs=3." in (
        capsys.readouterr().err
    )


def test_unknown_data_are_a_sentence_and_exit_2(command_line, tmp_path, capsys):
    assert train(command_line, tmp_path, "--dataset=cifar11") == 2
    assert "cifar11" in capsys.readouterr().err


def test_absent_data_are_a_sentence_and_exit_2(command_line, tmp_path, capsys, monkeypatch):
    def no_network(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    assert train(command_line, tmp_path, f"--data_dir={tmp_path / 'nowhere'}") == 2
    assert "cifar-10" in capsys.readouterr().err


def test_an_interrupted_run_says_how_to_go_on(command_line, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise Interrupted(signal.SIGINT, 7)

    monkeypatch.setattr(training, "train", interrupted)
    assert train(command_line, tmp_path) == 128 + signal.SIGINT
    assert "after step 7; the same command goes on from there" in capsys.readouterr().err


def test_ctrl_c_outside_of_training_is_a_sentence(command_line, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupted)
    assert train(command_line, tmp_path) == 128 + signal.SIGINT
    assert capsys.readouterr().err.endswith("stopped by Ctrl-C.\n")


def test_a_finished_run_is_summed_up(command_line, capsys, monkeypatch):
    card = {"name": "WRN-28-10", "dataset": "cifar10", "parameters": 36_479_194, "epochs": 200}
    metrics = {"error": 0.04, "nll": 0.2, "ece": 0.03, "n": 10_000}
    folders, card = [], {**card, "hours": 2.0, "metrics": metrics}
    monkeypatch.setattr(training, "train", lambda *_, **__: card)
    statuses = command_line("--seed=3")
    recipe_flags.run(Recipe(), finish=folders.append)
    assert statuses == [0]
    said = capsys.readouterr().out
    assert "WRN-28-10 on cifar10: error 4.00 %, NLL 0.200" in said
    assert "on 10,000 test images;" in said
    assert folders == ["runs/cifar10-WRN-28-10-3"]


@pytest.mark.parametrize(
    ("dataset", "name"),
    [("tfds:imagenette/160px-v2", "160px-v2"), ("C:\\data\\pets", "pets"), ("a/b:c/", "b-c")],
)
def test_the_default_folder_has_a_name_on_every_system(command_line, monkeypatch, dataset, name):
    folders, metrics = [], {"error": 0.04, "nll": 0.2, "ece": 0.03, "n": 10}
    card = {"name": "WRN-28-10", "dataset": name, "parameters": 1, "epochs": 1, "hours": 1.0}
    monkeypatch.setattr(training, "train", lambda *_, **__: card | {"metrics": metrics})
    command_line(f"--dataset={dataset}", *["--random_resized_crop"] * dataset.startswith("tfds:"))
    recipe_flags.run(Recipe(), finish=folders.append)
    assert folders == [f"runs/{name}-WRN-28-10-1"]


def test_held_out_images_are_not_called_test_images(command_line, capsys, monkeypatch):
    metrics = {"error": 0.04, "nll": 0.2, "ece": 0.03, "n": 5_000}
    card = {"name": "WRN-10-1", "dataset": "cifar10", "parameters": 1, "epochs": 1, "hours": 1.0}
    card |= {"metrics": metrics, "metrics_of": HELD_OUT}
    monkeypatch.setattr(training, "train", lambda *_, **__: card)
    command_line("--held_out=5000")
    recipe_flags.run(Recipe())
    assert "on 5,000 held-out training images;" in capsys.readouterr().out


# The program, as a person runs it


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, RECIPES["cifar"], "--dataset=digits", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@on_tensorflow
def test_a_mistake_on_the_command_line_is_a_sentence_and_exit_2(tmp_path):
    process = start("--depth=27", f"--workdir={tmp_path / 'run'}")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert "`depth` must be 6*N + 4 for B(3,3). Received: depth=27" in errors
    assert "Traceback" not in errors and not (tmp_path / "run").exists()
