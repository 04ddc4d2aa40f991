"""Key maps: which layer of a checkpoint is which, in the caller's words."""

import json

import foreign_networks as foreign
import keras
import numpy as np
import pytest
from foreign_checkpoints import (
    CONSTANTS,
    small_weights,
    write_npz,
)
from quick_weights import zero_kernels  # noqa: F401 - a fixture

from keras_wrn.applications.conversion import convert, convert_checkpoint
from keras_wrn.errors import InputError

pytestmark = pytest.mark.usefixtures("zero_kernels")


@pytest.fixture
def tensors():
    return foreign.checkpoint(foreign.xternalz, small_weights(10, 1))


def test_key_maps_are_dictionaries_functions_or_files(tmp_path):
    weights = small_weights(10, 1)
    tensors = foreign.checkpoint(foreign.attention_transfer, weights)
    path = write_npz(tmp_path / "a.npz", tensors | {"extra.weight": np.zeros(3)})
    literal = {foreign.their_name(foreign.attention_transfer, ours): ours for ours in weights}
    (tmp_path / "map.json").write_text(json.dumps(literal | {"extra": None}))
    for key_map in (
        foreign.KEY_MAP | {"extra": None},
        literal | {"{g}.unused": None, "extra": None},
        literal.get,
        tmp_path / "map.json",
        str(tmp_path / "map.json"),
    ):
        model = convert(path, key_map=key_map)
        for name, arrays in weights.items():
            for variable, array in zip(model.get_layer(name).weights, arrays, strict=True):
                np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), array)
    with pytest.raises(InputError, match="unknown: extra.weight"):
        convert(path, key_map=foreign.KEY_MAP)


def test_a_key_map_keeps_what_a_dialect_says_of_the_network(tmp_path):
    tensors = foreign.checkpoint(foreign.attention_transfer, small_weights(10, 1))
    tensors |= {"mean": CONSTANTS["mean"], "std": CONSTANTS["std"]}
    path = write_npz(tmp_path / "a.npz", tensors)
    found = convert_checkpoint(path, "deepmind", key_map=foreign.KEY_MAP)
    assert found.arguments["conventions"].activation == "silu"
    assert found.statistics is not None


@pytest.mark.parametrize(
    ("key_map", "match"),
    [
        ({"conv1": "conv_1"}, "must be those of WideResNet's layers.*Received: 'conv_1' for"),
        ({"conv1": 3}, "names in `key_map` must be strings, or None"),
        (lambda layer: 3, "Received: 3 for "),
        ({"conv1": "stem_conv", "bn1": "stem_conv"}, "would be stem_conv: bn1, conv1"),
        ({"conv1": "group{g}_block1_conv1"}, r"counts \{g\}, .* for 'conv1'"),
        ({"conv{g}{": "stem_conv"}, "has no convolutions"),
        ({"conv{g}": "group{g}_block{g}_conv{b}"}, r"Received: 'group{g}_block{g}_conv{b}'"),
        (["conv1"], "Received: key_map of type list"),
        ("nothing.json", "must be a JSON file that exists"),
    ],
)
def test_wrong_key_maps_are_refused(tmp_path, tensors, key_map, match):
    with pytest.raises(InputError, match=match):
        convert(write_npz(tmp_path / "a.npz", tensors), key_map=key_map)


def test_a_file_that_is_no_json_is_refused(tmp_path, tensors):
    (tmp_path / "map.json").write_text("{conv1: stem_conv}")
    with pytest.raises(InputError, match="map.json is damaged"):
        convert(write_npz(tmp_path / "a.npz", tensors), key_map=tmp_path / "map.json")
