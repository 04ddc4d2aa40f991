import json
import subprocess
import sys
from pathlib import Path

import pytest
from published_folders import only_here
from tiny_run import change_card, write_run

from keras_wrn import list_weights
from keras_wrn.cli.weights_commands import as_markdown, table
from keras_wrn.system.files import sha256
from keras_wrn.weights import finding, published
from keras_wrn.weights.card import read_card

NAME = "wrn-10-1-digits"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def saved_models(monkeypatch, tmp_path):
    return only_here(monkeypatch, tmp_path)


def test_list_weights(saved_models):
    folder = write_run(saved_models / NAME)
    metrics = {"n": 360, "error": 0.05, "top5_error": 0.0, "nll": 0.2, "ece": 0.01}
    recipe = {"epochs": 20, "schedule": "cosine"}
    change_card(folder, metrics=metrics, parameters=77_850, recipe=recipe)
    write_run(published.cache() / NAME)  # hidden by the one that came with the package
    [row] = [row for row in list_weights() if row["dataset"] == "digits"]
    card = row.pop("card")
    assert row == metrics | {
        "name": "WRN-10-1",
        "architecture": "WRN-10-1",
        "weights": "digits",
        "dataset": "digits",
        "parameters": 77_850,
        "recipe": "20 epochs, cosine",
        "size": (folder / "model.weights.h5").stat().st_size,
        "sha256": sha256(folder / "model.weights.h5"),
        "measured_by": "keras_wrn, on the full test set",
        "licence": None,
        "folder": str(folder),
    }
    assert card == read_card(folder).to_dict()
    shown = table(list_weights()).splitlines()
    assert shown[0].split() == "name data error NLL ECE parameters size sha256 recipe".split()
    [line] = [line for line in shown if line.startswith("WRN-10-1 ")]
    size = f"{row['size'] / 1e6:.1f}"
    assert line.split() == [
        *("WRN-10-1", "digits", "5.00%", "0.2000", "1.00%", "77,850", size, "MB"),
        *(row["sha256"][:16], "20", "epochs,", "cosine"),
    ]


@pytest.mark.parametrize(
    "damage",
    [
        {"metrics": None},
        {"metrics": {"error": "small"}},
        {"preprocessing": 5},
        {"weights_sha256": 5},
        {"parameters": "many"},
        {"hours": None},
    ],
)
def test_one_odd_card_leaves_the_others(saved_models, damage):
    write_run(saved_models / NAME)
    odd = write_run(saved_models / "odd")
    card = json.loads((odd / "card.json").read_text()) | damage
    (odd / "card.json").write_text(json.dumps(card))
    [row] = [row for row in list_weights() if row["dataset"] == "digits"]
    assert row["folder"] == str(saved_models / NAME)


def test_hardware_that_a_card_does_not_say(saved_models):
    change_card(write_run(saved_models / NAME), hours=0.5)
    assert "| 0.5 hours, hardware not said |" in as_markdown(list_weights())


def test_list_weights_starts_no_framework():
    program = (
        "import sys\nfrom keras_wrn.cli.weights_commands import table\n"
        "from keras_wrn.weights.finding import list_weights\n"
        "print(table(list_weights()))\n"
        "print(sorted({'keras', 'tensorflow', 'jax', 'torch', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("\n[]\n")


def test_the_readme_shows_what_is_published(monkeypatch):
    monkeypatch.setattr(finding, "homes", lambda: (ROOT / "saved_models",))
    shown = as_markdown(list_weights())
    assert '| `WideResNet16_1(weights="digits")` | 1.67% |' in shown
    assert '| `WideResNet16_4(weights="cifar10")` | 4.76% |' in shown
    assert (
        '| `WideResNet50_2(weights="imagenet-v2")` | 18.40%* | - | - | 68,883,240 | by its owner |'
        in shown
    )
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert shown in readme, "put the output of `keras-wrn list --markdown` into README.md"
