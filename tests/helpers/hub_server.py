"""A stand-in of the Hugging Face Hub's HTTP API on loopback: no more than its client asks.

It keeps what it gets, byte for byte, and checks it as the Hub does: the token, the head of
README.md, and the SHA-256 of large files. There is no Xet storage: large files come by Git LFS.
"""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
from types import SimpleNamespace

import yaml

TOKEN = "hf_of_the_test"
OWNER = "somebody"
COMMIT = "30f73aceaaa1911830a9795b83ab1908dba18719"
_LARGE = (".h5", ".safetensors", ".npz", ".png")  # .gitattributes of a new repository has these


class Hub:
    """What the stand-in knows.

    Attributes:
        repositories: "owner/name" -> private, and files by path.
        asked: method and path of every request.
        refuse: path pattern -> status that is answered instead.
    """

    def __init__(self):
        self.repositories, self.asked, self.refuse, self.stored = {}, [], {}, {}

    def add(self, name, private=False):
        self.repositories[name] = SimpleNamespace(private=private, files={})
        return self.repositories[name]

    def answer(self, method, path, headers, body):
        """Return status, JSON or bytes, and headers."""
        path = path.partition("?")[0]
        self.asked.append(f"{method} {path}")
        for pattern, status in self.refuse.items():
            if re.fullmatch(pattern, path):
                return status, {"error": f"refused with {status}"}, {}
        if found := re.fullmatch(r"/stored/(\w+)", path):
            assert hashlib.sha256(body).hexdigest() == found[1]
            self.stored[found[1]] = body
            return 200, {}, {}
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid username or password."}, {}
        if path == "/api/whoami-v2":
            return 200, {"name": OWNER, "type": "user", "orgs": []}, {}
        if path == "/api/validate-yaml":
            content = json.loads(body)["content"]
            head = yaml.safe_load(content.split("---")[1])
            errors = [] if head.get("license") else [{"message": '"license" is required'}]
            return (400 if errors else 200), {"errors": errors, "warnings": []}, {}
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        found = re.fullmatch(r"(?:/api/models)?/([\w.-]+/[\w.-]+?)(?:\.git)?(?:/(.*))?", path)
        if not found or found[1] not in self.repositories:
            return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
        return self.of_repository(found[1], method, found[2] or "", body)

    def create(self, wanted):
        owner, private = wanted.get("organization") or OWNER, wanted.get("visibility") == "private"
        name = f"{owner}/{wanted['name']}"
        if owner != OWNER:
            return 403, {"error": f"You don't have the rights to create a model under {owner}"}, {}
        if name in self.repositories:
            return 409, {"error": "You already created this model repo"}, {}
        self.add(name, private or bool(wanted.get("private")))
        return 200, {"url": f"{self.url}/{name}"}, {}

    def of_repository(self, name, method, rest, body):
        repository, content = self.repositories[name], body and body[:1] == b"{" and body
        if rest in ("", "revision/main", f"revision/{COMMIT}"):
            listed = [{"rfilename": path} for path in sorted(repository.files)]
            described = {"id": name, "modelId": name, "sha": COMMIT, "siblings": listed}
            return 200, described | {"private": repository.private, "tags": []}, {}
        if rest.startswith("tree/"):
            return 200, [self.entry(path, data) for path, data in repository.files.items()], {}
        if rest == "preupload/main":
            files = [
                {"path": file["path"], "shouldIgnore": False}
                | {"uploadMode": "lfs" if file["path"].endswith(_LARGE) else "regular"}
                for file in json.loads(content)["files"]
            ]
            return 200, {"files": files}, {}
        if rest == "info/lfs/objects/batch":
            objects = [
                each | {"actions": {"upload": {"href": f"{self.url}/stored/{each['oid']}"}}}
                for each in json.loads(content)["objects"]
            ]
            return 200, {"transfer": "basic", "objects": objects}, {}
        if rest == "commit/main":
            for line in body.splitlines():
                self.commit(repository, **json.loads(line))
            url = f"{self.url}/{name}/commit/{COMMIT}"
            return (
                200,
                {"success": True, "commitOid": COMMIT, "commitUrl": url, "hookOutput": ""},
                {},
            )
        if found := re.fullmatch(r"resolve/(?:main|\w{40})/(.+)", rest):
            data = repository.files[found[1]]
            tag = f'"{hashlib.sha256(data).hexdigest()}"'
            return 200, data, {"X-Repo-Commit": COMMIT, "ETag": tag}
        return 404, {"error": f"{method} {rest} is unknown here"}, {}

    def entry(self, path, data):
        oid = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        return {"type": "file", "path": path, "size": len(data), "oid": oid}

    def commit(self, repository, key, value):
        if key == "header":
            repository.summary = value["summary"]
        elif key == "file":
            assert value["encoding"] == "base64"
            repository.files[value["path"]] = base64.b64decode(value["content"])
        else:
            assert (key, value["algo"]) == ("lfsFile", "sha256")
            repository.files[value["path"]] = self.stored[value["oid"]]


@contextlib.contextmanager
def running():
    """Run the stand-in; yields the `Hub`, whose `url` is its address."""
    hub = Hub()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def handle_any(self):
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content, headers = hub.answer(self.command, self.path, self.headers, body)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            kind = "octet-stream" if isinstance(content, bytes) else "json"
            for name, value in {"Content-Type": f"application/{kind}", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_HEAD = do_POST = do_PUT = handle_any

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
