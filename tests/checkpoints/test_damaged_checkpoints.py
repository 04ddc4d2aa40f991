"""Files of nonsense end in a sentence that names the file, whichever way they are damaged."""

import struct
import zipfile

import h5py
import numpy as np
import pytest
from checkpoint_writer import TENSORS, write

from keras_wrn.checkpoints.files import read_checkpoint
from keras_wrn.errors import InputError
from keras_wrn.weights.files import read_weights


def refused(path, sentence, read=read_checkpoint):
    with pytest.raises(InputError, match=sentence) as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["external", "virtual"])
def test_hdf5_cannot_read_other_files(tmp_path, kind):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.ones(2, "f4")
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/conv2d/vars")
        group.attrs["name"] = "stem_conv"
        if kind == "external":
            group.create_dataset("0", (2,), "f4", external=[(str(tmp_path / "secret.h5"), 0, 8)])
        else:
            layout = h5py.VirtualLayout((2,), "f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", (2,))
            group.create_virtual_dataset("0", layout)
    for read in (read_checkpoint, read_weights):
        refused(path, "layers/conv2d/vars/0 would be read from another file", read)


@pytest.mark.parametrize("shape", [(2**62,), (2**50,)], ids=["no array", "no memory"])
def test_hdf5_of_nonsense(tmp_path, shape):
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/conv2d/vars")
        group.attrs["name"] = "stem_conv"
        group.create_dataset("0", shape, "f4", chunks=(1024,))  # written nowhere
    for read in (read_checkpoint, read_weights):
        refused(path, "is damaged or only half there", read)


def test_an_archive_whose_list_of_files_is_damaged(tmp_path):
    path = write(tmp_path / "a.npz", TENSORS)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02")] = 0
    path.write_bytes(content)
    assert zipfile.is_zipfile(path)
    refused(path, "is damaged: Bad magic number")


def test_a_compressed_archive_of_nonsense(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros(500))
    content = bytearray(path.read_bytes())
    names, extra = struct.unpack("<HH", content[26:30])
    content[30 + names + extra] = 0xFF  # a kind of block that zlib does not have
    path.write_bytes(content)
    refused(path, "cannot be read as an .npz file: Error -3 while decompressing")


def test_an_array_that_ends_too_early(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01")
        archive.writestr("y.npy", b"")
    refused(path, "cannot be read as an .npz file")


def test_json_in_json_in_json(tmp_path):
    text = b'{"x":' + b"[" * 200_000
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    for read in (read_checkpoint, read_weights):
        refused(path, "is a damaged .safetensors file", read)


@pytest.mark.parametrize("kind", ["sparse", "float8"])
def test_tensors_that_numpy_lacks(tmp_path, kind):
    torch = pytest.importorskip("torch")
    dense = torch.ones(2, 2)
    odd = dense.to_sparse() if kind == "sparse" else dense.to(torch.float8_e4m3fn)
    torch.save({"x": odd}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "is refused.*Only plain tensors are read.*as dense floats")
