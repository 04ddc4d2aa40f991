"""What a file says of its network: conventions, and the preprocessing of its images.

The description is inside the file, so that it cannot be lost: an attribute of a `.weights.h5`
file, an entry of a `.keras` archive, metadata of a `.safetensors` file. Others read these as if it
were not there.
"""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import safetensors

from keras_wrn.checkpoints.files import refuse_pointer
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import Preprocessing, from_card
from keras_wrn.networks.blocks import Conventions
from keras_wrn.system.files import read_json

KERAS_FILE = ".keras"
TENSORS_SUFFIX = ".safetensors"
_KEY = "keras_wrn"  # the attribute; the entry is keras_wrn.json
_ENTRY = f"{_KEY}.json"


def as_metadata(description: dict[str, Any]) -> dict[str, str]:
    """A description as the metadata of a `.safetensors` file; see `write_description`."""
    return {_KEY: json.dumps(description)}


def write_description(path: Path, description: dict[str, Any]) -> None:
    """Add a description to a file that Keras has just written.

    Args:
        path: ends in .keras or .h5.
        description: "name" and "network" as in a card; "conventions", in words; and
            "preprocessing" as in a card, or None.
    """
    text = json.dumps(description)
    if path.suffix == KERAS_FILE:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(_ENTRY, text)
        return
    import h5py

    with h5py.File(path, "a") as file:
        file.attrs[_KEY] = text


def is_described(path: Path) -> bool:
    """Whether a file says which network it holds: a model of Keras, converted or published."""
    return path.suffix == KERAS_FILE or (path.is_file() and read_description(path) is not None)


def read_description(path: Path) -> dict[str, Any] | None:
    """Read the description in a file.

    Args:
        path: a file.

    Returns:
        What `write_description` wrote, with `Conventions` in the network's arguments; None if the
        file has no description.

    Raises:
        InputError: the description is damaged.
    """
    text = _read_text(path)
    if text is None:
        return None
    try:
        description = json.loads(text)
        network = description["network"]
        if (conventions := network.get("conventions")) is not None:
            network["conventions"] = to_conventions(conventions)
        if not isinstance(description["name"], str) or not isinstance(network["builder"], str):
            raise TypeError("no network")
        return description
    except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
        raise InputError(f"The description in {path} is damaged: {error!r}.") from error


def _read_text(path: Path) -> str | None:
    import h5py

    try:
        if path.suffix == KERAS_FILE:
            if not path.is_file():
                raise InputError(f"`weights` must be a file that exists. Received: {path}.")
            refuse_pointer(path)
            with zipfile.ZipFile(path) as archive:
                if _ENTRY not in archive.namelist():
                    return None
                return archive.read(_ENTRY).decode()
        if path.suffix == TENSORS_SUFFIX:
            refuse_pointer(path)
            with safetensors.safe_open(path, "numpy") as tensors:
                return (tensors.metadata() or {}).get(_KEY)
        if not h5py.is_hdf5(path):
            return None
        with h5py.File(path, "r") as file:
            text = file.attrs.get(_KEY)
            return text if isinstance(text, str) else None
    except InputError:
        raise
    except Exception as error:  # a damaged file can raise any exception
        raise InputError(f"{path} is damaged or only half there: {error}.") from error


def to_conventions(values: dict[str, Any]) -> Conventions:
    """Make conventions of what JSON holds. Raises InputError for an unknown or wrong value."""
    known = dict(values)
    if isinstance(padding := known.get("strided_padding"), list):
        known["strided_padding"] = tuple(padding)
    try:
        return Conventions(**known)
    except TypeError as error:
        raise InputError(
            "Conventions are an object with keys of keras_wrn.Conventions: "
            f"{', '.join(Conventions.__dataclass_fields__)}. Received: {', '.join(map(str, known))}"
        ) from error


def read_preprocessing(path: Path) -> Preprocessing:
    """Read a JSON file with the preprocessing of a network.

    Args:
        path: the file: an object with "mean" and "std" of each channel, for pixels on 0..255,
            "size" in pixels, "class_names", and if wanted "resize" and "interpolation", as in
            `Preprocessing`. A whole card.json is taken too.

    Returns:
        The preprocessing.

    Raises:
        InputError: there is no such file, or its statistics are not those of pixels on 0..255.

    Example:
        >>> read_preprocessing(Path("pets.json")).class_names  # doctest: +SKIP
        ('cat', 'dog')
    """
    if not path.is_file():
        raise InputError(f"--preprocessing must be a JSON file that exists. Received: {path}.")
    content = read_json(path)
    card = content if "preprocessing" in content else {"preprocessing": content}
    wanted = (
        f"{path} must be a JSON object with mean, std (a number for each channel, for pixels on "
        "0..255), size (in pixels) and class_names (a list)."
    )
    try:
        row = from_card(card, path.parent)
    except InputError as error:
        raise InputError(f"{wanted} {error}") from error
    values = (*row.mean, *row.std)
    if len(row.mean) != len(row.std) or not row.mean or not all(map(math.isfinite, values)):
        raise InputError(f"{wanted} Received: mean={row.mean}, std={row.std}.")
    if row.whitening is None and min(row.std) <= 1:
        raise InputError(
            f"{wanted} These look like statistics of pixels in [0, 1]: multiply them by 255. "
            "Images in [0, 1] that are not normalised have mean 0 and std 255. "
            f"Received: mean={row.mean}, std={row.std}."
        )
    if isinstance(card["preprocessing"]["class_names"], str) or row.size < 1:
        raise InputError(f"{wanted} Received: {card['preprocessing']}.")
    return row
