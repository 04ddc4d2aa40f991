"""Join a Ray cluster, or say in one sentence why it cannot be joined."""

import threading
from typing import Any

from keras_wrn.errors import InputError
from keras_wrn.system.backend import import_package

CONNECT_SECONDS = 30.0


def join(address: str) -> Any:
    """Connect to a Ray cluster.

    Args:
        address: "auto" for the cluster of this machine, or HOST:PORT of a cluster's head.

    Returns:
        The package ray.

    Raises:
        InputError: Ray is not installed, or the cluster does not answer or refuses.
    """
    ray = import_package("ray", '"ray[default]"', "--ray")
    host, _, port = address.rpartition(":")
    if address != "auto" and not (host and port.isascii() and port.isdecimal()):
        raise InputError(f"--ray must be auto or HOST:PORT. Received: {address}.")
    errors: list[Exception] = []

    def connect() -> None:
        try:
            ray.init(address, log_to_driver=False, logging_level="error")
        except Exception as error:  # Ray raises many kinds
            errors.append(error)

    # Ray waits 20 minutes for a port that takes a connection and does not answer.
    connecting = threading.Thread(target=connect, daemon=True)
    connecting.start()
    connecting.join(CONNECT_SECONDS)
    if connecting.is_alive():
        reason = f"no answer within {CONNECT_SECONDS:.0f} seconds"
    elif errors:
        reason = last_sentence(str(errors[0]) or repr(errors[0]))
    else:
        return ray
    raise InputError(
        f"The Ray cluster {address} cannot be joined: {reason}. --ray takes the address that "
        "`ray start --head` shows, on a machine where `ray start` runs too; a cluster with a token "
        "also needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH here."
    )


def require_gpus(ray: Any, flag: str, gpus: int) -> None:
    """Raise InputError if no node has so many GPUs: Ray would wait for such a node.

    Args:
        ray: of `join`.
        flag: the option that asks for them.
        gpus: of one process.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most = round(max((node.get("GPU", 0) for node in nodes), default=0))
    if gpus > most:
        raise InputError(
            f"--{flag} must be at most {most}, the GPUs of the largest of {len(nodes)} nodes; 0 "
            f"uses processors. Received: {gpus}."
        )


def last_sentence(text: str) -> str:
    r"""The first sentence of the last line of Ray's message, without its full stop.

    Example:
        >>> last_sentence("Traceback ...\nValueError: It is late. Go home.\n")
        'ValueError: It is late'
    """
    return text.strip().rpartition("\n")[2].partition(". ")[0].strip().rstrip(".")
