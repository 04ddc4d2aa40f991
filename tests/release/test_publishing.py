import json
import os
import re
import shutil

import h5py
import keras
import numpy as np
import pytest
from PIL import Image
from published_folders import only_here
from tiny_run import change_card, write_run

import keras_wrn
from keras_wrn import InputError, datasets, publish
from keras_wrn.inference import trained
from keras_wrn.release import publishing
from keras_wrn.release.readme import readme
from keras_wrn.system.files import sha256
from keras_wrn.training.recipe import Recipe
from keras_wrn.weights.card import Card, read_card

NAME = "wrn-10-1-digits"
FACTS = {
    "seed": 3,
    "hours": 1.5,
    "epochs": 20,
    "hardware": "2 x a processor",
    "versions": {"keras": "3.15.1"},
    "recipe": Recipe(dataset="digits", epochs=20, schedule="cosine", cutout=8).to_dict(),
    "chosen_by": "the end of the run; the test set chose nothing",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = write_run(tmp_path_factory.mktemp("publishing") / "run")
    change_card(folder, **FACTS)
    (folder / "curves.png").write_bytes(b"\x89PNG of the run")
    return folder


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    return publish(run, tmp_path_factory.mktemp("publishing") / "saved_models")


def umask():
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_the_folder_is_complete(run, folder):
    names = "README.md card.json config.json curves.png history.csv logits.npz".split()
    assert folder.name == NAME
    assert sorted(path.name for path in folder.iterdir()) == [
        *names,
        "model.safetensors",
        "model.weights.h5",
    ]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o666 & ~umask()}
    assert list(folder.parent.iterdir()) == [folder]
    assert (folder / "history.csv").read_text() == (run / "history.csv").read_text()
    assert (folder / "curves.png").read_bytes() == b"\x89PNG of the run"
    with h5py.File(folder / "model.weights.h5") as stored:
        assert stored["layers/conv2d/vars/0"].dtype == np.float16


def test_the_figures_are_those_of_the_stored_file(run, folder):
    """As `keras-wrn evaluate` gives them, from float16 weights in a float32 network."""
    card = read_card(folder).to_dict()
    published = keras_wrn.load_trained(folder)
    data = datasets.load("digits").test
    again = keras_wrn.evaluate(published.model, *data, published.preprocessing)
    assert card["metrics"] == pytest.approx(again, abs=1e-12)
    assert card["metrics"]["n"] == 360
    before = keras_wrn.load_trained(run)
    exact = keras_wrn.evaluate(before.model, *data, before.preprocessing)
    assert card["metrics"]["nll"] == pytest.approx(exact["nll"], rel=1e-2)
    assert card["metrics"]["nll"] != exact["nll"]
    assert {variable.dtype for variable in published.model.weights} == {"float32"}


def test_the_card_tells_everything(run, folder):
    card, weights = read_card(folder).to_dict(), folder / "model.weights.h5"
    assert card["weights_sha256"] == sha256(weights)
    assert card["weights_bytes"] == weights.stat().st_size
    assert card["architecture"] == "WRN-10-1"
    assert card["parameters"] == 77_850
    assert card["metrics_before_rounding"] == {"n": 360, "error": 0.9}
    assert {key: card[key] for key in FACTS} == FACTS
    assert card["preprocessing"] == read_card(run).to_dict()["preprocessing"]
    assert (card["weights_dtype"], card["runs"], card["licence"]) == ("float16", 1, "Apache-2.0")
    # Counted from Table 1: the stem, and two convolutions and a projection of each group.
    groups = 32 * 32 * 2 * 9 * 16 * 16
    groups += 16 * 16 * (9 * 16 * 32 + 9 * 32 * 32 + 16 * 32)
    groups += 8 * 8 * (9 * 32 * 64 + 9 * 64 * 64 + 32 * 64)
    assert card["multiply_adds"] == 32 * 32 * 9 * 3 * 16 + groups + 64 * 10
    failures = card["known_failures"]
    first = re.fullmatch(r"Of (\d+) test images of \d, (\d+) are taken for \d\.", failures[0])
    assert 0 < int(first[2]) <= int(first[1])
    assert any("names one of them" in text for text in failures)


def test_the_readme_says_what_the_card_says(folder):
    card, text = read_card(folder).to_dict(), (folder / "README.md").read_text()
    assert text == readme(Card.from_dict(card, folder))
    assert text.split("---\n", 2)[2].startswith("\n# WRN-10-1 on digits\n")
    for part in (
        f"| top-1 error | {card['metrics']['error']:.2%} |",
        f"| negative log-likelihood | {card['metrics']['nll']:.4f} |",
        '`keras_wrn.WideResNet(depth=10, width=1, weights="digits")` is the same network',
        'folder = "wrn-10-1-digits"  # the path of this folder',
        f"`{card['weights_sha256']}`",
        "| hours of training steps | 1.5 |",
        "| schedule | cosine |",
        "| cutout | 8 |",
        "Runs: 1, seed 3.",
        "the test set chose nothing",
        "![training curves](curves.png)",
        *card["known_failures"],
        card["intended_use"],
    ):
        assert part in text
    for name in ("temperature", "teacher share", "drop factor", "policy magnitude"):
        assert f"| {name} |" not in text  # without effect in this recipe
    assert "curves.png" not in readme(Card.from_dict(card, folder), has_curves=False)


