"""Scores in the exported graph are those of `insight`, with thresholds at the stated rate."""

import io
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from tiny_run import DIGITS, random_images

import keras_wrn
from keras_wrn.deploy import exported_scores
from keras_wrn.errors import InputError
from keras_wrn.insight import out_of_distribution
from keras_wrn.insight.outputs import open_reader, read

if keras.config.backend() != "tensorflow":
    pytest.skip("a SavedModel needs TensorFlow", allow_module_level=True)
NAMES = ("energy", "knn", "max_softmax")


@pytest.fixture(scope="module")
def model():
    return keras_wrn.WideResNet(10, 1)


@pytest.fixture(scope="module")
def fitted(model):
    images, reference = random_images(40), random_images(340)[40:]
    return exported_scores.fit_scores(model, DIGITS, NAMES, images, reference, tpr=0.75)


@pytest.fixture(scope="module")
def served(model, fitted, tmp_path_factory):
    tf = pytest.importorskip("tensorflow")
    folder = keras_wrn.export(model, tmp_path_factory.mktemp("scores"), DIGITS, scores=fitted)
    return folder, tf.saved_model.load(str(folder))


def test_thresholds_let_the_stated_share_through(model, fitted, served):
    import tensorflow as tf

    images = random_images(40)
    found = served[1].signatures["serving_default"](images=tf.constant(images))
    assert list(fitted.thresholds) == list(NAMES) and fitted.measured_on == 40
    shares = found["is_known"].numpy().mean(axis=0)
    np.testing.assert_allclose(shares, 0.75, atol=0.03)  # a threshold is one of the scores


def test_scores_are_those_of_the_assessment(model, served):
    import tensorflow as tf

    images, reference = random_images(5), random_images(340)[40:]
    reader = open_reader(model, DIGITS)
    outputs, bank = read(reader, images), read(reader, reference).features
    k = out_of_distribution.neighbours(300)
    expected = [
        out_of_distribution.energy(outputs.logits),
        out_of_distribution.fit_nearest_neighbours(bank, k)(outputs),
        out_of_distribution.max_softmax(outputs.logits),
    ]
    for name in ("serving_default", "features"):
        found = served[1].signatures[name](images=tf.constant(images))
        np.testing.assert_allclose(found["scores"], np.stack(expected, axis=1), atol=1e-3)
    assert "features" not in served[1].signatures["serving_default"].structured_outputs


def test_a_damaged_file_is_not_known(served):
    import tensorflow as tf

    file = io.BytesIO()
    Image.fromarray(random_images(1)[0]).save(file, "PNG")
    found = served[1].signatures["serving_bytes"](image_bytes=tf.constant([file.getvalue(), b""]))
    assert found["scores"].shape == (2, 3) and not found["is_known"].numpy()[1].any()
    guide = Path(served[0], "serving.md").read_text()
    assert "Of 40 images of the data set" in guide and "75% are at or above" in guide
    assert "| knn | -" in guide


@pytest.mark.parametrize(
    ("names", "options", "sentence"),
    [
        (["vim"], {}, "Scores must be of max_softmax, energy, knn. Received: vim"),
        ([], {}, "Scores must be of"),
        (["energy"], {"tpr": 1.0}, "`tpr` must be between 0 and 1"),
        (["knn"], {}, "The score knn needs `reference`"),
    ],
)
def test_what_cannot_be_fitted_is_a_sentence(model, names, options, sentence):
    with pytest.raises(InputError, match=sentence):
        exported_scores.fit_scores(model, DIGITS, names, random_images(4), **options)
