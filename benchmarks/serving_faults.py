"""What `keras-wrn serve` does with a thousand malformed requests, new versions and a kill.

    python benchmarks/serving_faults.py saved_models/wrn-16-1-digits

The server listens on this machine only. While two clients send good requests, each malformed one
must be answered with its own 4xx and a sentence, or, where the connection itself is broken, leave
the others alone. Then versions come under load: a good one, one cut in half, a good one. At last
the server is killed and started again. Exits with status 1 if anything was answered wrongly.
"""

import base64
import collections
import contextlib
import io
import json
import random
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from interleaved import run, write
from PIL import Image
from servers import Load, Server, exchange, free_port, rows, tf_serving, under_load

from keras_wrn.errors import InputError
from keras_wrn.system import markdown

MODEL, BYTES = "wrn", "serving_bytes"
KINDS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")


def measure(arguments: list[str]) -> None:
    """Export the network, start the server, and do everything to it."""
    if len(arguments) != 1:
        raise InputError(f"Give one run folder or published weights. Received: {arguments}.")
    with tempfile.TemporaryDirectory() as scratch:
        folder, log = Path(scratch, MODEL), Path(scratch, "log")
        first = _export(arguments[0], folder)
        grpc_port = free_port()
        good = rows({"b64": base64.b64encode(_file(_picture(8), "PNG")).decode()}, BYTES)
        server = tf_serving("server", folder, MODEL, good, "--grpc_port", str(grpc_port))
        server.start(log)
        try:
            facts = {"start_seconds": server.start_seconds, **_malformed(server, grpc_port)}
            facts |= _versions(server, folder, first, log)
            facts |= _killed(server, log)
        finally:
            facts_of_end = {"drain_seconds": server.stop()}
        facts |= facts_of_end
    print(markdown.table(["", ""], [[name, _shown(value)] for name, value in facts.items()]))
    write(facts)
    if facts["wrong"] or facts["good_failed"] or facts["swap_failed"]:
        raise SystemExit(1)


def _export(model: str, folder: Path) -> Path:
    """Export version 1; returns its folder."""
    command = [sys.executable, "-m", "keras_wrn", "export", model, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"The export failed: {done.stderr[-600:]}")
    return folder / "1"


def _malformed(server: Server, grpc_port: int) -> dict[str, object]:
    """Send the malformed requests under load; count answers, wrong ones and the memory."""
    answers: collections.Counter[str] = collections.Counter()
    wrong, before, most = [], server.megabytes(), 0.0
    with under_load(server, 2) as load:
        connection = server.connection()
        for number, (kind, body) in enumerate(requests()):
            try:
                status, answer = exchange(connection, "POST", server.predict, body)
            except OSError:  # the server closes connections after some refusals
                connection.close()
                connection = server.connection()
                status, answer = exchange(connection, "POST", server.predict, body)
            answers[f"{kind}: {status}"] += 1
            if not (400 <= status < 500 and len(_sentence(answer)) > 10):
                wrong.append(f"{kind} {body[-300:]!r}: {status} {answer[:200]!r}")
            if number % 50 == 0:
                most = max(most, server.megabytes())
        connection.close()
        for kind, port, content in broken_connections(server.port, grpc_port):
            raw = socket.create_connection(("127.0.0.1", port), timeout=30)
            with raw, contextlib.suppress(ConnectionError):  # the server may close it at once
                raw.sendall(content)
            answers[f"{kind}: no answer is owed"] += 1
    for line in wrong[:20]:
        print(line, file=sys.stderr)
    return {
        "malformed": sum(answers.values()),
        "answers": dict(answers),
        "wrong": len(wrong),
        **_good(load),
        "megabytes_before": before,
        "megabytes_most": most,
        "megabytes_after": server.megabytes(),
    }


def _sentence(answer: bytes) -> str:
    try:
        return json.loads(answer)["error"]
    except (ValueError, KeyError, TypeError):
        return ""


def _good(load: Load, prefix: str = "good") -> dict[str, object]:
    waits = sorted(load.waits)
    for failure in load.failures[:5]:
        print(f"{prefix}: {failure}", file=sys.stderr)
    return {
        f"{prefix}_answered": len(waits),
        f"{prefix}_failed": len(load.failures),
        f"{prefix}_p50_ms": 1000 * statistics.median(waits),
        f"{prefix}_longest_ms": 1000 * waits[-1],
    }


