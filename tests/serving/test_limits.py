"""What one client can take of a server is bounded."""

import asyncio
import gzip
import http.client
import io
import socket
import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest
from background_server import Doubler, encoded, running, write_version
from PIL import Image
from tiny_run import random_images

from keras_wrn.serving.limits import Limits
from keras_wrn.serving.refusal import Refusal
from keras_wrn.serving.repository import Repository
from keras_wrn.serving.server import MOST_HEADER, Options, serve
from keras_wrn.serving.service import THREADS, Service


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("limits") / "wrn"
    write_version(folder, 1)
    with running(folder, load=Doubler, grpc=False) as started:
        yield started


@pytest.mark.parametrize("line", [b"a:b\r\n", b"x"])
def test_a_header_without_end_ends_the_connection(server, line):
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nname: ")
        with pytest.raises(ConnectionError):
            while True:  # until the server has hung up
                connection.sendall(line * (MOST_HEADER // len(line)))


def test_a_request_after_a_large_one_has_its_own_limit(server):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    for _ in range(3):
        body = b'{"instances": [[1, 2]]}' + b" " * 2 * MOST_HEADER
        headers = {"padding": "x" * (MOST_HEADER // 2)}
        connection.request("POST", "/v1/models/wrn:predict", body, headers)
        reply = connection.getresponse()
        assert (reply.status, reply.read()) == (200, b'{"predictions":[[2.0,4.0]]}')
    connection.close()


def test_a_compressed_body_is_refused_in_a_sentence(server):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    body = gzip.compress(b'{"instances": [[1, 2]]}')
    connection.request("POST", "/v1/models/wrn:predict", body, {"Content-Encoding": "gzip"})
    reply = connection.getresponse()
    assert (reply.status, b"must not be compressed" in reply.read()) == (415, True)
    connection.close()


def files(*contents):
    array = np.empty(len(contents), object)
    array[:] = contents
    return array


def test_all_images_of_a_request_count_together():
    image = encoded(np.zeros((100, 100, 3), np.uint8))
    limits = Limits(pixels=10_000)
    limits.check_images("image_bytes", files(*[image] * 10))
    with pytest.raises(Refusal, match="110,000 pixels together. The server takes 100,000"):
        limits.check_images("image_bytes", files(*[image] * 11))


@pytest.mark.parametrize("kind", ["ICO", "EPS"])
def test_kinds_that_do_more_than_open_are_no_images(kind):
    content = io.BytesIO()
    Image.fromarray(random_images(1)[0]).save(content, kind)
    with pytest.raises(Refusal, match="Image 0 of `image_bytes` is not an image"):
        Limits().check_images("image_bytes", files(content.getvalue()))


def test_a_cancelled_request_counts_until_its_work_ends(tmp_path):
    write_version(tmp_path / "wrn", 1)
    service = Service(Repository(tmp_path / "wrn", Doubler), Limits(requests=THREADS + 1))
    go_on, all_run = threading.Event(), threading.Barrier(THREADS + 1, timeout=30)

    def work():
        all_run.wait()
        assert go_on.wait(30)

    async def main():
        tasks = [asyncio.create_task(service.admitted(work)) for _ in range(THREADS)]
        await asyncio.to_thread(all_run.wait)
        waiting = asyncio.create_task(service.admitted(work))
        await asyncio.sleep(0)
        with pytest.raises(Refusal, match="has 17 requests, its limit"):
            await service.admitted(work)
        for task in (*tasks, waiting):
            task.cancel()
        await asyncio.wait([*tasks, waiting])
        counted = service.limits.running  # the one that waited is gone
        go_on.set()
        deadline = time.monotonic() + 30
        while service.limits.running and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        return counted

    assert asyncio.run(main()) == THREADS
    assert (service.limits.running, service.limits.cut) == (0, THREADS + 1)
    service.close()


def test_a_stop_while_models_load_ends_the_server_before_it_listens(tmp_path):
    write_version(tmp_path / "wrn", 1)
    loading, go_on = threading.Event(), threading.Event()

    class Slow(Doubler):
        def __init__(self, folder):
            loading.set()
            assert go_on.wait(30)
            super().__init__(folder)

    started, result = [], Future()

    async def main():
        stop, service = asyncio.Event(), Service(Repository(tmp_path / "wrn", Slow))
        serving = asyncio.create_task(
            serve(service, Options(rest_port=0, grpc_port=None), stop, started.append)
        )
        await asyncio.to_thread(loading.wait, 30)
        stop.set()
        result.set_result(await serving)
        go_on.set()

    asyncio.run(main())
    assert (result.result(), started) == (0, [])
