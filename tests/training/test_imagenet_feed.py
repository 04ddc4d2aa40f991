"""ImageNet's feed: batches, order, labels, exact resume, figures."""

import csv
import dataclasses
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="tf.data needs TensorFlow")

from image_folders import SMALL, pixels, recipe_for, save, write_folder
from PIL import Image

from keras_wrn.applications import build_network
from keras_wrn.errors import InputError
from keras_wrn.images import pillow_reader
from keras_wrn.inference import evaluation
from keras_wrn.paper.systems import recipe_of
from keras_wrn.training import imagenet_feed, run_keeper
from keras_wrn.training.imagenet_feed import ImageStream
from keras_wrn.training.model import build, network_card
from keras_wrn.training.run import train

TINY = Path("~/.keras/datasets/tiny-imagenet-small").expanduser()
pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="module")
def feed(folder):
    """Three batches an epoch, and two images left over."""
    return ImageStream(recipe_for(folder, batch_size=6), None)


@pytest.fixture(scope="module")
def uninterrupted(feed):
    return batches(feed.stream(0), 7)


def batches(stream, count):
    return [(x.numpy(), y.numpy()) for x, y in stream.take(count)]


def test_batches_are_whole_uint8_and_each_epoch_shows_an_image_once(feed, uninterrupted):
    assert (feed.images, feed.shape, feed.dataset) == (20, (32, 32, 3), "set")
    for images, labels in uninterrupted:
        assert images.shape == (6, 32, 32, 3) and images.dtype == np.uint8
        assert labels.shape == (6,) and set(labels) <= {0, 1}
    seen = feed._source.epoch(1, tf.constant(0, tf.int64)).as_numpy_iterator()
    files = [file for file, _ in seen]
    assert len(files) == len(set(files)) == 20
    others = [f for f, _ in feed._source.epoch(1, tf.constant(1, tf.int64)).as_numpy_iterator()]
    assert sorted(others) == sorted(files) and others != files


@pytest.mark.parametrize("start", [2, 3])
def test_the_stream_goes_on_at_any_step_bit_for_bit(folder, uninterrupted, start):
    later = batches(ImageStream(recipe_for(folder, batch_size=6), None).stream(start), 7 - start)
    for (images, labels), (expected, of_expected) in zip(later, uninterrupted[start:], strict=True):
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(labels, of_expected)


def test_workers_decode_the_parts_of_a_batch_and_nothing_twice(feed, uninterrupted):
    parts = [batches(feed.stream(1, (i, 2)), 4) for i in range(2)]
    for (left, right), (images, labels) in zip(
        zip(*parts, strict=True), uninterrupted[1:5], strict=True
    ):
        np.testing.assert_array_equal(np.concatenate([left[0], right[0]]), images)
        np.testing.assert_array_equal(np.concatenate([left[1], right[1]]), labels)


def test_the_order_is_the_same_with_any_number_of_threads(feed, uninterrupted):
    for threads in (1, 5):
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        for (images, labels), (expected, of_expected) in zip(
            batches(feed.stream(0).with_options(options), 4), uninterrupted, strict=False
        ):
            np.testing.assert_array_equal(images, expected)
            np.testing.assert_array_equal(labels, of_expected)


def test_every_epoch_and_every_seed_crops_anew(folder, uninterrupted):
    two = batches(ImageStream(recipe_for(folder, batch_size=6, seed=2), None).stream(0), 7)
    shown = {image.tobytes() for images, _ in uninterrupted + two for image in images}
    assert len(shown) == 2 * 7 * 6


def test_images_keep_their_labels(tmp_path):
    """Two classes of two colours, in training in any order and in validation."""
    for part, count in (("train", 9), ("val", 3)):
        for name, colour in (("blue", (0, 0, 200)), ("red", (200, 0, 0))):
            for i in range(count):
                save(tmp_path / part / name / f"{i}.png", Image.new("RGB", (40 + i, 36), colour))
    feed = ImageStream(recipe_for(tmp_path, batch_size=6), None)
    assert feed.preprocessing.class_names == ("blue", "red")
    seen = batches(feed.stream(0), 6)
    assert len({tuple(labels) for _, labels in seen}) > 1
    seen += list(feed.validation(1)["validation_data"].as_numpy_iterator())
    for images, labels in [*seen, feed.test]:
        red = images[..., 0].mean(axis=(1, 2)) > images[..., 2].mean(axis=(1, 2))
        np.testing.assert_array_equal(red, labels == 1)


def test_a_part_of_the_images_is_of_all_classes(folder):
    feed = ImageStream(recipe_for(folder, train_images=10), None)
    labels = [label for _, label in feed._source.epoch(1, 0).as_numpy_iterator()]
    assert feed.images == 10 and sorted(labels) == [0] * 5 + [1] * 5


def test_the_sample_to_look_at_is_small_and_of_all_classes(folder, monkeypatch):
    monkeypatch.setattr(imagenet_feed, "SAMPLE", 4)
    images, labels = ImageStream(recipe_for(folder), None).test
    assert images.shape == (4, 32, 32, 3) and labels.tolist() == [0, 0, 1, 1]


def test_validation_is_all_test_images_once_in_order(folder):
    feed = ImageStream(recipe_for(folder, resize=36), None)
    assert feed.preprocessing.resize == 36 and feed.preprocessing.size == 32
    images, labels = (
        np.concatenate(part)
        for part in zip(*feed.validation(1)["validation_data"].as_numpy_iterator(), strict=True)
    )
    files = sorted((folder / "val").rglob("*.JPEG"))
    expected = pillow_reader.read_images(files, 32, resize=36, interpolation="bicubic")
    assert labels.tolist() == [0] * 4 + [1] * 4
    assert np.abs(images.astype(float) - expected).mean() < 0.5


