import json

import numpy as np
import pytest
from tiny_run import DIGITS, change_card, random_images, write_run

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.inference.classifier import class_probabilities
from keras_wrn.inference.trained import load_model
from keras_wrn.insight.calibration import softmax
from keras_wrn.insight.outputs import open_reader, read
from keras_wrn.insight.temperature_card import store_temperature

FIGURES = {"temperature": {"fitted_on": "30 held-out images", "temperature": 1.7}}


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def test_a_stored_temperature_divides_the_logits(run):
    plain = keras_wrn.load_trained(run)
    before = json.loads((run / "card.json").read_text(encoding="utf-8"))
    assert store_temperature(FIGURES, plain, run) == run / "card.json"
    after = json.loads((run / "card.json").read_text(encoding="utf-8"))
    where = "30 held-out images of WRN-10-1 on digits"
    assert after == before | {"temperature": {"value": 1.7, "fitted_on": where}}

    images = random_images(4)
    calibrated = keras_wrn.load_trained(run, calibrated=True)
    expected = softmax(read(open_reader(plain.model, DIGITS), images).logits / 1.7)
    found = class_probabilities(calibrated.model, images, DIGITS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    same = class_probabilities(keras_wrn.load_trained(run).model, images, DIGITS)
    assert np.abs(found - same).max() > 1e-3  # only on request


def test_a_temperature_of_the_reported_images_is_not_kept(run):
    trained = keras_wrn.load_trained(run)
    crossed = {"fitted_on": "cross-fitted halves of the reported images", "temperature": None}
    with pytest.raises(InputError, match="Received: a temperature fitted on cross-fitted"):
        store_temperature({"temperature": crossed}, trained, run)
    unfit = {"fitted_on": None, "temperature": None, "reason": "The labels must fit."}
    with pytest.raises(InputError, match="Received: The labels must fit"):
        store_temperature({"temperature": unfit}, trained, run)


def test_another_network_keeps_its_own(run, tmp_path):
    trained = keras_wrn.load_trained(run)
    other = write_run(tmp_path / "other")
    change_card(other, dataset="svhn")
    with pytest.raises(InputError, match="Received: dataset='svhn', not 'digits'"):
        store_temperature(FIGURES, trained, other)


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
