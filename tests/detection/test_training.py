"""Training a detector: it learns, goes on where it stopped, and what it stores finds the same."""

import csv
import dataclasses
import io
import json
import os
import signal

import keras
import numpy as np
import pytest
from PIL import Image

from keras_wrn.errors import InputError

if keras.config.backend() != "tensorflow":
    pytest.skip("detection runs on TensorFlow only", allow_module_level=True)
tf = pytest.importorskip("tensorflow")
pytest.importorskip("keras_cv", reason="keras-cv is not installed")
pytest.importorskip("pycocotools", reason="pycocotools is not installed")

from keras_wrn.detection import coco, retinanet, training
from keras_wrn.detection.photos import images_of
from keras_wrn.paper import hours as row_hours
from keras_wrn.paper import tables
from keras_wrn.training.run_keeper import RunKeeper

SIZE = 64
EPOCHS = 40
COLOURS = {1: "red", 3: "green", 90: "blue"}  # by category id, with COCO's gaps


@pytest.fixture(scope="module")
def rectangles(tmp_path_factory):
    """Eight photos of a coloured rectangle on noise, as COCO JSON and PNG files."""
    folder = tmp_path_factory.mktemp("rectangles")
    random = np.random.default_rng(3)
    images, annotations = [], []
    for i in range(8):
        pixels = random.integers(0, 60, (48, SIZE, 3), np.uint8)
        w, h = (int(side) for side in random.integers(18, 32, 2))
        x, y = int(random.integers(0, SIZE - w)), int(random.integers(0, 48 - h))
        pixels[y : y + h, x : x + w, i % 3] = 230
        Image.fromarray(pixels).save(folder / f"{i}.png")
        images.append({"id": 100 + i, "file_name": f"{i}.png", "height": 48, "width": SIZE})
        annotations.append(
            {
                "id": i + 1,
                "image_id": 100 + i,
                "category_id": list(COLOURS)[i % 3],
                "bbox": [x, y, w, h],
                "area": w * h,
                "iscrowd": 0,
            }
        )
    categories = [{"id": number, "name": name} for number, name in COLOURS.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "a.json").write_text(json.dumps(content))
    return folder


def settings_of(folder, **options):
    files = {"annotations": str(folder / "a.json"), "images": str(folder)}
    measured = {f"val_{key}": value for key, value in files.items()}
    network = {"depth": 18, "width": 0.25, "image_size": SIZE}
    values = {"epochs": EPOCHS, "batch_size": 4, "learning_rate": 1e-3, "flip": False}
    return training.Settings(
        **{**files, **measured, **network, **values, "evaluate_every": 100, **options}
    )


