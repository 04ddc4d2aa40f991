"""Importing the package costs nothing, and says what is missing where Keras cannot start."""

import os
import pathlib
import subprocess
import sys

import keras
import pytest

import keras_wrn

BACKENDS = ("tensorflow", "jax", "torch")
# Makes packages look as if they were not installed.
HIDE = """
import importlib.machinery, sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            return None
        return importlib.machinery.PathFinder.find_spec(name, path, target)
finders = [f for f in sys.meta_path if f is not importlib.machinery.PathFinder]
sys.meta_path[:] = [*finders, Finder]
"""


def run(program, hidden=(), backend=None):
    """What a program prints that starts without the packages `hidden`."""
    root = pathlib.Path(keras_wrn.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONWARNINGS": "error"}
    if backend:
        environment["KERAS_BACKEND"] = backend
    done = subprocess.run(
        [sys.executable, "-c", HIDE.format(hidden=tuple(hidden)) + program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sentence(expression, **options):
    """What `expression` raises as an ImportError, twice: a half-imported Keras must not show."""
    program = f"""
import keras_wrn
sentences = []
for _ in range(2):
    try:
        {expression}
    except ImportError as error:
        sentences.append(str(error))
assert len(sentences) == 2 and sentences[0] == sentences[1], sentences
print(sentences[0])
"""
    lines = run(program, **options).splitlines()
    assert len(lines) == 1
    return lines[0]


def test_the_import_brings_in_nothing_else():
    program = """
import importlib
before = set(sys.modules)
import keras_wrn
keras_wrn.__version__, dir(keras_wrn)
print(sorted(set(sys.modules) - before))
"""
    assert run(program) == "['keras_wrn']\n"


def test_the_data_sets_need_no_keras():
    program = "import keras_wrn\nkeras_wrn.datasets\nprint('keras' in sys.modules)"
    assert run(program, hidden=("keras", *BACKENDS)) == "False\n"


@pytest.mark.parametrize("name", ["WideResNet", "optimizers"])
def test_without_a_backend_one_sentence_says_what_to_install(name):
    said = sentence(f"keras_wrn.{name}", hidden=BACKENDS, backend="tensorflow")
    assert said.startswith("keras_wrn needs a backend for Keras, and none is installed.")
    assert "pip install" in said


def test_the_other_backend_is_named_where_one_is_installed():
    installed = keras.config.backend()
    absent = next(name for name in BACKENDS if name != installed)
    others = [name for name in BACKENDS if name != installed]
    said = sentence("keras_wrn.WideResNet", hidden=others, backend=absent)
    assert f"asked for the {absent} backend, which is not installed; installed: {installed}" in said
    assert f"KERAS_BACKEND={installed}" in said


def test_a_backend_that_keras_does_not_have_is_a_sentence():
    said = sentence("keras_wrn.WideResNet", backend="mars")
    assert said.endswith("KERAS_BACKEND to one of tensorflow, jax, torch. Received: mars.")


def test_without_keras_one_sentence_says_so():
    said = sentence("from keras_wrn import WideResNet", hidden=("keras",))
    assert said == "keras_wrn needs Keras 3, which is not installed. Run: pip install keras"


def test_dir_lists_every_name():
    assert set(keras_wrn.__all__) <= set(dir(keras_wrn))
    assert dir(keras_wrn) == sorted(dir(keras_wrn))
    assert {"WideResNet", "WideResNet28_10", "datasets", "InputError"} <= set(keras_wrn.__all__)


@pytest.mark.parametrize("name", keras_wrn.__all__)
def test_every_name_resolves_to_what_bears_it(name):
    value = getattr(keras_wrn, name)
    assert value.__name__.removeprefix("keras_wrn.") == name
    assert getattr(keras_wrn, name) is value


def test_names_that_do_not_exist_are_refused_as_modules_do():
    with pytest.raises(AttributeError, match="module 'keras_wrn' has no attribute 'WideResnet'"):
        keras_wrn.WideResnet  # noqa: B018
    assert not hasattr(keras_wrn, "wideresnet")
