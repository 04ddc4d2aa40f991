"""The benchmarks compile, and what they take from the package is there; none is run here."""

import ast
import importlib
from pathlib import Path

import keras
import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_what_a_benchmark_takes_from_the_package_is_there(path):
    text = path.read_text(encoding="utf-8")
    compile(text, path, "exec")
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ImportFrom) or not node.module.startswith("keras_wrn"):
            continue
        if node.module == "keras_wrn.detection" and keras.config.backend() != "tensorflow":
            continue
        module = importlib.import_module(node.module)
        for name in node.names:
            if not hasattr(module, name.name):
                importlib.import_module(f"{node.module}.{name.name}")