@pytest.fixture(scope="module")
def interrupted(rectangles, tmp_path_factory):
    """A run that was saved in the middle of its second epoch: its folder, and that epoch's row."""
    workdir = tmp_path_factory.mktemp("run") / "deep" / "run"
    count_step, end_epoch = RunKeeper.on_train_batch_end, RunKeeper.on_epoch_end

    def save(self, batch, logs=None):
        count_step(self, batch, logs)
        if self.step == 3:
            self.save()

    def stop(self, epoch, logs=None):
        end_epoch(self, epoch, logs)
        if epoch == 1:
            assert signal.getsignal(signal.SIGTERM) == self._note_signal
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunKeeper, "on_train_batch_end", save)
        patch.setattr(RunKeeper, "on_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            training.train(settings_of(rectangles), workdir)
    assert not (workdir / "card.json").exists()
    content = (rectangles / "a.json").read_text()
    fewer = json.loads(content)
    fewer["annotations"].pop()  # a green one
    (rectangles / "a.json").write_text(json.dumps(fewer))
    with pytest.raises(
        InputError, match="have changed .*test class 'green' had 3 images and has 2"
    ):
        training.train(settings_of(rectangles), workdir)
    (rectangles / "a.json").write_text(content)
    rows = history(workdir)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    return workdir, rows[1]


@pytest.fixture(scope="module")
def run(rectangles, interrupted):
    """The same run, which has gone on until it knows the rectangles."""
    workdir, _ = interrupted
    return workdir, training.train(settings_of(rectangles), workdir)


@pytest.fixture(scope="module")
def detector(run):
    """The stored detector."""
    return retinanet.load_detector(run[0] / "detector.keras")


def history(workdir):
    with (workdir / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(run, interrupted):
    workdir, card = run
    assert card["steps"] == 2 * EPOCHS and not (workdir / "state.npz").exists()
    second = history(workdir)[1]
    assert second["epoch"] == "2"
    assert float(second["loss"]) == pytest.approx(float(interrupted[1]["loss"]), rel=1e-3)


@pytest.mark.slow
def test_it_learns_rectangles(run):
    _, card = run
    figures = card["metrics"]["pycocotools"]
    assert figures["mAP"] > 0.9
    assert card["metrics"]["box_coco_metrics"]["mAP"] == pytest.approx(figures["mAP"], abs=1e-3)
    assert card["metrics"]["n"] == 8
    assert card["metrics"]["photos"] == "those it was trained on"


@pytest.mark.slow
def test_the_run_folder_is_whole(run, detector):
    workdir, card = run
    names = {"card.json", "data.json", "detections.png", "detector.keras", "history.csv"}
    assert set(os.listdir(workdir)) == names | {"recipe.json"}
    assert json.loads((workdir / "card.json").read_text()) == card
    assert {"hardware", "versions", "category_ids", "class_names"} <= set(card)
    # Without batch normalisation's moving statistics, as everywhere.
    trainable = sum(int(np.prod(v.shape)) for v in detector.trainable_variables)
    assert card["parameters"] == trainable < detector.count_params()
    lines = (workdir / "history.csv").read_text().splitlines()
    assert lines[0].startswith("epoch,step,loss,box_loss,classification_loss,mAP")
    assert len(lines) == EPOCHS + 1 and lines[-1].startswith(f"{EPOCHS},{2 * EPOCHS},")
    with Image.open(workdir / "detections.png") as picture:
        assert picture.size == (4 * 384, 2 * 384)


@pytest.mark.slow
def test_a_finished_run_is_left_alone_and_another_is_refused(run, rectangles):
    workdir, card = run
    assert training.train(settings_of(rectangles), workdir) == card
    with pytest.raises(InputError, match="already holds another run: epochs is 40 there and 3"):
        training.train(settings_of(rectangles, epochs=3), workdir)


@pytest.mark.slow
def test_what_is_stored_and_exported_finds_the_same(run, detector, rectangles, tmp_path):
    workdir, card = run
    photos = coco.read(rectangles / "a.json", rectangles)
    images = next(iter(images_of(photos, SIZE, 3))).numpy()
    found = detector.predict(images, verbose=0)
    training.export(workdir, tmp_path / "served")
    assert os.listdir(tmp_path / "served") == ["1"]
    with pytest.raises(InputError, match="a served model is never overwritten"):
        retinanet.export_detector(detector, tmp_path / "served", card["class_names"])
    served = tf.saved_model.load(str(tmp_path / "served" / "1")).signatures
    default = served["serving_default"](images=tf.constant(images))
    for key in ("boxes", "classes", "confidence"):
        np.testing.assert_allclose(default[key].numpy(), found[key], atol=1e-3)
    assert default["labels"].numpy()[:, 0].tolist() == [b"red", b"green", b"blue"]

    # Twice as large, as bytes: boxes twice as large, of photos of different sizes.
    encoded = []
    for path, zoom in zip(photos.paths[:2], (1, 2), strict=True):
        with Image.open(path) as image, io.BytesIO() as file:
            image.resize((zoom * SIZE, zoom * 48), Image.Resampling.NEAREST).save(file, "PNG")
            encoded.append(file.getvalue())
    of_bytes = served["serving_bytes"](image_bytes=tf.constant(encoded))
    for i, zoom in enumerate((1, 2)):
        box, there = of_bytes["boxes"].numpy()[i, 0], zoom * photos.boxes[i][0]
        np.testing.assert_allclose(box, there, atol=4 * zoom)
        number = int(of_bytes["num_detections"][i])
        assert (of_bytes["boxes"].numpy()[i, number:] == -1).all()


def test_missing_data_are_a_sentence_and_nothing_is_written(tmp_path):
    settings = training.Settings(data_dir=str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"train2017\.json do not exist\. COCO 2017 is published"):
        training.train(settings, tmp_path / "run")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("ignored", [{"val_limit": 3}, {"val_images": "elsewhere"}])
def test_what_measuring_the_training_photos_would_ignore_is_refused(rectangles, tmp_path, ignored):
    with pytest.raises(InputError, match=f"leave `val_limit` and .*{next(iter(ignored))}="):
        training.train(settings_of(rectangles, **ignored), tmp_path / "run")
    assert os.listdir(tmp_path) == []


def test_its_hours_on_coco_come_from_timed_steps(tmp_path, monkeypatch):
    defaults = training.Settings()
    assert {name: getattr(defaults, name) for name in row_hours.DETECTOR} == row_hours.DETECTOR
    row = next(row for row in tables.ROWS if row.unit)
    small = {"depth": 18, "width": 0.25}
    row = dataclasses.replace(row, settings=tuple((dict(row.settings) | small).items()))
    monkeypatch.setitem(row_hours.DETECTOR, "image_size", SIZE)
    monkeypatch.setattr(row_hours, "_STEPS", 2)
    monkeypatch.setattr(row_hours, "_TIMINGS", 1)
    step, traced = retinanet.Detector.train_step, []

    def count(self, *data):
        traced.append(data)
        return step(self, *data)

    monkeypatch.setattr(retinanet.Detector, "train_step", count)
    assert row_hours.estimated_hours(row, {}) is None
    for _ in range(2):  # the second time it is known
        row_hours.measure_speeds([row], tmp_path, batch=2)
        monkeypatch.setattr(retinanet, "build_detector", None)
    assert len(traced) == 1
    [speed] = row_hours.read_speeds(tmp_path).values()
    assert (speed["network"], speed["batch"]) == ("RetinaNet on WRN-34-2, 64 px, float32", 2)
    photos = 12 * 117_266  # twelve times those of train2017 that have boxes
    hours = row_hours.estimated_hours(row, {"it": speed}, "mixed_bfloat16")
    assert hours == pytest.approx(photos / speed["images_per_second"] / 3600)
    network = next(row for row in tables.ROWS if row.recipe)
    assert row_hours.estimated_hours(network, {"it": speed}) is None
