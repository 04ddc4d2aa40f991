"""Run folders of an earlier version: the finished one is published, the stopped one goes on.

tests/golden/runs was written by commit 513494c (TensorFlow 2.21, Keras 3.15): WRN-10-1 on the
digits for six epochs; and WRN-10-0.25 with dropout, stopped after 55 of its 88 steps.
"""

import csv
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_wrn

RUNS = Path(__file__).parents[1] / "golden" / "runs"
# Validation losses of epochs 3 and 4 in the same run, never stopped, by the same commit.
UNDISTURBED = [2.19100, 2.16570]


@pytest.fixture
def run(tmp_path, request):
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    return Path(shutil.copytree(RUNS / request.param, tmp_path / request.param))


@pytest.mark.parametrize("run", ["finished"], indirect=True)
def test_a_finished_run_is_published(run, tmp_path):
    before = json.loads((run / "card.json").read_text(encoding="utf-8"))
    folder = keras_wrn.publish(run, tmp_path / "weights")
    after = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    for key in ("name", "network", "dataset", "parameters", "recipe", "hours", "hardware"):
        assert after[key] == before[key]
    assert after["metrics"]["n"] == 360
    # float16 weights, and another machine's rounding: at most one image in 360 changes sides.
    np.testing.assert_allclose(after["metrics"]["error"], before["metrics"]["error"], atol=1 / 360)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow wrote the state")
@pytest.mark.parametrize("run", ["stopped"], indirect=True)
def test_a_stopped_run_goes_on_to_the_same_end(run, no_pictures):
    recipe = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    first = (run / "history.csv").read_text(encoding="utf-8")
    card = keras_wrn.train(keras_wrn.Recipe.from_dict(recipe), run)
    assert (card["epochs"], card["steps"]) == (4, 88)
    # The first epochs' rows, with their seconds, are the old ones: nothing was trained again.
    assert (run / "history.csv").read_text(encoding="utf-8").startswith(first)
    with (run / "history.csv").open(encoding="utf-8") as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(losses[2:], UNDISTURBED, rtol=1e-3)