@pytest.mark.parametrize(
    ("network", "call"),
    [
        ({"depth": 16, "width": 4.0}, 'WideResNet16_4(weights="svhn")'),
        ({"depth": 16, "width": 4, "classes": 100}, 'WideResNet16_4(classes=100, weights="svhn")'),
        (
            {"depth": 16, "width": 4, "blocks_per_group": 6},
            'WideResNet(depth=16, width=4, blocks_per_group=6, weights="svhn")',
        ),
        (
            {"depth": 22, "width": 1, "block": "B(3,1,3)", "dropout": 0.3},
            'WideResNet(depth=22, width=1, block="B(3,1,3)", weights="svhn")',
        ),
    ],
)
def test_the_readme_shows_the_shortest_call(folder, network, call):
    card = read_card(folder).to_dict()
    whole = {"builder": "WideResNet", "depth": 0, "width": 0, "block": "B(3,3)", "classes": 10}
    whole |= network
    card |= {"network": whole, "weights": "svhn"}
    assert f"\n`keras_wrn.{call}` is the same" in readme(Card.from_dict(card, folder))


@pytest.mark.parametrize("mean", [78.895, 1.0])
def test_the_python_of_the_readme_runs(folder, tmp_path, monkeypatch, mean):
    """In the folder above, with own statistics or those of a data set in the table."""
    shutil.copytree(folder.parent, tmp_path / "published")
    card = read_card(folder).to_dict()
    own = card["preprocessing"] | {"mean": [mean] * 3}
    change_card(tmp_path / "published" / NAME, preprocessing=own)
    text = readme(read_card(tmp_path / "published" / NAME))
    monkeypatch.chdir(tmp_path / "published")
    names = {"images": np.full((1, 32, 32, 3), 90, "uint8")}
    exec(re.search("```python\n(.*?)```", text, re.DOTALL)[1], names)
    expected = (90 - mean) / card["preprocessing"]["std"][0]
    np.testing.assert_allclose(names["images"], expected, rtol=1e-6)
    assert names["probabilities"].shape == (1, 10)


def test_what_is_published_loads_by_name_and_by_plain_keras(folder, tmp_path, monkeypatch):
    saved_models = only_here(monkeypatch, tmp_path)
    saved_models.symlink_to(folder.parent)
    model = keras_wrn.WideResNet(10, 1, dropout=0.3, weights="digits")
    plain = keras_wrn.WideResNet(10, 1, classifier_activation=None)
    plain.load_weights(folder / "model.weights.h5")
    for ours, theirs in zip(model.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert trained.load_model("10-1", "digits").card == read_card(folder).to_dict()


def test_the_program_s_precision_changes_nothing(run, folder, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    again = publish(run, tmp_path)
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    for name in ("model.weights.h5", "card.json", "README.md"):
        ours, theirs = ((place / name).read_bytes() for place in (again, folder))
        if name == "model.weights.h5":
            assert ours == theirs
        else:
            # Only a day may have ended between the two.
            hide = lambda text: re.sub(rb"\d{4}-\d\d-\d\d", b"", text)  # noqa: E731
            assert hide(ours) == hide(theirs)


def test_figures_of_held_out_images_are_not_taken_for_the_tests(tmp_path):
    run = write_run(tmp_path / "run")
    change_card(run, metrics_of="held-out training images")
    card = read_card(publish(run, tmp_path / "home")).to_dict()
    assert (card["metrics_of"], card["metrics"]["n"]) == ("the test set", 360)
    assert card["metrics_before_rounding"] is None


def test_words_of_the_publisher_are_kept(run, tmp_path):
    folder = publish(run, tmp_path, intended_use="A test.", known_failures=["All."], licence="CC0")
    card = read_card(folder).to_dict()
    assert (card["intended_use"], card["licence"]) == ("A test.", "CC0")
    assert card["known_failures"][0] == "All."


def unfinished(run):
    (run / "card.json").unlink()


def without_history(run):
    (run / "history.csv").unlink()


def with_huge_weights(run):
    card = json.loads((run / "card.json").read_text())
    model = keras_wrn.WideResNet(10, 1)
    model.get_layer("head_bn").moving_variance.assign(np.full(64, 1e9, "float32"))
    model.save_weights(run / "model.weights.h5")
    change_card(run, weights_sha256=sha256(run / "model.weights.h5"), n=card["format"])


def of_other_classes(run):
    card = json.loads((run / "card.json").read_text())
    change_card(run, preprocessing=card["preprocessing"] | {"class_names": list("abcdefghij")})


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (unfinished, "a run that is not finished"),
        (without_history, "has no history.csv"),
        (with_huge_weights, "cannot be stored as float16: head_bn"),
        (
            of_other_classes,
            r"must have the classes of the data set.*model with 10 classes \(a, b, c",
        ),
        (lambda run: change_card(run, dataset="mars"), "mars"),
    ],
)
def test_what_cannot_be_published_leaves_nothing(tmp_path, damage, sentence):
    run = write_run(tmp_path / "run")
    damage(run)
    home = tmp_path / "home"
    home.mkdir()
    with pytest.raises(InputError, match=sentence):
        publish(run, home)
    assert list(home.iterdir()) == []


def test_nothing_is_overwritten(run, folder):
    before = (folder / "card.json").stat().st_mtime_ns
    with pytest.raises(InputError, match=f"{NAME} is that folder already. To upload it: keras-wrn"):
        publish(folder, folder.parent)
    with pytest.raises(InputError, match=f"{NAME} exists, and published weights are never"):
        publish(run, folder.parent)
    assert (folder / "card.json").stat().st_mtime_ns == before


def test_a_full_disk_leaves_nothing(run, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(publishing.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        publish(run, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_curves_that_the_run_lacks_are_drawn(tmp_path):
    folder = publish(write_run(tmp_path / "run"), tmp_path / "home")
    with Image.open(folder / "curves.png") as picture:
        assert picture.size[0] > 500
    assert "![training curves](curves.png)" in (folder / "README.md").read_text()
