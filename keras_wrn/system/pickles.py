"""Read pickles without running what they ask for."""

import pickle
from collections.abc import Mapping
from typing import Any, BinaryIO

from keras_wrn.errors import InputError


class ForbiddenNameError(InputError):
    """A pickle asks for a function or class that its reader does not need."""


class RestrictedUnpickler(pickle.Unpickler):
    """Resolve only the names in a table; any other name is refused before it is imported.

    Args:
        file: a binary file at the start of a pickle.
        allowed: "module.name" -> the object that takes its place.
        purpose: what the file may hold, for the message, such as "arrays".
        encoding: of the strings that Python 2 wrote.
    """

    def __init__(
        self, file: BinaryIO, allowed: Mapping[str, Any], purpose: str, *, encoding: str
    ) -> None:
        super().__init__(file, encoding=encoding)
        self._allowed, self._purpose = allowed, purpose

    def find_class(self, module: str, name: str) -> Any:
        """Return the object for a name; `pickle` calls this for every name in the file."""
        try:
            return self._allowed[f"{module}.{name}"]
        except KeyError:
            raise ForbiddenNameError(
                f"its pickle asks for {module}.{name}. Only {self._purpose} are read, because a "
                "pickle can run any program. Nothing was run."
            ) from None
