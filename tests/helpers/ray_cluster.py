"""Two Ray nodes on this machine, in a network of their own that has nothing but loopback.

Ray takes the machine's own address in place of 127.0.0.1, and listens there; in such a network the
machine has none. Each node has its own process numbers, so that one signal ends all of it at once.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ADDRESS = "127.0.0.1:6379"
AS_ROOT = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
READY = 90  # seconds for a node to start


class Cluster:
    """Two nodes with one processor and one GPU each (a number only: nothing uses it).

    Attributes:
        folder: of Ray's files.
        environment: of every program of the cluster.
    """

    def __init__(self, folder):
        self.folder = folder
        (folder / "token").write_text(secrets.token_hex(32))
        self.environment = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(folder),
        }
        self.environment.pop("RAY_ADDRESS", None)
        self._processes = []
        network = "ip link set lo up && echo up && exec sleep 3600"
        self._network = self._popen(["unshare", *AS_ROOT, "--net", "sh", "-c", network])
        if self._network.stdout.readline() != "up\n":
            pytest.skip("this machine lets nobody make a network of loopback alone")
        head = ["--head", "--port=6379", f"--temp-dir={folder}", "--include-dashboard=false"]
        head += ["--disable-usage-stats"]
        self._nodes = [self._start_node(*head), self._start_node(f"--address={ADDRESS}")]

    def start(self, *command, **options):
        """Start a program in the cluster's network."""
        keep = ["--preserve-credentials", "--user"] if AS_ROOT else []
        inside = ["nsenter", "--target", str(self._network.pid), "--net", *keep]
        return self._popen([*inside, *map(str, command)], **options)

    def run(self, *command, timeout=300):
        """Run a program in the cluster's network; returns status, output and errors."""
        process = self.start(*command)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return process.returncode, out, err

    def processes(self, title, node):
        """The processes of a title on a node, 0 or 1, such as "ray::_train_one"."""
        return [pid for pid in _below(self._nodes[node].pid) if _title(pid).startswith(title)]

    def kill(self, node):
        """End a node and all its processes at once, as a loss of power does."""
        [first] = _children(self._nodes[node].pid)
        os.kill(first, signal.SIGKILL)
        self._nodes[node].wait()

    def end(self):
        """End everything that was started here."""
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def _popen(self, command, **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        process = subprocess.Popen(command, env=self.environment, start_new_session=True, **options)
        self._processes.append(process)
        return process

    def _start_node(self, *options):
        ray = Path(sys.executable).with_name("ray")
        command = [ray, "start", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=1"]
        command += ["--num-gpus=1", "--object-store-memory=100000000", *options]
        # The end of its first process is the end of all the others.
        own = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        log = self.folder / f"node{len(self._processes)}.log"
        with log.open("w") as file:
            node = self.start(*own, *command, stdout=file, stderr=file)
        deadline = time.monotonic() + READY
        while "Ray runtime started" not in log.read_text():
            if node.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()[-2000:])
            time.sleep(0.2)
        return node


def _children(pid):
    return [int(number) for number in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _below(pid):
    found = []
    with contextlib.suppress(OSError):  # it has ended
        for child in _children(pid):
            found += [child, *_below(child)]
    return found


def _title(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""


@contextlib.contextmanager
def two_nodes():
    """A cluster of two nodes at `ADDRESS`."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("unshare or ip, of Linux, is not installed")
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # paths of sockets must be short
    cluster = None
    try:
        cluster = Cluster(folder)
        yield cluster
    finally:
        if cluster is not None:
            cluster.end()
        shutil.rmtree(folder, ignore_errors=True)
