"""What REST and gRPC have in common: find the model, check the input, run, count."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from absl import logging

from keras_wrn.serving.batching import Call, run_in_parts
from keras_wrn.serving.limits import Limits
from keras_wrn.serving.metrics import Metrics
from keras_wrn.serving.refusal import Refusal
from keras_wrn.serving.repository import Repository
from keras_wrn.serving.servable import IMAGE_INPUT
from keras_wrn.serving.signature import Signature, choose

THREADS = 16  # requests that are in a model at the same time; others wait
Result = TypeVar("Result")


@dataclass(frozen=True)
class Asked:
    """What a request names: a model, and a version, a label or the newest version."""

    name: str
    version: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class Answer:
    """The outputs of a signature, and which model computed them.

    Attributes:
        version: of the model.
        signature_name: which was used.
        outputs: arrays by name.
        seconds: that the model took.
    """

    version: int
    signature_name: str
    outputs: dict[str, np.ndarray]
    seconds: float


@dataclass
class Service:
    """The models, limits and metrics of one server.

    Attributes:
        draining: no new requests are wanted; those that came are answered.
    """

    repository: Repository
    limits: Limits = field(default_factory=Limits)
    draining: bool = False

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.repository, self.limits)
        self._threads = ThreadPoolExecutor(THREADS, "request")

    def predict(
        self,
        asked: Asked,
        signature_name: str,
        read: Callable[[Signature], dict[str, np.ndarray]],
        interface: str,
    ) -> Answer:
        """Run a signature; called in a thread.

        Args:
            asked: the model.
            signature_name: "" for the default one.
            read: makes the arrays for a signature.
            interface: "rest" or "grpc", for the metrics.

        Raises:
            Refusal: no such model or signature, or the input does not fit.
        """
        version, servable = self.repository.find(asked.name, asked.version, asked.label)
        signature_name, signature = choose(servable.signatures, signature_name)
        arrays = read(signature)
        for name, array in arrays.items():
            if name == IMAGE_INPUT:
                self.limits.check_decoded(name, array.size, _image_bytes(servable.signatures))
                self.limits.check_images(name, array)
        start = time.perf_counter()
        outputs = run_in_parts(Call(servable, signature_name, arrays))
        seconds = time.perf_counter() - start
        valid = outputs.get("valid")
        if valid is not None and valid.size and not valid.any():
            raise Refusal("No image of the request can be decoded.")
        rows = max((len(array) for array in arrays.values() if array.ndim), default=1)
        self.metrics.computed(asked.name, interface, rows, seconds)
        return Answer(version, signature_name, outputs, seconds)

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Run blocking work in one of the threads for requests."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def admitted(self, work: Callable[[], Result]) -> Result:
        """Run blocking work as a request, which counts until the work ends, also when cancelled.

        Raises:
            Refusal: there are too many requests.
        """
        self.limits.enter()
        held = [work]

        def run() -> Result:
            return held[0]()

        try:
            running = self._threads.submit(run)
        except BaseException:
            self.limits.leave()
            raise
        running.add_done_callback(lambda _: self.limits.leave())
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            held.clear()  # the content of a request that still waits for a thread
            self.limits.cut += 1
            raise

    def count(self, model: str, interface: str, code: str, start: float) -> None:
        """Count a request that began at `start`, by time.perf_counter()."""
        self.metrics.answered(model, interface, code, time.perf_counter() - start)

    def close(self) -> None:
        """Wait for the threads."""
        self._threads.shutdown()


def _image_bytes(signatures: dict[str, Signature]) -> int:
    """Bytes of an image as the network takes it; 0 where no signature takes pixels."""
    for signature in signatures.values():
        for info in signature.inputs.values():
            sizes = (info.shape or ())[1:]
            if info.dtype == "DT_UINT8" and len(sizes) == 3 and None not in sizes:
                return math.prod(size or 0 for size in sizes)
    return 0


def refusal_for(error: Exception) -> Refusal:
    """The error itself if it is a Refusal; a bug is logged, and answered without its details."""
    if isinstance(error, Refusal):
        return error
    logging.error("A request failed", exc_info=error)
    return Refusal("The server failed; its log has the reason.", "INTERNAL")


def status_json(version: Any) -> dict[str, Any]:
    """One version as TF Serving's ModelVersionStatus; numbers of 64 bits are strings in JSON."""
    broken = version.servable is None
    return {
        "version": str(version.number),
        "state": "END" if broken else "AVAILABLE",
        "status": {
            "error_code": "UNKNOWN" if broken else "OK",
            "error_message": version.error,
        },
    }


def signatures_json(signatures: dict[str, Signature]) -> dict[str, Any]:
    """Signatures as the JSON of TensorFlow's SignatureDefMap."""

    def tensors(infos: dict[str, Any]) -> dict[str, Any]:
        return {
            name: {
                "dtype": info.dtype,
                "tensor_shape": {
                    "dim": [
                        {"size": str(-1 if size is None else size), "name": ""}
                        for size in info.shape or ()
                    ],
                    "unknown_rank": info.shape is None,
                },
                "name": info.name,
            }
            for name, info in infos.items()
        }

    return {
        name: {
            "inputs": tensors(signature.inputs),
            "outputs": tensors(signature.outputs),
            "method_name": signature.method,
        }
        for name, signature in signatures.items()
    }
