"""What the tests of checkpoint files share: tensors, writers of every format."""

import collections
import json
import os
import struct

import h5py
import numpy as np
from torch_writer import write_legacy, write_zip

RANDOM = np.random.default_rng(3)
TENSORS = {
    "conv.weight": RANDOM.normal(size=(4, 3, 3, 3)).astype(np.float32),
    "bn.running_mean": RANDOM.normal(size=5),
    "bn.num_batches_tracked": np.asarray(7),
    "fc.weight": RANDOM.normal(size=(2, 3)).astype(np.float16),
    "empty": np.zeros((0, 3), np.float32),
}
FORMATS = ("pth", "legacy.pth", "safetensors", "npz", "h5")


def write(path, tensors):
    name = path.name
    if name.endswith("legacy.pth"):
        write_legacy(path, collections.OrderedDict(tensors))
    elif name.endswith(".pth"):
        write_zip(path, collections.OrderedDict(tensors))
    elif name.endswith(".npz"):
        np.savez(path, **tensors)
    elif name.endswith(".h5"):
        with h5py.File(path, "w") as file:
            for key, array in tensors.items():
                file[key] = array
    else:
        path.write_bytes(safetensors(tensors, {"format": "pt"}))
    return path


def safetensors(tensors, metadata=None, **changes):
    """As the safetensors library writes it: the longest numbers first, then by name."""
    kinds = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "uint16": "BF16"}
    header, data = {"__metadata__": metadata} if metadata else {}, []
    end = 0
    for key in sorted(tensors, key=lambda key: (-tensors[key].itemsize, key)):
        array, start = tensors[key], end
        end += array.nbytes
        header[key] = {"dtype": kinds[array.dtype.name], "shape": list(array.shape)}
        header[key] |= {"data_offsets": [start, end]} | changes
        data.append(array.tobytes())
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data)


def assert_same(found, expected=TENSORS):
    assert list(found) == list(expected) or sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array)


class Payload:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)
