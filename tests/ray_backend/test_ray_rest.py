"""Addresses that are no Ray cluster: each is told in one message, in time."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from launcher.backends.ray import submission
from launcher.backends.ray.rest import SECONDS, Dashboard, RefusedError
from launcher.cli.main import run
from launcher.errors import UnreachableError

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"


@contextmanager
def server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()


@contextmanager
def listener(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A TCP server that is none of HTTP."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()

        def serve() -> None:
            try:
                while True:
                    connection, _ = sock.accept()
                    answer(connection)
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        sock.shutdown(socket.SHUT_RDWR)


def closed_port() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Json(Quiet):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"version": "7"}')


class Html(Quiet):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")


class Fails(Quiet):
    """A dashboard that has lost its head node's agent, or its mind."""

    def do_GET(self) -> None:
        self.send_response(500)
        self.end_headers()
        self.wfile.write(b"Traceback (most recent call last):\n  ...\nRuntimeError: no agent\n")

    do_POST = do_GET


class WantsHttps(Quiet):
    """As nginx answers plain HTTP where it speaks HTTPS."""

    def do_GET(self) -> None:
        self.send_response(400)
        self.end_headers()
        title = b"400 The plain HTTP request was sent to HTTPS port"
        self.wfile.write(b"<html>\n<head><title>" + title + b"</title></head>\n</html>\n")

    do_POST = do_GET


FAILING = [(Fails, "HTTP 500: RuntimeError: no agent"), (WantsHttps, "sent to HTTPS port")]


class Locked(Quiet):
    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()


def told(address: str) -> str:
    with pytest.raises(UnreachableError) as caught:
        Dashboard(address, seconds=1.0).version()
    text = str(caught.value)
    assert address in text
    return text


def test_nobody_listens() -> None:
    assert "no Ray cluster answers there (Connection refused)" in told(closed_port())


def test_name_that_does_not_exist() -> None:
    assert "no Ray cluster answers there" in told("http://no-such-host.invalid:8265")


def test_who_says_nothing_is_given_up_in_time() -> None:
    started = time.monotonic()
    kept: list[socket.socket] = []
    with listener(kept.append) as address:
        assert "no Ray cluster answers there" in told(address)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("handler", [Quiet, Json, Html])
def test_other_web_servers(handler: type[BaseHTTPRequestHandler]) -> None:
    with server(handler) as address:
        assert "something answers there that is no Ray dashboard" in told(address)


@pytest.mark.parametrize(("handler", "why"), FAILING)
def test_servers_that_answer_with_an_error(handler: type[BaseHTTPRequestHandler], why: str) -> None:
    with server(handler) as address:
        text = told(address)
        assert "answers with an error" in text
        assert why in text
        asked = Dashboard(address, seconds=1.0)
        questions: tuple[Callable[[], object], ...] = (
            asked.python_version,
            asked.nodes,
            asked.jobs,
            lambda: asked.job("x"),
            lambda: asked.knows("x"),
            lambda: asked.logs("x"),
        )
        for question in questions:
            with pytest.raises(UnreachableError):
                question()
        with pytest.raises(RefusedError, match=why) as caught:
            asked.submit({})
        assert caught.value.problems[0].place == address
        asked.stop("x")  # what it was to stop cannot be stopped


def test_a_server_of_another_protocol() -> None:
    def greet(connection: socket.socket) -> None:
        with connection:
            connection.recv(1000)
            connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

    with listener(greet) as address:
        assert "is no Ray dashboard" in told(address)


def test_a_cluster_that_wants_a_token() -> None:
    with server(Locked) as address:
        assert "RAY_AUTH_TOKEN" in told(address)


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_token_goes_nowhere_else(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the-secret")
    asked: list[str] = []

    class Elsewhere(Json):
        def do_GET(self) -> None:
            asked.append(str(self.headers.get("Authorization")))
            super().do_GET()

        do_POST = do_GET

    with server(Elsewhere) as other:

        class SendsOn(Quiet):
            def do_GET(self) -> None:
                self.send_response(code)
                self.send_header("Location", other.replace("127.0.0.1", "localhost") + self.path)
                self.end_headers()

            do_POST = do_GET

        with server(SendsOn) as address:
            assert f"sends us to another address ({other[:7]}localhost" in told(address)
            with pytest.raises(UnreachableError, match="sends us to another address"):
                Dashboard(address).submit({})
        assert not asked
        Dashboard(other).jobs()
        assert asked == ["Bearer the-secret"]


class Version(Quiet):
    """A Ray that answers one question."""

    def do_GET(self) -> None:
        if self.path == "/api/version":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"version": "4", "ray_version": "2.60.0", "ray_commit": "x"}')
        else:
            self.rest()

    def do_POST(self) -> None:
        self.rest()

    do_PUT = do_POST

    def rest(self) -> None:
        """Ends the connection without an answer."""


class VersionAlone(Version):
    def rest(self) -> None:
        self.send_response(403)
        self.end_headers()


@pytest.mark.parametrize(
    ("handler", "said"),
    [(Version, "the connection was lost while"), (VersionAlone, "Set RAY_AUTH_TOKEN")],
)
def test_a_cluster_that_goes_away_while_it_takes_the_job(
    handler: type[BaseHTTPRequestHandler], said: str
) -> None:
    with server(handler) as address:
        with pytest.raises(UnreachableError) as caught:
            submission.submit(address, {"submission_id": "x", "entrypoint": "x", "runtime_env": {}})
        assert said in str(caught.value)
        assert caught.value.problems[0].place == address


@pytest.fixture
def submitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """What `submit --address` says with exit code 5, when it leaves nothing behind."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def submit(address: str) -> str:
        arguments = ["submit", str(DEMO), "--backend", "ray", "--run-dir", str(tmp_path / "runs")]
        assert run([*arguments, "--address", address]) == 5
        said = capsys.readouterr()
        assert said.err.count("\n") == 1
        assert address in said.err
        assert not said.out
        assert not (tmp_path / "runs").exists()
        return said.err

    return submit


def test_submit_says_it_with_exit_code_5(submitted: Callable[[str], str]) -> None:
    assert "no Ray cluster answers there" in submitted(closed_port())


@pytest.mark.parametrize(("handler", "why"), FAILING)
def test_submit_to_a_server_that_answers_with_an_error(
    submitted: Callable[[str], str], handler: type[BaseHTTPRequestHandler], why: str
) -> None:
    with server(handler) as address:
        assert why in submitted(address)


def test_submit_to_who_says_nothing(submitted: Callable[[str], str]) -> None:
    """With the time-out that it has; what a busy machine adds is not its own."""
    assert SECONDS <= 5, "half of the 10 s that are promised"
    kept: list[socket.socket] = []
    with listener(kept.append) as address:
        assert "timed out" in submitted(address)
    assert kept, "it was asked"
