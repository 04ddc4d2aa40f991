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
# XLA compiles for longer than these small networks run.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
# Servers of the tests are asked directly, and nothing of the user's settings changes a test.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost,::1"
for name in ("HF_HUB_OFFLINE", "TF_CONFIG"):
    os.environ.pop(name, None)

import keras
import pytest
from keras.src.backend.common import global_state

# Files of ten seconds and more, the longest first: no worker shall be left alone with one.
SLOWEST = (
    "tests/test_docs.py",
    "training/test_imagenet_feed.py",
    "training/test_workers.py",
    "detection/test_training.py",
    "training/test_devices.py",
    "tests/test_howto.py",
    "deploy/test_saved_model.py",
    "training/test_jax_processes.py",
    "deploy/test_engines.py",
    "training/test_run.py",
    "serving/test_engine_model.py",
    "serving/test_repository.py",
    "cli/test_main.py",
    "release/test_hub.py",
    "paper/test_reproduce_program.py",
    "paper/test_tables.py",
    "images/test_tensorflow_reader.py",
    "datasets/test_streams.py",
    "release/test_temperature.py",
    "training/test_board.py",
    "deploy/test_saved_model_in_c.py",
    "applications/test_parity.py",
    "detection/test_coco.py",
    "inference/test_converted_files.py",
    "serving/test_clients.py",
    "weights/test_owners.py",
    "applications/test_wide_resnet.py",
    "checkpoints/test_dialects.py",
    "applications/test_named.py",
    "applications/test_channels_last.py",
    "paper/test_reproduction.py",
    "weights/test_published.py",
    "training/test_whitened_run.py",
    "examples/test_fine_tune.py",
    "cli/test_recipe_flags.py",
)


def pytest_configure(config):
    # Without this, pytest-xdist hands out the files in the order of their numbers of tests.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


# Text, files and counts, which no backend changes.
ONCE = (
    "tests/applications/test_conversion.py",
    "tests/applications/test_named.py",
    "tests/benchmarks/",
    "tests/checkpoints/",
    "tests/examples/",
    "tests/inference/test_converted_files.py",
    "tests/insight/test_assessment.py",
    "tests/insight/test_audit.py",
    "tests/insight/test_corruptions.py",
    "tests/networks/",
    "tests/paper/",
    "tests/release/",
    "tests/test_docs.py",
    "tests/test_packaging.py",
    "tests/test_readme.py",
    "tests/test_wings.py",
    "tests/training/test_pictures.py",
    "tests/training/test_whitened_run.py",
    "tests/weights/test_card.py",
    "tests/weights/test_owners.py",
    "tests/weights/test_published.py",
)
# Of those, what each backend does in its own way: loading, gradients, freezing.
NOT_ONCE = (
    "loads_by_name_and_by_plain_keras",
    "test_small_networks_equal_the_numpy_network",
    "odin_steps",
    "the_body_is_frozen_first",
    "the_spot_is_found",
)


def pytest_collection_modifyitems(config, items):
    if keras.config.backend() != "tensorflow":
        once = {
            item
            for item in items
            if item.nodeid.startswith(ONCE) and not any(name in item.nodeid for name in NOT_ONCE)
        }
        config.hook.pytest_deselected(items=list(once))
        items[:] = [item for item in items if item not in once]
    ranks = {name: rank for rank, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: ranks.get("/".join(item.path.parts[-2:]), len(SLOWEST)))


def pytest_collection_finish(session):
    """Leave what is imported to itself: Keras would look through it before each test."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config):
    JAX_CACHE.cleanup()


@pytest.fixture(scope="module", autouse=True)
def fresh_graphs():
    """Drop the graphs of the file before; dropping them before each test takes a quarter longer."""
    keras.backend.clear_session()


@pytest.fixture(autouse=True)
def fresh_keras():
    """Seed everything, and name layers from the start again."""
    global_state.set_global_attribute("object_name_uids", None)
    keras.utils.set_random_seed(1)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(autouse=True)
def no_release_address(monkeypatch):
    """Ask nobody for weights, whatever address a release has."""
    monkeypatch.setattr("keras_wrn.weights.published.RELEASE_URL", "")


@pytest.fixture
def bench(monkeypatch):
    """Import a file of benchmarks/ as its neighbours do."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    return importlib.import_module


@pytest.fixture
def no_pictures(monkeypatch):
    """Let a run end without the two pictures, which take longer than a small network's steps."""
    from keras_wrn.training import run as training

    monkeypatch.setattr(training, "_draw", lambda *_: None)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that `pictures` draws, before they are written."""
    from keras_wrn.training import pictures

    figures, save = [], pictures.save
    monkeypatch.setattr(
        pictures, "save", lambda figure, png: figures.append(figure) or save(figure, png)
    )
    return figures
