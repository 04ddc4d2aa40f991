"""COCO's JSON files, the photos on squares, and COCO's own measure."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import keras_wrn
from keras_wrn.detection import coco
from keras_wrn.detection.photos import images_of, training_batches
from keras_wrn.errors import InputError
from keras_wrn.images.tensorflow_reader import broken_images_named
from keras_wrn.training.fingerprint import changes

ROOT = str(pathlib.Path(keras_wrn.__file__).parents[1])
RECIPE = f"{ROOT}/recipes/coco.py"
PHOTOS = pathlib.Path("~/.keras/datasets/coco_tiny").expanduser()
WIDE, TALL = (40, 20), (20, 40)  # (width, height) of the photos
COLOURS = {1: (230, 0, 0), 3: (0, 230, 0), 90: (0, 0, 230)}  # by category id, with COCO's gaps
BOXES = [  # photo, category, box, crowd
    (7, 90, [2, 4, 10, 8], 0),
    (7, 1, [20, 2, 16, 16], 0),
    (7, 1, [0, 0, 40, 20], 1),  # a crowd
    (9, 3, [5, 10, 10, 20], 0),
    (9, 3, [5, 10, 0, 20], 0),  # no area
]


def content():
    sizes = {7: WIDE, 9: TALL, 8: WIDE}  # 8 has no box
    return {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": w, "height": h}
            for i, (w, h) in sizes.items()
        ],
        "annotations": [
            {
                "id": number,
                "image_id": photo,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": crowd,
                # pycocotools wants an outline of crowds; this one is empty.
                "segmentation": {"counts": [800], "size": [20, 40]} if crowd else [],
            }
            for number, (photo, category, box, crowd) in enumerate(BOXES, start=1)
        ],
        "categories": [{"id": 90, "name": "c"}, {"id": 1, "name": "a"}, {"id": 3, "name": "b"}],
    }


@pytest.fixture
def files(tmp_path):
    """A JSON file and its folder of photos, each a black picture with coloured boxes."""
    for entry in content()["images"]:
        pixels = np.zeros((entry["height"], entry["width"], 3), np.uint8)
        for photo, category, (x, y, w, h), crowd in BOXES:
            if photo == entry["id"] and not crowd:
                pixels[y : y + h, x : x + w] = COLOURS[category]
        Image.fromarray(pixels).save(tmp_path / entry["file_name"])
    (tmp_path / "a.json").write_text(json.dumps(content()))
    return tmp_path / "a.json", tmp_path


def test_category_ids_become_classes_in_their_order(files):
    photos = coco.read(*files)
    assert photos.category_ids == (1, 3, 90)
    assert photos.class_names == ("a", "b", "c")
    assert photos.image_ids == (7, 9, 8)
    assert [c.tolist() for c in photos.classes] == [[2, 0], [1], []]
    assert photos.boxes[0].tolist() == [[2, 4, 10, 8], [20, 2, 16, 16]]
    assert photos.boxes[2].shape == (0, 4)


def test_photos_without_a_box_are_measured_on_but_not_trained_on(files):
    assert coco.read(*files, with_boxes=True).image_ids == (7, 9)
    assert coco.read(*files, with_boxes=True, limit=1).image_ids == (7,)


def test_targets_are_scaled_and_padded(files):
    targets = coco.read(*files).targets(80)
    assert targets["boxes"].shape == (3, 2, 4) and targets["boxes"].dtype == np.float32
    assert targets["boxes"][0].tolist() == [[4, 8, 20, 16], [40, 4, 32, 32]]
    assert targets["boxes"][1].tolist() == [[10, 20, 20, 40], [-1, -1, -1, -1]]
    assert targets["classes"].tolist() == [[2, 0], [1, -1], [-1, -1]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda data: data["annotations"].append(
                {"image_id": 8, "category_id": 3, "bbox": [1, 1, 5, 5]}
            ),
            "had 1 images and has 2",
        ),
        (lambda data: data["annotations"][3].update(bbox=[5, 10, 10, 19]), "has other content"),
        (lambda data: data["images"][1].update(file_name="8.png"), "has other content"),
    ],
)
def test_other_annotations_change_the_fingerprint_of_their_class(files, change, said):
    before, data = coco.read(*files).fingerprint(), content()
    change(data)
    files[0].write_text(json.dumps(data))
    now = coco.read(*files).fingerprint()
    assert changes({"train": before}, {"train": now}) == [f"train class 'b' {said}"]


def broken(change):
    data = content()
    change(data)
    return json.dumps(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        "{}",
        broken(lambda data: data["annotations"][0].pop("bbox")),
        broken(lambda data: data["annotations"][0].update(category_id=2)),
        broken(lambda data: data["annotations"][0].update(bbox=[1, 2])),
        broken(lambda data: data["images"][0].update(height=None)),
    ],
)
def test_what_is_no_coco_file_is_refused(files, text):
    files[0].write_text(text)
    with pytest.raises(InputError, match=r"a\.json is damaged, or no COCO file"):
        coco.read(*files)


def test_missing_data_is_a_sentence_with_the_owners_page(files, tmp_path):
    said = r"cocodataset\.org.*annotations_trainval2017\.zip \(253 MB.*CC BY 4\.0.*Flickr"
    with pytest.raises(InputError, match=rf"b\.json do not exist\. .*{said}"):
        coco.read(tmp_path / "b.json", tmp_path)
    with pytest.raises(InputError, match=rf"none does not exist\. .*{said}"):
        coco.read(files[0], tmp_path / "none")
    (tmp_path / "9.png").unlink()
    with pytest.raises(
        InputError, match=rf"1 of the 3 photos .* the first of them 9\.png\. .*{said}"
    ):
        coco.read(*files)


def test_a_file_without_photos_is_refused(files):
    files[0].write_text(json.dumps(content() | {"annotations": []}))
    with pytest.raises(InputError, match="names no photo with a box"):
        coco.read(*files, with_boxes=True)


def assert_boxes_are_on_their_colours(image, boxes, classes):
    """Each box is full of its colour, and the pixels around it are not."""
    colours = list(COLOURS.values())
    for box, number in zip(boxes, classes, strict=True):
        if number < 0:
            continue
        x, y, w, h = (round(float(value)) for value in box)
        inside = image[y + 1 : y + h - 1, x + 1 : x + w - 1].astype(int)
        assert np.abs(inside - colours[int(number)]).max() < 30
        assert np.abs(image[y + h // 2, x - 3].astype(int) - colours[int(number)]).max() > 100


def test_images_are_fitted_in_at_the_top_left(files):
    pytest.importorskip("tensorflow")
    photos = coco.read(*files)
    batches = [batch.numpy() for batch in images_of(photos, 80, 2)]
    images = np.concatenate(batches)
    assert [len(batch) for batch in batches] == [2, 1]
    assert images.shape == (3, 80, 80, 3) and images.dtype == np.uint8
    assert images[2, :40].max() == 0
    for padding in (images[0, 40:], images[1, :, 40:]):
        assert (padding == (124, 116, 104)).all()
    targets = photos.targets(80)
    for image, boxes, classes in zip(images, targets["boxes"], targets["classes"], strict=True):
        assert_boxes_are_on_their_colours(image, boxes, classes)


def test_mirrored_boxes_stay_on_their_colours(files):
    pytest.importorskip("tensorflow")
    photos = coco.read(*files, with_boxes=True)
    batches = training_batches(photos, 80, 2, flip=True, seed=1).take(8)
    seen = set()
    for images, targets in batches.as_numpy_iterator():
        for image, boxes, classes in zip(images, targets["boxes"], targets["classes"], strict=True):
            assert_boxes_are_on_their_colours(image, boxes, classes)
            seen.add(tuple(boxes[0].tolist()))
    assert seen == {(4, 8, 20, 16), (56, 8, 20, 16), (10, 20, 20, 40)}


def first_boxes(batches):
    return [targets["boxes"][:, 0].tolist() for _, targets in batches.as_numpy_iterator()]


def test_batches_go_on_where_they_were_left(files):
    tf = pytest.importorskip("tensorflow")
    photos = coco.read(*files, with_boxes=True)

    def batches(**options):
        tf.random.set_seed(5)
        return training_batches(photos, 40, 2, flip=True, seed=3, **options)

    whole = first_boxes(batches().take(6))
    assert whole == first_boxes(batches().take(6))
    assert whole[4:] == first_boxes(batches(start_step=4).take(2))


def test_a_damaged_photo_is_named(files):
    pytest.importorskip("tensorflow")
    photos = coco.read(*files)
    photos.paths[1].write_bytes(b"no image")
    with (
        pytest.raises(InputError, match=r"9\.png cannot be read as an image"),
        broken_images_named(),
    ):
        list(images_of(photos, 40, 2))


@pytest.fixture
def measurable(files):
    """Without the box that has no area, which COCO's measure counts as missed."""
    data = content()
    del data["annotations"][4]
    files[0].write_text(json.dumps(data))
    return files


