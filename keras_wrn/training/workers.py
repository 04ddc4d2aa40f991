"""Several machines: TensorFlow's MultiWorkerMirroredStrategy, which TF_CONFIG switches on.

The same command runs on every machine, with the same work folder. The first worker, the chief,
writes; the others read.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import logging

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.system import machine

START_SECONDS = 300.0  # that the workers wait for each other
AGREED_EVERY = 10  # steps between two questions whether any worker is asked to stop
SHOWN_SECONDS = 60.0  # that a network drive may take to show a file
_POLL_SECONDS = 0.5
_NOTICED_SECONDS = 5.0
# What TensorFlow raises on the workers that are left when one has gone.
_LOST = frozenset(
    "UnavailableError AbortedError InternalError CancelledError DeadlineExceededError "
    "UnknownError".split()
)


@dataclass(frozen=True, eq=False)
class Cluster:
    """The workers of a run, as one of them sees them.

    Attributes:
        addresses: host:port of all, the chief first.
        index: of this worker; the chief is 0.
        strategy: TensorFlow's.
    """

    addresses: tuple[str, ...]
    index: int
    strategy: Any

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes."""
        return self.index == 0

    @property
    def part(self) -> tuple[int, int]:
        """Which part of each batch is this worker's: (i, n), counted from 0."""
        return self.index, len(self.addresses)

    def sum(self, value: float) -> int:
        """Add a number over all workers; each calls it at the same step."""
        return round(float(self._total(np.float64(value))))

    def of_chief(self, value: np.ndarray) -> np.ndarray:
        """The chief's value of an array that all workers have."""
        return self._total(value if self.is_chief else np.zeros_like(value))

    def _total(self, value: Any) -> np.ndarray:
        import tensorflow as tf

        # Every device of a worker adds its share.
        share = tf.constant(value / len(self.strategy.extended.worker_devices))
        return self.strategy.experimental_local_results(self._add(share))[0].numpy()

    @functools.cached_property
    def _add(self) -> Any:
        import tensorflow as tf

        def add(share: Any) -> Any:
            # A tensor without a device has no place to be added at.
            mine = tf.identity(share)
            return tf.distribute.get_replica_context().all_reduce("sum", mine)

        # Outside of a function it takes many times as long.
        return tf.function(lambda share: self.strategy.run(add, args=(share,)), autograph=False)

    def share_out(self, batches: Any, batch_size: int) -> Any:
        """Make what `fit` takes of this worker's part of each batch.

        Args:
            batches: a tf.data.Dataset of parts.
            batch_size: of all workers together.
        """
        own = batches.rebatch(batch_size // self.strategy.num_replicas_in_sync)
        return self.strategy.distribute_datasets_from_function(lambda _: own)

    def require_same_folder(self, workdir: Path) -> None:
        """Check that all workers see the folder that the chief has made.

        Raises:
            InputError: one does not.
        """
        number = self.sum(secrets.randbelow(2**31) if self.is_chief else 0)
        file = workdir / f".workers-{number}"
        if self.is_chief:
            file.touch()
        self.sum(0)  # the file is there
        deadline = time.monotonic() + SHOWN_SECONDS
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        missing = self.sum(not file.exists())
        if self.is_chief:
            file.unlink()
        if missing:
            raise InputError(
                f"All workers must share the folder {workdir}. {missing} of {len(self.addresses)} "
                "do not see what the chief writes there: give a folder on a shared drive."
            )

    def require_same_run(self, *values: Any) -> None:
        """Check that all workers have the chief's values, JSON's, of this version of the package.

        Raises:
            InputError: one does not.
        """
        text = json.dumps([*values, keras_wrn.__version__], sort_keys=True)
        number = int(hashlib.sha256(text.encode()).hexdigest()[:7], 16)
        others = self.sum(number != self.sum(number if self.is_chief else 0))
        if others:
            raise InputError(
                "All workers must train one recipe on the same data, with one version of "
                f"keras_wrn. Of {len(self.addresses)}, {others} differ from the first one."
            )

    def wait_for(self, file: Path) -> None:
        """Wait until the chief has written a file; raises InputError if it ends before."""
        gone = 0.0  # since when the chief does not answer
        while not file.exists():
            time.sleep(_POLL_SECONDS)
            if _answers(self.addresses[0]):
                gone = 0.0
            elif time.monotonic() - (gone := gone or time.monotonic()) > SHOWN_SECONDS:
                raise _lost()

    def has_lost_one(self) -> bool:
        """Whether a worker stops to answer within a few seconds."""
        deadline = time.monotonic() + _NOTICED_SECONDS
        while all(map(_answers, self.addresses)):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True


@functools.cache
def cluster() -> Cluster | None:
    """Join the workers of TF_CONFIG; None if it is not set, or names one worker.

    TensorFlow must not have computed anything before.

    Raises:
        InputError: TF_CONFIG is wrong, a worker does not answer within `START_SECONDS`, or Keras
            does not run on TensorFlow.
    """
    addresses, index = _read_config(os.environ.get("TF_CONFIG", ""))
    if len(addresses) < 2:
        return None
    if keras.config.backend() != "tensorflow":
        raise InputError(
            "TF_CONFIG names several workers, on which TensorFlow alone trains. Received: "
            f"KERAS_BACKEND={keras.config.backend()}."
        )
    _wait_for_peers(addresses, index)
    import tensorflow as tf

    logging.info("worker %d of %d", index + 1, len(addresses))
    return Cluster(addresses, index, tf.distribute.MultiWorkerMirroredStrategy())


def is_chief() -> bool:
    """Whether this process writes: it is the only one, or the first worker."""
    workers = cluster()
    return workers is None or workers.is_chief


def agreed_signal(own: int | None) -> int | None:
    """The signal that asks this process to stop, or SIGTERM if another worker is asked to."""
    workers = cluster()
    if workers is not None and workers.sum(own is not None):
        return own or signal.SIGTERM
    return own


def hardware() -> str:
    """The hardware of this machine, times the number of workers."""
    workers = cluster()
    each = machine.hardware()
    return each if workers is None else f"{len(workers.addresses)} workers, the first of {each}"


def _read_config(text: str) -> tuple[tuple[str, ...], int]:
    """Read TF_CONFIG: the addresses of all workers, the chief first, and which one this is."""
    if not text:
        return (), 0
    try:
        config = json.loads(text)
        roles = {role: list(each) for role, each in config.get("cluster", {}).items()}
        addresses = [*roles.pop("chief", []), *roles.pop("worker", [])]
        task = config.get("task", {"type": "worker", "index": 0})
        chiefs = len(config.get("cluster", {}).get("chief", []))
        index = int(task["index"]) + (chiefs if task["type"] == "worker" else 0)
        if roles or task["type"] not in ("chief", "worker"):
            raise ValueError(f"a role {next(iter(roles), task['type'])}")
        if addresses and not 0 <= index < len(addresses):
            raise ValueError(f"task {task}, which the cluster does not have")
        for address in addresses:
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal():
                raise ValueError(f"address {address!r}")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            'TF_CONFIG must be {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": '
            f'"worker", "index": 0}}}}, with roles chief and worker. Received: {error}.'
        ) from error
    return tuple(addresses), index


