"""HDF5 files from anywhere: what is in them, and nothing that they point at outside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.errors import InputError


def visit_datasets(path: Path, take: Callable[[str, Any], object]) -> None:
    """Show every data set of a file to a function.

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
            # It follows no links, so that a file cannot point at other files of the reader's.
            file.visititems(show)
    except InputError:
        raise
    except Exception as error:  # a damaged file can end in any of Python's errors
        raise InputError(f"{path} is damaged or only half there: {error}.") from error


def numbers(item: Any) -> np.ndarray:
    """Read a data set, unless its numbers are kept in another file.

    Raises:
        InputError: it is external or virtual: made of other files, which it names itself.
    """
    if item.external or item.is_virtual:
        where = f"{item.file.filename} is refused: {item.name.lstrip('/')}"
        raise InputError(f"{where} would be read from another file.")
    return np.asarray(item[()])
