"""What several requests ask, computed together; and what one asks, in parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_wrn.serving.servable import Servable
from keras_wrn.serving.signature import Signature

MOST_ROWS = 64  # at a time of one request


class Call(NamedTuple):
    """What `Servable.run` is called with."""

    servable: Servable
    signature_name: str
    arrays: dict[str, np.ndarray]


def run_together(calls: Sequence[Call]) -> list[dict[str, np.ndarray] | Exception]:
    """Run calls, those of one model, signature and shape at once.

    If a joint run fails, each of its calls is run alone, so that one request's mistake is its own.

    Args:
        calls: of any models.

    Returns:
        The outputs of each call, or the exception that it raises.
    """
    answers: list[dict[str, np.ndarray] | Exception] = [{}] * len(calls)
    alike: dict[object, list[int]] = {}
    for place, call in enumerate(calls):
        shapes = tuple((name, array.shape[1:]) for name, array in sorted(call.arrays.items()))
        joint = _takes_rows(call.servable.signatures[call.signature_name])
        key = (id(call.servable), call.signature_name, shapes) if joint else place
        alike.setdefault(key, []).append(place)
    for places in alike.values():
        found = _run([calls[place] for place in places])
        for place, answer in zip(places, found, strict=True):
            answers[place] = answer
    return answers


def run_in_parts(call: Call) -> dict[str, np.ndarray]:
    """Run a call, many rows one part after the other: a model's memory grows with its rows."""
    servable, signature_name, arrays = call
    rows = max((len(array) for array in arrays.values() if array.ndim), default=0)
    if rows <= MOST_ROWS or not _takes_rows(servable.signatures[signature_name]):
        return servable.run(signature_name, arrays)
    parts = [
        servable.run(
            signature_name,
            {name: array[start : start + MOST_ROWS] for name, array in arrays.items()},
        )
        for start in range(0, rows, MOST_ROWS)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _takes_rows(signature: Signature) -> bool:
    """Whether the first axis of all inputs and outputs is one of rows, of any number."""
    tensors = [*signature.inputs.values(), *signature.outputs.values()]
    return all(info.shape is not None and info.shape[:1] == (None,) for info in tensors)


def _run(calls: Sequence[Call]) -> list[dict[str, np.ndarray] | Exception]:
    servable, signature_name, first = calls[0]
    try:
        if len(calls) == 1:
            return [run_in_parts(calls[0])]
        arrays = {name: np.concatenate([call.arrays[name] for call in calls]) for name in first}
        outputs = run_in_parts(Call(servable, signature_name, arrays))
        ends = np.cumsum([len(next(iter(call.arrays.values()))) for call in calls])[:-1]
        parts = {name: np.split(array, ends) for name, array in outputs.items()}
        return [{name: parts[name][i] for name in parts} for i in range(len(calls))]
    except Exception as error:
        if len(calls) == 1:
            return [error]
        return [answer for call in calls for answer in _run([call])]