def _wait_for_peers(addresses: tuple[str, ...], index: int) -> None:
    """Wait until all workers answer. TensorFlow would wait without end, deaf to signals."""
    host, _, port = addresses[index].rpartition(":")
    try:
        listener = socket.create_server(("", int(port)), reuse_port=hasattr(socket, "SO_REUSEPORT"))
    except OSError as error:
        raise InputError(
            f"This worker cannot listen on port {port} of {host}: {error.strerror}. Another "
            "process has it, or TF_CONFIG's index is another worker's."
        ) from error
    waiting = [address for i, address in enumerate(addresses) if i != index]
    deadline, is_logged = time.monotonic() + START_SECONDS, False
    with listener:
        while waiting := [address for address in waiting if not _answers(address)]:
            if time.monotonic() > deadline:
                raise InputError(
                    f"No answer from {', '.join(waiting)} within {START_SECONDS:.0f} seconds. "
                    "Start the same command there, or correct TF_CONFIG."
                )
            if not is_logged:
                logging.info("waiting for %s", ", ".join(waiting))
                is_logged = True
            time.sleep(_POLL_SECONDS)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def lost_workers_named() -> Iterator[None]:
    """Raise one sentence where another worker has ended, in place of TensorFlow's error."""
    try:
        yield
    except Exception as error:
        workers = cluster()
        if workers is None or type(error).__name__ not in _LOST or not workers.has_lost_one():
            raise
        logging.error("%s", error)
        raise _lost() from error


def _lost() -> InputError:
    return InputError(
        "Another worker of this run has ended, so this one does too. Its log says why. The same "
        "command on all workers goes on from the last saved state."
    )
