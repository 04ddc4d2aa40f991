"""A network made from somebody else's checkpoint: how to keep it, and how to build it again."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_wrn.errors import InputError
from keras_wrn.run_folder import write_whole

if TYPE_CHECKING:
    import keras

_MODEL, _WEIGHTS = ".keras", ".weights.h5"


@dataclasses.dataclass(frozen=True, eq=False)
class Converted:
    """A converted network, and how to build it again.

    Attributes:
        model: the network with the checkpoint's weights.
        dialect: whose names the checkpoint has.
        builder: the function of keras_wrn that builds the network.
        arguments: what that function was given.
        statistics: mean and std of images in [0, 1] where the model begins by normalising them,
            else None.
    """

    model: keras.Model
    dialect: str
    builder: str
    arguments: dict[str, Any]
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the model, or its weights, to a file that is there whole or not at all.

        Args:
            path: ends in .keras for the model, in .weights.h5 for the weights alone.

        Returns:
            What was written, for a person: the network, and what a weights file does not say.

        Raises:
            InputError: another ending.

        Example:
            >>> print(convert_checkpoint("wrn.pth").save("wrn.keras"))  # doctest: +SKIP
            wide_resnet28_10, 36,479,194 parameters named as by 'xternalz', is in wrn.keras.
        """
        target = check_target(path)
        whole = target.name.endswith(_MODEL)
        write_whole(target, self.model.save if whole else self.model.save_weights)
        count = sum(math.prod(variable.shape) for variable in self.model.trainable_variables)
        told = (
            f"{self.model.name}, {count:,} parameters named as by {self.dialect!r}, is in {target}."
        )
        if whole:
            return told
        told += f"\nLoad it into {self._call()}"
        if self.statistics is not None:
            mean, std = (tuple(round(value, 6) for value in of) for of in self.statistics)
            told += f"\nIts images are (x - mean) / std of [0, 1] with mean {mean}, std {std};"
            told += f" a {_MODEL} file does that itself."
        return told

    def _call(self) -> str:
        """The Python that builds the network again."""
        arguments = dict(self.arguments)
        conventions = arguments.pop("conventions", None)
        given = [f"{name}={value!r}" for name, value in arguments.items()]
        of = dataclasses.fields(conventions) if conventions else ()
        ours = ((field.name, getattr(conventions, field.name), field.default) for field in of)
        if differences := [f"{name}={value!r}" for name, value, paper in ours if value != paper]:
            given.append(f"conventions=keras_wrn.Conventions({', '.join(differences)})")
        return f"keras_wrn.{self.builder}({', '.join(given)})"


def check_target(path: str | os.PathLike[str]) -> Path:
    """The path of a file to write a model to, if it says in which format.

    Args:
        path: a path.

    Returns:
        The path.

    Raises:
        InputError: it ends otherwise.
    """
    target = Path(path)
    if not target.name.endswith((_MODEL, _WEIGHTS)):
        raise InputError(f"The file to write must end in {_MODEL} or {_WEIGHTS}. Received: {path}")
    return target
