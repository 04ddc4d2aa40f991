"""One network is taken of several in a checkpoint, and the answer says which."""

import numpy as np
import pytest
from torch_writer import write_zip

from keras_wrn.checkpoints.files import read_checkpoint, read_network_of
from keras_wrn.errors import InputError


def network(value):
    return {
        "conv1.weight": np.full((4, 3, 3, 3), value, np.float32),
        "fc.bias": np.full(2, value, np.float32),
    }


def prefixed(prefix, tensors):
    return {prefix + name: tensor for name, tensor in tensors.items()}


ONE, TWO = network(1), network(2)
TRAINED_AND_AVERAGE = {
    "state_dict": {"state_dict": ONE, "ema_state_dict": TWO, "best_acc": np.float32([0.9, 0.8])},
    "timm": {"state_dict": ONE, "state_dict_ema": TWO, "optimizer": {"state": {0: {"m": TWO}}}},
    "model": {"model": ONE, "ema_model": TWO, "scheduler": TWO},
    "nested": {"model": {"state_dict": ONE, "ema": TWO}, "epoch": 3},
    "unknown keys": {"generator": ONE, "swa": TWO},
    "flat": prefixed("model.", ONE) | prefixed("model_ema.module.", TWO),
    "flat, unwrapped": ONE | prefixed("ema.", TWO),
    "tensors and average": {**ONE, "ema": TWO},
}


@pytest.mark.parametrize("case", TRAINED_AND_AVERAGE)
def test_the_trained_network_is_taken_and_the_average_is_named(tmp_path, case):
    write_zip(tmp_path / "a.pth", TRAINED_AND_AVERAGE[case])
    choice = read_network_of(tmp_path / "a.pth")
    assert {array.max() for array in choice.tensors.values()} == {1}
    (other,) = choice.others
    assert f"which= (--which) takes another: {other!r}." in choice.described()
    again = read_network_of(tmp_path / "a.pth", other)
    assert {array.max() for array in again.tensors.values()} == {2}
    assert len(again.tensors) == 2


@pytest.mark.parametrize("key", ["ema", "model_ema", "ema_model", "network", "net", "anything"])
def test_the_only_network_is_read_whatever_its_key(tmp_path, key):
    write_zip(tmp_path / "a.pth", {key: ONE, "epoch": 1, "optimizer": {"state": TWO}})
    choice = read_network_of(tmp_path / "a.pth")
    assert {array.max() for array in choice.tensors.values()} == {1}
    assert ("an averaged copy of the weights, the only network" in choice.described()) == (
        "ema" in key
    )


def test_two_that_are_equally_likely_are_asked_for(tmp_path):
    write_zip(tmp_path / "a.pth", {"train_model": ONE, "eval_model": TWO})
    with pytest.raises(InputError, match="holds 2 networks: 'eval_model', 'train_model'. Choose"):
        read_checkpoint(tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth", "eval_model")["fc.bias"].tolist() == [2, 2]
    with pytest.raises(InputError, match="Received: which='best'. It holds: 'eval_model', 'train"):
        read_checkpoint(tmp_path / "a.pth", "best")


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.weights.h5", "a.npz"])
def test_a_pointer_of_git_lfs_is_called_one(tmp_path, name):
    from keras_wrn.weights.files import read_weights

    path = tmp_path / name
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12ab\nsize 146000000\n")
    readers = [read_checkpoint] + ([read_weights] if name.endswith(("s.h5", "tensors")) else [])
    for read in readers:
        with pytest.raises(InputError, match="is a Git LFS pointer, not the file itself"):
            read(path)
