"""Read HDF5 files of any origin, without following them into other files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.errors import InputError


def visit_datasets(path: Path, take: Callable[[str, Any], object]) -> None:
    """Call a function for every data set of a file.

    Args:
        path: the file.
        take: called with the path of each data set in the file, and the h5py.Dataset.

    Raises:
        InputError: the file is damaged, or what `take` raises.
    """
    import h5py

    def show(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            take(name, item)

    try:
        with h5py.File(path, "r") as file:
            # visititems follows no links, so that a file cannot point at another file.
            file.visititems(show)
    except InputError:
        raise
    except Exception as error:  # a damaged file can raise any exception
        raise InputError(f"{path} is damaged or only half there: {error}.") from error


def numbers(item: Any) -> np.ndarray:
    """Read a data set whose numbers are in the file itself.

    Raises:
        InputError: it is external or virtual, so that its numbers are in other files.
    """
    if item.external or item.is_virtual:
        where = f"{item.file.filename} is refused: {item.name.lstrip('/')}"
        raise InputError(f"{where} would be read from another file.")
    return np.asarray(item[()])
