"""What README.md shows works."""

import re
from pathlib import Path

import pytest
from PIL import Image
from quick_weights import zero_kernels  # noqa: F401 - a fixture
from tiny_run import random_images, write_run

import keras_wrn
from keras_wrn.paper.systems import SYSTEMS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NETWORKS = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")


def test_the_calls_of_table_2_have_the_papers_labels_and_its_networks():
    calls = re.findall(
        r"`WideResNet\((\d+), 2, \"(B\([\d,]+\))\", blocks_per_group=(\d)\)`", NETWORKS
    )
    shown = [(int(depth), block, int(blocks)) for depth, block, blocks in calls]
    expected = [SYSTEMS[key].network for key in ("b131", "b31", "b13", "b311", "b33", "b313")]
    assert shown == [(n["depth"], n["block"], n["blocks_per_group"]) for n in expected]


@pytest.mark.usefixtures("zero_kernels")
def test_the_python_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    pretrained, block = re.findall("```python\n(.*?)```", README, re.DOTALL)
    builds, rest = block.split("# From here on")
    assert "keras_wrn.WideResNet(40, 2," in builds
    monkeypatch.chdir(tmp_path)
    Image.fromarray(random_images(1)[0]).save("cat.jpg")
    # Ten epochs take longer than a test.
    monkeypatch.setattr(keras_wrn, "train", lambda recipe, folder: write_run(Path(folder)))
    exec(pretrained + rest.partition("\n")[2])
    out = capsys.readouterr().out
    assert len(re.findall(r"^[a-z]+ [\d.e-]+$", out, re.MULTILINE)) == 5
    assert "{'n': 360, 'error': 0.0166" in out
    assert re.search(r"\[\[\(\d, '\d', [\d.]+\), ", out)
    assert "wide_resnet10_1 has the weights of RUN/model.weights.h5: predictions left" in out


def test_every_link_leads_to_a_file():
    docs = ROOT / "docs"
    pages = [
        path
        for folder in (docs, docs / "howto", docs / "tutorials")
        for path in folder.glob("*.md")
    ]
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *pages):
        text = page.read_text(encoding="utf-8")
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)|<img src=\"([^\"]+)\"", text)
        lost = [
            link for pair in links for link in pair if link and not (page.parent / link).exists()
        ]
        assert not lost, f"{page.name} links to {lost}"
