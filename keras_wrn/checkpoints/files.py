"""The tensors of a checkpoint file, whatever its format: names and NumPy arrays.

Reads PyTorch's .pt and .pth, .safetensors, .npz and .h5, told apart by their first bytes, and
any of them on the Hugging Face Hub as hf://owner/repo/file. No format is allowed to run code.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.checkpoints.hdf5 import numbers, visit_datasets
from keras_wrn.checkpoints.torch_files import is_torch_zip, read_torch_pickle
from keras_wrn.errors import InputError

HUB = "hf://"
_FORMATS = "PyTorch's .pt or .pth, .safetensors, .npz or .h5"
_CAREFUL_TORCH = (2, 6)  # before it, weights_only could be made to run code (CVE-2025-32434)
# What a header of nonsense can end in; JSON in JSON in JSON, in a RecursionError.
_NONSENSE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error)
_HEADER_LIMIT = 100_000_000  # bytes; what the safetensors library allows
_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",  # widened to float32 after reading
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}
# Where training scripts keep the network beside the optimiser, the epoch and the accuracy. The
# authors' first version kept moving statistics apart from parameters.
_CONTAINERS = (("state_dict",), ("model_state_dict",), ("params", "stats"), ("model",), ("net",))


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read every tensor of a network out of a checkpoint.

    Args:
        path: a file, or "hf://owner/repo/file" for one on the Hugging Face Hub
            ("hf://owner/repo@revision/file" for one version of it).

    Returns:
        Name -> array, in the order and the layout of the file. Of a PyTorch checkpoint with an
        optimiser in it, the network alone: what is under "state_dict", "model_state_dict",
        "params" or "model".

    Raises:
        InputError: there is no such file, it is damaged, holds no tensors, or is a pickle that
            asks for more than tensors.

    Example:
        >>> sorted(read_checkpoint("wrn.npz"))[:2]  # doctest: +SKIP
        ['bn.bias', 'bn.running_mean']
    """
    file = _download(os.fspath(path)) if str(path).startswith(HUB) else Path(path)
    if not file.is_file():
        raise InputError(f"`path` must be a file that exists. Received: {file}")
    with file.open("rb") as opened:
        start = opened.read(9)
    if start.startswith(b"\x89HDF"):
        tensors = _read_h5(file)
    elif zipfile.is_zipfile(file) and not is_torch_zip(file):
        tensors = _read_npz(file)
    elif start[8:] == b"{":
        tensors = read_safetensors(file)
    elif start.startswith((b"PK", b"\x80")):
        tensors = _state_dict(_read_torch(file), file)
    else:
        raise InputError(f"A checkpoint must be {_FORMATS}. {file} is none of these.")
    if not tensors:
        raise InputError(f"{file} holds no tensors.")
    if odd := [name for name, array in tensors.items() if array.dtype.kind not in "fiub"]:
        raise InputError(f"{file} holds tensors that are no numbers: {', '.join(odd)}.")
    return tensors


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read a .safetensors file, without the safetensors library.

    Args:
        path: the file.

    Returns:
        Name -> array. bfloat16 comes as float32, which NumPy has.

    Raises:
        InputError: the file is damaged.

    Example:
        >>> read_safetensors(Path("model.safetensors"))["fc.weight"].shape  # doctest: +SKIP
        (1000, 2048)
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(_HEADER_LIMIT, path.stat().st_size - 8):
                raise ValueError(f"its header would have {length} bytes")
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            return {name: _safetensor(path, 8 + length, **entry) for name, entry in header.items()}
    except _NONSENSE as error:
        raise InputError(f"{path} is a damaged .safetensors file: {error}") from error


