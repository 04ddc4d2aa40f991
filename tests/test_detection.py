"""RetinaNet on wide ResNets: it learns, is measured rightly, is stored, drawn and exported."""

import importlib.util
import io
import json
import os
import pathlib
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import keras_wrn
from keras_wrn.errors import InputError

if keras.config.backend() != "tensorflow":
    pytest.skip("detection runs on TensorFlow only", allow_module_level=True)
tf = pytest.importorskip("tensorflow")
keras_cv = pytest.importorskip("keras_cv", reason="keras-cv is not installed")
pytest.importorskip("pycocotools", reason="pycocotools is not installed")

from keras_wrn import coco, detection

RECIPE = pathlib.Path(keras_wrn.__file__).parents[1] / "recipes" / "coco.py"
PHOTOS = pathlib.Path("~/.keras/datasets/coco_tiny").expanduser()
SIZE = 64
SMALL = {"depth": 18, "width": 0.25, "image_size": SIZE}
COLOURS = {1: "red", 3: "green", 90: "blue"}  # by category id, with COCO's gaps


@pytest.fixture(scope="module")
def recipe():
    """recipes/coco.py, as a module."""
    spec = importlib.util.spec_from_file_location("coco_recipe", RECIPE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["coco_recipe"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["coco_recipe"]


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


def settings_of(recipe, folder, **options):
    files = {"annotations": str(folder / "a.json"), "images": str(folder)}
    measured = {f"val_{key}": value for key, value in files.items()}
    values = {"epochs": 50, "batch_size": 4, "learning_rate": 1e-3, "flip": False}
    return recipe.Settings(
        **{**files, **measured, **SMALL, **values, "evaluate_every": 100, **options}
    )


@pytest.fixture(scope="module")
def run(recipe, rectangles, tmp_path_factory):
    """A run of the recipe until it knows the rectangles."""
    workdir = tmp_path_factory.mktemp("run") / "deep" / "run"
    return workdir, recipe.train(settings_of(recipe, rectangles), workdir)


@pytest.mark.slow
def test_it_learns_rectangles(run):
    _, card = run
    figures = card["metrics"]["pycocotools"]
    assert figures["mAP"] > 0.9
    assert card["metrics"]["box_coco_metrics"]["mAP"] == pytest.approx(figures["mAP"], abs=1e-3)
    assert card["metrics"]["n"] == 8
    assert card["metrics"]["photos"] == "those it was trained on"


@pytest.mark.slow
def test_the_run_folder_is_whole(run):
    workdir, card = run
    names = {"card.json", "detections.png", "detector.keras", "history.csv", "recipe.json"}
    assert set(os.listdir(workdir)) == names
    assert json.loads((workdir / "card.json").read_text()) == card
    assert {"hardware", "versions", "category_ids", "class_names"} <= set(card)
    lines = (workdir / "history.csv").read_text().splitlines()
    assert lines[0].startswith("epoch,step,loss,box_loss,classification_loss,mAP")
    assert len(lines) == 51 and lines[-1].startswith("50,100,")
    with Image.open(workdir / "detections.png") as picture:
        assert picture.size == (4 * 384, 2 * 384)


@pytest.mark.slow
def test_a_finished_run_is_left_alone_and_another_is_refused(run, recipe, rectangles):
    workdir, card = run
    assert recipe.train(settings_of(recipe, rectangles), workdir) == card
    with pytest.raises(InputError, match="already holds another run: epochs is 50 there and 3"):
        recipe.train(settings_of(recipe, rectangles, epochs=3), workdir)


@pytest.mark.slow
def test_what_is_stored_and_exported_finds_the_same(run, rectangles, tmp_path):
    workdir, card = run
    photos = coco.read(rectangles / "a.json", rectangles)
    images = next(iter(coco.images_of(photos, SIZE, 3))).numpy()
    detector = detection.load_detector(workdir / "detector.keras")
    found = detector.predict(images, verbose=0)
    detection.export_detector(detector, tmp_path / "served", card["class_names"])
    assert os.listdir(tmp_path / "served") == ["1"]
    with pytest.raises(InputError, match="a served model is never overwritten"):
        detection.export_detector(detector, tmp_path / "served", card["class_names"])
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


@pytest.mark.slow
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(
    recipe, rectangles, tmp_path, monkeypatch
):
    settings = settings_of(recipe, rectangles, epochs=2, batch_size=2, flip=True)
    save_state = recipe.run_folder.save_state

    def interrupted(workdir, arrays, facts):
        if len(facts["rows"]) == 2:
            raise KeyboardInterrupt
        save_state(workdir, arrays, facts)

    def loss():
        lines = (tmp_path / "run" / "history.csv").read_text().splitlines()
        assert [line.partition(",")[0] for line in lines] == ["epoch", "1", "2"]
        return float(lines[2].split(",")[2])

    monkeypatch.setattr(recipe, "SAVE_EVERY", 0)
    monkeypatch.setattr(recipe.run_folder, "save_state", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recipe.train(settings, tmp_path / "run")
    assert not (tmp_path / "run" / "card.json").exists()
    before = loss()
    monkeypatch.setattr(recipe.run_folder, "save_state", save_state)
    assert recipe.train(settings, tmp_path / "run")["steps"] == 8
    assert loss() == pytest.approx(before, rel=1e-3)
    assert not (tmp_path / "run" / "state.npz").exists()


def boxes_for_measuring():
    """Three images of two classes: class 0 is found in one image of two, nothing in the last."""
    truth = {
        "boxes": np.full((3, 2, 4), -1, np.float32),
        "classes": np.full((3, 2), -1, np.float32),
    }
    truth["boxes"][0], truth["classes"][0] = [[5, 5, 20, 20], [30, 30, 10, 30]], [0, 1]
    truth["boxes"][1, 0], truth["classes"][1, 0] = [8, 4, 30, 16], 1
    truth["boxes"][2, 0], truth["classes"][2, 0] = [1, 2, 40, 40], 0
    found = {
        "boxes": np.full((3, 3, 4), -1, np.float32),
        "classes": np.full((3, 3), -1, np.float32),
        "confidence": np.full((3, 3), -1, np.float32),
    }
    found["boxes"][0] = [[5, 6, 20, 20], [30, 32, 11, 30], [40, 5, 9, 9]]
    found["classes"][0], found["confidence"][0] = [0, 1, 1], [0.9, 0.8, 0.7]
    found["boxes"][1, 0], found["classes"][1, 0] = [8, 4, 30, 24], 1
    found["confidence"][1, 0] = 0.6
    return truth, found


def by_pycocotools(truth, found):
    """The same figure from pycocotools alone, given plain lists."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(boxes, **more):
        for i, k in zip(*np.nonzero(boxes["classes"] >= 0), strict=True):
            box = boxes["boxes"][i, k].tolist()
            label = int(boxes["classes"][i, k]) + 1
            yield {"image_id": int(i) + 1, "category_id": label, "bbox": box, **more}

    annotations = [
        {"id": n, "iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3], **row}
        for n, row in enumerate(rows(truth), start=1)
    ]
    scores = found["confidence"][found["classes"] >= 0].tolist()
    results = [{**row, "score": s} for row, s in zip(rows(found), scores, strict=True)]
    there = COCO()
    there.dataset = {
        "images": [{"id": i + 1} for i in range(len(truth["boxes"]))],
        "categories": [{"id": 1}, {"id": 2}],
        "annotations": annotations,
    }
    there.createIndex()
    evaluation = COCOeval(there, there.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return {"mAP": evaluation.stats[0], "mAP50": evaluation.stats[1], "mAP75": evaluation.stats[2]}


def test_the_metric_is_pycocotools_own():
    truth, found = boxes_for_measuring()
    theirs = by_pycocotools(truth, found)
    assert 0.2 < theirs["mAP"] < 0.6
    assert detection.box_coco_metrics(truth, found) == pytest.approx(theirs, abs=1e-6)


def test_a_photo_without_a_detection_counts():
    """keras-cv's metric alone leaves it out: this says when it no longer does."""
    truth, found = boxes_for_measuring()
    metric = keras_cv.metrics.BoxCOCOMetrics(bounding_box_format="xywh", evaluate_freq=1)
    metric.update_state(truth, found)
    alone = float(metric.result()["MaP"])
    assert alone > detection.box_coco_metrics(truth, found)["mAP"] + 0.1


def test_nothing_found_is_zero():
    truth, found = boxes_for_measuring()
    nothing = {key: np.full_like(values, -1) for key, values in found.items()}
    assert detection.box_coco_metrics(truth, nothing) == {"mAP": 0, "mAP50": 0, "mAP75": 0}


@pytest.mark.parametrize(
    ("depth", "width", "layers"),
    [
        (34, 0.25, ("block4_relu2", "block6_relu2", "block3_relu2")),
        pytest.param(50, 2, ("4_relu3", "6_relu3", "3_relu3"), marks=pytest.mark.slow),
    ],
)
def test_the_pyramid_has_strides_8_16_32(depth, width, layers):
    backbone = detection.WideResNetBackbone(depth, width, 64)
    for level, (key, ending) in enumerate(zip(("P3", "P4", "P5"), layers, strict=True), start=3):
        name = backbone.pyramid_level_inputs[key]
        assert name.startswith(f"group{level - 1}_") and ending in name
        assert backbone.get_layer(name).output.shape[1] == 64 // 2**level
    again = detection.WideResNetBackbone.from_config(backbone.get_config())
    assert again.pyramid_level_inputs == backbone.pyramid_level_inputs


def test_features_can_be_loaded(tmp_path):
    network = keras_wrn.WideResNet18(0.25, include_top=False)
    network.save_weights(tmp_path / "w.weights.h5")
    backbone = detection.WideResNetBackbone(18, 0.25, 64, weights=str(tmp_path / "w.weights.h5"))
    for ours, theirs in zip(backbone.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "options", [{"depth": 28}, {"depth": 50, "width": 3}, {"image_size": 100}, {"image_size": 0}]
)
def test_what_cannot_be_built_is_refused(options):
    with pytest.raises(InputError, match=r"must be .* Received"):
        detection.build_detector(3, **{**SMALL, **options})


def test_what_is_no_detector_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read as a detector"):
        detection.load_detector(tmp_path / "none.keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "a.keras")
    with pytest.raises(InputError, match="cannot be read as a detector: it holds a Sequential"):
        detection.load_detector(tmp_path / "a.keras")


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"{PHOTOS} is not there")
def test_real_photos_are_learnt_by_heart(recipe, tmp_path):
    content = json.loads((PHOTOS / "annotations/instances_train2017.json").read_text())
    # Two giraffes, two birds: large, so that a small image will do.
    names = {"000000057345.jpg", "000000425988.jpg"}
    content["images"] = [entry for entry in content["images"] if entry["file_name"] in names]
    kept = {entry["id"] for entry in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
    (tmp_path / "a.json").write_text(json.dumps(content))
    folder = str(PHOTOS / "train2017")
    settings = settings_of(
        recipe, tmp_path, images=folder, val_images=folder, image_size=128, epochs=60, batch_size=2
    )
    card = recipe.train(settings, tmp_path / "run")
    assert card["metrics"]["pycocotools"]["mAP50"] > 0.9
    assert (tmp_path / "run" / "detections.png").stat().st_size > 10_000
