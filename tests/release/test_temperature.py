import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
from tiny_run import DIGITS, change_card, random_images, write_run

import keras_wrn
from keras_wrn import datasets
from keras_wrn.cli import main
from keras_wrn.errors import InputError
from keras_wrn.inference.classifier import class_probabilities
from keras_wrn.inference.trained import load_model
from keras_wrn.insight.calibration import softmax
from keras_wrn.insight.outputs import open_reader, read
from keras_wrn.release.temperature import store_temperature
from keras_wrn.training.recipe import Recipe
from keras_wrn.weights.card import read_card

FIGURES = {
    "classification": {"n": 1200},
    "calibration": {"nll": 0.5, "ece": 0.1, "brier": 0.2},
    "temperature": {
        "fitted_on": "30 held-out images",
        "temperature": 1.7,
        "after": {"nll": 0.4, "ece": 0.02, "brier": 0.19},
    },
}
TINY = Recipe(
    dataset="digits",
    depth=10,
    width=0.25,
    epochs=4,
    drop_epochs=(),
    batch_size=64,
    learning_rate=0.05,
    evaluate_every=4,
    flip=False,
)


def call(*words):
    return main.main(main.parse([str(word) for word in words]))


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def test_a_stored_temperature_divides_the_logits(run):
    plain = keras_wrn.load_trained(run)
    before = json.loads((run / "card.json").read_text(encoding="utf-8"))
    assert store_temperature(FIGURES, plain, run) == run / "card.json"
    after = json.loads((run / "card.json").read_text(encoding="utf-8"))
    expected = {
        "value": 1.7,
        "fitted_on": "30 held-out images of WRN-10-1 on digits",
        "run": {"folder": "run", "weights_sha256": before["weights_sha256"]},
        "measured_on": "1,200 other images, by that run",
        "nll": {"before": 0.5, "after": 0.4},
        "ece": {"before": 0.1, "after": 0.02},
    }
    assert after == before | {"temperature": expected}

    images = random_images(4)
    calibrated = keras_wrn.load_trained(run, calibrated=True)
    expected = softmax(read(open_reader(plain.model, DIGITS), images).logits / 1.7)
    found = class_probabilities(calibrated.model, images, DIGITS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    same = class_probabilities(keras_wrn.load_trained(run).model, images, DIGITS)
    assert np.abs(found - same).max() > 1e-3  # only on request


def test_a_run_s_own_readme_stays_and_the_hub_s_example_too(run, tmp_path):
    published = keras_wrn.publish(run, tmp_path / "home", repository="somebody/wrn")
    (run / "README.md").write_text("My notes.")
    store_temperature(FIGURES, keras_wrn.load_trained(run), run)
    assert (run / "README.md").read_text() == "My notes."
    store_temperature(FIGURES, keras_wrn.load_trained(published), published)
    text = (published / "README.md").read_text(encoding="utf-8")
    assert "## Temperature" in text and 'snapshot_download("somebody/wrn")' in text


def test_a_temperature_of_the_reported_images_is_not_kept(run):
    trained = keras_wrn.load_trained(run)
    crossed = {"fitted_on": "cross-fitted halves of the reported images", "temperature": None}
    with pytest.raises(InputError, match="Received: a temperature fitted on cross-fitted"):
        store_temperature(FIGURES | {"temperature": crossed}, trained, run)
    unfit = {"fitted_on": None, "temperature": None, "reason": "The labels must fit."}
    with pytest.raises(InputError, match="Received: The labels must fit"):
        store_temperature(FIGURES | {"temperature": unfit}, trained, run)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dataset": "svhn"}, "dataset is 'digits' there and 'svhn' here"),
        ({"recipe": {"held_out": 5, "mixup": 0.2}}, "mixup is 0.0 there and 0.2 here"),
        ({"recipe": "a sentence"}, "a card has no recipe to compare"),
    ],
)
def test_another_network_keeps_its_own(run, tmp_path, changes, sentence):
    change_card(run, recipe={"held_out": 30})
    other = write_run(tmp_path / "other")
    change_card(other, weights_sha256="0" * 64, **{"recipe": {}} | changes)
    card = (other / "card.json").read_bytes()
    with pytest.raises(InputError, match=f"of the same recipe but for held_out.* {sentence}"):
        store_temperature(FIGURES, keras_wrn.load_trained(run), other)
    assert (other / "card.json").read_bytes() == card


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="half a minute, alike on JAX")
def test_published_weights_take_the_temperature_of_a_run_that_held_images_out(tmp_path, capsys):
    keras_wrn.train(TINY, tmp_path / "run")
    published = keras_wrn.publish(tmp_path / "run", tmp_path / "home")
    held_out = tmp_path / "held-out"
    keras_wrn.train(dataclasses.replace(TINY, held_out=300), held_out)
    words = ["assess", held_out, "--held_out", "own", "--store_in"]
    shutil.copytree(published, tmp_path / "other")
    change_card(tmp_path / "other", recipe=TINY.to_dict() | {"seed": 2})
    assert call(*words, tmp_path / "other") == 2
    assert "seed is 1 there and 2 here" in capsys.readouterr().err
    assert call(*words, published) == 0
    fitted = read_card(published).temperature
    assert fitted["fitted_on"] == "300 held-out images of WRN-10-0.25 on digits"
    assert fitted["measured_on"] == "360 other images, by that run"
    assert fitted["run"]["weights_sha256"] == read_card(held_out).weights_sha256
    assert fitted["nll"]["after"] < fitted["nll"]["before"]
    lines = (published / "README.md").read_text(encoding="utf-8")
    assert f"## Temperature\n\n{fitted['value']:.4g}, fitted on 300 held-out images" in lines

    images = datasets.load("digits").test.images[:5]
    plain, divided = (keras_wrn.load_trained(published, calibrated=c) for c in (False, True))
    logits = read(open_reader(plain.model, DIGITS), images).logits
    found = class_probabilities(divided.model, images, DIGITS)
    np.testing.assert_allclose(found, softmax(logits / fitted["value"]), atol=1e-5)


def test_publishing_carries_the_temperature_of_the_run(run, tmp_path):
    store_temperature(FIGURES, keras_wrn.load_trained(run), run)
    published = keras_wrn.publish(run, tmp_path / "home")
    assert read_card(published).temperature == read_card(run).temperature
    assert "## Temperature\n\n1.7, fitted on 30" in (published / "README.md").read_text("utf-8")


def test_a_card_without_a_temperature_and_a_damaged_one(run):
    with pytest.raises(InputError, match=r"has no temperature. Fit one .* --store_in"):
        keras_wrn.load_trained(run, calibrated=True)
    for value in (0, -1.5, "1", True):
        change_card(run, temperature={"value": value})
        with pytest.raises(InputError, match="is damaged. Received: temperature="):
            keras_wrn.load_trained(run, calibrated=True)


def test_a_file_of_weights_has_no_temperature(run):
    with pytest.raises(InputError, match="in the card of a run or of published weights"):
        load_model("10-1", run / "model.weights.h5", "digits", calibrated=True)
