"""Where ImageNet comes from: layouts, tensorflow_datasets, and sentences where it is missing."""

import dataclasses
import importlib.util
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="tf.data needs TensorFlow")

from image_folders import pixels, recipe_for, save
from PIL import Image

from keras_wrn.datasets import streams
from keras_wrn.errors import InputError
from keras_wrn.inference.own_images import images_of
from keras_wrn.training.imagenet_feed import ImageStream


def batches(stream, count):
    return [(x.numpy(), y.numpy()) for x, y in stream.take(count)]


def test_tiny_imagenet_as_its_owners_pack_it(tmp_path):
    lines = []
    for i, name in enumerate(("n02", "n01")):
        image = Image.fromarray(pixels(30, 30, i))
        save(tmp_path / "train" / name / "images" / f"{name}_0.JPEG", image, format="JPEG")
        (tmp_path / "train" / name / f"{name}_boxes.txt").write_text("0 0 62 62")
        save(tmp_path / "val" / "images" / f"val_{i}.JPEG", image, format="JPEG")
        lines.append(f"val_{i}.JPEG\t{name}\t0\t32\t44\t62")
        save(tmp_path / "test" / "images" / f"test_{i}.JPEG", image, format="JPEG")
    (tmp_path / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    feed = ImageStream(recipe_for(tmp_path, batch_size=2), None)
    assert feed.preprocessing.class_names == ("n01", "n02")
    files = [file.decode() for file, _ in feed._source.test().as_numpy_iterator()]
    assert [Path(file).name for file in files] == ["val_1.JPEG", "val_0.JPEG"]
    (tmp_path / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn03\n")
    with pytest.raises(InputError, match=r"one of the 2 classes.*n03"):
        ImageStream(recipe_for(tmp_path), None)


def test_validation_images_without_class_folders(tmp_path):
    for name in ("train/a/1.png", "train/b/1.png", "val/1.png"):
        save(tmp_path / name, Image.fromarray(pixels(9, 9, 1)))
    with pytest.raises(InputError, match="val must have a sub-folder for each class"):
        ImageStream(recipe_for(tmp_path), None)


def test_missing_data_is_a_sentence_with_files_sizes_and_licence(tmp_path):
    with pytest.raises(InputError) as caught:
        ImageStream(recipe_for("imagenet"), tmp_path)
    for words in (
        "no folder imagenet",
        str(tmp_path),
        "ILSVRC2012_img_train.tar (147,897,477,120 bytes)",
        "ILSVRC2012_img_val.tar (6,744,924,160 bytes)",
        "non-commercial research",
        "https://image-net.org",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tiny-imagenet-small", "tiny-imagenet-200.zip (248 MB), without a licence of its own"),
        ("photos/birds", "val/CLASS/*.JPEG."),
    ],
)
def test_another_missing_folder_is_not_sent_for_imagenet(tmp_path, name, sentence):
    with pytest.raises(InputError) as caught:
        ImageStream(recipe_for(name), tmp_path)
    assert f"no folder {name}" in str(caught.value) and sentence in str(caught.value)
    assert "ILSVRC2012" not in str(caught.value) and "tfds" not in str(caught.value)


def test_a_file_that_is_no_image_is_passed_over_and_named(tmp_path, capsys):
    for part in ("train", "val"):
        for name in ("ant", "bee"):
            save(tmp_path / part / name / "1.png", Image.fromarray(pixels(9, 9, 1)))
    (tmp_path / "train" / "ant" / "boxes.txt").write_text("0 0 1 1")
    assert streams.open_source(str(tmp_path), None).images == 2
    assert "1 file is passed over because of the name: boxes.txt." in capsys.readouterr().err


# tensorflow_datasets.


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    """40 training, 7 validation and 5 unlabelled test images, prepared by tensorflow_datasets."""
    if importlib.util.find_spec("tensorflow_datasets") is None:
        pytest.skip("tensorflow_datasets is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own
        import tensorflow_datasets as tfds

        folder = tmp_path_factory.mktemp("tfds")

        def split(count, seed):
            for i in range(count):
                yield i, {"image": np.full((30, 40, 3), 5 * i + seed, np.uint8), "label": i % 2}

        tfds.dataset_builders.store_as_tfds_dataset(
            name="toy",
            version="1.0.0",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(names=["ant", "bee"]),
                }
            ),
            split_datasets={
                "train": split(40, 0),
                "validation": split(7, 100),
                "test": ((i, example | {"label": -1}) for i, example in split(5, 0)),
            },
            data_dir=folder,
            download_config=tfds.download.DownloadConfig(num_shards=3),
        )
    return folder


