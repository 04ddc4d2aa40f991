"""A folder of class sub-folders as a data set: layouts, split, and files that are no images."""

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


def test_a_file_that_is_no_image_is_named(classes):
    (classes / "red" / "03.txt").write_text("not a picture")
    with pytest.raises(InputError) as caught:
        datasets.load(classes)
    assert str(classes / "red" / "03.txt") in str(caught.value)


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
