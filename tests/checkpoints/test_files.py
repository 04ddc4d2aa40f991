"""Every format of checkpoint is read to the same arrays, and none of them runs anything."""

import argparse
import sys
import types

import h5py
import numpy as np
import pytest
from checkpoint_writer import (
    FORMATS,
    TENSORS,
    Payload,
    assert_same,
    safetensors,
    write,
)
from torch_writer import View, write_zip

from keras_wrn.checkpoints.files import read_checkpoint
from keras_wrn.errors import InputError


@pytest.mark.parametrize("suffix", FORMATS)
def test_formats_hold_the_same_tensors(tmp_path, suffix):
    assert_same(read_checkpoint(write(tmp_path / f"a.{suffix}", TENSORS)))


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_format_is_seen_from_the_content(tmp_path, suffix):
    path = write(tmp_path / f"a.{suffix}", TENSORS)
    assert_same(read_checkpoint(path.rename(tmp_path / "model.best")))


def test_bfloat16_is_widened(tmp_path):
    halves = np.array([0x3FC0, 0xC010], np.uint16)  # 1.5 and -2.25
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors({"x": halves}))
    np.testing.assert_array_equal(read_checkpoint(path)["x"], np.float32([1.5, -2.25]))
    write_zip(tmp_path / "a.pth", {"x": View(halves, 0, (2,), (1,), "BFloat16Storage")})
    np.testing.assert_array_equal(
        read_checkpoint(tmp_path / "a.pth")["x"], np.float32([1.5, -2.25])
    )


# What a training script keeps beside the network.


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {0: state}}},
        lambda state: {"model_state_dict": state, "loss": 0.5},
        lambda state: {"params": state, "epoch": 3},
        lambda state: {"epoch": 3, "model": {"state_dict": state}},
        lambda state: {"state_dict": state, "args": argparse.Namespace(lr=0.1)},
        lambda state: {"state_dict": state, "best": np.float64(0.5)},
    ],
    ids=["state_dict", "model_state_dict", "params", "model", "namespace", "numpy number"],
)
def test_the_network_is_taken_from_a_training_state(tmp_path, wrap):
    write_zip(tmp_path / "a.pth", wrap(TENSORS))
    assert_same(read_checkpoint(tmp_path / "a.pth"))


def test_parameters_and_statistics_are_joined(tmp_path):
    names = list(TENSORS)
    state = {"params": {k: TENSORS[k] for k in names[:2]}}
    state |= {"stats": {k: TENSORS[k] for k in names[2:]}}
    write_zip(tmp_path / "model.pt7", state)
    assert_same(read_checkpoint(tmp_path / "model.pt7"))


@pytest.mark.parametrize("tree", [{"accuracy": 0.9}, 3, []])
def test_a_file_without_one_network_is_refused(tmp_path, tree):
    write_zip(tmp_path / "a.pth", tree)
    with pytest.raises(InputError, match="must hold tensors by name, alone or under"):
        read_checkpoint(tmp_path / "a.pth")


def test_npz_with_objects_is_refused(tmp_path):
    mark = tmp_path / "ran"
    array = np.array([Payload(f"echo > {mark}")], dtype=object)
    np.savez(tmp_path / "a.npz", x=array)
    with pytest.raises(InputError, match="cannot be read as an .npz file.*allow_pickle=False"):
        read_checkpoint(tmp_path / "a.npz")
    assert not mark.exists()


def test_weights_of_keras_3_are_sent_elsewhere(tmp_path):
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros(3)
    with pytest.raises(InputError, match="a weights file of Keras 3.*load it with `weights=`"):
        read_checkpoint(tmp_path / "a.weights.h5")


# Damage.


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.97])
def test_half_a_file_is_refused(tmp_path, suffix, part):
    path = write(tmp_path / f"a.{suffix}", TENSORS)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match=str(path)):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [9]},
        {"data_offsets": [0, 10**9]},
        {"data_offsets": [-12, 0]},
        {"data_offsets": [4]},
        {"dtype": "F8_E4M3"},
        {"shape": None},
    ],
)
def test_a_wrong_safetensors_header_is_refused(tmp_path, changes):
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors({"x": np.zeros(3, np.float32)}, **changes))
    with pytest.raises(InputError, match="is a damaged .safetensors file"):
        read_checkpoint(path)


def test_bytes_behind_the_tensors_are_refused(tmp_path):
    path = write(tmp_path / "a.safetensors", TENSORS)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(InputError, match="is a damaged .safetensors file"):
        read_checkpoint(path)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(InputError, match="must be a file that exists. Received: .*nothing.pth"):
        read_checkpoint(tmp_path / "nothing.pth")
    with pytest.raises(InputError, match="must be a file that exists"):
        read_checkpoint(tmp_path)
    (tmp_path / "a.pth").write_text("not found, says the server")
    with pytest.raises(InputError, match="A checkpoint must be PyTorch's .pt or .pth,.*none of"):
        read_checkpoint(tmp_path / "a.pth")
    (tmp_path / "a.pth").write_bytes(b"")
    with pytest.raises(InputError, match="is none of these"):
        read_checkpoint(tmp_path / "a.pth")
    np.savez(tmp_path / "b.npz")
    with pytest.raises(InputError, match="holds no tensors"):
        read_checkpoint(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", x=np.zeros(2, complex), y=np.array("text"))
    with pytest.raises(InputError, match="tensors that are no numbers: x, y"):
        read_checkpoint(tmp_path / "c.npz")


# The Hugging Face Hub.


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A client of the Hub that has one file."""
    calls = []

    def download(repo_id, filename, revision=None, endpoint=None):
        calls.append((repo_id, filename, revision))
        if filename.startswith("missing"):
            raise RuntimeError("404: Entry Not Found")
        return str(write(tmp_path / "a.safetensors", TENSORS))

    client = types.ModuleType("huggingface_hub")
    client.hf_hub_download = download
    client.utils = types.SimpleNamespace(are_progress_bars_disabled=lambda: True)
    monkeypatch.setitem(sys.modules, "huggingface_hub", client)
    return calls


def test_the_hub_is_asked_for_a_file(hub):
    assert_same(read_checkpoint("hf://owner/repo/model.safetensors"))
    assert_same(read_checkpoint("hf://owner/repo@1234abcd/folder/model.safetensors"))
    assert hub == [
        ("owner/repo", "model.safetensors", None),
        ("owner/repo", "folder/model.safetensors", "1234abcd"),
    ]


def test_what_the_hub_says_is_told(hub, monkeypatch):
    with pytest.raises(
        InputError, match="hf://a/b/missing could not be fetched: 404: Entry Not Found"
    ):
        read_checkpoint("hf://a/b/missing")
    with pytest.raises(InputError, match="must be hf://owner/repo/file. Received: hf://owner/repo"):
        read_checkpoint("hf://owner/repo")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match="Run: pip install huggingface_hub"):
        read_checkpoint("hf://owner/repo/model.safetensors")
