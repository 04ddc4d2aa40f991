"""What every test starts from: quiet logs, a seed, and no leftovers of the test before."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import pytest


@pytest.fixture(autouse=True)
def fresh_keras():
    """Seed everything and drop the graphs of the test before."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    yield
    keras.config.set_dtype_policy("float32")
