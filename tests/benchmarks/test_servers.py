"""The clients of the serving benchmarks count answers and failures of a server in a process."""

import json
import sys
import time
from pathlib import Path

import pytest

from keras_wrn.errors import InputError

ANSWERING = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self, status=200):
        body = b"{}"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET(200 if content == b"good" else 400)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")


def server_of(servers, code):
    port = servers.free_port()
    return servers.Server("peer", [sys.executable, "-c", code, str(port)], port, "/", "/", b"good")


def test_answers_and_failures_are_counted(bench, tmp_path):
    servers = bench("servers")
    server = server_of(servers, ANSWERING)
    server.start(tmp_path / "log")
    try:
        with servers.under_load(server, 2) as load:
            time.sleep(0.3)
        assert len(load.waits) > 2
        assert not load.failures
        assert max(load.waits) < load.seconds
        assert (server.megabytes() > 1, server.cpu_seconds() > 0) == (True, True)
        server.body = b"bad"
        with servers.under_load(server, 1) as load:
            time.sleep(0.1)
        assert not load.waits
        assert load.failures[0] == "400 {}"
    finally:
        server.stop()
    assert server.process.poll() is not None


def test_a_server_that_ends_is_named_with_its_last_words(bench, tmp_path):
    server = server_of(bench("servers"), "raise SystemExit('no port')")
    with pytest.raises(InputError, match=r"peer did not start\. The end of its log:\nno port"):
        server.start(tmp_path / "log")


def test_the_malformed_requests_are_many_and_differ(bench):
    program = bench("serving_faults")
    kinds = {}
    for kind, body in program.requests():
        kinds.setdefault(kind, set()).add(body)
    assert len(kinds["JSON cut"]) > 100
    assert len(kinds["image cut"]) > 250
    assert sum(map(len, kinds.values())) > 850
    whole = max(kinds["JSON cut"], key=len) + b"}"
    assert json.loads(whole)["signature_name"] == "serving_bytes"
