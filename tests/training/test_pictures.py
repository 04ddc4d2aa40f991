import json
import os
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from tiny_run import DIGITS, random_images, write_history

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import Preprocessing
from keras_wrn.inference import classifier
from keras_wrn.training import pictures

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return keras_wrn.WideResNet(10, 1)


def test_curves_are_a_picture_and_always_the_same(tmp_path):
    history = write_history(tmp_path / "history.csv", epochs=200)
    path = pictures.learning_curves(history, tmp_path / "new" / "a.png", "WRN-16-4 on CIFAR-10")
    assert path == tmp_path / "new" / "a.png"
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 800
    again = pictures.learning_curves(history, tmp_path / "b.png", "WRN-16-4 on CIFAR-10")
    assert path.read_bytes() == again.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["b.png", "history.csv", "new"]


def test_curves_show_the_numbers_of_the_history(tmp_path, drawn):
    history = write_history(tmp_path / "history.csv", epochs=20, every=5)
    pictures.learning_curves(history, tmp_path / "a.png")
    loss, error, rate = drawn[0].axes
    assert loss.get_yscale() == "log"
    assert [line.get_label() for line in loss.lines] == ["training", "test"]
    training, test = error.lines
    assert training.get_ydata()[0] == pytest.approx(50.0)
    assert list(test.get_xdata()) == [5, 10, 15, 20]
    assert rate.lines[0].get_drawstyle() == "steps-mid"
    np.testing.assert_allclose(rate.lines[0].get_ydata()[[0, 10, 19]], [0.1, 0.02, 0.004])
    assert [tick.get_text() for tick in rate.get_yticklabels()] == ["0.004", "0.02", "0.1"]
    assert error.get_title(loc="right") == "test error after epoch 20: 9.20%"


@pytest.mark.parametrize(("held_out", "named"), [(0, "test"), (500, "held-out")])
def test_held_out_images_are_not_called_test_images(tmp_path, drawn, held_out, named):
    history = write_history(tmp_path / "history.csv", epochs=20)
    (tmp_path / "recipe.json").write_text(json.dumps({"held_out": held_out}))
    pictures.learning_curves(history, tmp_path / "a.png")
    loss, error, _ = drawn[0].axes
    for axes in (loss, error):
        assert [line.get_label() for line in axes.lines] == ["training", named]
    assert error.get_title(loc="right") == f"{named} error after epoch 20: 9.20%"


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_run_that_has_just_begun_can_be_drawn(tmp_path, epochs):
    history = write_history(tmp_path / "history.csv", epochs=epochs, every=5)
    assert pictures.learning_curves(history, tmp_path / "a.png").is_file()


def test_a_smooth_schedule_has_a_linear_scale(tmp_path, drawn):
    header = "epoch,loss,error,val_loss,val_error,learning_rate\n"
    rows = (f"{i},1,0.5,,,{0.05 * (1 + np.cos(np.pi * i / 20))}\n" for i in range(1, 21))
    (tmp_path / "history.csv").write_text(header + "".join(rows))
    pictures.learning_curves(tmp_path / "history.csv", tmp_path / "a.png")
    loss, error, rate = drawn[0].axes
    assert rate.get_yscale() == "linear"
    assert [len(axes.lines) for axes in (loss, error, rate)] == [1, 1, 1]


def test_a_history_that_cannot_be_drawn_is_refused(tmp_path):
    history = tmp_path / "history.csv"
    for content, sentence in (
        (None, "does not exist"),
        ("epoch,loss\n", "has no epoch yet"),
        ("epoch,loss\n1,2\n", "has no column error, val_loss"),
        ("epoch,loss,error,val_loss,val_error,learning_rate\n1,x,,NA,,\n", "is damaged: .*'x'"),
        ("epoch,loss,error,val_loss,val_error,learning_rate\n1,2\n", "is damaged"),
    ):
        if content is not None:
            history.write_text(content)
        with pytest.raises(InputError, match=sentence):
            pictures.learning_curves(history, tmp_path / "a.png")
    assert os.listdir(tmp_path) == ["history.csv"]


def test_the_sheet_shows_the_first_images_and_the_surest_mistakes(model, tmp_path, drawn):
    images, labels = random_images(20), np.arange(20) % 10
    path = pictures.prediction_sheet(
        model, images, labels, DIGITS, tmp_path / "a.png", examples=7, mistakes=3, title="a run"
    )
    assert path.read_bytes().startswith(b"\x89PNG")
    probabilities = classifier.class_probabilities(model, images, DIGITS)
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    first, surest = (part.axes for part in drawn[0].subfigs)
    for i, axes in enumerate(first[:7]):
        np.testing.assert_array_equal(axes.images[0].get_array(), images[i])
        assert axes.get_title().startswith(f"{predicted[i]} {confidence[i]:.0%}")
        wrong = predicted[i] != labels[i]
        assert axes.title.get_color() == ("#c1272d" if wrong else "black")
        assert (f"true: {labels[i]}" in axes.get_title()) == wrong
    assert not any(axes.images for axes in first[7:])
    wrong = np.flatnonzero(predicted != labels)
    for i, axes in zip(wrong[np.argsort(-confidence[wrong])][:3], surest, strict=False):
        np.testing.assert_array_equal(axes.images[0].get_array(), images[i])


def test_a_sheet_without_mistakes_has_one_part(model, tmp_path, drawn):
    images = random_images(2)
    labels = classifier.class_probabilities(model, images, DIGITS).argmax(1)
    pictures.prediction_sheet(model, images, labels, DIGITS, tmp_path / "a.png")
    assert len(drawn[0].subfigs) == 1


def test_grey_images_and_long_names_can_be_drawn(tmp_path):
    grey = keras_wrn.WideResNet(10, 1, input_shape=(32, 32, 1), classes=2)
    long = Preprocessing((128.0,), (60.0,), 32, ("a very long class name", "another"))
    images = random_images(3)[..., :1]
    assert pictures.prediction_sheet(grey, images, [0, 0, 1], long, tmp_path / "a.png").is_file()


def test_a_full_disk_leaves_the_old_picture(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def full(self, path, **options):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    history = write_history(tmp_path / "history.csv", epochs=3)
    pictures.learning_curves(history, tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(OSError, match="No space left"):
        pictures.learning_curves(history, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["a.png", "history.csv"]


def test_without_matplotlib_it_is_said_so(tmp_path, monkeypatch):
    history = write_history(tmp_path / "history.csv", epochs=3)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"pip install 'keras-wide-resnet\[train\]'"):
        pictures.learning_curves(history, tmp_path / "a.png")
