"""Read and write weights by layer name: Keras' `.weights.h5`, and `.safetensors`."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import ml_dtypes
import numpy as np
import safetensors.numpy

from keras_wrn.checkpoints.files import read_safetensors, refuse_pointer, widen
from keras_wrn.checkpoints.hdf5 import numbers, visit_datasets
from keras_wrn.errors import InputError
from keras_wrn.system.files import write_whole

# Where Keras 3 stores the variables of a layer, also of a model inside a model. Elsewhere in the
# file are the states of random generators, optimizers and metrics.
_LAYER = re.compile(r"(layers/[^/]+/)+vars")
# Layer -> tensors, by number ("0", "1", ...) from `.weights.h5`, by the names of the variables
# ("kernel", "gamma", ...) from `.safetensors`.
Layers = dict[str, dict[str, np.ndarray]]


def read_weights(path: Path) -> Layers:
    """Read a file of weights.

    Args:
        path: ends in `.h5` (as Keras 3 writes it) or in `.safetensors` (tensors named
            layer/variable).

    Returns:
        Layer -> tensors, numbers; bfloat16 becomes float32.

    Raises:
        InputError: there is no such file, it has another format, or it is damaged.
    """
    if not path.is_file():
        raise InputError(f"`weights` must be a file that exists. Received: {path}.")
    if path.suffix not in SUFFIXES:
        raise InputError(
            "A weights file must end in .weights.h5 or .safetensors; "
            f"keras_wrn.convert reads the checkpoints of others. Received: {path}."
        )
    refuse_pointer(path)
    layers = _read_h5(path) if path.suffix == ".h5" else _read_safetensors(path)
    for layer, tensors in layers.items():
        for name, values in tensors.items():
            if values.dtype.kind not in "fiu":
                raise InputError(
                    f"{path} must hold numbers. Received: {values.dtype} in {layer} {name}."
                )
    return layers


def _read_h5(path: Path) -> Layers:
    layers: Layers = {}

    def take(name: str, item: Any) -> None:
        place = PurePosixPath(name)
        if not _LAYER.fullmatch(str(place.parent)):
            return
        layer = item.parent.attrs.get("name")
        if not isinstance(layer, str):
            raise InputError(
                f"{path} stores no layer names; a Keras before 3.10 wrote it. Load it with "
                "model.load_weights, and save it with Keras 3.10 or later."
            )
        tensors = layers.setdefault(layer, {})
        if place.name in tensors:
            raise InputError(f"{path} has two layers that are named {layer}.")
        values = numbers(item)
        if item.attrs.get("dtype") == "bfloat16":  # h5py gives its bytes without a type
            values = widen(values.view(ml_dtypes.bfloat16))
        tensors[place.name] = values

    visit_datasets(path, take)
    if not layers:
        raise InputError(f"{path} holds no layers as Keras 3 writes them (.weights.h5).")
    return layers


def _read_safetensors(path: Path) -> Layers:
    layers: Layers = {}
    for name, values in read_safetensors(path).items():
        layer, _, variable = name.rpartition("/")
        layers.setdefault(layer or name, {})[variable] = values
    return layers


def write_float16(source: Path, target: Path) -> None:
    """Copy the weights of a `.weights.h5` file, rounded to float16 and compressed.

    Nothing else is copied.

    Args:
        source: as Keras 3 writes it.
        target: the copy, which Keras loads like the source.

    Raises:
        InputError: a weight is not finite as float16, whose largest number is 65,504.
        OSError: the copy cannot be written.
    """
    import h5py

    with h5py.File(source, "r") as old, h5py.File(target, "w") as new:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Group) and _LAYER.fullmatch(name):
                new.require_group(name).attrs.update(item.attrs)
            if isinstance(item, h5py.Dataset) and _LAYER.fullmatch(str(PurePosixPath(name).parent)):
                with np.errstate(over="ignore"):
                    values = item[()].astype(np.float16)
                if not np.isfinite(values).all():
                    raise InputError(
                        f"{source} cannot be stored as float16: {item.parent.attrs.get('name')} "
                        "has a weight that is not finite, or is above 65,504."
                    )
                # Bytes of the same significance side by side, then gzip: 6 to 14 % smaller.
                small = {"chunks": values.shape, "shuffle": True, "compression": "gzip"}
                new.create_dataset(name, data=values, **(small if values.size > 1000 else {}))

        old.visititems(copy)


def write_weights(path: Path, layers: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Write weights for `read_weights`; Keras' own `load_weights` needs a model's order.

    Args:
        path: the `.weights.h5` file to write.
        layers: layer -> variable ("kernel", "gamma", ...) -> array; stored as float32.
    """
    import h5py

    with h5py.File(path, "w") as file:
        for layer, tensors in layers.items():
            group = file.create_group(f"layers/{layer}/vars")
            group.attrs["name"] = layer
            for name, values in tensors.items():
                group.create_dataset(name, data=np.asarray(values, np.float32))


def write_safetensors(
    path: Path, layers: Mapping[str, Mapping[str, np.ndarray]], metadata: dict[str, str]
) -> None:
    """Write weights as float16, tensors named layer/variable, for `read_weights`.

    Args:
        path: the `.safetensors` file to write.
        layers: layer -> variable ("kernel", "gamma", ...) -> array.
        metadata: strings for the head of the file.
    """
    tensors = {
        f"{layer}/{name}": np.ascontiguousarray(values, np.float16)
        for layer, variables in layers.items()
        for name, values in variables.items()
    }
    # `save_file` lets nobody but its owner read the file.
    write_whole(path, lambda part: part.write_bytes(safetensors.numpy.save(tensors, metadata)))


SUFFIXES = (".h5", ".safetensors")  # of the files that are read by layer name
OTHERS_SUFFIXES = (".keras", ".npz", ".pt", ".pth", ".bin", ".ckpt")  # of other programs' files


def is_keyword(source: object) -> bool:
    """Whether this names published weights: a word without a folder or a file's suffix."""
    if not isinstance(source, str):
        return False
    path = Path(source)
    return path.name == source and path.suffix not in (*SUFFIXES, *OTHERS_SUFFIXES)
