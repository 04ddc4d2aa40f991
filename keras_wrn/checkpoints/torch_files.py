"""Read tensors from PyTorch's files without PyTorch.

A .pt or .pth file is a pickle and raw numbers, and a pickle may call any function of any module.
This reader replaces the few functions that make tensors by its own, passes over what holds no
tensor without executing it (`stand_ins`), and refuses every other name.

`torch.save` has two formats. Since 1.6 a file is a zip archive of `data.pkl` and one entry per
storage; before that it is a row of pickles, followed by the storages.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from keras_wrn.checkpoints.stand_ins import Items, stand_in
from keras_wrn.errors import InputError
from keras_wrn.system.pickles import ForbiddenNameError, RestrictedUnpickler

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the old format
_LEGACY_VERSION = 1001
_STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


def read_torch_pickle(path: Path) -> Any:
    """Read what `torch.save` wrote, with NumPy arrays in place of tensors.

    Args:
        path: a file of either format.

    Returns:
        The saved object: mappings, lists, numbers, strings and arrays. bfloat16 becomes float32.

    Raises:
        InputError: the pickle names something that makes no plain tensor, or the file is damaged.

    Example:
        >>> read_torch_pickle(Path("model.pth"))["fc.weight"].shape  # doctest: +SKIP
        (10, 640)
    """
    try:
        with path.open("rb") as file:
            is_zip = zipfile.is_zipfile(file)
            file.seek(0)
            tree = _read_zip(path) if is_zip else _read_legacy(file)
            return _to_arrays(tree, {})
    except ForbiddenNameError as error:
        raise InputError(
            f"{path} is refused: {error} If the file is yours, save its tensors alone, as dense "
            "floats or integers: torch.save(model.state_dict(), path)."
        ) from error
    except InputError:
        raise
    except Exception as error:  # a damaged pickle can raise any exception
        raise InputError(
            f"{path} cannot be read as a PyTorch file. It is damaged or has another format: {error}"
        ) from error


def is_torch_zip(path: Path) -> bool:
    """Whether `torch.save` wrote this zip archive. Raises InputError if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.rpartition("/")[2] == "data.pkl" for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise InputError(f"{path} is damaged: {error}") from error


class _StorageType(NamedTuple):
    """Takes the place of torch.FloatStorage and the other storage classes."""

    dtype: str

    def decode(self, data: bytes, order: str) -> np.ndarray:
        if self.dtype == "bfloat16":
            bits = np.frombuffer(data, order + "u2").astype(np.uint16)
            return bits.view(ml_dtypes.bfloat16).astype(np.float32)
        return np.frombuffer(data, order + self.dtype)


@dataclass
class _Storage:
    """A row of numbers. The old format stores it after the tensors that use it."""

    type: _StorageType
    count: int
    values: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.count * np.dtype(self.type.dtype).itemsize

    def fill(self, data: bytes, order: str) -> None:
        if len(data) != self.size:
            raise ValueError(f"a storage of {self.count} numbers has {len(data)} bytes")
        self.values = self.type.decode(data, order)


