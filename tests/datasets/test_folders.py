"""A folder of class sub-folders as a data set: layouts, split, and files that are no images."""

import os
from pathlib import Path

import numpy as np
import pytest

from keras_wrn import datasets
from keras_wrn.errors import InputError


def write_image(path, colour, size=(40, 40), mode="RGB"):
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.new(mode, size, colour).save(path)


@pytest.fixture
def classes(tmp_path):
    """Two classes of 11 and 4 images in one folder, whose colour says which image it is."""
    for index in range(11):
        write_image(tmp_path / "set" / "red" / f"{index:02}.png", (200, index, 0))
    for index in range(4):
        write_image(tmp_path / "set" / "blue" / f"{index:02}.png", (0, index, 200))
    return tmp_path / "set"


def test_every_fifth_image_is_the_test_set(classes):
    dataset = datasets.load(classes, size=16)
    assert dataset.name == "set"
    assert dataset.class_names == ("blue", "red")
    assert dataset.train.images.shape == (13, 16, 16, 3)
    assert dataset.train.images.dtype == np.uint8
    assert dataset.train.labels.tolist() == [0] * 4 + [1] * 9
    assert dataset.train.images[4:, 0, 0, 1].tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 10]
    assert dataset.test.images[:, 0, 0, 1].tolist() == [4, 9]
    assert dataset.test.labels.tolist() == [1, 1]
    assert dataset.test.labels.dtype == np.int64


def test_folder_by_text_and_inside_data_dir(classes):
    assert len(datasets.load(str(classes)).train.images) == 13
    assert len(datasets.load("set", classes.parent).train.images) == 13


@pytest.mark.parametrize("test_name", ["test", "val", "validation", "valid"])
def test_split_of_its_own(tmp_path, test_name):
    for name, colour in (("a", 10), ("b", 20)):
        write_image(tmp_path / "train" / name / "images" / "1.png", colour, mode="L")
        write_image(tmp_path / "train" / name / "images" / "deeper" / "2.jpg", colour, mode="L")
        (tmp_path / "train" / name / "boxes.txt").write_text("0 0 62 62")
        write_image(tmp_path / test_name / name / "3.png", colour + 5, mode="L")
    (tmp_path / "train" / ".DS_Store").write_text("")
    (tmp_path / test_name / "a" / ".hidden").write_text("")
    (tmp_path / "readme.txt").write_text("")
    dataset = datasets.load(tmp_path)
    assert dataset.class_names == ("a", "b")
    assert dataset.train.labels.tolist() == [0, 0, 1, 1]
    assert dataset.test.labels.tolist() == [0, 1]
    assert dataset.test.images[:, 5, 5, 2].tolist() == [15, 25]


def test_unlabelled_test_folder_gives_way_to_val(tmp_path):
    for part in ("train", "val"):
        for name in ("a", "b"):
            write_image(tmp_path / part / name / "1.png", 10, mode="L")
    write_image(tmp_path / "test" / "images" / "1.png", 99, mode="L")
    assert datasets.load(tmp_path).test.images.max() == 10


def test_different_classes_in_train_and_test(tmp_path):
    for name in ("train/a", "train/b", "test/a", "test/c"):
        write_image(tmp_path / name / "1.png", 10, mode="L")
    with pytest.raises(InputError, match=r"In only one of the two: b, c\."):
        datasets.load(tmp_path)


def test_an_image_that_is_none_is_named(classes):
    (classes / "red" / "03.png").write_text("not a picture")
    with pytest.raises(InputError) as caught:
        datasets.load(classes)
    assert str(classes / "red" / "03.png") in str(caught.value)


def test_half_an_image_is_named(classes):
    path = classes / "blue" / "02.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError) as caught:
        datasets.load(classes)
    assert str(path) in str(caught.value)


def test_class_without_images(classes):
    (classes / "green").mkdir()
    with pytest.raises(InputError, match="green has no images"):
        datasets.load(classes)


def test_folder_without_classes(tmp_path):
    with pytest.raises(InputError, match=r"at least two.*Found sub-folders: none"):
        datasets.load(tmp_path)
    write_image(tmp_path / "only" / "1.png", 10, mode="L")
    with pytest.raises(InputError, match="Found sub-folders: only"):
        datasets.load(tmp_path)


def test_too_few_images_for_a_test_set(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / name / "1.png", 10, mode="L")
    with pytest.raises(InputError, match="fewer than 5 images in every class"):
        datasets.load(tmp_path)


