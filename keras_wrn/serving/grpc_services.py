"""TF Serving's gRPC interface: PredictionService, ModelService, and gRPC's health service.

The messages are those of the package tensorflow-serving-api; where it is not installed, the server
speaks REST only.
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_wrn.serving.refusal import Refusal
from keras_wrn.serving.service import (
    Asked,
    Result,
    Service,
    refusal_for,
    signatures_json,
    status_json,
)
from keras_wrn.serving.signature import DTYPES, Signature, check_arrays, check_names, fits, shown

MORE_CALLS = 64
_PACKAGES = {
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "tensorflow_serving": "--no-deps tensorflow-serving-api",
}


def missing_packages() -> list[str]:
    """What pip must install for gRPC."""
    return [name for module, name in _PACKAGES.items() if importlib.util.find_spec(module) is None]


async def start(service: Service, address: str) -> tuple[Any, Any, int]:
    """Start a gRPC server in this event loop.

    Args:
        service: what it serves.
        address: host and port; port 0 for any free one.

    Returns:
        The server of grpc.aio, its health service, and its port.

    Raises:
        OSError: the port is taken.
    """
    import grpc
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc
    from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

    size = service.limits.request_bytes
    options = [("grpc.max_receive_message_length", size), ("grpc.max_send_message_length", -1)]
    # Calls whose message is still arriving have not been admitted; health's are calls too.
    most = service.limits.requests + MORE_CALLS
    server = grpc.aio.server(
        options=[*options, ("grpc.so_reuseport", 0)], maximum_concurrent_rpcs=most
    )
    predictions, models = _Predictions(service), _Models(service)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(predictions, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(models, server)

    class Health(health.aio.HealthServicer):
        """gRPC's service, whose watchers end with the server."""

        ended = asyncio.Event()

        async def Watch(self, request: Any, context: Any) -> None:
            tasks = [
                asyncio.ensure_future(super().Watch(request, context)),
                asyncio.ensure_future(self.ended.wait()),
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()

    healthy = Health()
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(
            f"gRPC cannot listen on {address}: is the port taken? Try another."
        ) from error
    await server.start()
    return server, healthy, port


class _Calls:
    """Answers in a thread, and ends refused calls with gRPC's codes."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def answer(self, context: Any, name: str, work: Callable[[], Result]) -> Result:
        import grpc

        begin = time.perf_counter()
        try:
            result = await self.service.admitted(work)
        except Exception as error:  # a bug must be counted and answered too
            refusal = refusal_for(error)
            self.service.count(name, "grpc", refusal.code, begin)
            await context.abort(grpc.StatusCode[refusal.code], str(refusal))
            raise  # abort has raised
        self.service.count(name, "grpc", "OK", begin)
        return result


def _refused(sentence: str) -> Callable[[Any, Any], Any]:
    async def refuse(_: Any, context: Any) -> None:
        import grpc

        await context.abort(grpc.StatusCode.UNIMPLEMENTED, sentence)

    return refuse


class _Predictions(_Calls):
    async def Predict(self, request: Any, context: Any) -> Any:
        return await self.answer(
            context, request.model_spec.name, lambda: _predict(self.service, request)
        )

    async def GetModelMetadata(self, request: Any, context: Any) -> Any:
        return await self.answer(
            context, request.model_spec.name, lambda: _metadata(self.service, request)
        )

    Classify = Regress = MultiInference = staticmethod(
        _refused("The models take no tf.Example records. Use Predict.")
    )


class _Models(_Calls):
    async def GetModelStatus(self, request: Any, context: Any) -> Any:
        return await self.answer(
            context, request.model_spec.name, lambda: _status(self.service, request)
        )

    HandleReloadConfigRequest = staticmethod(_refused("The server watches its folder instead."))


def _asked(spec: Any) -> Asked:
    if not spec.name:
        raise Refusal("Missing ModelSpec: the request names no model.")
    # OpenVINO's client writes 0 for the newest version. Ours are from 1.
    return Asked(spec.name, spec.version.value or None, spec.version_label or None)


def _predict(service: Service, request: Any) -> Any:
    import tensorflow as tf
    from tensorflow_serving.apis.predict_pb2 import PredictResponse

    asked, wanted = _asked(request.model_spec), set(request.output_filter)

    def read(signature: Signature) -> dict[str, np.ndarray]:
        if unknown := wanted - signature.outputs.keys():
            raise Refusal(f"output tensor alias not found in signature: {min(unknown)}")
        check_names(signature, request.inputs)
        most = service.limits.request_bytes
        arrays = {
            name: _array(name, request.inputs[name], info, most)
            for name, info in signature.inputs.items()
        }
        check_arrays(signature, arrays)
        return arrays

    answer = service.predict(asked, request.model_spec.signature_name, read, "grpc")
    response = PredictResponse()
    _fill(response.model_spec, asked, answer.version)
    response.model_spec.signature_name = answer.signature_name
    for name, array in answer.outputs.items():
        if not wanted or name in wanted:
            response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
    return response


def _array(name: str, tensor: Any, info: Any, most_bytes: int) -> np.ndarray:
    """Read a TensorProto. Its shape is checked first: it may claim any size."""
    import tensorflow as tf
    from tensorflow.core.framework.types_pb2 import DataType

    received = DataType.Name(tensor.dtype) if tensor.dtype in DataType.values() else tensor.dtype
    if received != info.dtype:
        raise Refusal(f"`{name}` must be {info.dtype}. Received: {received}.")
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0 or not fits(shape, info.shape):
        raise Refusal(f"`{name}` must have shape {shown(info.shape)}. Received: {shown(shape)}.")
    count, dtype = 1, np.dtype(DTYPES[info.dtype])
    for size in shape:
        count *= size
    if info.dtype == "DT_STRING":
        if len(tensor.string_val) != count:
            raise Refusal(f"`{name}` has {len(tensor.string_val)} strings for shape {shape}.")
        array = np.empty(count, object)
        array[:] = list(tensor.string_val)
        return array.reshape(shape)
    if count * dtype.itemsize > most_bytes:
        raise Refusal(f"`{name}` has shape {shape}, more than {most_bytes:,} bytes.")
    try:
        return np.asarray(tf.make_ndarray(tensor))
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise Refusal(f"`{name}` has values that do not fill its shape {shape}.") from error


def _metadata(service: Service, request: Any) -> Any:
    from google.protobuf.json_format import ParseDict
    from tensorflow_serving.apis import get_model_metadata_pb2 as messages

    asked = _asked(request.model_spec)
    if list(request.metadata_field) != ["signature_def"]:
        received = ", ".join(request.metadata_field) or "none"
        raise Refusal(f"`metadata_field` must be signature_def. Received: {received}.")
    version, servable = service.repository.find(asked.name, asked.version, asked.label)
    content = {"signature_def": signatures_json(servable.signatures)}
    response = messages.GetModelMetadataResponse()
    _fill(response.model_spec, asked, version)
    response.metadata["signature_def"].Pack(ParseDict(content, messages.SignatureDefMap()))
    return response


def _status(service: Service, request: Any) -> Any:
    from google.protobuf.json_format import ParseDict
    from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

    asked = _asked(request.model_spec)
    versions = service.repository.status(asked.name, asked.version, asked.label)
    content = {"model_version_status": [status_json(version) for version in versions]}
    return ParseDict(content, GetModelStatusResponse())


def _fill(spec: Any, asked: Asked, version: int) -> None:
    spec.name = asked.name
    spec.version.value = version
