"""Serve exported networks on a Ray cluster, with TF Serving's REST interface.

    pip install ".[tf-cpu,serve,ray]"                      # on every node
    keras-wrn export saved_models/wrn-16-4-cifar10 served/wrn
    ray start --head                                       # or a cluster that you have
    serve start --http-port 8501                           # Ray Serve's own default is 8000
    python recipes/serve_ray.py served --replicas 2
    python examples/serving_client.py frog.png --model wrn

The folder is on a drive that all nodes share. Each replica answers as `keras-wrn serve` does, and
swaps versions by itself: a new `user_config` of Ray Serve stalls requests (ray-project/ray#54509).
Requests that come together are computed together. SIGTERM or Ctrl-C takes the networks down; if
this program is killed, they go on. docs/serving.md says when to use it.
"""

import asyncio
import signal
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from absl import flags, logging

from keras_wrn.cli import program
from keras_wrn.errors import InputError
from keras_wrn.serving.batching import Call, run_together
from keras_wrn.serving.repository import Repository
from keras_wrn.serving.rest import application
from keras_wrn.serving.servable import SavedModel
from keras_wrn.serving.server import load, watch
from keras_wrn.serving.service import THREADS, Service
from keras_wrn.system import ray_cluster
from keras_wrn.system.backend import import_package

NAME = "keras_wrn"  # of the application in Ray Serve
POLL_SECONDS = 2.0
BATCH_SECONDS = 0.005  # that a request waits for others
START_SECONDS = 600.0


def build(arguments: dict[str, str]) -> Any:
    """Return the application of a folder, {"folder": PATH}, for `serve run` and `serve deploy`."""
    return networks(Path(arguments["folder"])).bind()


def networks(folder: Path) -> Any:
    """Return the deployment of Ray Serve that serves a folder."""
    from ray import serve

    @serve.batch(max_batch_size=THREADS, batch_wait_timeout_s=BATCH_SECONDS)
    async def together(calls: list[Call]) -> list[Any]:
        return await asyncio.to_thread(run_together, calls)

    class Batched:
        """A `Servable` whose requests wait for others; its `run` is called in threads."""

        def __init__(self, version: Path, loop: asyncio.AbstractEventLoop) -> None:
            self._model, self._loop = SavedModel(version), loop
            self.signatures = self._model.signatures

        def run(self, signature_name: str, arrays: dict[str, Any]) -> dict[str, Any]:
            call = Call(self._model, signature_name, arrays)
            answer: Future[Any] = asyncio.run_coroutine_threadsafe(together(call), self._loop)
            if isinstance(result := answer.result(), Exception):
                raise result
            return result

    # A replica refuses what is above `Limits.requests`, 64; Ray would let it wait without end.
    @serve.deployment(name=NAME, max_ongoing_requests=128)
    @serve.ingress()
    class Networks:
        async def __init__(self) -> None:  # type: ignore[misc]  # Ray awaits it
            logging.set_verbosity(logging.INFO)
            loop = asyncio.get_running_loop()
            self._service = Service(Repository(folder, lambda version: Batched(version, loop)))
            await load(self._service)
            self._watching = asyncio.create_task(watch(self._service, POLL_SECONDS))

        def __serve_build_asgi_app__(self) -> Any:
            return application(self._service)

    return Networks


def wait_until_served(serve: Any) -> None:
    """Wait for the replicas; raises InputError if they cannot start, or do not in 10 minutes."""
    deadline, said = time.monotonic() + START_SECONDS, ""
    while (found := serve.status().applications[NAME]).status != "RUNNING":
        messages = [found.message, *(each.message for each in found.deployments.values())]
        message = ray_cluster.last_sentence(max(messages, key=len))
        if found.status == "DEPLOY_FAILED" or time.monotonic() > deadline:
            raise InputError(f"Ray Serve cannot start the networks: {message}.")
        if message != said:
            logging.info("waiting: %s", message)
        said = message
        time.sleep(0.5)


def main(arguments: list[str]) -> str:
    """Serve until SIGTERM or Ctrl-C."""
    options = flags.FLAGS
    if len(arguments) != 1:
        received = ", ".join(arguments) or "none"
        raise InputError(f"Give one folder of exported networks. Received: {received}.")
    folder = Path(arguments[0]).resolve()
    Repository(folder, SavedModel)  # raises InputError if it holds no model
    serve = import_package("ray.serve", '"ray[serve]"', "serve_ray.py")
    ray = ray_cluster.join(options.ray)
    ray_cluster.require_gpus(ray, "gpus_per_replica", options.gpus_per_replica)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    logging.set_verbosity(logging.INFO)
    resources = {"num_cpus": 1, "num_gpus": options.gpus_per_replica}
    deployment = networks(folder).options(
        num_replicas=options.replicas, ray_actor_options=resources
    )
    try:
        target = serve.RunTarget(deployment.bind(), name=NAME)
        try:
            serve.run_many([target], wait_for_applications_running=False)
        except ray.exceptions.RayError as error:  # such as another application at /
            raise InputError(f"{ray_cluster.last_sentence(str(error))}.") from error
        wait_until_served(serve)
        where = "where Ray Serve listens: http://127.0.0.1:8000, or as `serve start` was told"
        print(f"Serving {folder} {where}. Stop with Ctrl-C.", flush=True)
        while True:
            signal.pause()
    except KeyboardInterrupt:
        return "Stopped."
    finally:
        serve.delete(NAME)


if __name__ == "__main__":
    flags.DEFINE_string("ray", "auto", "auto or HOST:PORT of the cluster")
    flags.DEFINE_integer("replicas", 1, "processes that serve, each with every model", 1)
    flags.DEFINE_integer("gpus_per_replica", 0, "GPUs of each of them", 0)
    program.run(main)
