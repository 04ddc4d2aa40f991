"""examples/fine_tune.py learns five classes of a folder: the classifier first, then all."""

import importlib
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_wrn

EXAMPLES = Path(keras_wrn.__file__).parents[1] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("fine_tune")


def body_weights(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.layers[1].weights]


def moved(before, after):
    """The names of weights apart, whether each has changed."""
    return [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]


def test_the_body_is_frozen_first_and_moves_later(example):
    body = keras_wrn.WideResNet(10, 1, include_top=False, pooling="avg", input_shape=(16, 16, 3))
    model = example.build(body, 5)
    random = np.random.default_rng(0)
    labels = np.arange(40) % 5
    images = random.normal(labels[:, None, None, None], 1, (40, 16, 16, 3)).astype("float32")
    start = body_weights(model)
    losses = example.fine_tune(model, images, labels, (4, 0), (1e-4, 1e-5))
    assert losses[-1] < losses[0]
    assert not any(moved(start, body_weights(model)))
    example.fine_tune(model, images, labels, (0, 1), (1e-4, 1e-5))
    names = [weight.path for weight in body.weights]
    changed = moved(start, body_weights(model))
    for name, change in zip(names, changed, strict=True):
        # Batch normalisation stays, its statistics too; the rest is trained.
        assert change == ("kernel" in name), name


def test_five_classes_of_a_folder(example, tmp_path):
    digits = keras_wrn.datasets.load("digits")
    for split, images, count in (("train", digits.train, 16), ("test", digits.test, 8)):
        for digit in range(5):
            folder = tmp_path / "digits" / split / f"class{digit}"
            folder.mkdir(parents=True)
            for number, image in enumerate(images.images[images.labels == digit][:count]):
                Image.fromarray(image).save(folder / f"{number}.png")
    words = [str(tmp_path / "digits"), "--network", "16-1", "--head_epochs", "8", "--epochs", "6"]
    said = example.main(example.parse([*words, "--save", str(tmp_path / "tuned.keras")]))
    error = float(said.split(": ")[1].partition("%")[0]) / 100
    assert "of 40 test images are wrong" in said
    assert error < 0.35  # chance is 0.8; the classifier alone reaches about 0.43
    with pytest.raises(keras_wrn.InputError, match=r"--save must end in .keras"):
        example.main(example.parse([*words, "--save", str(tmp_path / "tuned")]))
    again = keras.saving.load_model(tmp_path / "tuned.keras")
    assert again.output_shape == (None, 5)