def _safetensor(
    path: Path, start: int, *, dtype: str, shape: list[int], data_offsets: list[int]
) -> np.ndarray:
    if dtype not in _DTYPES:
        raise ValueError(f"numbers of type {dtype} are not supported")
    begin, end = data_offsets
    numpy_dtype = np.dtype(_DTYPES[dtype])
    size = math.prod(shape) * numpy_dtype.itemsize
    if not 0 <= begin <= end <= path.stat().st_size - start or end - begin != size:
        raise ValueError(f"a tensor of shape {shape} has the bytes {begin} to {end}")
    count = size // numpy_dtype.itemsize
    array = np.fromfile(path, numpy_dtype, count, offset=start + begin).reshape(shape)
    if dtype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except Exception as error:  # an archive of nonsense can end in any of Python's errors
        raise InputError(f"{path} cannot be read as an .npz file: {error}") from error


def _read_h5(path: Path) -> dict[str, np.ndarray]:
    """Every data set, by its path; of a whole Keras model the weights alone."""
    tensors: dict[str, np.ndarray] = {}

    def collect(name: str, item: Any) -> None:
        if not name.startswith("optimizer_weights/"):
            tensors[name] = numbers(item)

    visit_datasets(path, collect)
    if any(name.rpartition("/")[0].endswith("vars") for name in tensors):
        raise InputError(
            f"{path} is a weights file of Keras 3, which says nothing about its network. Build the "
            "network that it is of, and load it with `weights=` or model.load_weights."
        )
    return tensors


def _read_torch(path: Path) -> Any:
    """What a PyTorch file holds, by PyTorch's own careful reader where it is installed."""
    try:
        import torch
    except (ImportError, OSError):
        return read_torch_pickle(path)
    if tuple(map(int, torch.__version__.split(".")[:2])) < _CAREFUL_TORCH:
        return read_torch_pickle(path)
    try:
        tree = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        # Ours knows some harmless things more, and says the rest in a sentence.
        return read_torch_pickle(path)
    try:
        return _from_torch(tree, torch)
    except (TypeError, RuntimeError) as error:
        raise InputError(
            f"{path} holds a tensor of a kind that NumPy lacks, such as sparse or float8: {error}"
        ) from error


def _from_torch(tree: Any, torch: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        tensor = tree.detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    if isinstance(tree, Mapping):
        return {key: _from_torch(value, torch) for key, value in tree.items()}
    return tree


def _state_dict(tree: Any, path: Path) -> dict[str, np.ndarray]:
    """The tensors of the network in what a training script saved."""
    received = sorted(map(str, tree)) if isinstance(tree, Mapping) else [type(tree).__name__]
    while isinstance(tree, Mapping):
        for container in _CONTAINERS:
            parts = [tree[key] for key in container if isinstance(tree.get(key), Mapping)]
            if parts:
                tree = {key: value for part in parts for key, value in part.items()}
                break
        else:
            break
    tensors = {}
    if isinstance(tree, Mapping):
        tensors = {str(k): v for k, v in tree.items() if isinstance(v, np.ndarray)}
    if not tensors:
        raise InputError(
            f"{path} must hold tensors by name, alone or under one of "
            f"{', '.join(key for keys in _CONTAINERS for key in keys)}. "
            f"It holds: {', '.join(received[:20])}. Save one network's tensors: "
            "torch.save(model.state_dict(), path)."
        )
    return tensors


def _download(address: str) -> Path:
    """A file of the Hugging Face Hub, in the Hub's own cache."""
    owner, _, rest = address.removeprefix(HUB).partition("/")
    repository, _, name = rest.partition("/")
    repository, _, revision = repository.partition("@")
    if not owner or not repository or not name:
        raise InputError(f"An address must be {HUB}owner/repo/file. Received: {address}")
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(
            f"{address} needs the Hub's client, which is not installed. "
            "Run: pip install huggingface_hub"
        ) from error
    try:
        return Path(
            huggingface_hub.hf_hub_download(
                f"{owner}/{repository}", name, revision=revision or None
            )
        )
    except Exception as error:  # its own errors have no base of their own
        raise InputError(f"{address} cannot be had: {error}") from error
