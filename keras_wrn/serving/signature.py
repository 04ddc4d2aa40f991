"""Signatures of a served model: names, types and shapes of its inputs and outputs.

The names of types are TensorFlow's (DT_UINT8), as in the metadata of TF Serving.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_wrn.serving.refusal import Refusal

DTYPES: dict[str, Any] = {
    "DT_FLOAT": np.float32,
    "DT_DOUBLE": np.float64,
    "DT_HALF": np.float16,
    "DT_UINT8": np.uint8,
    "DT_UINT16": np.uint16,
    "DT_UINT32": np.uint32,
    "DT_UINT64": np.uint64,
    "DT_INT8": np.int8,
    "DT_INT16": np.int16,
    "DT_INT32": np.int32,
    "DT_INT64": np.int64,
    "DT_BOOL": np.bool_,
    "DT_STRING": np.object_,
}
DEFAULT_SIGNATURE = "serving_default"
PREDICT_METHOD = "tensorflow/serving/predict"


@dataclass(frozen=True)
class TensorInfo:
    """One input or output.

    Attributes:
        name: of the tensor in the graph.
        dtype: a key of DTYPES.
        shape: sizes of the dimensions, None for any size; None for an unknown rank.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of one function of a model, by name."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    method: str = PREDICT_METHOD


def choose(signatures: dict[str, Signature], name: str) -> tuple[str, Signature]:
    """Return the signature that a request names; "" is the default one."""
    name = name or DEFAULT_SIGNATURE
    if name not in signatures:
        raise Refusal(
            f'Serving signature name: "{name}" not found in signature def. '
            f"The model has: {', '.join(sorted(signatures))}."
        )
    return name, signatures[name]


def check_names(signature: Signature, names: Iterable[str]) -> None:
    """Raise Refusal unless a request has all inputs and no other."""
    expected, received = sorted(signature.inputs), sorted(names)
    if expected != received:
        raise Refusal(
            f"The signature takes the inputs {', '.join(expected)}. "
            f"Received: {', '.join(received)[:200] or 'none'}."
        )


def check_arrays(signature: Signature, arrays: dict[str, np.ndarray]) -> None:
    """Raise Refusal unless the arrays have the names, types and shapes of the inputs."""
    check_names(signature, arrays)
    for name, array in arrays.items():
        info = signature.inputs[name]
        if array.dtype != DTYPES[info.dtype]:
            raise Refusal(f"`{name}` must be {info.dtype}. Received: {array.dtype}.")
        if not fits(array.shape, info.shape):
            raise Refusal(
                f"`{name}` must have shape {shown(info.shape)}. Received: {shown(array.shape)}."
            )


def fits(shape: tuple[int, ...], expected: tuple[int | None, ...] | None) -> bool:
    """Whether an array's shape is one that an input takes."""
    if expected is None:
        return True
    same_rank = len(shape) == len(expected)
    return same_rank and all(want in (None, have) for have, want in zip(shape, expected))


def shown(shape: tuple[int | None, ...] | None) -> str:
    """A shape as messages show it.

    Example:
        >>> shown((None, 32, 32, 3))
        '(n, 32, 32, 3)'
    """
    if shape is None:
        return "(...)"
    return f"({', '.join('n' if size is None else str(size) for size in shape)})"
