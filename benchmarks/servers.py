"""Servers in processes of their own, their memory and processor time, and clients that ask them.

This file is not a program: benchmarks/serving.py and benchmarks/serving_faults.py import it.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from keras_wrn.errors import InputError

START_SECONDS = 300


@dataclass
class Server:
    """A server on this machine.

    Attributes:
        name: in tables.
        command: starts it; it ends with SIGTERM.
        port: where it listens.
        ready: path that answers 200 when requests are.
        predict: path of requests.
        body: of a good request.
        environment: variables to set.
        start_seconds: from the command to the first answer; set by `start`.
    """

    name: str
    command: list[str]
    port: int
    ready: str
    predict: str
    body: bytes
    environment: dict[str, str] = field(default_factory=dict)
    start_seconds: float = float("nan")
    process: subprocess.Popen | None = None

    def start(self, log: Path) -> None:
        """Start it, and wait for the answer to a good request.

        Raises:
            InputError: it ends, or gives no answer in five minutes; with the end of its log.
        """
        begin = time.monotonic()
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                self.command,
                stdout=file,
                stderr=file,
                env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | self.environment,
                start_new_session=True,
            )
        while time.monotonic() - begin < START_SECONDS and self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get(self.ready)[0] == 200 and self.ask()[0] == 200:
                    self.start_seconds = time.monotonic() - begin
                    return
            time.sleep(0.05)
        self.stop(signal.SIGKILL)
        end = log.read_text(errors="replace")[-600:]
        raise InputError(f"{self.name} did not start. The end of its log:\n{end}")

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Send a signal, wait for the end, and return the seconds that it took."""
        if self.process is None or self.process.poll() is not None:
            return 0.0
        begin = time.monotonic()
        self.process.send_signal(number)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        return time.monotonic() - begin

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask for a path on a new connection."""
        return self._send("GET", path, None)

    def ask(self, body: bytes | None = None) -> tuple[int, bytes]:
        """Send a request, a good one unless given, on a new connection."""
        return self._send("POST", self.predict, self.body if body is None else body)

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        with contextlib.closing(self.connection()) as connection:
            return exchange(connection, method, path, body)

    def connection(self) -> http.client.HTTPConnection:
        """A new connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def cpu_seconds(self) -> float:
        """Processor time of the process and its children so far."""
        ticks = 0
        for pid in self._family():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
                ticks += sum(map(int, stat.split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Memory of the process and its children; what they share is counted once."""
        kilobytes = 0
        for pid in self._family():
            with contextlib.suppress(OSError), Path(f"/proc/{pid}/smaps_rollup").open() as file:
                kilobytes += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        return kilobytes * 1024 / 1e6

    def _family(self) -> list[int]:
        assert self.process is not None
        parents = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                stat = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2]
                parents[int(folder.name)] = int(stat.split()[1])
        family = [self.process.pid]
        for member in family:  # grows while it is walked
            family += [pid for pid, parent in parents.items() if parent == member]
        return family


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None
) -> tuple[int, bytes]:
    """Send a request on a connection; returns the status and the answer."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, path, body, headers)
    reply = connection.getresponse()
    return reply.status, reply.read()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def tf_serving(name: str, folder: Path, model: str, body: bytes, *options: str) -> Server:
    """`keras-wrn serve` for the model in a folder.

    Args:
        name: in tables.
        folder: of the model, with its versions.
        model: the folder's name.
        body: of a good request.
        *options: further ones of the command.
    """
    port = free_port()
    command = [sys.executable, "-m", "keras_wrn", "serve", str(folder), "--rest_port", str(port)]
    if "--grpc_port" not in options:
        options = (*options, "--grpc_port", "-1")
    path = f"/v1/models/{model}"
    return Server(name, [*command, *options], port, path, f"{path}:predict", body)


@dataclass
class Load:
    """What clients saw.

    Attributes:
        seconds: from the first request to the last answer.
        waits: seconds that each answered request took.
        failures: what came in place of an answer.
    """

    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@contextlib.contextmanager
def under_load(server: Server, clients: int) -> Iterator[Load]:
    """Let clients send good requests, each the next when the last is answered, while this is open.

    Args:
        server: a server that runs.
        clients: how many, each with a connection that it keeps.
    """
    load, over = Load(), threading.Event()

    def work() -> None:
        connection = server.connection()
        while not over.is_set():
            begin = time.perf_counter()
            try:
                status, answer = exchange(connection, "POST", server.predict, server.body)
            except (OSError, http.client.HTTPException) as error:
                load.failures.append(repr(error))
                connection.close()
                continue
            if status == 200:
                load.waits.append(time.perf_counter() - begin)
            else:
                load.failures.append(f"{status} {answer[:200].decode(errors='replace')}")
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join()
        load.seconds = time.perf_counter() - begin


def rows(image: object, signature_name: str = "") -> bytes:
    """A request of TF Serving's REST with one image."""
    content = {"signature_name": signature_name, "instances": [image]}
    return json.dumps(content, separators=(",", ":")).encode()
