"""A server of one file on loopback that does wrong what a test sets."""

import contextlib
import http.server
import threading

OLD = bytes(range(256)) * 2000  # 512,000 bytes


class Server:
    """Serves one file. What it does wrong, a test sets.

    Attributes:
        content: the file.
        headers: the marks of its version.
        cuts: after how many bytes each of the next answers ends; None: at the end.
        ranges: whether it knows Range.
        content_range: what it says in place of the right Content-Range.
        before: called before each answer.
        silent: while it is not set, no answer ends.
        asked: Range and If-Range of every request.
    """

    def __init__(self, content=OLD, **headers):
        self.content, self.headers = content, headers or {"ETag": '"1"'}
        self.cuts, self.ranges, self.content_range = [], True, None
        self.before, self.asked = lambda: None, []
        self.silent = threading.Event()
        self.silent.set()

    def answer(self, handler):
        ranged, condition = handler.headers.get("Range"), handler.headers.get("If-Range")
        self.asked.append((ranged, condition))
        self.before()
        start, status = 0, 200
        if ranged and self.ranges and condition in self.headers.values():
            start, status = int(ranged.removeprefix("bytes=").removesuffix("-")), 206
        if start >= len(self.content):
            handler.send_error(416)
            return
        handler.send_response(status)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(self.content) - start))
        if status == 206:
            whole = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
            handler.send_header("Content-Range", self.content_range or whole)
        handler.end_headers()
        cut = self.cuts.pop(0) if self.cuts else None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            handler.wfile.write(self.content[start : None if cut is None else start + cut])
            handler.wfile.flush()
            self.silent.wait(10)


@contextlib.contextmanager
def running():
    """Run a server; yields the `Server`, whose `url` is the file's address."""
    served = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            served.answer(self)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}/file"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
