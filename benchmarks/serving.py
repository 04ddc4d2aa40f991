"""Images a second, waiting times, processor time and memory of servers of one network.

    python benchmarks/serving.py saved_models/wrn-16-4-cifar10 --clients 1,4,16 --rounds 3
    python benchmarks/serving.py saved_models/wrn-16-4-cifar10 \
        --mlserver_python PEERS/bin/python --ray_python RAY/bin/python

All servers run at the same time and are asked in turn; a request is one image as JSON numbers. The
peer MLServer loads the same SavedModel in its own environment, which needs `pip install mlserver
tensorflow-cpu`; Ray Serve runs `recipes/serve_ray.py`. Every server must first give the answer of
the first one. A ratio is of images a second to the peer's in the same round.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags
from interleaved import by_pair, parse_sizes, run, write
from servers import Server, free_port, rows, tf_serving, under_load

from keras_wrn.errors import InputError
from keras_wrn.system import markdown
from keras_wrn.system.files import write_json

FOLDER = Path(__file__).parent
PEER = "MLServer"
# The largest difference of a probability: TensorFlow's, and that of 8 bits.
BOUNDS = {"float32": 1e-4, "int8": 0.2}


def measure(arguments: list[str]) -> None:
    """Start the servers, ask them in turn, and print a table for each number of clients."""
    options = flags.FLAGS
    if len(arguments) != 1:
        raise InputError(f"Give one run folder or published weights. Received: {arguments}.")
    counts = parse_sizes(options.clients)
    with tempfile.TemporaryDirectory() as scratch:
        servers = _servers(arguments[0], Path(scratch))
        try:
            for server in servers:
                server.start(Path(scratch) / f"{server.name}.log")
            _check(servers)
            found = {count: _asked(servers, count) for count in counts}
            memory = {server.name: server.megabytes() for server in servers}
        finally:
            for server in servers:
                server.stop()
    start = {server.name: server.start_seconds for server in servers}
    for count, figures in found.items():
        print(f"\n{count} clients, n = {options.rounds} rounds of {options.seconds:g} s\n")
        print(_table(figures, memory, start))
    write({"found": found, "megabytes": memory, "start_seconds": start})


def _servers(model: str, scratch: Path) -> list[Server]:
    """Export the network twice, and make the servers that were asked for."""
    options = flags.FLAGS
    for name, extra in {"plain": ["--engine", "openvino-int8"], "batched": ["--batching"]}.items():
        command = [sys.executable, "-m", "keras_wrn", "export", model, str(scratch / name / "wrn")]
        done = subprocess.run([*command, *extra], capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f"The export failed: {done.stderr[-600:]}")
    plain, batched = scratch / "plain", scratch / "batched"
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), "uint8").tolist()
    body = rows(image)
    servers = [
        tf_serving("keras-wrn serve", plain, "wrn", body),
        tf_serving("keras-wrn serve, batching", batched, "wrn", body),
        tf_serving(
            "keras-wrn serve, openvino-int8", plain, "wrn", body, "--engine", "openvino-int8"
        ),
    ]
    if options.mlserver_python:
        servers.append(_mlserver(plain / "wrn" / "1", image, scratch / "mlserver"))
    if options.ray_python:
        servers.append(_ray_serve(plain, body))
    return servers


def _mlserver(version: Path, image: list, folder: Path) -> Server:
    """MLServer with the class of mlserver_peer.py, and the V2 protocol."""
    port = free_port()
    folder.mkdir()
    own = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port()}
    own |= {"metrics_port": free_port(), "parallel_workers": 0}
    write_json(folder / "settings.json", own)
    kind = "mlserver_peer.SavedModel"
    model = {"name": "wrn", "implementation": kind, "parameters": {"uri": str(version)}}
    write_json(folder / "model-settings.json", model)
    data = np.ravel(image).tolist()
    entry = {"name": "images", "shape": [1, 32, 32, 3], "datatype": "UINT8", "data": data}
    body = json.dumps({"inputs": [entry]}, separators=(",", ":")).encode()
    program = str(Path(flags.FLAGS.mlserver_python).parent / "mlserver")
    return Server(
        PEER,
        [program, "start", str(folder)],
        port,
        "/v2/health/ready",
        "/v2/models/wrn/infer",
        body,
        {"PYTHONPATH": str(FOLDER)},
    )


def _ray_serve(folder: Path, body: bytes) -> Server:
    """Ray Serve with recipes/serve_ray.py, on a cluster of this machine alone."""
    port, head = free_port(), free_port()
    tools = Path(flags.FLAGS.ray_python).parent
    program = f"{flags.FLAGS.ray_python} {FOLDER.parent / 'recipes' / 'serve_ray.py'}"
    lines = (
        f"{tools}/ray start --head --port={head} --node-ip-address=127.0.0.1 --block &",
        f"export RAY_ADDRESS=127.0.0.1:{head}",
        f"until {tools}/ray status; do sleep 1; done",
        f"{tools}/serve start --http-host 127.0.0.1 --http-port {port}",
        f"trap '{tools}/ray stop --force' EXIT",
        f"{program} {folder} --ray 127.0.0.1:{head} & wait",
    )
    path = "/v1/models/wrn"
    command = ["bash", "-c", "\n".join(lines)]
    return Server("Ray Serve", command, port, path, f"{path}:predict", body)


def _check(servers: list[Server]) -> None:
    """Raise InputError unless all give the same probabilities."""
    expected = None
    for server in servers:
        answer = json.loads(server.ask()[1])
        if "predictions" in answer:
            values = answer["predictions"][0]["probabilities"]
        else:
            values = next(o["data"] for o in answer["outputs"] if o["name"] == "probabilities")
        expected = values if expected is None else expected
        bound = BOUNDS["int8" if "int8" in server.name else "float32"]
        difference = float(np.abs(np.subtract(values, expected)).max())
        if difference > bound:
            raise InputError(f"{server.name} differs by {difference:.3g}, above {bound}.")


def _asked(servers: list[Server], clients: int) -> dict[str, dict[str, list[float]]]:
    """Ask all in turn; a round of warm-up does not count."""
    found: dict[str, dict[str, list[float]]] = {
        server.name: {"images_a_second": [], "p50": [], "p99": [], "cpu_ms": []}
        for server in servers
    }
    for number in range(-1, flags.FLAGS.rounds):
        for server in servers:
            busy = server.cpu_seconds()
            with under_load(server, clients) as load:
                time.sleep(flags.FLAGS.seconds if number >= 0 else 1)
            if load.failures:
                raise InputError(f"{server.name}: a request failed: {load.failures[0]}")
            if number < 0:
                continue
            own, waits = found[server.name], sorted(load.waits)
            own["images_a_second"].append(len(waits) / load.seconds)
            own["p50"].append(1000 * statistics.median(waits))
            own["p99"].append(1000 * waits[int(0.99 * (len(waits) - 1))])
            own["cpu_ms"].append(1000 * (server.cpu_seconds() - busy) / len(waits))
    return found


def _table(
    found: dict[str, dict[str, list[float]]], memory: dict[str, float], start: dict[str, float]
) -> str:
    """A row for each server: medians over the rounds."""
    header = ["server", "images/s", f"to {PEER}", "p50 ms", "p99 ms", "CPU ms/request"]
    lines = []
    for name, own in found.items():
        ratio = "-"
        if PEER in found:
            ratio = by_pair(own["images_a_second"], found[PEER]["images_a_second"])
        middle = {key: statistics.median(values) for key, values in own.items()}
        digits = {"images_a_second": 0, "p50": 0, "p99": 0, "cpu_ms": 1}
        rate, *rest = (f"{middle[key]:.{places}f}" for key, places in digits.items())
        lines.append([name, rate, ratio, *rest, f"{memory[name]:.0f}", f"{start[name]:.0f}"])
    return markdown.table([*header, "MB", "start s"], lines)


if __name__ == "__main__":
    flags.DEFINE_list("clients", ["1", "4", "16"], "numbers of clients")
    flags.DEFINE_integer("rounds", 3, "rounds of each number", lower_bound=1)
    flags.DEFINE_float("seconds", 8, "of a round for each server", lower_bound=1)
    flags.DEFINE_string("mlserver_python", None, "Python of an environment with MLServer")
    flags.DEFINE_string("ray_python", None, "Python of an environment with Ray Serve and keras_wrn")
    run(measure, takes_arguments=True)