@pytest.fixture
def quiet_tfds():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_tfds_is_read_undecoded_shuffled_and_resumed_exactly(tfds_dir, quiet_tfds, monkeypatch):
    monkeypatch.setattr(streams, "WINDOW", 16)
    feed = ImageStream(recipe_for("tfds:toy"), tfds_dir)
    assert (feed.dataset, feed.images, len(feed.test[1])) == ("toy", 40, 7)
    assert feed.preprocessing.class_names == ("ant", "bee")
    assert len(feed._source._train.file_instructions) == 3
    expected = batches(feed.stream(0), 10)
    epochs = [
        [int(image.mean()) for images, _ in expected[i : i + 5] for image in images] for i in (0, 5)
    ]
    assert epochs[0] != epochs[1] and sorted(epochs[0]) == sorted(epochs[1])
    assert np.allclose(sorted(epochs[0]), 5 * np.arange(40), atol=2)
    for images, labels in expected:
        np.testing.assert_array_equal(np.rint(images.mean(axis=(1, 2, 3)) / 5) % 2, labels)
    for (a, b), (c, d) in zip(batches(feed.stream(7), 3), expected[7:], strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)
    # Two workers share each batch: none has an image of the other, and together they have all.
    for (a, _), (b, _), (c, _) in zip(
        batches(feed.stream(2, (0, 2)), 6), batches(feed.stream(2, (1, 2)), 6), expected[2:]
    ):
        np.testing.assert_array_equal(np.concatenate([a, b]), c)
    for asked, given in ((10, 10), (41, 40)):
        assert ImageStream(recipe_for("tfds:toy", train_images=asked), tfds_dir).images == given


def test_what_measures_a_run_on_tfds_sees_its_pixels(tfds_dir, quiet_tfds):
    recipe = recipe_for("tfds:toy", resize=36)
    feed = ImageStream(recipe, tfds_dir)
    card = {"dataset": "toy", "recipe": recipe.to_dict()}
    model = types.SimpleNamespace(input_shape=(None, 32, 32, 3), output_shape=(None, 2))
    run = types.SimpleNamespace(card=card, preprocessing=feed.preprocessing, model=model)
    data = images_of(run, "test", data_dir=tfds_dir)
    assert (data.name, data.class_names) == ("toy", ("ant", "bee"))
    np.testing.assert_array_equal(data.test.images, feed.test[0])
    np.testing.assert_array_equal(data.test.labels, feed.test[1])
    train = images_of(run, "train", data_dir=tfds_dir, most=5).train
    assert train.images.shape == (5, 32, 32, 3)
    # Each image is of one colour, which interpolation keeps.
    run.preprocessing = dataclasses.replace(feed.preprocessing, interpolation="bilinear")
    bilinear = images_of(run, "test", data_dir=tfds_dir).test.images
    np.testing.assert_allclose(bilinear.astype(int), data.test.images, atol=1)


def test_tfds_test_images_come_first_where_they_have_labels(tfds_dir, quiet_tfds, monkeypatch):
    source = streams.open_source("tfds:toy", tfds_dir)
    assert source.test_images == 7
    monkeypatch.setattr(streams.TfdsSource, "_has_labels", lambda *_: True)
    assert streams.open_source("tfds:toy", tfds_dir).test_images == 5


def test_tfds_without_the_data_set_says_how_to_prepare_it(tfds_dir, tmp_path, quiet_tfds):
    with pytest.raises(InputError, match=r"not prepared in .*tfds build imagenet2012 --manual_dir"):
        ImageStream(recipe_for("tfds:imagenet2012"), tmp_path)
    with pytest.raises(InputError, match="knows no data set 'imagenet2013'"):
        ImageStream(recipe_for("tfds:imagenet2013"), tmp_path)


def test_without_tfds_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match="pip install tensorflow-datasets importlib_resources"):
        ImageStream(recipe_for("tfds:toy"), None)
