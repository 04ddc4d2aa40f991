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

ROOT = Path(keras_wrn.__file__).parents[1]
FILES = sorted(Path(keras_wrn.__file__).parent.rglob("*.py"))
EXAMPLE = re.compile(r">>> (?!.*doctest: \+SKIP)")
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in FILES
    if EXAMPLE.search(path.read_text(encoding="utf-8"))
]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NOT_RUN = {
    "training.run.train": "trains; training/test_run.py does it",
}


@pytest.mark.usefixtures("zero_kernels")
@pytest.mark.parametrize("name", MODULES)
def test_examples_do_what_they_show(name, tmp_path, monkeypatch):
    if name.startswith("keras_wrn.detection"):
        pytest.importorskip("keras_cv")
    if name.startswith("keras_wrn.serving"):
        pytest.importorskip("orjson")
    module = importlib.import_module(name)
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
