"""Malformed requests: each has its own answer, and the server lives."""

import base64
import contextlib
import http.client
import json
import socket
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from background_server import Doubler, encoded, running, write_version
from PIL import Image
from tiny_run import random_images

from keras_wrn.serving import rest
from keras_wrn.serving.limits import Limits

IMAGE = random_images(1)[0]


@pytest.fixture
def ask(server):
    """POST a body to predict on one connection; returns status, JSON or None."""
    host = server.url.removeprefix("http://")

    def post(body, path="/v1/models/digits:predict", headers=None):
        connection = http.client.HTTPConnection(host, timeout=30)
        connection.request("POST", path, body, headers or {})
        reply = connection.getresponse()
        content = json.loads(reply.read())
        connection.close()
        return reply.status, content

    return post


@pytest.fixture(autouse=True)
def lives(server):
    """The server answers after each test, and has no request left."""
    yield
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    body = json.dumps({"instances": IMAGE[None].tolist()})
    connection.request("POST", "/v1/models/digits:predict", body)
    assert connection.getresponse().status == 200
    connection.close()
    assert server.service.limits.running == 0


def sent(*files):
    values = [{"b64": base64.b64encode(file).decode()} for file in files]
    return json.dumps({"signature_name": "serving_bytes", "instances": values}).encode()