@dataclass
class _Tensor:
    """A view of a storage, as PyTorch describes it."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self) -> np.ndarray:
        numbers = (self.offset, *self.size, *self.stride)
        if not isinstance(self.storage, _Storage) or self.storage.values is None:
            raise ValueError("a tensor has no storage")
        if any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError("a tensor's offset, sizes and strides must be integers of 0 or more")
        if len(self.size) != len(self.stride):
            raise ValueError("a tensor has more sizes than strides, or fewer")
        if 0 in self.size:
            return np.zeros(self.size, self.storage.values.dtype)
        # NumPy would read past the end of the storage, into other memory.
        last = sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        if self.offset + last >= len(self.storage.values):
            raise ValueError("a tensor reaches past the end of its storage")
        if math.prod(self.size) > len(self.storage.values):
            raise ValueError("a tensor is larger than its storage")
        values = self.storage.values[self.offset :]
        strides = tuple(step * values.itemsize for step in self.stride)
        return np.lib.stride_tricks.as_strided(values, self.size, strides).copy()


class _RebuildTensor(NamedTuple):
    """Takes the place of the functions in torch that make a tensor or a parameter."""

    kind: str = "tensor"

    def __call__(self, *arguments: Any) -> Any:
        if self.kind == "parameter":
            return arguments[0]
        if self.kind == "subclass":  # also a tensor with attributes: function, class, arguments
            make, _, arguments, *_ = arguments
            if not isinstance(make, _RebuildTensor):
                raise ValueError("a tensor is made by no function of PyTorch")
            return make(*arguments)
        storage, offset, size, stride, *_ = arguments
        return _Tensor(storage, offset, tuple(size), tuple(stride))


_ALLOWED: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor": _RebuildTensor(),
    "torch._utils._rebuild_tensor_v2": _RebuildTensor(),
    "torch._utils._rebuild_parameter": _RebuildTensor("parameter"),
    "torch._utils._rebuild_parameter_with_state": _RebuildTensor("parameter"),
    "torch._tensor._rebuild_from_type_v2": _RebuildTensor("subclass"),
    "torch.Size": tuple,
    "collections.defaultdict": Items,
    **{f"torch.{name}": _StorageType(dtype) for name, dtype in _STORAGES.items()},
}


class _Unpickler(RestrictedUnpickler):
    """Read tensors; `load_storage` finds the numbers that a tensor's storage has."""

    def __init__(self, file: BinaryIO, load_storage: Callable[[str, _Storage], _Storage]) -> None:
        super().__init__(file, _ALLOWED, "plain tensors", encoding="utf-8")
        self._load_storage = load_storage

    def find_class(self, module: str, name: str) -> Any:
        """Return what takes the place of a name, or refuse it."""
        found = None if f"{module}.{name}" in _ALLOWED else stand_in(module, name)
        return found or super().find_class(module, name)

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _, count, *view = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType) or any(view):
            raise ValueError(f"unknown storage {kind!r}")
        if type(count) is not int or count < 0:
            raise ValueError(f"a storage of {count!r} numbers")
        return self._load_storage(str(key), _Storage(storage_type, count))


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
        order = ">" if _read_entry(archive, entries.get(f"{folder}byteorder")) == b"big" else "<"
        storages: dict[str, _Storage] = {}

        def load(key: str, storage: _Storage) -> _Storage:
            if key not in storages:
                storage.fill(_read_entry(archive, entries[f"{folder}data/{key}"]), order)
                storages[key] = storage
            return storages[key]

        return _Unpickler(io.BytesIO(_read_entry(archive, entries[root])), load).load()


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo | None) -> bytes:
    if entry is None:
        return b""
    if entry.compress_type != zipfile.ZIP_STORED:
        # PyTorch never compresses, and a small file could unpack to more than the memory holds.
        raise ValueError(f"{entry.filename} is compressed")
    return archive.read(entry)


def _read_legacy(file: BinaryIO) -> Any:
    storages: dict[str, _Storage] = {}

    def next_pickle() -> Any:
        return _Unpickler(file, storages.setdefault).load()

    if next_pickle() != _LEGACY_MAGIC:
        raise ValueError("it does not begin as PyTorch's files do")
    if (version := next_pickle()) != _LEGACY_VERSION:
        raise ValueError(f"it has version {version}")
    order = "<" if next_pickle().get("little_endian", True) else ">"
    tree = next_pickle()
    for key in next_pickle():
        storage = storages[str(key)]
        (count,) = struct.unpack(order + "q", file.read(8))
        if count != storage.count:
            raise ValueError(f"a storage of {storage.count} numbers has {count}")
        storage.fill(file.read(storage.size), order)
    return tree


def _to_arrays(tree: Any, done: dict[int, Any]) -> Any:
    """Replace tensors by arrays; `done` holds the containers that are converted already."""
    if isinstance(tree, _Tensor):
        return tree.array()
    if not isinstance(tree, dict | list | tuple) or id(tree) in done:
        return done.get(id(tree), tree)
    done[id(tree)] = None  # a pickle may contain itself
    if isinstance(tree, dict):
        result: Any = {key: _to_arrays(value, done) for key, value in tree.items()}
    else:
        result = [_to_arrays(value, done) for value in tree]
    done[id(tree)] = result
    return result
