"""A converted network is saved, read again, and built again; and the command that does it."""

import json

import foreign_networks as foreign
import keras
import numpy as np
import pytest
from foreign_checkpoints import (
    CONSTANTS,
    images,
    small_weights,
    write_npz,
    write_pth,
)
from model_parts import outputs
from quick_weights import zero_kernels  # noqa: F401 - a fixture

import keras_wrn
from keras_wrn.applications.conversion import convert, convert_checkpoint
from keras_wrn.cli import main

pytestmark = pytest.mark.usefixtures("zero_kernels")


@pytest.fixture
def tensors():
    return foreign.checkpoint(foreign.xternalz, small_weights(10, 1))


def test_converted_networks_are_saved_and_read_again(tmp_path):
    tensors = foreign.checkpoint(foreign.deepmind, small_weights(10, 1))
    found = convert_checkpoint(write_npz(tmp_path / "a.npz", tensors))
    assert all(type(layer).__module__.startswith("keras.src") for layer in found.model.layers)
    found.model.save(tmp_path / "a.keras")
    again = keras.saving.load_model(tmp_path / "a.keras")
    np.testing.assert_allclose(outputs(again, images()), outputs(found.model, images()), rtol=1e-6)
    found.model.save_weights(tmp_path / "a.weights.h5")
    plain = getattr(keras_wrn, found.builder)(**found.arguments)
    plain.load_weights(tmp_path / "a.weights.h5")
    mean, std = (np.float32(values) for values in found.statistics)
    probabilities = outputs(plain, (images() - mean) / std)
    np.testing.assert_allclose(probabilities, outputs(found.model, images()), rtol=1e-4)


def test_the_papers_own_conventions_go_without_saying(tmp_path, tensors):
    found = convert_checkpoint(write_npz(tmp_path / "a.npz", tensors))
    told = found.save(tmp_path / "a.weights.h5")
    assert "\nLoad it into keras_wrn.WideResNet(depth=10, width=1" in told
    assert "conventions=" not in told


# The command line.


def call(*words):
    return main.main(main.parse(["convert", *map(str, words)]))


def test_the_command_writes_a_model(tmp_path, capsys, tensors):
    path = write_pth(tmp_path / "a.pth", tensors)
    assert call(path, tmp_path / "a.keras") == 0
    told = "wide_resnet10_1, 77,850 parameters named as by 'xternalz', is in "
    first, same, assumed = capsys.readouterr().out.splitlines()
    assert same.startswith("Read as 'xternalz'. Other networks have the same names: 'fixmatch'")
    assert first == f"{told}{tmp_path}/a.keras."
    assert assumed.startswith("Assumed, because names do not tell: relu, zeros (1, 1) around")
    again = keras.saving.load_model(tmp_path / "a.keras")
    np.testing.assert_allclose(
        outputs(again, images()), outputs(convert(path), images()), rtol=1e-6
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.keras", "a.pth"]


def test_the_command_tells_what_a_weights_file_does_not_say(tmp_path, capsys):
    tensors = foreign.checkpoint(foreign.attention_transfer, small_weights(10, 1))
    tensors |= {"mean": CONSTANTS["mean"], "std": CONSTANTS["std"]}
    path = write_npz(tmp_path / "a.npz", tensors)
    (tmp_path / "map.json").write_text(json.dumps(foreign.KEY_MAP))
    words = ("--dialect", "deepmind", "--key_map", tmp_path / "map.json")
    assert call(path, tmp_path / "a.weights.h5", *words) == 0
    _, load, images_are, assumed = capsys.readouterr().out.strip().split("\n")
    code = load.removeprefix("Load it into ")
    changed = "conventions=keras_wrn.Conventions(activation='silu', strided_padding=(0, 1))"
    assert changed in code
    model = eval(code, {"keras_wrn": keras_wrn})
    model.load_weights(tmp_path / "a.weights.h5")
    assert model.get_layer("head_relu").activation is keras.activations.silu
    assert "with mean (0.49, 0.48, 0.45), std (0.25, 0.24, 0.26); a .keras file" in images_are
    assert "silu, zeros (0, 1)" in assumed and "images in [0, 1], which it normalises" in assumed


def test_what_the_command_cannot_do_is_one_sentence(tmp_path, capsys, tensors):
    path = write_npz(tmp_path / "a.npz", tensors)
    assert call(path, tmp_path / "a.h5") == 2
    assert "must end in .keras or .weights.h5. Received: " in capsys.readouterr().err
    assert call(tmp_path / "nothing.pth", tmp_path / "a.keras") == 2
    assert "must be a file that exists" in capsys.readouterr().err
    assert call(path, tmp_path / "nowhere" / "a.keras") == 2
    assert capsys.readouterr().err.count("\n") == 1
    tensors["fc.bias"] = np.zeros(3, np.float32)
    assert call(write_npz(path, tensors), tmp_path / "a.keras") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "of another shape: predictions bias (fc) (3,), expected (10,)" in error
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]
