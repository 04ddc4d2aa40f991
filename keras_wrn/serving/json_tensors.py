"""The JSON of TF Serving's REST interface: requests to arrays, arrays to replies.

The row form has "instances" and "predictions", the columnar form "inputs" and "outputs"
(https://www.tensorflow.org/tfx/serving/api_rest, section Predict API).
"""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_wrn.serving.refusal import Refusal
from keras_wrn.serving.signature import DTYPES, Signature, TensorInfo, check_arrays, check_names
from keras_wrn.system.backend import import_package

_MOST_DIMENSIONS = 32  # of an array in every version of NumPy
_TOO_DEEP = "The lists are nested too deeply."
_BYTES_SUFFIX = "_bytes"  # outputs of such names are written as {"b64": ...}


@dataclass(frozen=True)
class Request:
    """A request whose values are still JSON.

    Attributes:
        signature_name: "" for the default one.
        rows: whether it has "instances", not "inputs".
        values: what stands there.
        booleans: whether true or false may be among them: NumPy would take them for 1 and 0.
        texts: whether strings may be among them: NumPy would make all numbers as long as these.
    """

    signature_name: str
    rows: bool
    values: Any
    booleans: bool = False
    texts: bool = True


def parse(body: bytes) -> Request:
    """Read the body of a predict request.

    Raises:
        Refusal: it is no JSON, or has not exactly one of "instances" and "inputs".

    Example:
        >>> parse(b'{"instances": [[1, 2]]}').rows
        True
    """
    orjson = import_package("orjson", "orjson", "Serving")
    try:
        content = orjson.loads(body)
    except ValueError as error:
        raise Refusal(f"JSON Parse error: {error}") from error
    if not isinstance(content, dict):
        raise Refusal(f"A request must be a JSON object. Received: {_kind(content)}.")
    name = content.get("signature_name", "")
    if not isinstance(name, str):
        raise Refusal(f"'signature_name' key must be a string value. Received: {_kind(name)}.")
    forms = [key for key in ("instances", "inputs") if key in content]
    if not forms:
        raise Refusal("Missing 'inputs' or 'instances' key")
    if len(forms) == 2:
        raise Refusal("A request has 'instances' or 'inputs'. Received: both.")
    booleans = b"true" in body or b"false" in body
    # The quotes of two keys and of the signature's name; what has more is looked through.
    texts = body.count(b'"') > 6
    return Request(name, forms == ["instances"], content[forms[0]], booleans, texts)


def arrays_of(request: Request, signature: Signature) -> dict[str, np.ndarray]:
    """Turn the values of a request into arrays that fit a signature.

    Raises:
        Refusal: names, types or shapes do not fit.
    """
    named = _columns(request.values, signature) if request.rows else request.values
    if not isinstance(named, dict) or _is_base64(named):
        if len(signature.inputs) > 1:
            check_names(signature, [])
        named = dict.fromkeys(signature.inputs, named)
    check_names(signature, named)
    try:
        arrays = {
            key: _array(key, named[key], info, request) for key, info in signature.inputs.items()
        }
    except RecursionError as error:
        raise Refusal(_TOO_DEEP) from error
    check_arrays(signature, arrays)
    return arrays


def reply_to(request: Request, outputs: dict[str, np.ndarray]) -> bytes:
    """Write the reply in the form of the request; a single output stands without its name.

    Example:
        >>> reply_to(Request("", True, None), {"index": np.array([3, 4])})
        b'{"predictions":[3,4]}'
        >>> reply_to(Request("", False, None), {"a": np.array([3]), "b": np.array([b"x"], object)})
        b'{"outputs":{"a":[3],"b":["x"]}}'
    """
    orjson = import_package("orjson", "orjson", "Serving")
    values = {name: _json(name, array) for name, array in outputs.items()}
    if not request.rows:
        key, answer = "outputs", values if len(values) > 1 else next(iter(values.values()))
    else:
        counts = {len(array) if array.ndim else -1 for array in outputs.values()}
        if len(counts) > 1 or -1 in counts:
            raise Refusal(
                "The outputs differ in their number of rows: ask for the columnar form, 'inputs'."
            )
        rows: Any = list(next(iter(values.values())))
        if len(values) > 1:
            rows = [dict(zip(values, row)) for row in zip(*values.values())]
        key, answer = "predictions", rows
    return orjson.dumps({key: answer}, option=orjson.OPT_SERIALIZE_NUMPY)


