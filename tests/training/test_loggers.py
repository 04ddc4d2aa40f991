"""Other people's loggers take a run's figures, as docs/logging_and_sweeps.md says; offline."""

import re
from pathlib import Path

import pytest

import keras_wrn

PAGE = Path(__file__).parents[2] / "docs" / "logging_and_sweeps.md"
RECIPE = keras_wrn.Recipe(
    dataset="digits", depth=10, width=1, epochs=1, drop_epochs=(), flip=False, train_images=256
)


def run_block(package, folder, monkeypatch):
    """Run the page's block of a package in a folder."""
    monkeypatch.chdir(folder)
    (block,) = re.findall(rf"```python\n(import {package}\n.*?)```", PAGE.read_text(), re.DOTALL)
    exec(block, {"keras_wrn": keras_wrn, "recipe": RECIPE})


@pytest.mark.filterwarnings("ignore")  # the packages' own
def test_weights_and_biases(tmp_path, monkeypatch, no_pictures):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    logged = []
    monkeypatch.setattr(wandb.sdk.wandb_run.Run, "log", lambda _, data, **__: logged.append(data))
    try:
        run_block("wandb", tmp_path, monkeypatch)
        assert wandb.run.config["depth"] == 10
    finally:
        wandb.finish()
    assert 0 < logged[-1]["epoch/loss"] < 10
    assert list((tmp_path / "wandb").glob("offline-run-*"))


@pytest.mark.filterwarnings("ignore")
def test_mlflow(tmp_path, monkeypatch, no_pictures):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    run_block("mlflow", tmp_path, monkeypatch)
    (run,) = mlflow.MlflowClient().search_runs(["0"])
    assert 0 < run.data.metrics["loss"] < 10
