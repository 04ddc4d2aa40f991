"""Importing the package costs nothing, and says what is missing where Keras cannot start."""

import ast
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


def imported_for_editors():
    """The names that keras_wrn/__init__.py imports where a type checker reads it."""
    tree = ast.parse(pathlib.Path(keras_wrn.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {alias.name: node.module for node in block.body for alias in node.names}


def test_editors_see_every_public_name_where_it_is():
    names = imported_for_editors()
    assert sorted(names) == keras_wrn.__all__
    for name, module in names.items():
        home = keras_wrn._HOME_OF.get(name)
        assert module == (f"keras_wrn.{home}" if home else "keras_wrn")


PROGRAM = """
import numpy as np
import keras_wrn

model = keras_wrn.WideResNet28_10(classes=7)
recipe = keras_wrn.Recipe(dataset="digits", depth=10, width=1).shortened(10)
card = keras_wrn.train(recipe, "RUN")
run = keras_wrn.load_trained("RUN")
images = np.zeros((2, 32, 32, 3), np.uint8)
labels = np.zeros(2, np.int64)
error: float = keras_wrn.evaluate(run.model, images, labels, run.preprocessing)["error"]
answers = keras_wrn.predict(run.model, "cat.jpg", run.preprocessing)
"""


def test_a_users_program_passes_the_strict_type_checker(tmp_path):
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    (tmp_path / "program.py").write_text(PROGRAM)
    wrong = 'keras_wrn.Recipe(depth="ten")\nkeras_wrn.WideResNet29_10()\n'
    (tmp_path / "wrong.py").write_text(f"import keras_wrn\n{wrong}")
    # Reading Keras and NumPy takes minutes; the package's own types are the test.
    skipped = "[mypy-keras.*,tensorflow.*,jax.*,PIL.*,matplotlib.*,absl.*,h5py.*]\n"
    (tmp_path / "mypy.ini").write_text(
        f"[mypy]\nstrict = true\nignore_missing_imports = true\n{skipped}follow_imports = skip\n"
    )
    files = [str(tmp_path / name) for name in ("program.py", "wrong.py")]
    options = ["--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(tmp_path / "cache")]
    report, _, status = api.run([*options, *files])
    mine = [line for line in report.splitlines() if "program.py" in line or "wrong.py" in line]
    assert status == 1 and len(mine) == 2, report
    assert 'incompatible type "str"; expected "int"' in mine[0]
    assert 'Module has no attribute "WideResNet29_10"' in mine[1]
