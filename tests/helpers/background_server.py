"""A server in a thread of the tests, on free ports of this machine."""

import asyncio
import base64
import contextlib
import io
import json
import threading
import urllib.error
import urllib.request
from types import SimpleNamespace

import numpy as np
from PIL import Image

from keras_wrn.serving.limits import Limits
from keras_wrn.serving.repository import Repository
from keras_wrn.serving.servable import SavedModel
from keras_wrn.serving.server import Options, serve
from keras_wrn.serving.service import Service
from keras_wrn.serving.signature import Signature, TensorInfo


@contextlib.contextmanager
def running(
    folder,
    *,
    load=SavedModel,
    limits=None,
    grpc=True,
    rest_port=0,
    grpc_port=0,
    poll_seconds=0.1,
    host="127.0.0.1",
    drain_seconds=5,
):
    """Serve a folder; yields url, grpc (host:port or None), service, and `stop` to end it.

    After the end, `cut` is the number of requests without an answer.
    """
    service = Service(Repository(folder, load), limits or Limits())
    options = Options(
        host=host,
        rest_port=rest_port,
        grpc_port=grpc_port if grpc else None,
        poll_seconds=poll_seconds,
        drain_seconds=drain_seconds,
    )
    ready, result = threading.Event(), SimpleNamespace(service=service, error=None)

    async def main():
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        result.stop = lambda: loop.call_soon_threadsafe(stop.set)

        def started(ports):
            result.url = f"http://{options.shown_host}:{ports.rest}"
            result.grpc = ports.grpc and f"{options.shown_host}:{ports.grpc}"
            ready.set()

        result.cut = await serve(service, options, stop, started)

    def work():
        try:
            asyncio.run(main())
        except BaseException as error:  # it is raised below
            result.error = error
        finally:
            ready.set()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    if result.error is None:
        try:
            yield result
        finally:
            with contextlib.suppress(RuntimeError):  # the loop may have ended
                result.stop()
            thread.join()
    if result.error is not None:
        raise result.error


class Doubler:
    """A servable without TensorFlow: `doubled` is twice `x`, float32 (n, 2)."""

    def __init__(self, folder):
        content = (folder / "saved_model.pb").read_text()
        if content == "broken":
            raise ValueError("The file is broken.\nSecond line.")
        self.factor = float(content or 2)
        info = TensorInfo("x:0", "DT_FLOAT", (None, 2))
        self.signatures = {"serving_default": Signature({"x": info}, {"doubled": info})}
        self.wait = lambda: None

    def run(self, signature_name, arrays):
        self.wait()
        return {"doubled": arrays["x"] * np.float32(self.factor)}


def write_version(folder, number, content=""):
    """Write a version that `Doubler` reads, whole when it appears."""
    part = folder / f".part-{number}"
    part.mkdir(parents=True)
    (part / "saved_model.pb").write_text(content)
    part.rename(folder / str(number))
    return folder / str(number)


def encoded(pixels, kind="PNG", **options):
    """An image file's bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def call(url, content=None, method=None):
    """Return status, JSON or text, and headers."""
    body = (
        content if content is None or isinstance(content, bytes) else json.dumps(content).encode()
    )
    request = urllib.request.Request(url, body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            status, text, headers = reply.status, reply.read(), reply.headers
    except urllib.error.HTTPError as error:
        with error:
            status, text, headers = error.code, error.read(), error.headers
    kind = headers.get("content-type", "")
    return status, json.loads(text) if "json" in kind else text.decode(), headers


def b64(content):
    return {"b64": base64.b64encode(content).decode()}
