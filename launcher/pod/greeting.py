"""One line of JSON between two pods of a run, before TensorFlow listens on the same port."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

_MOST_BYTES = 4096
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Greeting:
    """What a worker says of itself."""

    index: int
    plan: str
    """SHA-256 of its plan's files."""
    version: str
    """Of launcher, with the hash of its code."""
    ready: bool = False
    """It has reached worker 0 too, and seen that they share the folder."""
    token: str = ""
    """Worker 0's: what it has written into the run's folder."""


class Listener:
    """Answers each connection with the own greeting. A line `go` sets `released`."""

    def __init__(self, port: int, say: Callable[[], Greeting]) -> None:
        """Raises OSError when the port is taken."""
        self.released = threading.Event()
        self._say = say
        self._socket = (
            socket.create_server(
                ("", port), family=socket.AF_INET6, backlog=1024, dualstack_ipv6=True
            )
            if _has_ipv6()
            else socket.create_server(("", port), backlog=1024)
        )
        threading.Thread(target=self._serve, name="greeting", daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # closed
            with connection, contextlib.suppress(OSError, ValueError):
                connection.settimeout(_ANSWER_SECONDS)
                asked = _line(connection)
                connection.sendall(json.dumps(asdict(self._say())).encode() + b"\n")
                if asked == "go":
                    self.released.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def ask(host: str, question: str = "who") -> Greeting:
    """Of the worker at `host:port`. Raises OSError, ValueError when it is none of ours."""
    name, _, port = host.rpartition(":")
    with socket.create_connection((name, int(port)), timeout=_ANSWER_SECONDS) as connection:
        connection.sendall(question.encode() + b"\n")
        try:
            answer: Any = json.loads(_line(connection))
            return Greeting(**answer)
        except TypeError:
            raise ValueError("not a worker") from None


def _line(connection: socket.socket) -> str:
    read = b""
    while b"\n" not in read and len(read) < _MOST_BYTES:
        part = connection.recv(_MOST_BYTES)
        if not part:
            break
        read += part
    return read.split(b"\n")[0].decode(errors="replace")


def _has_ipv6() -> bool:
    return socket.has_dualstack_ipv6()
