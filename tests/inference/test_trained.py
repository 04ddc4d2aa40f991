import json

import numpy as np
import pytest
from tiny_run import DIGITS, change_card, random_images, write_run

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.inference.trained import load_model
from keras_wrn.weights import card, finding


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def test_a_run_comes_back_with_its_weights_softmax_card_and_preprocessing(run):
    trained = keras_wrn.load_trained(run)
    assert trained.path == run
    assert trained.card["name"] == "WRN-10-1"
    assert trained.preprocessing == DIGITS
    inputs = random_images(3).astype("float32") / 255
    probabilities = trained.model.predict(inputs, verbose=0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    logits = keras_wrn.WideResNet(10, 1, classifier_activation=None)
    logits.load_weights(run / "model.weights.h5")
    for ours, stored in zip(trained.model.get_weights(), logits.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, stored)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda run: (run / "card.json").unlink(), "not finished: it has recipe.json"),
        (lambda run: (run / "model.weights.h5").unlink(), "no model.weights.h5"),
        (lambda run: (run / "card.json").write_text("{"), "card.json is damaged"),
        (lambda run: (run / "card.json").write_text("[]"), "card.json is damaged"),
        (lambda run: change_card(run, format=2), "card of format 1. Received: format=2"),
        (lambda run: change_card(run, network=None), "it has no network"),
        (lambda run: change_card(run, network={"builder": "exec"}), "builder='exec'"),
        (lambda run: change_card(run, network=3), "must name a network of keras_wrn"),
        (
            lambda run: change_card(run, network={"builder": "WideResNet", "depth": 11}),
            "describes no network: `depth` must be",
        ),
        (
            lambda run: change_card(run, network={"builder": "WideResNet", "deep": 11}),
            "describes no network: .*deep",
        ),
        (
            lambda run: change_card(run, preprocessing={"mean": [0]}),
            "The preprocessing in the card of .*run is damaged: ",
        ),
        (
            lambda run: change_card(run, weights_sha256="0" * 63),
            "must have 64 hexadecimal digits",
        ),
        (
            lambda run: (run / "model.weights.h5").write_bytes(b"half"),
            "damaged or another file: its sha256 is",
        ),
    ],
)
def test_a_damaged_run_is_refused_in_a_sentence(run, damage, sentence):
    damage(run)
    with pytest.raises(InputError, match=sentence):
        keras_wrn.load_trained(run)


def test_what_is_no_run_folder_is_said_so(tmp_path):
    with pytest.raises(InputError, match="must be a folder that exists"):
        keras_wrn.load_trained(tmp_path / "none")
    with pytest.raises(InputError, match="is not a run folder: it has no card.json"):
        keras_wrn.load_trained(tmp_path)


def test_weights_of_another_network_are_refused(run, tmp_path):
    other = tmp_path / "other.weights.h5"
    keras_wrn.WideResNet(16, 1).save_weights(other)
    with pytest.raises(InputError, match="does not hold the weights of wide_resnet10_1"):
        load_model("10-1", other)
    other.write_bytes(b"not HDF5")
    with pytest.raises(InputError, match="damaged or only half there"):
        load_model("10-1", other)


def test_a_weights_file_is_loaded_by_the_name_of_its_network(run):
    file = run / "model.weights.h5"
    trained = load_model("WRN-10-1", file, dataset="svhn")
    assert trained.card["name"] == "WRN-10-1"
    assert trained.preprocessing.std == (255.0, 255.0, 255.0)
    stored = keras_wrn.load_trained(run).model.get_weights()
    for ours, theirs in zip(trained.model.get_weights(), stored, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match="does not hold the weights .* another classifier's"):
        load_model("10-1", file, dataset="cifar100")
    with pytest.raises(InputError, match="`dataset` must be one of"):
        load_model("10-1", file, dataset="mnist")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("sixteen", "`name` must be a depth and a width, such as 16-4"),
        ("11-1", "`name` describes no network: `depth` must be"),
        ("10-0.01", "`name` describes no network: `width` must"),
    ],
)
def test_a_network_that_does_not_exist_is_refused(run, name, sentence):
    with pytest.raises(InputError, match=sentence):
        load_model(name, run / "model.weights.h5")


def test_weights_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(InputError, match="must be a file that exists"):
        load_model("10-1", tmp_path / "none.weights.h5")
    with pytest.raises(InputError, match="no published weights 'mars' for WRN-10-1"):
        load_model("10-1", "mars")


def test_published_weights_are_found_by_network_and_data_set(monkeypatch, tmp_path):
    monkeypatch.setattr(finding, "homes", lambda: [tmp_path / "saved_models"])
    with pytest.raises(InputError, match="no published weights 'digits' for WRN-10-1"):
        load_model("10-1", "digits")
    folder = write_run(tmp_path / "saved_models" / "wrn10_1_digits")
    assert load_model("10-1", "digits").path == folder
    assert load_model("10-1", "wrn10_1_digits").path == folder
    with pytest.raises(InputError, match="Published: WRN-10-1 digits"):
        load_model("16-1", "digits")


def test_a_card_is_plain_json(run):
    assert json.loads((run / "card.json").read_text()) == card.read_card(run).to_dict()
