"""What a server runs: dict of arrays in, dict of arrays out. A SavedModel is one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from absl import logging

from keras_wrn.errors import InputError
from keras_wrn.serving.refusal import Refusal
from keras_wrn.serving.signature import DTYPES, Signature, TensorInfo
from keras_wrn.system.backend import import_package

# Inputs of this name are encoded images: `keras-wrn export` writes them.
IMAGE_INPUT = "image_bytes"
_INIT_OP = "__saved_model_init_op"


class Servable(Protocol):
    """One version of a model; several threads call `run` at the same time.

    Attributes:
        signatures: by name.
    """

    signatures: dict[str, Signature]

    def run(self, signature_name: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute the outputs of a signature.

        Args:
            signature_name: a key of `signatures`.
            arrays: the inputs by name, with the types and shapes of the signature.

        Returns:
            The outputs by name; strings are object arrays of bytes.

        Raises:
            Refusal: the values cannot be processed, such as damaged images.
        """
        ...


class SavedModel:
    """A SavedModel run by TensorFlow; its signatures are those of the file's SignatureDefs."""

    def __init__(self, folder: Path) -> None:
        tf = import_package("tensorflow", "tensorflow-cpu", "Serving a SavedModel")
        self.signatures = read_signatures(folder / "saved_model.pb")
        try:
            self._loaded = tf.saved_model.load(str(folder))
        except Exception as error:  # TensorFlow raises many kinds for a damaged folder
            raise InputError(f"{folder} cannot be loaded: {first_line(error)}") from error
        self._errors = tf.errors
        self._constant = tf.constant

    def run(self, signature_name: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute the outputs of a signature; see `Servable`."""
        dtypes = {
            name: np.dtype(np.bytes_) if array.dtype == object else array.dtype
            for name, array in arrays.items()
        }
        tensors = {
            name: self._constant(array, "string" if dtypes[name].kind == "S" else dtypes[name])
            for name, array in arrays.items()
        }
        try:
            outputs = self._loaded.signatures[signature_name](**tensors)
            return {name: np.asarray(value.numpy()) for name, value in outputs.items()}
        except self._errors.InvalidArgumentError as error:
            raise Refusal(f"The model refuses the input: {first_line(error)}") from error
        except self._errors.ResourceExhaustedError as error:
            raise Refusal(
                f"The model ran out of memory: {first_line(error)}", "RESOURCE_EXHAUSTED"
            ) from error
        except self._errors.UnavailableError as error:  # the batcher of `export --batching`
            raise Refusal(
                f"The model has too many images waiting: {first_line(error)}", "UNAVAILABLE"
            ) from error
        except self._errors.OpError as error:
            logging.exception("TensorFlow failed")
            raise Refusal(f"TensorFlow failed: {first_line(error)}", "INTERNAL") from error


def read_signatures(file: Path) -> dict[str, Signature]:
    """Read the signatures of a saved_model.pb.

    Raises:
        InputError: the file is missing or damaged, has no signature, or one with a type that is
            no plain array.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.framework.types_pb2 import DataType
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel as Message

    try:
        message = Message.FromString(file.read_bytes())
    except (OSError, DecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}") from error

    def info(tensor: Any) -> TensorInfo:
        dtype = DataType.Name(tensor.dtype)
        if dtype not in DTYPES:
            raise InputError(f"{file} has a tensor {tensor.name} of type {dtype}: not served.")
        shape = tensor.tensor_shape
        sizes = tuple(None if dim.size < 0 else dim.size for dim in shape.dim)
        return TensorInfo(tensor.name, dtype, None if shape.unknown_rank else sizes)

    signatures = {
        name: Signature(
            {key: info(tensor) for key, tensor in sorted(definition.inputs.items())},
            {key: info(tensor) for key, tensor in sorted(definition.outputs.items())},
            definition.method_name,
        )
        for graph in message.meta_graphs
        for name, definition in sorted(graph.signature_def.items())
        if name != _INIT_OP and definition.inputs
    }
    if not signatures:
        raise InputError(f"{file} has no signature. Write the model with keras-wrn export.")
    return signatures


def warm_up(servable: Servable) -> None:
    """Run every signature once on zeros: the first request does not wait, and a broken model shows.

    Signatures with strings other than encoded images are left out.
    """
    for name, signature in servable.signatures.items():
        arrays = {key: _zeros(key, info) for key, info in signature.inputs.items()}
        if all(array is not None for array in arrays.values()):
            servable.run(name, arrays)  # type: ignore[arg-type]


def _zeros(name: str, info: TensorInfo) -> np.ndarray | None:
    if info.dtype != "DT_STRING":
        shape = tuple(1 if size is None else size for size in info.shape or ())
        return np.zeros(shape, DTYPES[info.dtype])
    if name != IMAGE_INPUT:
        return None
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return np.array([file.getvalue()], object)


def first_line(error: BaseException) -> str:
    r"""The sentence of TensorFlow's message, without the places in the graph.

    Example:
        >>> first_line(ValueError("{{function_node __f}} No image.\n\t [[{{node g}}]] [Op:f]"))
        'No image.'
        >>> first_line(ValueError("Graph execution error:\n\nAt f\nToo many.\n [[{{node f}}]]"))
        'Too many.'
    """
    text = str(getattr(error, "message", None) or error).partition("[[{{node")[0].rstrip()
    lines = text.partition(" [Op:")[0].splitlines() or [""]
    text = lines[-1 if lines[0] == "Graph execution error:" else 0]
    while text.startswith("{{"):
        text = text.partition("}}")[2].lstrip()
    return text.strip() or type(error).__name__
