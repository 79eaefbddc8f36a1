"""A small proxy in front of a real API server: it makes the faults that the server cannot be asked
for. Everything else goes through unchanged, streams included."""

import json
import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_HOP = ("connection", "transfer-encoding", "keep-alive", "host", "accept-encoding")


@dataclass
class Fault:
    """For requests whose `METHOD path?query` the pattern is found in, so often.

    status: answered instead of the server. reset_after: bytes of the answer's body until the
    connection is reset. silent: never answered.
    """

    pattern: str
    times: int = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    reset_after: int | None = None
    silent: bool = False


@dataclass
class Proxy:
    port: int
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, request: str) -> Fault | None:
        """The fault that this request meets, which is used up by it."""
        with self.lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.pattern, request):
                    fault.times -= 1
                    return fault
        return None

    def kubeconfig(self, folder: Path, token: str) -> Path:
        cluster = {"server": f"http://127.0.0.1:{self.port}"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "admin"}}],
            "current-context": "proxy",
        }
        path = folder / "kubeconfig-proxy"
        path.write_text(json.dumps(config))
        return path


@contextmanager
def in_front_of(server: str, authority: str) -> Iterator[Proxy]:
    """`authority`: file of the certificate that signed the server's; empty for http."""
    context = ssl.create_default_context(cafile=authority) if authority else None
    address = urlsplit(server)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            fault = proxy.take(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if fault and fault.silent:
                stopped.wait()
            elif fault and fault.status:
                self.answer(fault)
            else:
                self.forward(body, fault.reset_after if fault else None)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any

        def answer(self, fault: Fault) -> None:
            status = {"kind": "Status", "apiVersion": "v1", "code": fault.status}
            body = json.dumps({**status, "message": f"made by the proxy: {fault.status}"}).encode()
            self.send_response(fault.status)
            for name, value in {**fault.headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def forward(self, body: bytes, reset_after: int | None) -> None:
            host = address.netloc
            there = HTTPSConnection(host, context=context) if context else HTTPConnection(host)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
            there.request(self.command, self.path, body or None, headers)
            reply = there.getresponse()
            self.send_response(reply.status)
            for name, value in reply.getheaders():
                if name.lower() not in (*_HOP, "content-length"):
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            sent = 0
            while data := reply.read1(65536):
                if reset_after is not None and sent + len(data) > reset_after:
                    self.wfile.write(data[: reset_after - sent])
                    self.wfile.flush()
                    self.reset()
                    return
                self.wfile.write(data)
                self.wfile.flush()
                sent += len(data)

        def reset(self) -> None:
            """RST instead of an orderly end: what a crashed load balancer does."""
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError, ValueError):  # the client has left, or we have reset it
                super().handle()

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

    stopped = threading.Event()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    proxy = Proxy(httpd.server_address[1])
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        stopped.set()
        httpd.shutdown()
        httpd.server_close()
        thread.join()
