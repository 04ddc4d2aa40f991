"""What tests of published weights share: an empty machine, and a server on loopback."""

import contextlib
import http.server
import shutil
import threading
from pathlib import Path

from keras_wrn.weights import finding, published

ETAG = '"0123456789abcdef"'


def only_here(monkeypatch, tmp_path: Path) -> Path:
    """Leave nothing but tmp_path to look for weights in; returns its saved_models/."""
    saved_models = tmp_path / "saved_models"
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv(published.URL_VARIABLE, raising=False)
    monkeypatch.setattr(finding, "homes", lambda: (saved_models, published.cache()))
    return saved_models


@contextlib.contextmanager
def serve(files: dict[str, bytes | Path], *, cut: int | None = None, status: int = 200):
    """Serve files by path on loopback; yields the address and the paths asked for.

    Args:
        files: path -> content, or the file that holds it.
        cut: hang up after so many bytes of an answer that is longer.
        status: of every answer about a file that exists.
    """
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.start()

        def do_GET(self):
            asked.append(self.path)
            content, start = self.start()
            if isinstance(content, Path):
                with content.open("rb") as file:
                    file.seek(start)
                    shutil.copyfileobj(file, self.wfile)
            elif content is not None:
                self.wfile.write(content[start:][:cut])

        def start(self):
            """Send the head of the answer; return the content and where its rest starts."""
            content, start = files.get(self.path), 0
            if content is None:
                self.send_error(404)
                return None, 0
            size = content.stat().st_size if isinstance(content, Path) else len(content)
            if self.headers.get("Range") and self.headers.get("If-Range") in (None, ETAG):
                start = int(self.headers["Range"].removeprefix("bytes=").partition("-")[0])
            self.send_response(206 if start else status)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.send_header("Content-Length", str(size - start))
            # What Hugging Face says of a file.
            self.send_header("ETag", ETAG)
            self.send_header("X-Repo-Commit", "30f73aceaaa1911830a9795b83ab1908dba18719")
            self.end_headers()
            return content, start

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # How often it looks whether it shall stop, in seconds: half of one otherwise.
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def folder_files(folder: Path, prefix: str = "") -> dict[str, bytes]:
    """The files of a folder as `serve` takes them."""
    return {f"{prefix}/{folder.name}/{path.name}": path.read_bytes() for path in folder.iterdir()}