def png_header(width, height):
    """A PNG that claims a size: a header and no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    chunks = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_json_cut_at_fifty_places(ask):
    good = sent(encoded(IMAGE))
    for end in np.linspace(0, len(good) - 1, 50).astype(int):
        status, answer = ask(good[:end])
        assert status == 400
        assert answer["error"].startswith("JSON Parse error: "), end


def test_noise_in_json_and_base64(ask):
    random = np.random.default_rng(0)
    for _ in range(20):
        status, answer = ask(random.bytes(300))
        assert status == 400
        assert "JSON" in answer["error"]
    for text in ("*", "====", "é", "A" * 5):
        values = [{"image_bytes": {"b64": text}}]
        body = json.dumps({"signature_name": "serving_bytes", "instances": values})
        status, answer = ask(body)
        assert (status, "no base64" in answer["error"]) == (400, True), answer
    for depth, sentence in ((5000, "JSON Parse error"), (900, "nested too deeply")):
        lists = b"[" * depth + b"]" * depth
        status, answer = ask(b'{"signature_name": "serving_bytes", "instances":' + lists + b"}")
        assert (status, sentence in answer["error"]) == (400, True), answer


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_images_that_are_cut(ask, kind):
    smooth = np.kron(IMAGE[:8, :8], np.ones((8, 8, 1), np.uint8))
    whole = encoded(smooth, kind)
    assert ask(sent(whole))[0] == 200
    for share in (0.02, 0.4, 0.7):
        status, answer = ask(sent(whole[: int(share * len(whole))]))
        assert (status, list(answer)) == (400, ["error"]), (share, answer)
        assert len(answer["error"]) > 20


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (b"", 400, "Image 0 of `image_bytes` has no bytes."),
        (b"noise", 400, "is not an image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, 400, "is not an image"),
        (png_header(8000, 6500), 413, "8000 x 6500 pixels. The server takes 25,000,000"),
        (png_header(10000, 10000), 413, "0000"),
        (png_header(30000, 30000), 413, "is too large"),
        (png_header(2**31 - 1, 2**31 - 1), 413, "is too large"),
        (png_header(0, 5), 400, "image"),
    ],
    ids=["empty", "noise", "zeros", "52 MP", "100 MP", "900 MP", "2**62", "no width"],
)
def test_images_that_are_none_or_claim_a_large_size(ask, content, status, sentence):
    received, answer = ask(sent(content))
    assert received == status
    assert sentence in answer["error"]


def test_a_long_string_among_numbers_takes_no_memory(ask):
    values = ["a" * 50_000] + [1] * 20_000  # 4 GB, if each were as long
    status, answer = ask(json.dumps({"instances": values}).encode())
    assert status == 400
    assert (
        "must hold whole numbers from 0 to 255 (DT_UINT8). Received: a string." in answer["error"]
    )


def test_tiny_files_are_limited_by_what_the_network_takes_them_as(ask, server, monkeypatch):
    monkeypatch.setattr(server.service.limits, "request_bytes", 10 * 32 * 32 * 3)
    tiny = encoded(IMAGE[:1, :1], "PNG")
    assert ask(sent(*[tiny] * 10))[0] == 200
    status, answer = ask(sent(*[tiny] * 11))
    assert (status, "11 images, which the network takes as 3,072 bytes" in answer["error"]) == (
        413,
        True,
    )


def test_base64_with_white_space_and_without_padding(ask):
    content = encoded(IMAGE)
    for text in (base64.encodebytes(content), base64.b64encode(content).rstrip(b"=")):
        values = [{"b64": text.decode()}]
        body = json.dumps({"signature_name": "serving_bytes", "instances": values})
        assert ask(body)[0] == 200


@pytest.mark.parametrize(
    ("frames", "status"),
    [
        ([(32, 32), (20, 30)], 200),
        ([(8, 8), (5001, 5000)], 413),
        ([(8, 8), (60000, 1), (1, 60000)], 413),
        ([(3000, 3000)] * 9, 413),
    ],
    ids=["small", "a large second frame", "a large canvas", "many frames"],
)
def test_the_frames_of_a_gif_count(ask, frames, status):
    first = Image.fromarray(IMAGE[: frames[0][1], : frames[0][0]])
    gif = encoded(np.asarray(first), "GIF")[:-1]
    for width, height in frames[1:]:
        # An extension, a frame with a table of two colours, and two blocks of data.
        gif += b"!\xf9\4" + bytes(4) + b"\0,"
        gif += struct.pack("<HHHHB", 0, 0, width, height, 0x80) + bytes(6) + b"\2\1\4\1\1\0"
    if frames[0] == (3000, 3000):
        gif = gif.replace(struct.pack("<HH", 32, 32), struct.pack("<HH", 3000, 3000))
    received, answer = ask(sent(gif + b";"))
    assert received == status, answer
    assert status == 200 or "pixels. The server takes 25,000,000" in answer["error"]


def test_an_extension_of_a_gif_has_data(ask):
    gif = encoded(IMAGE, "GIF")[:-1] + b"!\xfe\0;"
    assert "its header cannot be read" in ask(sent(gif))[1]["error"]


def test_the_rest_of_a_body_is_awaited_only_where_there_is_one(ask, server, monkeypatch):
    waited = []

    async def drain(request):
        waited.append(request.url.path)

    monkeypatch.setattr(rest, "_drain", drain)
    assert ask(sent(png_header(8000, 6500)))[0] == 413  # a whole body
    assert not waited
    too_long = {"Content-Length": str(server.service.limits.request_bytes + 1)}
    assert ask(b"x" * 100, headers=too_long)[0] == 413
    assert len(waited) == 1


def test_too_many_bytes_are_refused_before_they_come(ask, server):
    limit = server.service.limits.request_bytes
    status, answer = ask(b"x" * 100, headers={"Content-Length": str(limit + 1)})
    assert (status, "16,000,000 bytes at most" in answer["error"]) == (413, True)

    def chunks():
        for _ in range(limit // 1_000_000 + 1):
            yield b"x" * 1_000_000

    status, answer = ask(chunks())
    assert status == 413


def test_a_client_that_vanishes_holds_nothing(server):
    host, port = server.url.removeprefix("http://").split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                b"POST /v1/models/digits:predict HTTP/1.1\r\nHost: x\r\n"
                b"Content-Length: 1000\r\n\r\n{"
            )
    deadline = time.monotonic() + 30
    while server.service.limits.running and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.service.limits.running == 0


def test_half_a_frame_of_grpc(server):
    if server.grpc is None:
        pytest.skip("the packages for gRPC are not installed")
    host, port = server.grpc.split(":")
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for content in (preface, preface + b"\0\0\5\4\0", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 40):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(content)
    grpc = pytest.importorskip("grpc")
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(server.grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=30).status == 1


def test_requests_above_the_limit_are_refused_at_once(tmp_path):
    write_version(tmp_path / "wrn", 1)
    going, go_on = threading.Semaphore(0), threading.Event()

    class Waiting(Doubler):
        asked = 0

        def run(self, signature_name, arrays):
            Waiting.asked += 1
            if Waiting.asked > 1:  # the first is the trial of the version
                going.release()
                assert go_on.wait(30)
            return super().run(signature_name, arrays)

    def post(url, statuses):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        connection.request("POST", "/v1/models/wrn:predict", b'{"instances": [[1, 2]]}')
        reply = connection.getresponse()
        statuses.append((reply.status, reply.read()))
        connection.close()

    limits = Limits(requests=2)
    with running(tmp_path / "wrn", load=Waiting, limits=limits, grpc=False) as server:
        waiting, refused = [], []
        threads = [threading.Thread(target=post, args=(server.url, waiting)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert going.acquire(timeout=30)
        post(server.url, refused)
        assert refused[0][0] == 429
        assert server.service.limits.running == 2
        assert b"has 2 requests, its limit" in refused[0][1]
        server.stop()  # what runs is answered before the server ends
        go_on.set()
        for thread in threads:
            thread.join()
        assert waiting == [(200, b'{"predictions":[[2.0,4.0]]}')] * 2
    assert server.cut == 0


def test_requests_without_an_answer_are_counted(tmp_path):
    write_version(tmp_path / "wrn", 1)
    going, go_on = threading.Event(), threading.Event()

    class Waiting(Doubler):
        asked = 0

        def run(self, signature_name, arrays):
            Waiting.asked += 1
            if Waiting.asked > 1:
                going.set()
                assert go_on.wait(30)
            return super().run(signature_name, arrays)

    def post(url):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            connection.request("POST", "/v1/models/wrn:predict", b'{"instances": [[1, 2]]}')
            answers.append(connection.getresponse().status)
        connection.close()

    answers = []
    with running(tmp_path / "wrn", load=Waiting, grpc=False, drain_seconds=0) as server:
        thread = threading.Thread(target=post, args=(server.url,))
        thread.start()
        assert going.wait(30)
        server.stop()
        thread.join()
        go_on.set()
    assert (server.cut, 200 in answers) == (1, False)


def test_a_body_that_does_not_come_is_given_up(tmp_path):
    write_version(tmp_path / "wrn", 1)
    with running(tmp_path / "wrn", load=Doubler, limits=Limits(seconds=0.2), grpc=False) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(
                b"POST /v1/models/wrn:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
            )
            reply = connection.makefile("rb").read()
    assert reply.startswith(b"HTTP/1.1 504")
    assert b"did not arrive in 0.2 s" in reply


def test_a_bug_is_answered_without_its_details(tmp_path, caplog):
    write_version(tmp_path / "wrn", 1)

    class Buggy(Doubler):
        asked = False

        def run(self, signature_name, arrays):
            if Buggy.asked:
                raise KeyError("secret")
            Buggy.asked = True
            return super().run(signature_name, arrays)

    with running(tmp_path / "wrn", load=Buggy, grpc=False) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
        connection.request("POST", "/v1/models/wrn:predict", b'{"instances": [[1, 2]]}')
        reply = connection.getresponse()
        assert (reply.status, b"secret" in reply.read()) == (500, False)
        connection.close()
    assert "secret" in caplog.text


def test_images_that_are_all_marked_as_not_valid_are_refused(tmp_path):
    write_version(tmp_path / "wrn", 1)

    class Marking(Doubler):
        def run(self, signature_name, arrays):
            valid = arrays["x"][:, 0] >= 0
            return {**super().run(signature_name, arrays), "valid": valid.astype("int32")}

    with running(tmp_path / "wrn", load=Marking, grpc=False) as server:
        for values, status in (("[[-1, 2]]", 400), ("[[-1, 2], [1, 2]]", 200)):
            connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
            body = f'{{"instances": {values}}}'
            connection.request("POST", "/v1/models/wrn:predict", body)
            reply = connection.getresponse()
            assert (reply.status, b"can be decoded" in reply.read()) == (status, status == 400)
            connection.close()
