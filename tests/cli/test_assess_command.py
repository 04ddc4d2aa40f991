import json

import pytest
from tiny_run import change_card, random_images, write_run

import keras_wrn
from keras_wrn import datasets
from keras_wrn.cli import main
from keras_wrn.images.preprocessing import PREPROCESSING, Preprocessing
from keras_wrn.inference.classifier import class_probabilities


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run, and 60 images of noise as its data set, of which it gets a third wrong."""
    folder, images = write_run(tmp_path / "run"), random_images(60)
    network = keras_wrn.load_trained(folder)
    labels = class_probabilities(network.model, images, network.preprocessing).argmax(axis=1)
    labels[::3] = (labels[::3] + 1) % 10
    train, test = datasets.Images(images[30:], labels[30:]), datasets.Images(images, labels)
    names = PREPROCESSING["digits"].class_names
    monkeypatch.setattr(
        datasets, "load", lambda name, *_, **__: datasets.Dataset(str(name), train, test, names)
    )
    return folder


def call(*words):
    return main.main(main.parse([str(word) for word in words]))


def test_assess_says_the_main_figures_and_writes_both_files(run, tmp_path, capsys):
    table, page = tmp_path / "found.json", tmp_path / "found.html"
    words = ["--out", "noise,digits", "--train_images", 30, "--flip"]
    assert call("assess", run, *words, "--json", table, "--html", page) == 0
    said = capsys.readouterr().out
    found = json.loads(table.read_text(encoding="utf-8"))
    assert said.startswith("WRN-10-1 on digits, 60 images\n")
    assert f"  top-1 error                {found['classification']['error']:8.2%}\n" in said
    area = found["out_of_distribution"]["sets"]["noise"]["scores"]["knn"]["auroc"]
    line = next(line for line in said.splitlines() if line.startswith("  knn"))
    assert line.split()[1] == f"{100 * area:.1f}"
    assert said.endswith(f"Written: {table}\nWritten: {page}\n")
    assert found["averaged_over"]["flip"]
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_assess_prints_json_in_place_of_the_summary(run, tmp_path, capsys):
    assert call("assess", run, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["classification"]["n"]) == ("WRN-10-1 on digits", 60)
    # A run after --json is taken for the file.
    assert call("assess", "--json", run) == 2
    assert "A model is needed" in capsys.readouterr().err
    assert call("assess", "--json", run, run) == 2
    assert f"--json takes a file, or nothing at the end of the line. Received: {run}." in (
        capsys.readouterr().err
    )


def test_two_runs_are_an_ensemble(run, tmp_path, capsys):
    other = write_run(tmp_path / "other")
    assert call("assess", run, other) == 0
    assert capsys.readouterr().out.startswith("WRN-10-1 + WRN-10-1 on digits, 60 images\n")
    statistics = PREPROCESSING["digits"]
    changed = Preprocessing((1.0,) * 3, statistics.std, 32, statistics.class_names)
    third = write_run(tmp_path / "third", changed)
    assert call("assess", run, third) == 2
    assert "the same statistics and classes" in capsys.readouterr().err
    change_card(run, temperature={"value": 2.0})
    assert call("assess", run, other, "--calibrated") == 2
    assert f"{other / 'card.json'} has no temperature" in capsys.readouterr().err


def test_the_temperature_is_fitted_to_what_the_recipe_held_out(run, tmp_path, capsys):
    assert call("assess", run, "--held_out", "own") == 2
    assert "learnt from all of its training images" in capsys.readouterr().err
    change_card(run, recipe={"dataset": "digits", "held_out": 25})
    table = tmp_path / "found.json"
    assert call("assess", run, "--held_out", "own", "--json", table) == 0
    found = json.loads(table.read_text(encoding="utf-8"))
    assert found["conformal"]["calibrated_on"] == "25 held-out images"
    capsys.readouterr()
    temperature = found["temperature"]["temperature"]
    assert call("assess", run, "--held_out", "own", "--store_in", run) == 0
    assert capsys.readouterr().out.endswith(f"Written: {run / 'card.json'}\n")
    card = json.loads((run / "card.json").read_text(encoding="utf-8"))
    assert card["temperature"]["value"] == pytest.approx(temperature)
    assert call("evaluate", run, "--calibrated", "--json") == 0
    after = json.loads(capsys.readouterr().out)
    assert after["nll"] == pytest.approx(found["temperature"]["after"]["nll"], rel=1e-4)


def test_no_member_of_an_ensemble_was_trained_on_what_is_held_out(run, tmp_path, capsys):
    change_card(run, recipe={"dataset": "digits", "held_out": 25})
    other, table = write_run(tmp_path / "other"), tmp_path / "found.json"
    assert call("assess", run, other, "--held_out", "own") == 2
    assert f"{other} learnt from all of its training images" in capsys.readouterr().err
    change_card(other, recipe={"dataset": "digits", "held_out": 22})
    assert call("assess", run, other, "--held_out", "own", "--json", table) == 0
    found = json.loads(table.read_text(encoding="utf-8"))
    assert found["conformal"]["calibrated_on"] == "22 held-out images"
    change_card(other, recipe={"dataset": "digits", "held_out": 22, "extra": True})
    assert call("assess", run, other, "--held_out", "own") == 2
    assert "--held_out own is for runs on the same images" in capsys.readouterr().err


def test_svhn_s_extra_images_are_held_out_too(run, tmp_path, monkeypatch, capsys):
    load, asked = datasets.load, []

    def recorded(*words, **options):
        asked.append((options["split"], options["extra"]))
        return load(*words, **options)

    monkeypatch.setattr(datasets, "load", recorded)
    change_card(run, recipe={"dataset": "svhn", "extra": True, "held_out": 25})
    assert call("assess", run, "--held_out", "own") == 0
    assert asked == [("test", False), ("train", True)]


def test_a_file_of_weights_has_no_card_for_a_temperature(run, capsys):
    model = ("--model", "10-1", "--weights", run / "model.weights.h5", "--dataset", "digits")
    assert call("assess", *model, "--held_out", "digits", "--store_in", run) == 2
    assert "not of a file of weights" in capsys.readouterr().err


def test_a_temperature_of_halves_is_not_stored(run, capsys):
    assert call("assess", run, "--store_in", run) == 2
    assert "on --held_out images" in capsys.readouterr().err
    assert call("assess", run, "--held_out", "own", "--flip", "--store_in", run) == 2
    assert "without --calibrated, --flip" in capsys.readouterr().err


def test_a_mistake_is_a_sentence(run, capsys):
    assert call("assess", run, "--train_images", 30) == 2
    assert "--train_images is for the scores of --out" in capsys.readouterr().err
    assert call("assess", run, "--held_out", "a", "--dataset", "b", "--store_in", run) == 2
    assert "reports on the run's own test set" in capsys.readouterr().err
    assert call("assess", run, "--out", "absent.npy") == 2
    assert "`out` must name files that exist" in capsys.readouterr().err
    assert call("assess", run, "--dropout_passes", 3) == 2
    assert "needs a network with dropout" in capsys.readouterr().err