def exact(photos, size):
    """Detections that are what is there."""
    targets = photos.targets(size)
    return {**targets, "confidence": np.where(targets["classes"] >= 0, 0.9, -1.0)}


def test_exact_detections_have_average_precision_one(measurable):
    pytest.importorskip("pycocotools")
    photos = coco.read(*measurable)
    figures = coco.average_precision(photos, exact(photos, 80), 80)
    assert [figures[name] for name in ("mAP", "mAP75", "mAP_small")] == pytest.approx([1, 1, 1])
    assert figures["mAP_medium"] is None and figures["mAP_large"] is None


@pytest.mark.parametrize("key", ["area", "iscrowd", "id", "id=0"])
def test_boxes_as_other_tools_write_them_are_measured_alike(measurable, key):
    pytest.importorskip("pycocotools")
    data = json.loads(measurable[0].read_text())
    key, _, value = key.partition("=")
    data["annotations"][0].pop(key)
    data["annotations"][0] |= {key: int(value)} if value else {}
    measurable[0].write_text(json.dumps(data))
    photos = coco.read(*measurable)
    figures = coco.average_precision(photos, exact(photos, 80), 80)
    assert [figures[name] for name in ("mAP", "mAP75", "mAP_small")] == pytest.approx([1, 1, 1])


