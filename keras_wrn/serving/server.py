"""The server: REST and gRPC in one event loop, a watcher of the folder, an end that drains."""

from __future__ import annotations

import asyncio
import contextlib
import math
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
            loop.add_signal_handler(number, stop.set)
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
    try:
        await load(service)
    except BaseException:
        bound.close()
        raise
    config = uvicorn.Config(
        application(service),
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
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([stopping, answering], return_when=asyncio.FIRST_COMPLETED)
        logging.info("stopping: %d requests run", service.limits.running)
        cut = service.limits.cut
        service.draining = rest.should_exit = True
        watching.cancel()
        if healthy is not None:
            await healthy.enter_graceful_shutdown()
        stops = [_stop_grpc(grpc, service, options.drain_seconds)] if grpc else []
        await asyncio.gather(answering, *stops)
        return service.limits.cut - cut
    finally:
        bound.close()
        await asyncio.to_thread(service.close)


async def _stop_grpc(grpc: Any, service: Service, seconds: float) -> None:
    """Take no further calls, and end when no request runs or after so many seconds."""
    stopping = asyncio.create_task(grpc.stop(seconds))
    while service.limits.running and not stopping.done():
        await asyncio.sleep(0.05)
    await grpc.stop(min(1.0, seconds))  # a client that watches the health never ends by itself
    await stopping


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
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"REST cannot listen on {host}:{port}: {reason}.") from error
    return bound


def _uvicorn_server(uvicorn: Any, config: Any) -> Any:
    class Server(uvicorn.Server):
        """A server whose signals are handled by `run`."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server(config)
