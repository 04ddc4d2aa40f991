"""Choose one network among those in a checkpoint.

A training script keeps the network beside its optimiser, and often a moving average of its
weights (EMA) beside the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_wrn.errors import InputError

Tensors = dict[str, np.ndarray]
# Where scripts keep the network, the usual place first. The authors' first version kept moving
# statistics ("stats") apart from parameters.
_PLACES = ("state_dict", "model_state_dict", "params", "model", "net", "network")
_STATISTICS = "stats"
_AVERAGED = re.compile(r"(?i)(.+_)?(ema|swa|averaged?|avg|shadow|teacher)(_.+)?")
_NO_NETWORK = re.compile(r"(?i).*(optim|sched|scaler|rng|callback|loops).*|amp")


class Choice(NamedTuple):
    """The network that was taken from a checkpoint.

    Attributes:
        tensors: of the network.
        name: where it is in the checkpoint: keys, joined by "/"; "" if it is the whole file.
        others: names of the other networks in the checkpoint.
    """

    tensors: Tensors
    name: str = ""
    others: tuple[str, ...] = ()

    def described(self) -> str:
        """A sentence about which network was taken, or "" if there is one and no copy."""
        name = repr(self.name) if self.name else "the tensors outside of other networks"
        if _is_averaged(self.name):
            name += ", an averaged copy of the weights"
        if self.others:
            others = ", ".join(f"{name!r}" for name in self.others)
            return f"Taken from the file: {name}. which= (--which) takes another: {others}."
        if _is_averaged(self.name):
            return f"Taken from the file: {name}, the only network in it."
        return ""


def choose(tree: Any, path: object, which: str | None = None) -> Choice:
    """Choose one network in what a training script saved.

    Args:
        tree: mappings of mappings of NumPy arrays, and anything else.
        path: the file, for messages.
        which: the key of a network, or its keys joined by "/". None: the network that was
            trained, rather than an average of its weights.

    Returns:
        The network.

    Raises:
        InputError: there is no network, none of that name, or two that are equally likely.

    Example:
        >>> kernel = np.zeros((4, 3, 3, 3))
        >>> choose({"ema": {"c": kernel}, "model": {"c": kernel}}, "a.pt").name
        'model'
    """
    found = dict(_networks(tree, ()))
    # Accuracies and other arrays are no networks, if there are some with convolutions.
    found = {name: tensors for name, tensors in found.items() if _has_kernel(tensors)} or found
    if not found:
        raise InputError(_no_network(tree, path))
    names = sorted(found, key=_order)
    if which is not None:
        matching = [name for name in names if which == name] or [
            name for name in names if which in name.split("/")
        ]
        if len(matching) != 1:
            raise InputError(
                f"`which` must name one network of {path}. Received: which={which!r}. "
                f"It holds: {', '.join(repr(name) if name else 'tensors' for name in names)}."
            )
        names.sort(key=lambda name: name not in matching)
    elif len(names) > 1 and _order(names[0])[:2] == _order(names[1])[:2]:
        raise InputError(
            f"{path} holds {len(names)} networks: {', '.join(map(repr, names))}. Choose one: "
            f"which={names[0]!r}, or --which {names[0]}."
        )
    return Choice(found[names[0]], names[0], tuple(names[1:]))


def _networks(tree: Any, place: tuple[str, ...]) -> Iterator[tuple[str, Tensors]]:
    """Yield every network in a tree by its place."""
    if not isinstance(tree, Mapping):
        return
    own = {str(name): value for name, value in tree.items() if isinstance(value, np.ndarray)}
    inner = {
        key: value
        for key, value in tree.items()
        if isinstance(key, str) and isinstance(value, Mapping) and not _NO_NETWORK.fullmatch(key)
    }
    if "params" in inner and _STATISTICS in inner:
        inner["params"] = {**inner["params"], **inner.pop(_STATISTICS)}
    for prefix, tensors in _split_copies(own).items():
        yield "/".join((*place, prefix) if prefix else place), tensors
    for key, value in inner.items():
        yield from _networks(value, (*place, key))


def _split_copies(tensors: Tensors) -> dict[str, Tensors]:
    """Part averaged copies, whose names begin with "ema." or the like, from the network."""
    parts: dict[str, Tensors] = {}
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        prefix = first if rest and _AVERAGED.fullmatch(first) else ""
        parts.setdefault(prefix, {})[rest if prefix else name] = tensor
    return parts


def _has_kernel(tensors: Tensors) -> bool:
    return any(tensor.ndim == 4 for tensor in tensors.values())


def _is_averaged(name: str) -> bool:
    return any(_AVERAGED.fullmatch(key) for key in name.split("/"))


def _order(name: str) -> tuple[bool, int, str]:
    """The likeliest network first; then in the order of the names."""
    first = name.partition("/")[0]
    place = _PLACES.index(first) if first in _PLACES else len(_PLACES) if first else -1
    return _is_averaged(name), place, name


def _no_network(tree: Any, path: object) -> str:
    """The sentence about a file without a network."""
    if tree == {}:
        return f"{path} holds no tensors."
    if not isinstance(tree, Mapping):
        held = f"an object of {type(tree).__name__}"
    else:
        classes = {key: type(value).__name__ for key, value in tree.items()}
        # The class of an object that the reader passed over has a module in its name.
        shown = [f"{key} ({of})" if "." in of else str(key) for key, of in classes.items()]
        held = ", ".join(sorted(shown)[:20]) or "nothing"
    return (
        f"{path} must hold tensors by name, alone or under one of {', '.join(_PLACES)}. "
        f"It holds: {held}. Save one network's tensors: torch.save(model.state_dict(), path)."
    )
