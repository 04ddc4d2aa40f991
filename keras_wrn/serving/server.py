"""The server: REST and gRPC in one event loop, a watcher of the folder, an end that drains."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from absl import logging

from keras_wrn.errors import InputError
from keras_wrn.serving import grpc_services
from keras_wrn.serving.rest import application
from keras_wrn.serving.service import Service
from keras_wrn.system.backend import import_package

MOST_HEADER = 65_536  # bytes of a request's header
_TOLD_SECONDS = 0.5  # in which those who watch the health are told of the end


@dataclass(frozen=True)
class Options:
    """Where a server listens, and how it looks and ends.

    Attributes:
        host: 127.0.0.1 is this machine only; 0.0.0.0 is every network.
        rest_port: 0 for any free one.
        grpc_port: 0 for any free one; None for REST only.
        poll_seconds: between two looks at the folder.
        drain_seconds: for the requests that run when the server is asked to end.
    """

    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int | None = 8500
    poll_seconds: float = 2.0
    drain_seconds: float = 30.0

    @property
    def shown_host(self) -> str:
        """The host as addresses have it: IPv6 in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host


@dataclass(frozen=True)
class Ports:
    """The ports that a server listens on; `grpc` is None for REST only."""

    rest: int
    grpc: int | None


def run(service: Service, options: Options, started: Callable[[Ports], object]) -> int:
    """Serve until SIGTERM or Ctrl-C, then answer what has come.

    Returns:
        The number of requests that were still running after `drain_seconds`, and had no answer.

    Raises:
        OSError: a port is taken.
    """

    async def main() -> int:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                loop.add_signal_handler(number, stop.set)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        return await serve(service, options, stop, started)

    return asyncio.run(main())


async def serve(
    service: Service,
    options: Options,
    stop: asyncio.Event,
    started: Callable[[Ports], object],
) -> int:
    """Serve until `stop` is set, then drain; returns what `run` does.

    Args:
        service: the models; they are loaded before a port is open.
        options: where to listen.
        stop: set to end.
        started: called with the ports once requests are answered.
    """
    uvicorn = import_package("uvicorn", "uvicorn", "Serving")
    bound = bind(options.host, options.rest_port)  # a port that is taken shows at once
    stopping = asyncio.create_task(stop.wait())
    loading = asyncio.create_task(load(service))
    try:
        await asyncio.wait([loading, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not loading.done():  # it ends as soon as the file under way is loaded
            loading.cancel()
            bound.close()
            return 0
        loading.result()
    except BaseException:
        bound.close()
        raise
    config = uvicorn.Config(
        application(service),
        http=_protocol(),
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=math.ceil(options.drain_seconds),
    )
    rest = _uvicorn_server(uvicorn, config)
    grpc = healthy = grpc_port = None
    try:
        if options.grpc_port is not None:
            address = f"{options.shown_host}:{options.grpc_port}"
            grpc, healthy, grpc_port = await grpc_services.start(service, address)
        answering = asyncio.create_task(rest.serve(sockets=[bound]))
        watching = asyncio.create_task(watch(service, options.poll_seconds))
        while not rest.started and not answering.done():
            await asyncio.sleep(0.01)
        started(Ports(bound.getsockname()[1], grpc_port))
        await asyncio.wait([stopping, answering], return_when=asyncio.FIRST_COMPLETED)
        logging.info("stopping: %d requests run", service.limits.running)
        cut = service.limits.cut
        service.draining = rest.should_exit = True
        watching.cancel()
        if healthy is not None:
            with contextlib.suppress(TimeoutError):  # a watcher may take no message
                await asyncio.wait_for(healthy.enter_graceful_shutdown(), _TOLD_SECONDS)
            asyncio.get_running_loop().call_later(_TOLD_SECONDS, healthy.ended.set)
        await asyncio.gather(answering, *([grpc.stop(options.drain_seconds)] if grpc else []))
        return service.limits.cut - cut
    finally:
        bound.close()
        await asyncio.to_thread(service.close)


async def load(service: Service) -> None:
    """Load the models; raises InputError if one has no version that can be served."""
    await asyncio.to_thread(service.repository.refresh)
    if broken := service.repository.broken():
        raise InputError(
            f"No version can be served of: {', '.join(broken)}. The log has the reason."
        )


async def watch(service: Service, seconds: float) -> None:
    """Look at the folder every so many seconds, without end; swaps versions."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(service.repository.refresh)
        except Exception:  # such as a folder that vanishes while it is read
            logging.exception("The folder of models could not be read")


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens for REST; raises OSError where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends at once (TCP_NODELAY) only on sockets whose protocol is named; else the body of
    # an answer waits 40 ms for the client to acknowledge the header.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name != "nt":  # there it would let two servers have one port
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"REST cannot listen on {host}:{port}: {reason}.") from error
    return bound


def _protocol() -> type:
    """The protocol of uvicorn with a limit for headers, which httptools does not have."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class Bounded(HttpToolsProtocol):
        _is_header, _received, _counted = True, 0, 0

        def data_received(self, data: bytes) -> None:
            if self._is_header and self._received > MOST_HEADER:
                self.send_400_response("The header of the request is too large.")
                return
            self._received += len(data)
            super().data_received(data)

        def on_message_begin(self) -> None:
            self._is_header, self._received, self._counted = True, 0, 0
            super().on_message_begin()

        def on_header(self, name: bytes, value: bytes) -> None:
            self._counted += len(name) + len(value)  # those behind a body count too
            if self._counted > MOST_HEADER:
                raise ValueError("too large")  # uvicorn answers with 400
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._is_header = False
            super().on_headers_complete()

    return Bounded


def _uvicorn_server(uvicorn: Any, config: Any) -> Any:
    class Server(uvicorn.Server):
        """A server whose signals are handled by `run`."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server(config)
