"""The folders of saved_models/ are whole, say what their cards say, and do what these claim."""

from pathlib import Path

import pytest
from quick_weights import zero_kernels  # noqa: F401 - a fixture

import keras_wrn
from keras_wrn import publish
from keras_wrn.inference.evaluation import measures
from keras_wrn.inference.own_images import images_of
from keras_wrn.insight.calibration import softmax
from keras_wrn.release.logits import check_logits, read_logits
from keras_wrn.release.readme import readme
from keras_wrn.system.files import sha256
from keras_wrn.weights.card import read_card

HOME = Path(__file__).parents[2] / "saved_models"
FOLDERS = sorted(card.parent.name for card in HOME.glob("*/card.json"))


def test_there_are_some():
    assert "wrn-16-1-digits" in FOLDERS


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.usefixtures("zero_kernels")
def test_a_shipped_folder_is_whole(name):
    folder = HOME / name
    trained = keras_wrn.load_trained(folder)
    assert sha256(folder / "model.weights.h5") == trained.card["weights_sha256"]
    assert (folder / "model.weights.h5").stat().st_size == trained.card["weights_bytes"]
    text = readme(read_card(folder), has_curves=(folder / "curves.png").is_file())
    assert (folder / "README.md").read_text(encoding="utf-8") == text
    outputs = read_logits(folder / "logits.npz")
    check_logits(outputs, read_card(folder))
    found = measures(softmax(outputs.logits.astype("float32")), outputs.labels)
    assert found == pytest.approx(trained.card["metrics"], abs=2e-3)


def test_a_shipped_folder_is_completed_without_a_network_or_data(tmp_path):
    folder = publish(HOME / "wrn-16-1-digits", tmp_path / "complete", data_dir=tmp_path)
    shipped = {path.name for path in (HOME / "wrn-16-1-digits").iterdir()}
    made = {path.name for path in folder.iterdir()}
    assert made - shipped <= {"model.safetensors", "config.json"} <= made
    for name in shipped - {"model.safetensors", "config.json"}:
        assert (folder / name).read_bytes() == (HOME / folder.name / name).read_bytes(), name


@pytest.mark.usefixtures("zero_kernels")
def test_the_digits_are_told_apart_as_the_card_says():
    pytest.importorskip("sklearn")
    trained = keras_wrn.load_trained(HOME / "wrn-16-1-digits")
    data = images_of(trained, "test")
    found = keras_wrn.evaluate(trained.model, *data.test, trained.preprocessing)
    assert found["error"] == trained.card["metrics"]["error"]
    assert found == pytest.approx(trained.card["metrics"], rel=1e-3)