def _columns(instances: Any, signature: Signature) -> Any:
    """Rows to columns; rows without names stay a list."""
    if not isinstance(instances, list) or not instances:
        raise Refusal(f"'instances' must be a list with a value. Received: {_kind(instances)}.")
    named = [isinstance(row, dict) and not _is_base64(row) for row in instances]
    if not any(named):
        return instances
    if not all(named):
        raise Refusal("'instances' must all be objects with the inputs' names, or none of them.")
    for row in instances:
        check_names(signature, row)
    return {name: [row[name] for row in instances] for name in signature.inputs}


def _array(name: str, value: Any, info: TensorInfo, request: Request) -> np.ndarray:
    if info.dtype == "DT_STRING":
        shape = _shape(name, value)
        if len(shape) > _MOST_DIMENSIONS:
            raise Refusal(_TOO_DEEP)
        array = np.empty(int(np.prod(shape)), object)
        array[:] = _leaves(value, lambda leaf: _bytes(name, leaf))
        return array.reshape(shape)
    dtype = np.dtype(DTYPES[info.dtype])
    if request.texts and _has_text(value):
        raise Refusal(f"`{name}` must hold {_numbers(dtype)} ({info.dtype}). Received: a string.")
    try:
        array = np.array(value)
    except (ValueError, OverflowError) as error:
        raise Refusal(f"`{name}` must be lists of equal lengths.") from error
    if request.booleans and dtype.kind != "b" and bool in _leaves(value, type):
        raise Refusal(f"`{name}` must hold {_numbers(dtype)} ({info.dtype}). Received: a boolean.")
    kinds = {"f": "iuf", "b": "b"}.get(dtype.kind, "iu")
    if array.size and array.dtype.kind not in kinds:
        raise Refusal(
            f"`{name}` must hold {_numbers(dtype)} ({info.dtype}). Received: {_leaf_kind(value)}."
        )
    if array.size and dtype.kind in "iu":
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        if array.min() < least or array.max() > most:
            wrong = array.min() if array.min() < least else array.max()
            raise Refusal(f"`{name}` must hold {_numbers(dtype)}. Received: {wrong}.")
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def _numbers(dtype: np.dtype) -> str:
    if dtype.kind == "b":
        return "true or false"
    if dtype.kind == "f":
        return "numbers"
    return f"whole numbers from {np.iinfo(dtype).min} to {np.iinfo(dtype).max}"


def _has_text(value: Any) -> bool:
    """Whether there is a string in nested lists."""
    level = [value]
    while level:
        kinds = set(map(type, level))
        if str in kinds or list not in kinds:
            return str in kinds
        level = list(itertools.chain.from_iterable(x for x in level if isinstance(x, list)))
    return False


def _leaf_kind(value: Any) -> str:
    """What is wrong in nested lists: the first leaf of another kind than a whole number."""
    while isinstance(value, list) and value:
        value = next((item for item in value if not isinstance(item, int)), value[0])
    return _kind(value)


def _kind(value: Any) -> str:
    kinds: dict[type, str] = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    kinds |= {int: "a whole number", float: "a fraction", type(None): "null"}
    empty = "an empty list" if value == [] else ""
    return empty or kinds.get(type(value), type(value).__name__)


def _shape(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        return ()
    shapes = {_shape(name, item) for item in value}
    if len(shapes) > 1:
        raise Refusal(f"`{name}` must be lists of equal lengths.")
    return (len(value), *(shapes.pop() if shapes else ()))


def _leaves(value: Any, read: Callable[[Any], Any]) -> list[Any]:
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item, read)]
    return [read(value)]


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _bytes(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if not _is_base64(value):
        raise Refusal(f'`{name}` must be strings or {{"b64": "..."}}. Received: {_kind(value)}.')
    # As TF Serving does: white space is left out, and the padding may be missing.
    text = "".join(value["b64"].split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(f"`{name}` has no base64 in b64: {error}.") from error


def _json(name: str, array: np.ndarray) -> Any:
    if array.dtype != object:
        return np.ascontiguousarray(array) if array.ndim else array[()]

    def text(value: bytes) -> Any:
        if name.endswith(_BYTES_SUFFIX):
            return {"b64": base64.b64encode(value).decode()}
        return value.decode("utf-8", "replace")

    def nested(value: Any) -> Any:
        return [nested(item) for item in value] if isinstance(value, list) else text(value)

    return nested(array.tolist())
