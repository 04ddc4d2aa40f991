"""A run's data have a fingerprint: it changes with them, and not with the place they are in."""

import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from keras_wrn.datasets.images import Images
from keras_wrn.errors import InputError
from keras_wrn.training import fingerprint as fingerprints
from keras_wrn.training import run as training
from keras_wrn.training.feeds import open_feed
from keras_wrn.training.recipe import Recipe

NAMES = ("cat", "dog")
PIXELS = np.random.default_rng(1).integers(0, 256, (6, 4, 4, 3), np.uint8)
LABELS = np.array([0, 1, 0, 1, 0, 0])


def test_images_in_memory_are_counted_and_hashed_by_class():
    before = fingerprints.fingerprint_images(NAMES, Images(PIXELS, LABELS))
    assert [before[name]["images"] for name in NAMES] == [4, 2]
    assert fingerprints.fingerprint_images(NAMES, Images(PIXELS[:], LABELS)) == before
    darker = PIXELS.copy()
    darker[1, 2, 3, 0] ^= 1
    now = fingerprints.fingerprint_images(NAMES, Images(darker, LABELS))
    said = fingerprints.changes({"train": before}, {"train": now})
    assert said == ["train class 'dog' has other content"]


def test_files_are_counted_and_hashed_by_name_and_size(tmp_path, monkeypatch):
    def describe(folder):
        files = sorted(folder.glob("*/*"))
        labels = np.array([NAMES.index(file.parent.name) for file in files])
        return fingerprints.fingerprint_files(NAMES, np.array([bytes(f) for f in files]), labels)

    for i, label in enumerate(LABELS):
        file = tmp_path / "a" / NAMES[label] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * i)
    before = describe(tmp_path / "a")
    assert [before[name]["images"] for name in NAMES] == [4, 2]
    shutil.copytree(tmp_path / "a", tmp_path / "elsewhere" / "b")
    assert describe(tmp_path / "elsewhere" / "b") == before
    (tmp_path / "a" / "dog" / "1.png").write_bytes(b"longer")
    longer = describe(tmp_path / "a")
    assert longer["cat"] == before["cat"] and longer["dog"] != before["dog"]
    (tmp_path / "a" / "cat" / "0.png").rename(tmp_path / "a" / "cat" / "00.png")
    assert describe(tmp_path / "a")["cat"] != before["cat"]
    # Of many files, some sizes are read; all names are.
    monkeypatch.setattr(fingerprints, "SIZES", 1)
    few = describe(tmp_path / "a")
    (tmp_path / "a" / "dog" / "3.png").write_bytes(b"longer still")
    assert describe(tmp_path / "a") == few


def test_a_class_or_an_image_more_or_less_is_named():
    cat, dog = {"images": 4, "content": "a"}, {"images": 5, "content": "b"}
    before = {"train": {"cat": cat, "dog": dog}, "test": {"cat": cat}}
    now = {"train": {"cat": dog, "bird": cat}, "test": {"cat": cat}}
    assert fingerprints.changes(before, before) == []
    assert fingerprints.changes(before, now) == [
        "train class 'bird' is new",
        "train class 'cat' had 4 images and has 5",
        "train class 'dog' is gone",
    ]


def test_another_teacher_is_named():
    before, now = {"teacher": "a", "train": {}}, {"teacher": "b", "train": {}}
    assert fingerprints.changes(before, now) == ["the teacher has other weights"]
    assert fingerprints.changes(before, before) == []
    assert fingerprints.changes({"train": {}}, now) == []  # a run of before


@pytest.fixture
def photos(tmp_path):
    """Three images for training and two to test on, of each of two classes."""
    for split, count in (("train", 3), ("test", 2)):
        for name in NAMES:
            for i in range(count):
                save(tmp_path / "photos" / split / name / f"{i}.png", i)
    return tmp_path / "photos"


def save(file, seed):
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(file)


STREAMED = pytest.param(
    True,
    marks=pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="reads by tf.data"),
)


@pytest.mark.parametrize("streamed", [False, STREAMED])
def test_a_run_does_not_go_on_when_its_folder_has_changed(photos, tmp_path, monkeypatch, streamed):
    recipe = Recipe(
        dataset=str(photos), image_size=16, depth=10, width=0.25, epochs=1, drop_epochs=()
    )
    recipe = Recipe(**{**vars(recipe), "batch_size": 2, "random_resized_crop": streamed})
    assert open_feed(recipe, None).fingerprint["train"]["cat"]["images"] == 3
    # A run that is stopped as soon as its folder is open.
    monkeypatch.setattr(training, "_fit", _stop)
    with pytest.raises(KeyboardInterrupt):
        training.train(recipe, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        training.train(recipe, tmp_path / "run")
    save(photos / "train" / "dog" / "new.png", 9)
    with pytest.raises(InputError, match="train class 'dog' had 3 images and has 4. Restore"):
        training.train(recipe, tmp_path / "run")
    for split in ("train", "test"):
        save(photos / split / "bird" / "0.png", 9)
    with pytest.raises(InputError, match="train class 'bird' is new, train class 'dog' had 3"):
        training.train(recipe, tmp_path / "run")


def _stop(*_):
    raise KeyboardInterrupt
