"""The pages that teach: their Python runs, their commands exist, the site builds."""

import contextlib
import dataclasses
import importlib
import io
import itertools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
from PIL import Image
from quick_weights import zero_kernels  # noqa: F401 - a fixture
from tiny_run import random_images

import keras_wrn
from keras_wrn.checkpoints.dialects import DIALECTS
from keras_wrn.cli import main
from keras_wrn.datasets.images import Images
from keras_wrn.datasets.loading import Dataset
from keras_wrn.images.preprocessing import PREPROCESSING
from keras_wrn.networks.recognition import count_parameters
from keras_wrn.paper.tables import ROWS
from keras_wrn.training.recipe import Recipe

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# The pages of docs/published are made by conf.py; Markdown under docs/runs is no page.
PAGES = [
    path
    for path in sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
    if not {"published", "runs", "_build"} & set(path.parts)
]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
# test_howto.py runs the how-to pages, test_readme.py README, Sphinx the tutorials and paper.md.
WITH_PYTHON = [
    path.stem for path in PAGES if path.parent == DOCS and PYTHON.search(path.read_text("utf-8"))
]
OPTIONAL = {"logging_and_sweeps": "optuna", "assessment": "matplotlib", "robustness": "scipy"}
# Blocks for PyTorch or a network connection, and those of training/test_loggers.py and
# training/test_jax_processes.py.
NOT_RUN = re.compile(r"^import (torch|huggingface_hub|wandb|mlflow)$|sys\.argv", re.MULTILINE)


def few_images(name, *arguments, **options):
    """A data set of a few images, in place of one of thousands."""
    if name not in ("cifar10", "cifar100"):
        return LOAD(name, *arguments, **options)
    names = PREPROCESSING[name].class_names
    images = Images(random_images(24), np.arange(24) % len(names))
    return Dataset(name, images, images, names)


LOAD = keras_wrn.datasets.load


@pytest.mark.usefixtures("zero_kernels")
@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keras_wrn.datasets, "load", few_images)
    Path("saved_models").symlink_to(ROOT / "saved_models")
    Image.fromarray(random_images(1)[0]).save("cat.jpg")
    if page in OPTIONAL:
        pytest.importorskip(OPTIONAL[page], reason=f"{OPTIONAL[page]} is not installed")
    blocks = PYTHON.findall((DOCS / f"{page}.md").read_text("utf-8"))
    blocks = [block for block in blocks if not NOT_RUN.search(block)]
    if not blocks:
        pytest.skip("its Python needs a network connection, or is run by another test")
    with mock.patch.dict(os.environ):  # a page may choose a backend
        exec("\n".join(blocks), {})


def commands(path):
    """The commands of ours in a page's blocks and between its backquotes."""
    text = re.sub(r"\\\n\s*", "", path.read_text("utf-8"))
    lines = re.findall(r"^(?: {4}|\$ |!|%run )(.+)$", text, re.MULTILINE)
    lines += re.findall(r"`((?:keras-wrn|python) [^`]+)`", text)
    for line in lines:
        words = shlex.split(line.replace("<br>", " "), comments=True) if balanced(line) else []
        words = list(itertools.dropwhile(lambda word: re.match(r"[A-Z_]+=", word), words))
        if words and words[0] in ("keras-wrn", "python"):
            yield words


def balanced(line):
    """Whether a line is one of a shell; Python's, which are indented too, may not be."""
    try:
        shlex.split(line, comments=True)
    except ValueError:
        return False
    return True


def flags_of(program):
    """The names of a program's flags, as its source defines them."""
    source = (ROOT / program).read_text("utf-8")
    names = set(re.findall(r"(?:DEFINE_\w+\(\s*|add_argument\(\s*)\"(?:--)?(\w+)\"", source))
    if "program.run(" in source or "import run" in source:
        names |= {field.name for field in dataclasses.fields(Recipe)} | {"workdir", "data_dir"}
    return names | {"help"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_of_a_page_exist(path):
    for words in commands(path):
        if words[0] == "keras-wrn":
            with (
                contextlib.redirect_stderr(io.StringIO()) as said,
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.suppress(SystemExit),  # of --help, and of a command without its words
            ):
                main.parse(words[1:])
            assert not re.search("unrecognized|invalid", said.getvalue()), said.getvalue()
        elif words[1] != "-m":
            given = {word.lstrip("-").partition("=")[0] for word in words[2:] if word[:2] == "--"}
            unknown = {name for name in given if name not in flags_of(words[1])}
            assert not unknown, f"{' '.join(words)}: {words[1]} has no --{', --'.join(unknown)}"


def test_there_are_twenty_questions_each_with_an_answer():
    text = (DOCS / "questions.md").read_text("utf-8")
    answers = re.split(r"^## (.+\?)$", text, flags=re.M)[1:]
    assert len(answers) == 2 * 20
    assert all(len(answer.split()) > 5 for answer in answers[1::2])


def test_the_page_of_dialects_has_each_with_its_parameters():
    text = (DOCS / "dialects.md").read_text("utf-8")
    for dialect in DIALECTS:
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{dialect.name}` |"))
        slope = dialect.conventions.negative_slope
        assert (f"leaky ReLU {slope}" in row) == (slope is not None)
        assert ("| yes |" in row) == dialect.conventions.conv_bias
        if dialect.name != "torchvision":
            with keras.StatelessScope(initialize_variables=False):
                network = keras_wrn.WideResNet(28, 10, conventions=dialect.conventions)
            assert f"{count_parameters(network):,}" in row


def test_the_calls_of_the_page_on_the_paper_build_its_networks(monkeypatch):
    pytest.importorskip("IPython", reason="the extra docs is not installed")
    monkeypatch.syspath_prepend(DOCS)
    call = importlib.import_module("paper_tables").call
    rows = [row for row in ROWS if row.recipe and row.dataset != "cifar100"]
    built = {call(row.recipe): row.parameters for row in rows if "1001" not in row.key}
    assert len(built) > 35
    for code, parameters in built.items():
        with keras.StatelessScope(initialize_variables=False):
            assert count_parameters(eval(f"keras_wrn.{code}")) == parameters, code


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_asks_no_other_host(tmp_path):
    pytest.importorskip("furo", reason="the extra docs is not installed")
    pytest.importorskip("myst_nb", reason="the extra docs is not installed")
    # The rows that the pages train have 3 epochs, not 20.
    short = """
import sys
if any(word.endswith("reproduce.py") for word in sys.orig_argv):
    from keras_wrn.paper import scale
    scale._DIGITS_EPOCHS = 3 / 200
"""
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "sitecustomize.py").write_text(short)
    tmp_path /= "site"
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(DOCS), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(tmp_path.with_name("start"))},
    )
    assert built.returncode == 0, built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert {"index.html", "start.html", "fine_tune.html"} <= {page.name for page in pages}
    # What a browser fetches by itself; links that a reader may follow are another thing.
    fetched = r"<(?:script|img|iframe|source)[^>]+src=\"(https?:)?//|<link[^>]+href=\"(https?:)?//"
    for page in pages:
        assert not re.search(fetched, page.read_text("utf-8")), page
    for style in tmp_path.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", style.read_text("utf-8"))
    text = (tmp_path / "paper.html").read_text("utf-8")
    assert "1,429,082 (1.4M)" in text and "<strong>6.66</strong>, n = 1" in text
    text = (tmp_path / "reference" / "models.html").read_text("utf-8")
    assert "WideResNet28_10" in text and "36,479,194" in text
