"""An API server of a few objects, for tests of what is asked and in which order. tests/cluster has
the real one."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from launcher.backends.kubernetes.api import path_of

Json = dict[str, Any]


class Server:
    """`refuse`: of requests as `PATCH /apis/...?dryRun=All`, those that it answers with 422."""

    def __init__(self) -> None:
        self.address = ""
        self.requests: list[str] = []
        self.refuse = "never"
        self.watch: Callable[[str], None] = lambda request: None
        self._items: dict[str, Json] = {}

    def add(self, item: Json, namespace: str = "default") -> None:
        name = item["metadata"]["name"]
        item["metadata"].setdefault("uid", f"uid-{name}")
        self._items[path_of(item["apiVersion"], item["kind"], namespace, name)] = item

    def remove(self, kind: str) -> None:
        self._items = {p: item for p, item in self._items.items() if item["kind"] != kind}

    def answer(self, method: str, url: str, body: bytes) -> tuple[int, Json]:
        path, query = urlsplit(url).path, parse_qs(urlsplit(url).query)
        request = f"{method} {path}" + ("?dryRun" if "dryRun" in query else "")
        self.requests.append(request)
        self.watch(request)
        if re.search(self.refuse, request):
            return 422, {"kind": "Status", "message": "the image is missing"}
        _, _, rest = path.partition("/namespaces/")
        namespace, *kind_and_name = rest.split("/")
        if method == "GET" and len(kind_and_name) == 1:
            here = [item for p, item in self._items.items() if p.rsplit("/", 1)[0] == path]
            return 200, {"kind": "List", "items": here}
        found = self._items.get(path)
        if method == "PATCH":
            found = found or json.loads(body)
            if "dryRun" not in query:
                self.add(found, namespace)
        elif method == "DELETE" and found:
            del self._items[path]
        return (200, found) if found else (404, {"kind": "Status", "message": "not found"})


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    def answer(method: str, path: str, body: bytes) -> tuple[int, str, bytes]:
        code, found = server.answer(method, path, body)
        return code, "application/json", json.dumps(found).encode()

    with listening(answer) as server.address:
        yield server


@contextmanager
def listening(answer: Callable[[str, str, bytes], tuple[int, str, bytes]]) -> Iterator[str]:
    """Its address. `answer` gives status, content type and body of each request."""

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, kind, body = answer(self.command, self.path, asked)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PATCH = do_DELETE = respond

        def log_message(self, format: str, *args: Any) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def configure(kubeconfig: Path, server: str) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "c", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "current-context": "c",
    }
    kubeconfig.write_text(json.dumps(config))


def pod(name: str, phase: str, index: int = 0, job: str = "d0-worker") -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/component": job.removeprefix("d0-"),
        "batch.kubernetes.io/job-completion-index": str(index),
    }
    meta = {"name": name, "labels": labels, "ownerReferences": [{"uid": f"uid-{job}"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "status": {"phase": phase}}
