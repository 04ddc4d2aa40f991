"""What a run keeps on the way, without a run: callbacks driven by hand."""

import csv
import signal
import subprocess
import sys
import types

import keras
import pytest

from keras_wrn.errors import InputError
from keras_wrn.training.recipe import Recipe
from keras_wrn.training.run_keeper import RunKeeper

STEPS = 8


@pytest.fixture
def keep(tmp_path, monkeypatch):
    """Keep an epoch of a run; returns the steps after which the state was saved."""
    saved = []
    monkeypatch.setattr(RunKeeper, "save", lambda self: saved.append(self.step))

    def keep(**options):
        keeper = RunKeeper(tmp_path, Recipe(batch_size=32), STEPS, **options)
        keeper.set_model(types.SimpleNamespace(optimizer=keras.optimizers.SGD(0.05)))
        keeper.on_train_begin()
        keeper.on_epoch_begin(0)
        for batch in range(STEPS):
            keeper.on_train_batch_end(batch, {"loss": 2.0, "error": 0.5})
        keeper.on_epoch_end(0, {"loss": 2.0, "error": 0.5, "val_error": 0.25})
        return saved

    return keep


def test_the_state_is_saved_on_the_way(keep):
    assert keep(save_every=0) == list(range(1, STEPS + 1))


def test_it_is_not_saved_more_often_than_asked(keep):
    assert keep(save_every=3600) == []


def test_it_is_saved_at_the_end_of_training(keep, tmp_path):
    saved = keep(save_every=3600)
    keeper = RunKeeper(tmp_path, Recipe(batch_size=32), STEPS)
    keeper.step = STEPS
    keeper.on_train_end()
    assert saved == [STEPS]
    keeper._saved_step = STEPS
    keeper.on_train_end()
    assert saved == [STEPS]


@pytest.mark.parametrize(
    ("step", "breaks", "left"),
    [
        (0, (), [(0, 4, STEPS)]),
        (0, (2, 2, 4, 9), [(0, 1, STEPS), (1, 3, STEPS), (3, 4, STEPS)]),
        (STEPS + 3, (2, 4), [(1, 2, STEPS - 3), (2, 3, STEPS), (3, 4, STEPS)]),
        (3 * STEPS + 1, (), [(3, 4, STEPS - 1)]),
        (4 * STEPS, (2,), []),
    ],
)
def test_what_is_left_of_a_run_is_fitted_in_stretches(tmp_path, step, breaks, left):
    keeper = RunKeeper(tmp_path, Recipe(epochs=4), STEPS)
    keeper.step = step
    assert keeper.stretches(breaks) == left


def test_an_epoch_is_a_row_of_the_history(keep, tmp_path):
    keep()
    with (tmp_path / "history.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["epoch"], row["step"], row["error"], row["val_error"]) == ("1", "8", "0.5", "0.25")
    assert float(row["learning_rate"]) == pytest.approx(0.05)
    assert float(row["images_per_second"]) > 0 and row["val_loss"] == ""


@pytest.fixture
def keeper(tmp_path):
    """A keeper in the first epoch, with a rate of 1e6."""
    keeper = RunKeeper(tmp_path, Recipe(batch_size=32), STEPS, save_every=1e6)
    keeper.set_model(types.SimpleNamespace(optimizer=keras.optimizers.SGD(1e6)))
    keeper.on_train_begin()
    keeper.on_epoch_begin(0)
    return keeper


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run_at_its_step(keeper, loss):
    keeper.on_train_batch_end(0, {"loss": 2.0, "error": 0.5})
    with pytest.raises(InputError, match=f"loss is {loss} after step 2 .epoch 1., at a .* 1e.06"):
        keeper.on_train_batch_end(1, {"loss": loss, "error": 0.5})


def test_the_rate_is_said_while_jax_keeps_the_variables(keeper):
    # Inside `fit` they have no value there, until it is asked for.
    variables = keeper.model.optimizer.variables
    values = [variable.value for variable in variables]

    def give_back():
        for variable, value in zip(variables, values, strict=True):
            variable._value = value

    keeper.model.jax_state_sync = give_back
    for variable in variables:
        variable._value = None
    with pytest.raises(InputError, match="loss is nan after step 1 .* a learning rate of 1e.06"):
        keeper.on_train_batch_end(0, {"loss": float("nan"), "error": 0.5})


def test_weights_that_are_not_finite_are_not_saved(keeper, tmp_path):
    weights = [keras.Variable([1.0, 2.0])]
    keeper.model.metrics_variables, keeper.model.variables = [], weights
    keeper.step = 3
    keeper.save()
    before = (tmp_path / "state.npz").read_bytes()
    weights[0].assign([1.0, float("nan")])
    keeper.step = 4
    with pytest.raises(InputError, match="after step 4 .* The state after step 3 is kept"):
        keeper.save()
    assert (tmp_path / "state.npz").read_bytes() == before


TWICE = """
import os, signal, sys, time
from pathlib import Path
from absl import logging
from keras_wrn.errors import InputError
from keras_wrn.training.recipe import Recipe
from keras_wrn.training.run_keeper import RunKeeper

logging.set_verbosity("info")
keeper = RunKeeper(Path(sys.argv[1]), Recipe(), 8)
keeper.catch_signals()
os.kill(os.getpid(), signal.SIGINT)
print("still here", flush=True)
os.kill(os.getpid(), signal.SIGINT)
print("too late", flush=True)
"""


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    program = subprocess.run(
        [sys.executable, "-c", TWICE, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert program.returncode == -signal.SIGINT
    assert program.stdout == "still here\n"
    assert "Ctrl-C again stops at once" in program.stderr
    assert "Traceback" not in program.stderr
