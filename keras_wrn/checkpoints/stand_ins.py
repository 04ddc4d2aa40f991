"""What a checkpoint's pickle may name beside tensors, and what takes the place of it.

Training scripts keep options, paths, schedules and NumPy numbers beside the weights. Nothing of
them is imported or called: an empty object stands in for each. Only names that such things have
are passed over; any other name, such as that of a function, refuses the file.
"""

import re
import sys
from typing import Any

_DTYPE = r"bool|(u?int|b?float|complex|q?u?int|bits)\d+\w*"
# Module of the standard library -> what scripts keep of it.
_STANDARD = {
    "_codecs": "encode",
    "argparse": "Namespace",
    "builtins": "basestring bool bytearray bytes complex dict float frozenset int list long object "
    "range set slice str tuple type unicode xrange",
    "collections": "Counter deque UserDict UserList ChainMap",
    "copyreg": "_reconstructor",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "functools": "partial",
    "random": "Random",
    "types": "SimpleNamespace",
    "typing": "Any Dict List Optional Tuple Union",
    "uuid": "UUID SafeUUID",
}
_PATHS = "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath"
_STANDARD |= {"pathlib": _PATHS, "pathlib._local": _PATHS}
_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
# Of the libraries whose lower-case names are met in checkpoints; their classes are `_CLASS`.
_NUMPY = re.compile(
    rf"_reconstruct|scalar|ndarray|dtype|_frombuffer|__\w+_ctor|__pyx_\w+|{_DTYPE}|(str|bool)_"
)
_TORCH = re.compile(rf"device|{_DTYPE}|\w+_format|strided")
_CLASS = re.compile(r"[A-Z]\w*(\.[A-Z]\w*)*")  # of any other library, or of the training script


class StandIn:
    """An empty object that takes everything that a pickle does to an object."""

    def __init__(self, *arguments: object, **options: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, item: object) -> None:
        """Take an item of what was a list."""

    def extend(self, items: object) -> None:
        """Take the items of what was a list."""

    def add(self, item: object) -> None:
        """Take an item of what was a set."""


class Items(dict[Any, Any]):
    """Stands in for a defaultdict: keeps its items, which may be tensors, and no factory."""

    def __init__(self, *arguments: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None: ...


def stand_in(module: str, name: str) -> type[StandIn] | None:
    """Make the stand-in of a name in a pickle.

    Args:
        module: as the pickle names it, also as Python 2 did.
        name: of a class or function in the module.

    Returns:
        A class that is called as the name was, or None: a pickle may not ask for this.

    Example:
        >>> stand_in("pathlib", "PosixPath").__name__
        'pathlib.PosixPath'
        >>> stand_in("os", "system") is None
        True
    """
    module = _PYTHON_2.get(module, module)
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names:
        known = name in _STANDARD.get(module, "").split()
    else:
        lower = {"numpy": _NUMPY, "torch": _TORCH}.get(root)
        known = bool(_CLASS.fullmatch(name) or (lower and lower.fullmatch(name)))
    return type(f"{module}.{name}", (StandIn,), {}) if known else None