def test_real_tiny_imagenet(tmp_path):
    real = Path("~/.keras/datasets/tiny-imagenet-small").expanduser()
    if not (real / "train").is_dir():
        pytest.skip(f"{real} is absent")
    names = sorted(path.name for path in (real / "train").iterdir())[:3]
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
        for name in names:
            (tmp_path / part / name).symlink_to(real / part / name, target_is_directory=True)
    dataset = datasets.load(tmp_path, size=64)
    assert dataset.class_names == tuple(names)
    assert dataset.train.images.shape == (60, 64, 64, 3)
    assert dataset.test.images.shape == (30, 64, 64, 3)
    assert dataset.train.images.std() > 40


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "dev"),
        ("Training", "Testing"),
        ("training_set", "test_set"),
        ("TRAIN", "Valid"),
        ("seg_train", "seg_test"),
        ("trainset", "evalset"),
        ("train_images", "val-images"),
    ],
)
def test_usual_names_of_splits(tmp_path, train, test):
    for name in ("a", "b"):
        write_image(tmp_path / train / name / "1.png", (10, 0, 0))
        write_image(tmp_path / test / name / "2.png", (20, 0, 0))
    (tmp_path / "annotations").mkdir()
    dataset = datasets.load(tmp_path, size=8)
    assert dataset.class_names == ("a", "b")
    assert dataset.train.images.max() == 10 and dataset.test.images.max() == 20


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("one/a", "one/b", "two/a", "two/b"), "look like splits.*: one and two both have a, b"),
        (("train/a", "train/b", "extra/c"), r"training set train/ with 2 classes, but no test set"),
        (
            ("x_train/a", "x_train/b", "x_test/a", "x_test/b", "y_train/a", "y_test/a"),
            "must have one training folder. Received: x_train, y_train",
        ),
    ],
)
def test_what_looks_like_splits_is_refused(tmp_path, names, sentence):
    for name in names:
        for i in range(5):
            write_image(tmp_path / name / f"{i}.png", (10, 0, 0))
    with pytest.raises(InputError, match=sentence):
        datasets.load(tmp_path)


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "test", "train"):
        for i in range(5):
            write_image(tmp_path / "train" / name / f"{i}.png", (10, 0, 0))
            write_image(tmp_path / "val" / name / f"{i}.png", (10, 0, 0))
    assert datasets.load(tmp_path).class_names == ("bus", "test", "train")


def test_numbered_classes_are_in_the_order_of_the_numbers(tmp_path, capsys):
    for number in range(12):
        for i in range(5):
            write_image(tmp_path / str(number) / f"{i}.png", (number, i, 0))
    dataset = datasets.load(tmp_path, size=8)
    assert dataset.class_names == tuple(map(str, range(12)))
    assert dataset.test.images[:, 0, 0, 0].tolist() == dataset.test.labels.tolist()
    said = "has no train/ and test/: every fifth image of each class, 12 of 60, is in the test set."
    assert said in capsys.readouterr().err
    whole = datasets.load(tmp_path, size=8, hold_out=False, split="test")
    assert len(whole.test.labels) == 60 and len(whole.train.labels) == 0
    assert "all of its 60 images are taken" in capsys.readouterr().err


def test_what_systems_and_people_leave_is_passed_over_and_said_once(classes, capsys):
    for name in ("red/Thumbs.db", "red/.DS_Store", "blue/notes.txt", "__MACOSX/red/._00.png"):
        (classes / name).parent.mkdir(parents=True, exist_ok=True)
        (classes / name).write_text("no image")
    for _ in range(2):
        dataset = datasets.load(classes, size=8)
    assert dataset.class_names == ("blue", "red") and len(dataset.train.labels) == 13
    said = capsys.readouterr().err
    assert said.count("3 files that are no images are passed over because of the name: ") == 1
    assert "notes.txt" in said and "Thumbs.db" in said
    (classes / "blue" / "a.heic").write_text("from a phone")
    with pytest.raises(InputError, match=r"a\.heic cannot be read as an image"):
        datasets.load(classes, size=8)


def test_sizes_of_two_sides_and_grey(classes):
    dataset = datasets.load(classes, size=(8, 12), channels=1)
    assert dataset.train.images.shape == (13, 8, 12, 1)
    with pytest.raises(InputError, match="`channels` must be 3"):
        datasets.load(classes, channels=2)
    with pytest.raises(InputError, match="whole number of pixels, or height and width"):
        datasets.load(classes, size=(8, 0))


def test_images_beside_a_folder_of_images_are_taken(tmp_path):
    for name in ("cat", "dog"):
        write_image(tmp_path / name / "images" / "1.png", (9, 9, 9))
        write_image(tmp_path / name / "2.png", (9, 9, 9))
        (tmp_path / name / f"{name}_boxes.txt").write_text("0 0 62 62")
    assert len(datasets.load(tmp_path, hold_out=False).test.labels) == 4


def test_a_link_in_a_circle_is_followed_once(classes):
    (classes / "red" / "again").symlink_to(".", target_is_directory=True)
    assert len(datasets.load(classes, hold_out=False).test.labels) == 15


def test_a_folder_that_cannot_be_read_is_an_error(classes, monkeypatch):
    (classes / "red" / "secret").mkdir()
    scan = os.scandir

    def refuse(path="."):
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        datasets.load(classes)
