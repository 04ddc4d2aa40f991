"""Tensors out of PyTorch's files, without PyTorch and without running what a pickle says.

A .pt or .pth file is a pickle beside raw numbers, and a pickle may call any function of any
module. This reader knows the few functions that tensors are made with, stands in for them
itself, and refuses every other name before anything happens.

`torch.save` has two formats: since 1.6 a zip archive of `data.pkl` and one entry per storage,
before that a row of pickles, then the storages.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from keras_wrn.errors import InputError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the old format
_LEGACY_VERSION = 1001
_STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bfloat16",  # the upper half of a float32, which NumPy does not have
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


def read_torch_pickle(path: Path) -> Any:
    """What `torch.save` wrote, with NumPy arrays for its tensors.

    Args:
        path: a file of either format.

    Returns:
        The object that was saved: mappings, lists, numbers, strings and arrays. A bfloat16
        tensor comes as float32.

    Raises:
        InputError: the pickle names something that is no tensor, or the file is damaged.

    Example:
        >>> read_torch_pickle(Path("model.pth"))["fc.weight"].shape  # doctest: +SKIP
        (10, 640)
    """
    try:
        with path.open("rb") as file:
            zipped = zipfile.is_zipfile(file)
            file.seek(0)
            tree = _read_zip(path) if zipped else _read_legacy(file, path)
            return _arrays(tree, {})
    except InputError:
        raise
    except Exception as error:  # a pickle of nonsense can end in any of Python's errors
        raise InputError(
            f"{path} cannot be read as a PyTorch file, it is damaged or of another format: {error}"
        ) from error


def is_torch_zip(path: Path) -> bool:
    """Whether a zip archive is what `torch.save` writes. Raises InputError for a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.rpartition("/")[2] == "data.pkl" for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise InputError(f"{path} is damaged: {error}") from error


class _StorageType(NamedTuple):
    """Stands for torch.FloatStorage and its like."""

    dtype: str

    @property
    def item_size(self) -> int:
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize

    def decode(self, data: bytes, order: str) -> np.ndarray:
        if self.dtype == "bfloat16":
            halves = np.frombuffer(data, order + "u2").astype(np.uint32)
            return (halves << 16).view(np.float32)
        return np.frombuffer(data, order + self.dtype)


@dataclass
class _Storage:
    """A row of numbers, which in the old format is read after the tensors that use it."""

    type: _StorageType
    count: int
    values: np.ndarray | None = None

    def fill(self, data: bytes, order: str) -> None:
        if len(data) != self.count * self.type.item_size:
            raise ValueError(f"a storage of {self.count} numbers has {len(data)} bytes")
        self.values = self.type.decode(data, order)