def test_figures_are_those_of_evaluate(feed, monkeypatch):
    monkeypatch.setattr(imagenet_feed, "EVALUATION_BATCH", 3)
    network = build_network(network_card(SMALL, feed.shape, 2))
    expected = evaluation.evaluate(network, *feed.test, feed.preprocessing)
    assert feed.measure(network) == pytest.approx(expected, abs=1e-5)
    assert expected["n"] == 8
    # A network that diverged has no figures.
    network.get_layer("predictions").bias.assign([np.nan, 0])
    with pytest.raises(InputError, match="finite"):
        feed.measure(network)


@pytest.mark.parametrize("damaged", ["half.jpg", "half.png", "other.jpg"])
def test_a_damaged_image_is_named_when_it_is_read(tmp_path, damaged):
    for part in ("train", "val"):
        for name in ("ant", "bee"):
            save(tmp_path / part / name / damaged, Image.fromarray(pixels(40, 40, 1)))
    bad = tmp_path / "train" / "bee" / damaged
    half = bad.read_bytes()[:500]
    bad.write_bytes(half if damaged.startswith("half") else b"<html>not found</html>")
    feed = ImageStream(recipe_for(tmp_path, batch_size=2), None)
    with pytest.raises(tf.errors.OpError, match=rf"bee/{damaged} cannot be read as an image"):
        batches(feed.stream(0), 1)
    if damaged != "half.png":
        return
    # A training run stops with the sentence alone.
    with pytest.raises(InputError, match=rf"bee/{damaged} cannot be read as an image: "):
        train(recipe_for(tmp_path, batch_size=2), tmp_path / "run")


@pytest.mark.parametrize(
    "changes",
    [{"mixup": 0.2}, {"cutmix": 1.0}, {"policy": "rand_augment"}, {"alternating_flip": True}],
)
def test_what_only_images_in_memory_can_have_is_refused(folder, changes):
    with pytest.raises(
        InputError, match=f"`{next(iter(changes))}` must be off .* works with images in memory"
    ):
        ImageStream(recipe_for(folder, **changes), None)


def test_a_resize_below_the_crop_is_refused(folder):
    with pytest.raises(InputError, match="at least image_size=32.*resize=20"):
        ImageStream(recipe_for(folder, resize=20), None)


def test_without_tensorflow_a_sentence_says_what_to_install(folder, monkeypatch):
    monkeypatch.setattr(imagenet_feed, "tensorflow_installed", lambda: False)
    with pytest.raises(InputError, match="pip install tensorflow-cpu"):
        ImageStream(recipe_for(folder), None)


def test_colours_are_drawn_on_the_device_and_images_only_flipped(feed):
    training_model = build(dataclasses.replace(SMALL, pad=4), feed.preprocessing, feed.shape, 2)
    names = [layer.name for layer in training_model.front.layers]
    assert names[1:] == ["random_crop_flip", "color_jitter", "lighting", "normalization"]
    assert training_model.front.get_layer("random_crop_flip").pad == 0
    images = np.repeat(feed.test[0][:1], 16, axis=0)
    assert len({image.tobytes() for image in training_model.augmented(images)}) == 16


def _weights(path):
    network = build_network(network_card(SMALL, (32, 32, 3), 2))
    network.load_weights(path / "model.weights.h5")
    return network.get_weights()


@pytest.mark.slow
def test_an_interrupted_run_ends_as_if_it_had_not_been(folder, tmp_path, monkeypatch):
    recipe = recipe_for(folder, evaluate_every=1000)
    count_step = run_keeper.RunKeeper.on_train_batch_end

    def save_and_copy(self, batch, logs=None):
        count_step(self, batch, logs)
        if self.step == 3:  # what a run leaves that is stopped here
            self.save()
            shutil.copytree(self.workdir, tmp_path / "stopped")

    with monkeypatch.context() as patch:
        patch.setattr(run_keeper.RunKeeper, "on_train_batch_end", save_and_copy)
        card = train(recipe, tmp_path / "whole")
    assert card["steps"] == 4 and card["preprocessing"]["interpolation"] == "bicubic"
    assert card["metrics"]["n"] == 8
    keras.backend.clear_session()
    train(recipe, tmp_path / "stopped")
    for ours, theirs in zip(
        _weights(tmp_path / "stopped"), _weights(tmp_path / "whole"), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="a minute, alike on JAX")
@pytest.mark.skipif(not (TINY / "train").is_dir(), reason=f"{TINY} is not there")
def test_four_classes_of_tiny_imagenet_are_learnt(tmp_path):
    names = sorted(path.name for path in (TINY / "train").iterdir())[::50]
    for part in ("train", "val"):
        (tmp_path / "tiny" / part).mkdir(parents=True)
        for name in names:
            link = tmp_path / "tiny" / part / name
            link.symlink_to(TINY / part / name, target_is_directory=True)
    # ImageNet's recipe, but for the network, the sizes and a shorter schedule.
    recipe = dataclasses.replace(
        recipe_of("imagenet", "18-1"),
        dataset=str(tmp_path / "tiny"),
        width=0.25,
        image_size=32,
        resize=0,
        batch_size=20,
        learning_rate=0.05,
        schedule="one_cycle",
        evaluate_every=1000,
    ).shortened(30)
    card = train(recipe, tmp_path / "run")
    with (tmp_path / "run" / "history.csv").open(newline="") as file:
        errors = [float(row["error"]) for row in csv.DictReader(file)]
    assert (card["steps"], card["metrics"]["n"]) == (120, 40)
    # Chance is 0.75; seeds 1, 2 and 3 end at 0.41, 0.44 and 0.42, the mean of the last 5 epochs.
    assert np.mean(errors[-5:]) < 0.55
