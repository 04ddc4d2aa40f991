"""Evaluation, publishing and calibration use the pixels of training."""

import dataclasses
import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from image_folders import write_folder
from PIL import Image
from published_folders import only_here
from tiny_run import DIGITS, change_card, write_run

import keras_wrn
from keras_wrn import datasets, publish
from keras_wrn.cli import export_command, main
from keras_wrn.datasets import loading
from keras_wrn.deploy import engines
from keras_wrn.errors import InputError
from keras_wrn.images.pillow_reader import read_images
from keras_wrn.inference.own_images import check_classes, images_of
from keras_wrn.inference.trained import load_trained

CROP = {"resize": 36, "interpolation": "bicubic"}
OF_TWO = dataclasses.replace(DIGITS, class_names=("ant", "bee"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("photos") / "insects")
    (folder / "train" / "ant" / "00.JPEG").write_bytes(b"half")  # what measures needs no training
    return folder


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    """A run on the photos whose card asks for a resizing of its own."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "run", OF_TWO)
    card = json.loads((folder / "card.json").read_text())
    recipe = {"dataset": str(photos), "epochs": 20}
    preprocessing = card["preprocessing"] | CROP
    # ImageNet's feed leaves the last name of the folder in the card.
    change_card(folder, dataset="insects", recipe=recipe, preprocessing=preprocessing)
    return folder


@pytest.fixture(scope="module")
def expected(photos, run):
    """The figures on the pixels that the card describes, read by hand."""
    trained = load_trained(run)
    files = [file for name in ("ant", "bee") for file in sorted((photos / "val" / name).iterdir())]
    images, labels = read_images(files, 32, **CROP), np.repeat([0, 1], 4)
    assert np.abs(images.astype(int) - read_images(files, 32)).mean() > 5
    return keras_wrn.evaluate(trained.model, images, labels, trained.preprocessing)


def test_evaluate_crops_as_the_card_says(run, expected, capsys):
    assert main.main(main.parse(["evaluate", str(run), "--json"])) == 0
    assert json.loads(capsys.readouterr().out) == pytest.approx(expected, abs=1e-6)


def test_publish_measures_as_the_card_says(run, expected, tmp_path):
    card = load_trained(publish(run, tmp_path)).card
    assert card["metrics"]["nll"] == pytest.approx(expected["nll"], rel=1e-2)
    assert (card["weights"], card["preprocessing"]["resize"]) == ("insects", 36)


def test_calibration_crops_as_the_card_says(run, photos, tmp_path, monkeypatch):
    def export_file(model, path, preprocessing, *, calibration, **_):
        given.append(calibration)

    given = []
    folder = write_folder(tmp_path / "insects")
    monkeypatch.setattr(engines, "check", lambda *_: None)
    monkeypatch.setattr(engines, "export_file", export_file)
    monkeypatch.setattr(export_command, "CALIBRATION_IMAGES", 4)
    words = ["--format", "litert", "--quantize", "int8", "--calibration", str(folder)]
    main.main(main.parse(["export", str(run), "a.tflite", *words]))
    names = ["ant/00", "ant/05", "bee/00", "bee/05"]
    files = [folder / "train" / f"{name}.JPEG" for name in names]
    np.testing.assert_array_equal(given[0], read_images(files, 32, **CROP))


def test_a_run_is_found_from_elsewhere(run, photos, tmp_path, monkeypatch):
    trained = load_trained(run)
    trained.card["recipe"]["dataset"] = "data/insects"  # on the machine where it was trained
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"here or in `data_dir` \(--data_dir\)"):
        images_of(trained, "test")
    found = images_of(trained, "test", data_dir=photos.parent)
    assert (found.name, len(found.train.labels), len(found.test.labels)) == ("insects", 0, 8)
    (tmp_path / "datasets" / "data").mkdir(parents=True)
    (tmp_path / "datasets" / "data" / "insects").symlink_to(photos)
    assert len(images_of(trained, "test", most=3).test.labels) == 3


def test_named_sets_are_cut_in_the_same_way():
    pytest.importorskip("sklearn")
    full, test = datasets.load("digits"), datasets.load("digits", split="test")
    np.testing.assert_array_equal(test.test.images, full.test.images)
    assert test.train.images.shape == (0, 32, 32, 3)
    some = datasets.load("digits", split="train", most=3).train
    np.testing.assert_array_equal(some.images, full.train.images[[0, 479, 958]])
    assert some.labels.tolist() == full.train.labels[[0, 479, 958]].tolist()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 32, "resize": 31}, "at least `size`.* Received: resize=31, size=32"),
        ({"interpolation": "cubic"}, "one of bilinear, bicubic. Received: interpolation='cubic'"),
        ({"split": "val"}, "'train', 'test' or None. Received: split='val'"),
    ],
)
def test_crops_that_cannot_be_are_refused(photos, options, sentence):
    with pytest.raises(InputError, match=sentence):
        datasets.load(photos, **options)


def test_a_network_without_names_goes_by_the_number_of_classes():
    nameless = SimpleNamespace(
        preprocessing=dataclasses.replace(DIGITS, class_names=()),
        model=keras.Sequential([keras.Input((1,)), keras.layers.Dense(3)]),
    )
    nothing = loading.Images(np.empty(0), np.empty(0))
    check_classes(loading.Dataset("of 3", nothing, nothing, ("n01", "n02", "n03")), nameless)
    with pytest.raises(InputError, match=r"two with 2 classes \(a, b\) for a model with 3 classes"):
        check_classes(loading.Dataset("two", nothing, nothing, ("a", "b")), nameless)


def test_owners_weights_are_evaluated_on_a_folder(tmp_path, monkeypatch, photos, capsys):
    """As ImageNet's: a card of a thousand classes without names; here of two."""
    saved_models = only_here(monkeypatch, tmp_path)
    folder = write_run(saved_models / "wrn-10-1-digits", OF_TWO)
    card = json.loads((folder / "card.json").read_text())
    change_card(folder, preprocessing=card["preprocessing"] | {"class_names": []})
    words = ["--model", "10-1", "--weights", "digits", "--dataset", str(photos), "--json"]
    assert main.main(main.parse(["evaluate", *words])) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 8


def test_another_flat_folder_is_evaluated_as_a_whole_in_the_networks_order(run, tmp_path, capsys):
    """The network's classes are ant and bee; here it has them the other way round."""
    trained = load_trained(run)
    turned = dataclasses.replace(trained.preprocessing, class_names=("bee", "ant"))
    for name in ("ant", "bee"):
        for i in range(5):
            path = tmp_path / "mine" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 40), (i, 0, 0)).save(path)
    data = images_of(trained, "test", dataset=str(tmp_path / "mine"))
    assert data.test.labels.tolist() == [0] * 5 + [1] * 5
    assert "all of its 10 images are taken" in capsys.readouterr().err
    data = images_of(
        dataclasses.replace(trained, preprocessing=turned),
        "test",
        dataset=str(tmp_path / "mine"),
    )
    assert data.class_names == ("bee", "ant")
    assert data.test.labels.tolist() == [1] * 5 + [0] * 5
    # A folder of the name of the training set is split as it was for training.
    (tmp_path / "mine").rename(tmp_path / "insects")
    assert len(images_of(trained, "test", dataset=str(tmp_path / "insects")).test.labels) == 2


def test_a_file_of_its_own_statistics_is_evaluated_on_a_folder(run, photos):
    trained = load_trained(run)
    unknown = dataclasses.replace(trained, card=trained.card | {"dataset": None, "recipe": None})
    assert len(images_of(unknown, "test", dataset=str(photos)).test.labels) == 8
    with pytest.raises(InputError, match="not known on which data set"):
        images_of(unknown, "test")
