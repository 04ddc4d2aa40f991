"""The pages that teach: their Python runs, and the site builds without a warning."""

import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from PIL import Image
from quick_weights import zero_kernels  # noqa: F401 - a fixture
from tiny_run import random_images

import keras_wrn
from keras_wrn.checkpoints.dialects import DIALECTS
from keras_wrn.networks.recognition import count_parameters

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.usefixtures("zero_kernels")
@pytest.mark.parametrize("page", "index start questions logging_and_sweeps dialects".split())
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(random_images(1)[0]).save("cat.jpg")
    if page == "logging_and_sweeps":
        pytest.importorskip("optuna", reason="optuna is the reader's")
    blocks = re.findall("```python\n(.*?)```", (DOCS / f"{page}.md").read_text("utf-8"), re.DOTALL)
    assert blocks
    exec("\n".join(blocks), {})


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


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_asks_no_other_host(tmp_path):
    pytest.importorskip("furo", reason="the extra docs is not installed")
    pytest.importorskip("myst_nb", reason="the extra docs is not installed")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(DOCS), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert {"index.html", "start.html", "questions.html"} <= {page.name for page in pages}
    # What a browser fetches by itself; links that a reader may follow are another thing.
    fetched = r"<(?:script|img|iframe|source)[^>]+src=\"(https?:)?//|<link[^>]+href=\"(https?:)?//"
    for page in pages:
        assert not re.search(fetched, page.read_text("utf-8")), page
    for style in tmp_path.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", style.read_text("utf-8"))
    text = (tmp_path / "reference" / "models.html").read_text("utf-8")
    assert "WideResNet28_10" in text and "36,479,194" in text
