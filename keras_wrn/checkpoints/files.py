"""Read a checkpoint file of any format as names and NumPy arrays.

Reads PyTorch's .pt and .pth, .safetensors, .npz and .h5, told apart by their first bytes, and
any of them on the Hugging Face Hub as hf://owner/repo/file. No file can run code.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors.numpy

from keras_wrn.checkpoints.choosing import Choice, choose
from keras_wrn.checkpoints.hdf5 import numbers, visit_datasets
from keras_wrn.checkpoints.torch_files import is_torch_zip, read_torch_pickle
from keras_wrn.errors import InputError
from keras_wrn.system.backend import not_installed
from keras_wrn.system.console import hub_bars

HUB = "hf://"
_FORMATS = "PyTorch's .pt or .pth, .safetensors, .npz or .h5"
_POINTER = b"version https://git-lfs"


def read_checkpoint(
    path: str | os.PathLike[str], which: str | None = None
) -> dict[str, np.ndarray]:
    """Read every tensor of the network in a checkpoint.

    Args:
        path: a file, or "hf://owner/repo/file" for one on the Hugging Face Hub
            ("hf://owner/repo@revision/file" for one version of it).
        which: of several networks in the file, the key of one, such as "ema"; None: the network
            that was trained, rather than an average of its weights.

    Returns:
        Name -> array, in the layout of the file. A PyTorch checkpoint with an optimiser gives
        the network alone: what is under "state_dict", "model_state_dict", "params" or "model".

    Raises:
        InputError: there is no such file, it is damaged, it holds no tensors or two networks that
            are equally likely, or its pickle asks for more than tensors.

    Example:
        >>> sorted(read_checkpoint("wrn.npz"))[:2]  # doctest: +SKIP
        ['bn.bias', 'bn.running_mean']
    """
    return read_network_of(path, which).tensors


def read_network_of(path: str | os.PathLike[str], which: str | None = None) -> Choice:
    """Read as `read_checkpoint` does, and return which network of the file was taken."""
    file = _download(os.fspath(path)) if str(path).startswith(HUB) else Path(path)
    if not file.is_file():
        raise InputError(f"`path` must be a file that exists. Received: {file}")
    refuse_pointer(file)
    with file.open("rb") as opened:
        start = opened.read(9)
    tree: Any
    if start.startswith(b"\x89HDF"):
        tree = _read_h5(file)
    elif zipfile.is_zipfile(file) and not is_torch_zip(file):
        tree = _read_npz(file)
    elif start[8:] == b"{":
        tree = read_safetensors(file)
    elif start.startswith((b"PK", b"\x80")):
        tree = read_torch_pickle(file)
    else:
        raise InputError(f"A checkpoint must be {_FORMATS}. {file} is none of these.")
    choice = choose(tree, file, which)
    tensors = choice.tensors
    if odd := [name for name, array in tensors.items() if array.dtype.kind not in "fiub"]:
        raise InputError(f"{file} holds tensors that are no numbers: {', '.join(odd)}.")
    return choice


def refuse_pointer(path: Path) -> None:
    """Raise InputError if a file is what Git LFS leaves where a large file was not downloaded."""
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise InputError(
                f"{path} is a Git LFS pointer, not the file itself. Download it: run "
                "`git lfs pull` in its repository, or fetch the file from its page."
            )


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read a .safetensors file.

    Args:
        path: the file.

    Returns:
        Name -> array. bfloat16 becomes float32, which every library reads.

    Raises:
        InputError: the file is damaged.

    Example:
        >>> read_safetensors(Path("model.safetensors"))["fc.weight"].shape  # doctest: +SKIP
        (1000, 2048)
    """
    try:
        tensors = safetensors.numpy.load_file(path)
    except Exception as error:  # a damaged file can raise any exception
        raise InputError(f"{path} is a damaged .safetensors file: {error}") from error
    return {name: widen(array) for name, array in tensors.items()}


def widen(array: np.ndarray) -> np.ndarray:
    """Turn bfloat16 into float32, and leave other arrays as they are."""
    return array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if "model.weights.h5" in archive.files:
                raise InputError(
                    f"{path} is a model of Keras, which needs no conversion. Load it with "
                    "keras.saving.load_model, or give it to --weights."
                )
            return {name: np.asarray(archive[name]) for name in archive.files}
    except InputError:
        raise
    except Exception as error:  # a damaged archive can raise any exception
        raise InputError(f"{path} cannot be read as an .npz file: {error}") from error


def _read_h5(path: Path) -> dict[str, np.ndarray]:
    """Read every data set by its path, without the optimizer of a whole Keras model."""
    tensors: dict[str, np.ndarray] = {}

    def collect(name: str, item: Any) -> None:
        if not name.startswith("optimizer_weights/"):
            tensors[name] = numbers(item)

    visit_datasets(path, collect)
    if any(name.rpartition("/")[0].endswith("vars") for name in tensors):
        raise InputError(
            f"{path} is a weights file of Keras 3, which does not describe its network. Build that "
            "network, and load it with `weights=` or model.load_weights."
        )
    return tensors


def _download(address: str) -> Path:
    owner, _, rest = address.removeprefix(HUB).partition("/")
    repository, _, name = rest.partition("/")
    repository, _, revision = repository.partition("@")
    if not owner or not repository or not name:
        raise InputError(f"An address must be {HUB}owner/repo/file. Received: {address}")
    return hub_file(f"{owner}/{repository}", name, revision or None)


def hub_file(repository: str, name: str, revision: str | None) -> Path:
    """Download a file of the Hugging Face Hub into the Hub's own cache.

    Args:
        repository: "owner/repo".
        name: the file's path in the repository.
        revision: a commit, branch or tag; None for the newest version.

    Returns:
        The file in the cache.

    Raises:
        InputError: the Hub's client is not installed, or it cannot download the file.
    """
    address = f"{HUB}{repository}/{name}"
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise InputError(not_installed(address, "huggingface_hub")) from error
    try:
        endpoint = os.environ.get("HF_ENDPOINT")  # the client reads it once, at its import
        with hub_bars():
            return Path(
                huggingface_hub.hf_hub_download(
                    repository, name, revision=revision, endpoint=endpoint
                )
            )
    except Exception as error:  # the client's errors have no common class
        reason = " ".join(str(error).split())
        raise InputError(f"{address} could not be fetched: {reason}") from error
