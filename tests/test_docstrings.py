"""The examples in the package's docstrings do what they show."""

import doctest
import importlib
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from quick_weights import zero_kernels  # noqa: F401 - a fixture

import keras_wrn

FILES = sorted(Path(keras_wrn.__file__).parent.glob("*.py"))
EXAMPLE = re.compile(r">>> (?!.*doctest: \+SKIP)")
MODULES = [path.stem for path in FILES if EXAMPLE.search(path.read_text(encoding="utf-8"))]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NOT_RUN = {
    "training.train": "trains; test_training does it",
}


@pytest.mark.usefixtures("zero_kernels")
@pytest.mark.parametrize("name", MODULES)
def test_examples_do_what_they_show(name, tmp_path, monkeypatch):
    if name == "detection":
        pytest.importorskip("keras_cv")
    module = importlib.import_module(f"keras_wrn.{name}")
    monkeypatch.chdir(tmp_path)
    names = {**vars(module), "keras": keras, "np": np, "keras_wrn": keras_wrn}
    told = []
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, globs=names):
        short = example.name.removeprefix("keras_wrn.")
        if short in NOT_RUN:
            continue
        doctest.DocTestRunner(optionflags=OPTIONS).run(example, out=told.append)
    assert not told, "".join(told)
    assert not list(tmp_path.iterdir())


def test_there_are_examples():
    assert len(MODULES) > 20
