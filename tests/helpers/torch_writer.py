"""Writes PyTorch's two file formats without PyTorch, to test their reader where there is none.

A `View` is a tensor: a window of a row of numbers, which several tensors may share.
"""

import io
import pickle
import struct
import sys
import types
import zipfile
from typing import NamedTuple
from unittest import mock

import numpy as np

STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


class View(NamedTuple):
    values: np.ndarray
    offset: int
    size: tuple
    stride: tuple
    storage: str | None = None  # "BFloat16Storage" for what NumPy cannot name
    count: int | None = None  # numbers that the file claims


def tensor(array):
    array = np.ascontiguousarray(array)
    strides = tuple(step // array.itemsize for step in array.strides)
    return View(array.ravel(), 0, array.shape, strides)


def write_zip(path, tree, order="little", compression=zipfile.ZIP_STORED):
    data, storages = _pickle(tree, legacy=False)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", order)
        for key, values in storages.items():
            archive.writestr(f"archive/data/{key}", _bytes(values, order))
        archive.writestr("archive/version", "3\n")


def write_legacy(path, tree):
    data, storages = _pickle(tree, legacy=True)
    with open(path, "wb") as file:
        pickle.dump(0x1950A86A20F9469CFC6C, file, protocol=2)
        pickle.dump(1001, file, protocol=2)
        pickle.dump({"protocol_version": 1001, "little_endian": True}, file, protocol=2)
        file.write(data)
        pickle.dump(list(storages), file, protocol=2)
        for values in storages.values():
            file.write(struct.pack("<q", len(values)) + _bytes(values, "little"))


def _bytes(values, order):
    return values.astype(values.dtype.newbyteorder("<" if order == "little" else ">")).tobytes()


class _Pickler(pickle.Pickler):
    def __init__(self, file, torch, rebuild, legacy):
        super().__init__(file, protocol=2)
        self.torch, self.rebuild, self.legacy = torch, rebuild, legacy
        self.storages = {}

    def persistent_id(self, item):
        if type(item) is not _Storage:
            return None
        view = item.view
        key = str(id(view.values))
        self.storages[key] = view.values
        kind = getattr(self.torch, view.storage or STORAGES[view.values.dtype.name])
        count = len(view.values) if view.count is None else view.count
        # The old format says of what other storage this one is a view, which is never used.
        return ("storage", kind, key, "cuda:0", count) + ((None,) if self.legacy else ())

    def reducer_override(self, item):
        if not isinstance(item, _Tensor):
            return NotImplemented
        view = item.view
        return self.rebuild, (_Storage(view), view.offset, view.size, view.stride, False, {})


class _Storage:
    def __init__(self, view):
        self.view = view


class _Tensor(_Storage):
    """A view that pickle does not take for the tuple that it is."""


def _pickle(tree, legacy):
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in (*STORAGES.values(), "BFloat16Storage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def rebuild(*_):
        """Stands for Torch's function, of which a pickle holds the name alone."""

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = rebuild
    torch._utils = utils
    file = io.BytesIO()
    pickler = _Pickler(file, torch, rebuild, legacy)
    # A pickle holds functions by name, and looks whether that name leads to them.
    with mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        pickler.dump(_wrap(tree))
    return file.getvalue(), pickler.storages


def _wrap(tree):
    if isinstance(tree, View):
        return _Tensor(tree)
    if isinstance(tree, np.ndarray):
        return _Tensor(tensor(tree))
    if isinstance(tree, dict):
        return type(tree)((key, _wrap(value)) for key, value in tree.items())
    return tree