@dataclass
class _Tensor:
    """A view of a storage, as Torch describes it."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self) -> np.ndarray:
        numbers = (self.offset, *self.size, *self.stride)
        if not isinstance(self.storage, _Storage) or self.storage.values is None:
            raise ValueError("a tensor has no storage")
        if any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError("a tensor has a size that is none")
        if len(self.size) != len(self.stride):
            raise ValueError("a tensor has more sizes than strides")
        if 0 in self.size:
            return np.zeros(self.size, self.storage.values.dtype)
        # NumPy would read past the end of the storage, into whatever memory is there.
        reach = sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        if self.offset + reach >= len(self.storage.values):
            raise ValueError("a tensor reaches past the end of its storage")
        if math.prod(self.size) > len(self.storage.values):
            raise ValueError("a tensor is larger than its storage")
        values = self.storage.values[self.offset :]
        strides = tuple(step * values.itemsize for step in self.stride)
        return np.lib.stride_tricks.as_strided(values, self.size, strides).copy()


class _Inert:
    """Takes the place of something that holds no tensor, and does nothing with what it is given."""

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class _RebuildTensor(NamedTuple):
    """Stands for the functions of torch._utils that make a tensor, or a parameter of one."""

    of_tensor: bool = False

    def __call__(self, *arguments: Any) -> Any:
        if self.of_tensor:
            return arguments[0]
        storage, offset, size, stride, *_ = arguments
        return _Tensor(storage, offset, tuple(size), tuple(stride))


_ALLOWED: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor": _RebuildTensor(),
    "torch._utils._rebuild_tensor_v2": _RebuildTensor(),
    "torch._utils._rebuild_parameter": _RebuildTensor(of_tensor=True),
    "torch.Size": tuple,
    **{f"torch.{name}": _StorageType(dtype) for name, dtype in _STORAGES.items()},
    # Training scripts keep their options and their best accuracy beside the weights.
    "argparse.Namespace": _Inert,
    "torch.device": _Inert,
    "numpy.dtype": _Inert,
    "numpy.core.multiarray.scalar": _Inert,
    "numpy._core.multiarray.scalar": _Inert,
    "_codecs.encode": _Inert,
}


class _Unpickler(pickle.Unpickler):
    """A pickle reader that knows tensors and nothing else."""

    def __init__(self, file: Any, path: Path, load: Callable[[str, _Storage], _Storage]) -> None:
        super().__init__(file, encoding="utf-8")
        self.path, self.load_storage = path, load

    def find_class(self, module: str, name: str) -> Any:
        found = _ALLOWED.get(f"{module}.{name}")
        if found is None:
            raise InputError(
                f"{self.path} is refused: its pickle asks for {module}.{name}, which is no tensor, "
                "and a pickle can run any program. Nothing was run. If the file is yours, save "
                "the tensors alone: torch.save(model.state_dict(), path)."
            )
        return found

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _, count, *view = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType) or any(view):
            raise ValueError(f"unknown storage {kind!r}")
        if type(count) is not int or count < 0:
            raise ValueError(f"a storage of {count!r} numbers")
        return self.load_storage(str(key), _Storage(storage_type, count))


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        root = next(name for name in entries if name.rpartition("/")[2] == "data.pkl")
        folder = root.removesuffix("data.pkl")
        if f"{folder}constants.pkl" in entries:
            raise InputError(
                f"{path} is a TorchScript program, which is refused. Save the tensors alone: "
                "torch.save(model.state_dict(), path)."
            )
        order = ">" if _entry(archive, entries.get(f"{folder}byteorder")) == b"big" else "<"
        storages: dict[str, _Storage] = {}

        def load(key: str, storage: _Storage) -> _Storage:
            if key not in storages:
                storage.fill(_entry(archive, entries[f"{folder}data/{key}"]), order)
                storages[key] = storage
            return storages[key]

        return _Unpickler(io.BytesIO(_entry(archive, entries[root])), path, load).load()


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo | None) -> bytes:
    if entry is None:
        return b""
    if entry.compress_type != zipfile.ZIP_STORED:
        # PyTorch never compresses; a small file could unpack to more than the memory holds.
        raise ValueError(f"{entry.filename} is compressed")
    return archive.read(entry)


def _read_legacy(file: BinaryIO, path: Path) -> Any:
    storages: dict[str, _Storage] = {}

    def load(key: str, storage: _Storage) -> _Storage:
        return storages.setdefault(key, storage)

    def next_pickle() -> Any:
        return _Unpickler(file, path, load).load()

    if next_pickle() != LEGACY_MAGIC:
        raise ValueError("it does not begin as PyTorch's files do")
    if (version := next_pickle()) != _LEGACY_VERSION:
        raise ValueError(f"it is of version {version}")
    order = "<" if next_pickle().get("little_endian", True) else ">"
    tree = next_pickle()
    for key in next_pickle():
        storage = storages[str(key)]
        (count,) = struct.unpack(order + "q", file.read(8))
        if count != storage.count:
            raise ValueError(f"a storage of {storage.count} numbers has {count}")
        storage.fill(file.read(count * storage.type.item_size), order)
    return tree


def _arrays(tree: Any, seen: dict[int, Any]) -> Any:
    """The same tree with arrays in the place of tensors."""
    if isinstance(tree, _Tensor):
        return tree.array()
    if not isinstance(tree, dict | list | tuple) or id(tree) in seen:
        return seen.get(id(tree), tree)
    seen[id(tree)] = None  # a pickle may contain itself
    if isinstance(tree, dict):
        result: Any = {key: _arrays(value, seen) for key, value in tree.items()}
    else:
        result = [_arrays(value, seen) for value in tree]
    seen[id(tree)] = result
    return result