def requests() -> Iterator[tuple[str, bytes]]:
    """The malformed requests: kind and body, the same ones every time."""
    chance = random.Random(0)
    whole = rows({"b64": base64.b64encode(_file(_picture(2), "PNG")).decode()}, BYTES)
    yield from (("JSON cut", whole[:end]) for end in range(len(whole)))
    image = np.zeros((32, 32, 3), int).tolist()
    for value in (None, True, "a", 0.5, -1, 256, 2**70, {}, [[1]], [1, 2], {"b64": "AA=="}, []):
        for depth in range(4):  # in place of the image, a row, a pixel, a value
            broken = json.loads(json.dumps(image))
            place = broken
            for _ in range(depth - 1):
                place = place[5]
            if depth:
                place[1] = value
            yield "wrong type or shape", rows(broken if depth else value)
    for size in range(40):
        for shape in {(size, 32, 3), (32, size, 3), (32, 32, size)} - {(32, 32, 3)}:
            yield "wrong size", rows(np.zeros(shape, int).tolist())
    for number in range(100):
        text = "".join(chance.choices("ABCDabcd0123+/=* é", k=number))
        yield "noise in base64", rows({"b64": text}, BYTES)
    for number in range(100):
        noise = base64.b64encode(chance.randbytes(number)).decode()
        yield "noise as an image", rows({"b64": noise}, BYTES)
    for kind in KINDS:
        content = _file(_picture(64), kind)
        for part in range(60):
            half = content[: len(content) * part // 120]
            yield "image cut", rows({"b64": base64.b64encode(half).decode()}, BYTES)
    large = io.BytesIO()
    Image.new("L", (10_000, 5_000)).save(large, "PNG")
    bombs = [large.getvalue(), *(_claim(side, side) for side in (5_001, 20_000, 65_000, 2**31 - 1))]
    for content in bombs * 4:
        yield "too many pixels", rows({"b64": base64.b64encode(content).decode()}, BYTES)
    yield from [("16 MB of JSON", b'{"instances": [' + b"0," * 8_500_000 + b"0]}")] * 3
    yield from (("deep JSON", b"[" * deep + b"]" * deep) for deep in range(1, 10_000, 200))
    for key in ("instance", "Instances", "input", "signature_name", "", "predictions"):
        yield "wrong key", json.dumps({key: [image]}).encode()
        yield "both keys", json.dumps({"instances": [image], "inputs": [image], key: 1}).encode()
        yield "unknown signature", rows(image, f"x{key}")


def broken_connections(rest_port: int, grpc_port: int) -> Iterator[tuple[str, int, bytes]]:
    """What is sent before the client vanishes: kind, port, bytes."""
    head = b"POST /v1/models/wrn:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\x40\1\4\0\0\0\1"
    for end in range(1, len(head) + 20, 2):
        yield "client vanishes", rest_port, (head + b"{" * 20)[:end]
    for end in range(1, len(preface)):
        yield "gRPC frame cut", grpc_port, preface[:end]


def _versions(server: Server, folder: Path, first: Path, log: Path) -> dict[str, object]:
    """Bring versions under load: 2, 3 cut in half, 4; returns what the clients saw."""
    seen = []
    with under_load(server, 4) as load:
        for number, whole in ((2, True), (3, False), (4, True)):
            part = folder / f".part-{number}"
            shutil.copytree(first, part)
            if not whole:
                data = next(part.glob("variables/*.data*"))
                data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
            part.rename(folder / str(number))
            state = _wait(server, number)
            seen.append(f"{number} {state}")
    said = [line for line in log.read_text(errors="replace").splitlines() if "is broken" in line]
    return {
        "versions": ", ".join(seen),
        "log": said[-1].partition("] ")[2] if said else "nothing",
        **_good(load, "swap"),
    }


def _wait(server: Server, number: int) -> str:
    """Wait until a version has a state; returns it."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        status, answer = server.get(f"/v1/models/{MODEL}/versions/{number}")
        if status == 200:
            return json.loads(answer)["model_version_status"][0]["state"]
        time.sleep(0.1)
    raise InputError(f"Version {number} has no state after two minutes.")


def _killed(server: Server, log: Path) -> dict[str, object]:
    """Kill the server with signal 9 and start it again."""
    server.stop(signal.SIGKILL)
    server.start(log)
    return {"seconds_after_kill": server.start_seconds}


def _picture(side: int) -> np.ndarray:
    ramp = np.linspace(0, 255, side).astype("uint8")
    return np.stack([ramp[:, None] + 0 * ramp, ramp + 0 * ramp[:, None], ramp * ramp[:, None]], -1)


def _file(pixels: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def _claim(width: int, height: int) -> bytes:
    """A PNG that claims a size in its header, without the pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = b""
    for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        check = struct.pack(">I", zlib.crc32(kind + content))
        chunks += struct.pack(">I", len(content)) + kind + content + check
    return b"\x89PNG\r\n\x1a\n" + chunks


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} ({count})" for key, count in value.items())
    return f"{value:,.1f}" if isinstance(value, float) else f"{value}"


if __name__ == "__main__":
    run(measure, takes_arguments=True)