def test_a_missed_class_counts_the_first_one_too(measurable):
    pytest.importorskip("pycocotools")
    photos = coco.read(*measurable)
    found = exact(photos, 80)
    for missed in range(3):
        gone = found["classes"] == missed
        less = {key: np.where(gone, -1, found[key]) for key in ("classes", "confidence")}
        figures = coco.average_precision(photos, {**found, **less}, 80)
        assert figures["mAP"] == pytest.approx(2 / 3)


def test_without_a_detection_it_is_zero(measurable):
    pytest.importorskip("pycocotools")
    photos = coco.read(*measurable)
    found = exact(photos, 80)
    nothing = {key: np.full_like(values, -1) for key, values in found.items()}
    assert coco.average_precision(photos, nothing, 80)["mAP"] == 0


@pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"{PHOTOS} is not there")
def test_real_photos_are_read():
    pytest.importorskip("pycocotools")
    photos = coco.read(PHOTOS / "annotations/instances_train2017.json", PHOTOS / "train2017")
    assert len(photos) == 80 and len(photos.class_names) == 80
    assert photos.category_ids[:12] == (*range(1, 12), 13) and photos.category_ids[-1] == 90
    assert sum(len(boxes) for boxes in photos.boxes) == 699  # 705 less 6 crowds
    exact = photos.targets(256)
    exact["confidence"] = np.where(exact["classes"] >= 0, 0.9, -1.0)
    assert coco.average_precision(photos, exact, 256)["mAP"] > 0.99


def command(tmp_path, *arguments, hide=None):
    """What recipes/coco.py says as it fails; it must fail with a sentence and leave nothing."""
    program = "import runpy, sys\n" + (f"sys.modules[{hide!r}] = None\n" if hide else "")
    program += f"runpy.run_path({RECIPE!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": ROOT, "KERAS_BACKEND": keras.config.backend()},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []
    return done.stderr.strip().splitlines()[-1]


def test_on_the_command_line_a_missing_package_or_backend_is_a_sentence(tmp_path):
    said = command(tmp_path, hide="keras_cv")
    if keras.config.backend() == "tensorflow":
        assert 'keras_cv, which is not installed. Run: pip install "keras-wide-' in said
    else:
        assert "Detection runs on TensorFlow only" in said


def test_on_the_command_line_a_number_that_means_nothing_is_a_sentence(tmp_path):
    assert "`epochs` must be above 0. Received: epochs=0" in command(tmp_path, "--epochs", "0")
