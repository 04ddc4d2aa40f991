"""What every test starts from: quiet logs, a seed, and no leftovers of the test before."""

import gc
import importlib
import os
import tempfile
from pathlib import Path

# One folder a process, so that nobody waits for a lock: JAX compiles the same program once.
JAX_CACHE = tempfile.TemporaryDirectory(prefix="keras_wrn-jax-", ignore_cleanup_errors=True)
os.environ["JAX_COMPILATION_CACHE_DIR"] = JAX_CACHE.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import pytest

# Files of ten seconds and more, the longest first: no worker shall be left alone with one.
SLOWEST = (
    "test_training",
    "test_coco_recipe",
    "test_parity",
    "test_image_stream",
    "test_reproduction",
    "test_cli",
    "test_two_devices",
    "test_application_frame",
    "test_paper_tables",
    "test_applications",
    "test_exporting",
    "test_imagenet_weights",
    "test_dialects",
    "test_recipe_flags",
    "test_whitened_run",
    "test_wide_resnet",
    "test_whitening",
    "test_distillation",
)


def pytest_configure(config):
    # Without this, pytest-xdist hands out the files in the order of their numbers of tests.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    ranks = {name: rank for rank, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(SLOWEST)))


def pytest_collection_finish(session):
    """Leave what is imported to itself: Keras would look through it before each test."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config):
    JAX_CACHE.cleanup()


@pytest.fixture(autouse=True)
def fresh_keras():
    """Seed everything and drop the graphs of the test before."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def bench(monkeypatch):
    """Import a file of benchmarks/ as its neighbours do."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    return importlib.import_module


@pytest.fixture
def no_pictures(monkeypatch):
    """Let a run end without the two pictures, which take longer than a small network's steps."""
    from keras_wrn import training

    monkeypatch.setattr(training, "_draw", lambda *_: None)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that `report` draws, before they are written."""
    from keras_wrn import report

    figures, save = [], report.save
    monkeypatch.setattr(
        report, "save", lambda figure, png: figures.append(figure) or save(figure, png)
    )
    return figures
