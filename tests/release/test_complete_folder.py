"""What a published folder has for others: logits, safetensors, Keras' own configuration."""

import shutil

import keras
import numpy as np
import pytest
import safetensors.numpy
from model_values import equal, values
from tiny_run import change_card, write_run

import keras_wrn
from keras_wrn import InputError, datasets, publish
from keras_wrn.inference import trained
from keras_wrn.inference.classifier import class_probabilities
from keras_wrn.weights.card import read_card
from keras_wrn.weights.files import read_weights

NAME = "wrn-10-1-digits"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("complete")
    return publish(write_run(base / "run"), base / "published")


def test_the_logits_are_those_of_the_stored_file(folder):
    published = keras_wrn.load_trained(folder)
    images, labels = datasets.load("digits").test
    with np.load(folder / "logits.npz") as stored:
        logits, stored_labels = stored["logits"], stored["labels"]
    assert (logits.dtype, logits.shape, stored_labels.dtype) == (np.float16, (360, 10), np.uint16)
    np.testing.assert_array_equal(stored_labels, labels)
    expected = class_probabilities(published.model, images, published.preprocessing)
    found = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float32)
    found /= found.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.mean(logits.argmax(axis=1) != labels) == read_card(folder).metrics["error"]


def test_safetensors_hold_the_same_numbers_by_name(folder, tmp_path):
    weights = read_weights(folder / "model.weights.h5")
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    assert {values.dtype.name for values in tensors.values()} == {"float16"}
    assert sum(map(len, weights.values())) == len(tensors)
    assert tensors["stem_conv/kernel"].shape == (3, 3, 3, 16)
    np.testing.assert_array_equal(tensors["stem_conv/kernel"], weights["stem_conv"]["0"])
    names = "gamma beta moving_mean moving_variance".split()
    for number, name in enumerate(names):
        np.testing.assert_array_equal(
            tensors[f"group2_block1_bn2/{name}"], weights["group2_block1_bn2"][str(number)]
        )
    expected = keras_wrn.load_trained(folder)
    model = keras_wrn.WideResNet(10, 1, weights=folder / "model.safetensors")
    equal(values(model), values(expected.model))
    # The file alone says which network it holds, and how its images are normalised.
    alone = shutil.copy(folder / "model.safetensors", tmp_path / "any.safetensors")
    found = trained.load_file(alone)
    equal(values(found.model), values(expected.model))
    assert found.preprocessing == expected.preprocessing
    body = keras_wrn.WideResNet(16, 1)
    with pytest.raises(InputError, match="does not hold the weights of wide_resnet16_1"):
        keras_wrn.load_weights(body, alone)


def test_plain_keras_reads_the_folder(folder):
    model = keras.saving.load_model(folder)
    expected = keras_wrn.load_trained(folder)
    equal(values(model), values(expected.model))
    images = keras_wrn.preprocess_input(datasets.load("digits").test.images[:4], "digits")
    np.testing.assert_array_equal(
        model.predict(images, verbose=0), expected.model.predict(images, verbose=0)
    )


def test_what_is_published_already_is_completed(folder, tmp_path):
    """With its logits, and without them; its files and its card stay as they are."""
    plain = tmp_path / "plain" / NAME
    plain.mkdir(parents=True)
    for name in ("card.json", "model.weights.h5"):
        shutil.copy(folder / name, plain)
    for source in (folder, plain):
        again = publish(source, tmp_path / f"again-{source.parent.name}")
        expected = {path.name for path in folder.iterdir()}
        if source == plain:
            expected -= {"history.csv", "curves.png"}
            assert "curves.png" not in (again / "README.md").read_text()
        assert {path.name for path in again.iterdir()} == expected
        for name in ("card.json", "model.weights.h5", "model.safetensors", "logits.npz"):
            assert (again / name).read_bytes() == (folder / name).read_bytes(), name
    for words in ({"licence": "MIT"}, {"intended_use": "x"}, {"known_failures": ["x"]}):
        with pytest.raises(InputError, match="is published already, and its card stays"):
            publish(folder, tmp_path / "new", **words)
    assert not (tmp_path / "new").exists()


def test_logits_of_another_network_are_not_published(folder, tmp_path):
    source = shutil.copytree(folder, tmp_path / "source")
    with np.load(folder / "logits.npz") as stored:
        wrong = (stored["logits"].argmax(axis=1) + 1) % 10
        np.savez(source / "logits.npz", logits=stored["logits"], labels=wrong)
    with pytest.raises(
        InputError, match=r"a test error of 100.00% on 360 images, and the card says"
    ):
        publish(source, tmp_path / "new")
    (source / "logits.npz").write_bytes(b"PK half")
    with pytest.raises(InputError, match="logits.npz is damaged"):
        publish(source, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_weights_of_others_are_theirs(folder, tmp_path):
    source = shutil.copytree(folder, tmp_path / "source")
    change_card(source, owner="torchvision")
    with pytest.raises(InputError, match="belong to torchvision: publish your own"):
        publish(source, tmp_path / "new")
