"""The order of the wings: a wing imports only wings below it."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

import keras_wrn

PACKAGE = Path(keras_wrn.__file__).parent
CONTRIBUTING = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = sorted(PACKAGE.rglob("*.py"))


def order():
    """The wings from the lowest to the highest, as CONTRIBUTING.md lists them."""
    return re.findall(r"^\d+\. `(\w+)`", CONTRIBUTING, re.MULTILINE)


def wing_of(module):
    """The wing of a module such as keras_wrn.weights.card; "" for the files beside the wings."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else ""


def imported(tree):
    """The modules that a file imports, lazily too, and what it asks the package for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "keras_wrn":
                yield f"keras_wrn.{node.attr}"
        elif isinstance(node, ast.Call) and ast.unparse(node).startswith("getattr(keras_wrn,"):
            yield "keras_wrn.<any name>"


def arrows(path):
    """Pairs of a module and a module that it imports."""
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for target in imported(ast.parse(path.read_text(encoding="utf-8"))):
        if target.split(".")[0] == "keras_wrn":
            yield name, target


def test_the_list_names_every_wing_once():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert sorted(order()) == sorted(folders)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_wing_imports_only_wings_below_it(path):
    ranks = {wing: rank for rank, wing in enumerate(order())}
    wrong = []
    for module, target in arrows(path):
        if module.removesuffix(".__init__") in ("keras_wrn", "keras_wrn.__main__"):
            continue
        own, other = wing_of(module), wing_of(target)
        if other == "":  # errors and optimizers stand below all wings; the face above them
            names = (
                "keras_wrn",
                "keras_wrn.__version__",
                "keras_wrn.errors",
                "keras_wrn.optimizers",
            )
            if not target.startswith(names[2:]) and target not in names[:2]:
                wrong.append(f"{module} asks the package's face for {target}")
        elif own != other and (own == "" or ranks[own] < ranks[other]):
            wrong.append(f"{module} imports {target}, of a wing above it")
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_no_module_imports_itself_on_a_way_round():
    modules = {
        path: ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in FILES
    }
    names = {name.removesuffix(".__init__") for name in modules.values()}
    graph = {
        name: {target for _, target in arrows(path) if target in names}
        for path, name in modules.items()
        if not name.endswith("__init__")
    }
    order_of_imports = graphlib.TopologicalSorter(graph)
    order_of_imports.prepare()  # raises CycleError, which names the way round
