"""A run on whitened images from end to end: trained, evaluated, predicted with and exported."""

import csv
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from tiny_run import random_images

import keras_wrn
from keras_wrn import datasets
from keras_wrn.cli import main
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import measure_preprocessing, preprocess_input
from keras_wrn.inference import classifier
from keras_wrn.system.files import sha256
from keras_wrn.training.recipe import Recipe
from keras_wrn.training.run import train
from keras_wrn.weights.card import read_card

ON_TENSORFLOW = keras.config.backend() == "tensorflow"
SIZE = 12


def write_photos(folder, classes=("across", "along"), each=40):
    """A data set of SIZE x SIZE images in folders: stripes along or across, on noise."""
    for part, seed in (("train", 0), ("test", 9)):
        for index, name in enumerate(classes):
            (folder / part / name).mkdir(parents=True)
            for number, image in enumerate(random_images(each, SIZE, seed=seed + index)):
                striped = image // 2
                striped.swapaxes(0, index)[::3] += 100
                Image.fromarray(striped).save(folder / part / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A whitened run from beginning to end."""
    folder = tmp_path_factory.mktemp("whitened")
    photos = write_photos(folder / "photos")
    recipe = Recipe(
        dataset=str(photos),
        image_size=SIZE,
        whitening=True,
        depth=10,
        width=1,
        epochs=2,
        drop_epochs=(2,),
        batch_size=20,
        pad=1,
    )
    card = train(recipe, folder / "run")
    return folder / "run", card, recipe


def test_the_card_names_the_file_and_its_hash(run):
    folder, card, recipe = run
    assert card == json.loads((folder / "card.json").read_text())
    assert card["preprocessing"]["whitening"] == {
        "file": "whitening.npz",
        "sha256": sha256(folder / "whitening.npz"),
        "scale": 55.0,
        "filter_bias": 0.1,
    }
    loaded = keras_wrn.load_trained(folder).preprocessing
    train = datasets.load(recipe.dataset, size=SIZE).train.images
    assert loaded == measure_preprocessing(train, ("across", "along"), whitening=True)
    with np.load(folder / "whitening.npz") as file:
        assert {name: file[name].dtype for name in file.files} == {
            "mean": np.float32,
            "matrix": np.float32,
        }


def test_whitened_training_images_and_the_layer_measure_the_same(run):
    """The history is of images whitened beforehand, the card of the layer before the network."""
    folder, card, recipe = run
    with (folder / "history.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["val_error"]) == pytest.approx(card["metrics"]["error"], abs=1e-6)
    trained = keras_wrn.load_trained(folder)
    test = datasets.load(recipe.dataset, size=SIZE).test
    again = keras_wrn.evaluate(trained.model, *test, trained.preprocessing)
    assert again == pytest.approx(card["metrics"], abs=1e-6)


def test_the_command_line_evaluates_and_predicts(run, capsys):
    folder, card, recipe = run
    assert main.main(main.parse(["evaluate", str(folder)])) == 0
    assert f"{card['metrics']['error']:.2%}" in capsys.readouterr().out
    photo = Path(recipe.dataset) / "test" / "along" / "0.png"
    assert main.main(main.parse(["predict", str(folder), str(photo), "--json"])) == 0
    [answer] = json.loads(capsys.readouterr().out)
    trained = keras_wrn.load_trained(folder)
    [best, *_] = keras_wrn.predict(trained.model, photo, trained.preprocessing)[0]
    assert answer["predictions"][0]["class_name"] == best[1]
    assert answer["predictions"][0]["probability"] == pytest.approx(best[2], abs=1e-6)


def test_prediction_sees_what_evaluation_sees(run):
    folder, _, recipe = run
    trained = keras_wrn.load_trained(folder)
    photo = Path(recipe.dataset) / "test" / "along" / "0.png"
    [predicted] = keras_wrn.predict(trained.model, photo, trained.preprocessing)
    white = preprocess_input(np.asarray(Image.open(photo))[None], trained.preprocessing)
    [probabilities] = trained.model.predict(white, verbose=0)
    for index, _, probability in predicted:
        assert probability == pytest.approx(probabilities[index], abs=1e-5)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="SavedModel needs TensorFlow")
def test_what_is_served_is_what_was_measured(run, tmp_path):
    import tensorflow as tf

    folder, _, recipe = run
    trained = keras_wrn.load_trained(folder)
    target = keras_wrn.export(trained.model, tmp_path / "served", trained.preprocessing)
    signatures = tf.saved_model.load(str(target)).signatures
    images = datasets.load(recipe.dataset, size=SIZE).test.images[:6]
    expected = classifier.class_probabilities(trained.model, images, trained.preprocessing)
    served = signatures["serving_default"](images=tf.constant(images))["probabilities"]
    np.testing.assert_allclose(served, expected, atol=1e-5)
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in images])
    served = signatures["serving_bytes"](image_bytes=encoded)["probabilities"]
    np.testing.assert_allclose(served, expected, atol=1e-5)


def _change_entry(folder, **changes):
    card = json.loads((folder / "card.json").read_text())
    card["preprocessing"]["whitening"] |= changes
    (folder / "card.json").write_text(json.dumps(card))


def _other_shapes(folder):
    np.savez(folder / "whitening.npz", mean=np.zeros((8, 8, 3)), matrix=np.zeros((2, 2)))
    _change_entry(folder, sha256=sha256(folder / "whitening.npz"))


def _no_archive(folder):
    (folder / "whitening.npz").write_bytes(b"half")
    _change_entry(folder, sha256=sha256(folder / "whitening.npz"))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda run: (run / "whitening.npz").unlink(),
            "has no whitening.npz, which the network needs",
        ),
        (
            lambda run: (run / "whitening.npz").write_bytes(b"half"),
            "whitening.npz is damaged or another file: its sha256 is",
        ),
        (_no_archive, "whitening.npz is damaged: "),
        (_other_shapes, r"whitening.npz is damaged: shapes \(8, 8, 3\) and \(2, 2\)"),
        (
            lambda run: _change_entry(run, scale="x"),
            "The whitening in the card of .* is damaged: ValueError",
        ),
    ],
)
def test_a_damaged_run_is_refused_in_a_sentence(run, tmp_path, damage, sentence):
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("card.json", "model.weights.h5", "whitening.npz"):
        (copy / name).write_bytes((run[0] / name).read_bytes())
    keras_wrn.load_trained(copy)
    damage(copy)
    with pytest.raises(InputError, match=sentence):
        keras_wrn.load_trained(copy)


def test_what_a_card_alone_cannot_do_is_said(run, tmp_path):
    with pytest.raises(InputError, match=r"Give keras_wrn.load_trained\(FOLDER\).preprocessing"):
        preprocess_input(np.zeros((1, SIZE, SIZE, 3), np.uint8), read_card(run[0]).to_dict())
    with pytest.raises(InputError, match=r"on whitened images\. .* Use the run folder itself"):
        keras_wrn.publish(run[0], tmp_path)
    assert list(tmp_path.iterdir()) == []
