"""What answers is no API server, or nothing can be asked at all: one message, and no traceback."""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from launcher.backends.kubernetes.api import Api
from launcher.backends.kubernetes.connection import Place, connect
from launcher.backends.kubernetes.refusals import refusal
from launcher.cli.main import run
from launcher.errors import CliExit, UnreachableError, UsageError
from tests.backends.kubernetes_server import listening

HTML = b"<html>\nPlease log in</html>"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def configure(home: Path, server: str, user: dict[str, Any] | None = None, **cluster: str) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "c", "user": user or {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "current-context": "c",
    }
    (home / "kubeconfig").write_text(json.dumps(config))


def web_server(status: int, kind: str, body: bytes) -> AbstractContextManager[str]:
    return listening(lambda *_: (status, kind, body))


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (200, "text/html", HTML),
        (200, "application/json", b""),
        (200, "application/json", b'{"kind": "PodList", "items": '),
        (200, "application/json", b"[]"),
        (200, "application/json", b'{"login": "https://portal"}'),
        (200, "application/json", b'{"kind": "PodList", "items": [1]}'),
        (200, "application/octet-stream", b"\xff\xfe\x00"),
        (302, "text/html", b""),
        (404, "text/html", HTML),
    ],
)
def test_answer_of_another_server(home: Path, status: int, kind: str, body: bytes) -> None:
    with web_server(status, kind, body) as server:
        configure(home, server)
        api = Api(Place())
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}}
        for ask in (
            lambda: api.list("v1", "Pod"),
            lambda: api.get("v1", "ConfigMap", "d0-plan"),
            lambda: api.apply(job),
            lambda: api.delete(job),
        ):
            with pytest.raises(UnreachableError) as caught:
                ask()
            assert str(caught.value).startswith(f"{server}: what answers is not an API server of ")
            assert f"({status}, {kind}: " in str(caught.value)


def test_kind_that_is_not_installed_is_no_other_server(home: Path) -> None:
    """An API server says so in plain text too."""
    with web_server(404, "text/plain", b"404 page not found\n") as server:
        configure(home, server)
        assert Api(Place()).list("ray.io/v1", "RayJob") == []


SPEC = """
apiVersion: launcher/v1
name: d0
recipe: efficientdet_d0
data:
  train: /data/coco_train.record-*
  val: /data/coco_val.record-*
  label_map: /data/mscoco_label_map.pbtxt
  dataset: coco2017
batch: {global_batch: 32, per_replica_batch: 16}
cluster:
  workers: 2
  image: registry.invalid/launcher:1
  cpus_per_worker: 1
  memory_per_worker: 1Gi
  volumes:
  - {name: data, mount_path: /data, claim: coco, read_only: true}
  - {name: runs, mount_path: /mnt/runs, claim: runs}
backend: {kind: kubernetes}
run_dir: /mnt/runs
"""


@pytest.mark.parametrize(
    "args",
    [
        ["list", "--backend", "kubernetes"],
        ["submit", "SPEC", "--dry-run=server"],
        ["submit", "SPEC", "--detach"],
        ["status", "d0"],
        ["logs", "d0"],
        ["results", "d0"],
        ["cancel", "d0"],
        ["delete", "d0"],
    ],
)
def test_commands_behind_a_portal(
    home: Path, args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from launcher.backends import registry

    (home / "d0.yaml").write_text(SPEC)
    with web_server(200, "text/html", HTML) as server:
        configure(home, server)
        where = {"context": "c", "namespace": "default"}
        copy = home / "state" / "launcher" / "kubernetes" / "c" / "default" / "d0"
        registry.remember("d0", copy, "kubernetes", where)
        code = run([str(home / "d0.yaml") if arg == "SPEC" else arg for arg in args])
    said = capsys.readouterr().err.splitlines()
    assert code == CliExit.UNREACHABLE
    assert said == [line for line in said if line.startswith(f"error: {server}: what answers is")]
    assert len(said) == 1


@pytest.mark.parametrize("server", ["", "foo:6443", "https://foo bar:1", "ftp://foo/x"])
def test_no_address(home: Path, server: str) -> None:
    configure(home, server)
    with pytest.raises(UsageError, match="is not the address of a server") as caught:
        connect(Place())
    assert "context c" in str(caught.value)


@pytest.mark.parametrize("token", ["one\ntwo", "sn\N{SNOWMAN}w"])
def test_damaged_token_is_told_without_it(home: Path, token: str) -> None:
    configure(home, "https://127.0.0.1:1", {"token": token})
    with pytest.raises(UsageError, match="its token has a character in it") as caught:
        Api(Place()).list("v1", "Pod")
    assert token[:2] not in str(caught.value).replace("context", "").replace("connect", "")


@pytest.mark.parametrize("command", ["no-such-program", "false"])
def test_program_that_gives_no_token(
    home: Path, command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    program = {"apiVersion": "client.authentication.k8s.io/v1", "command": command}
    configure(home, "https://127.0.0.1:1", {"exec": {**program, "interactiveMode": "Never"}})
    with pytest.raises(UsageError, match="the credentials of context c cannot be had") as caught:
        connect(Place())
    assert "Log in as you do for kubectl" in str(caught.value)
    assert capfd.readouterr().err == ""


def test_proxy_that_cannot_be_used(home: Path) -> None:
    configure(home, "https://127.0.0.1:1", **{"proxy-url": "foo://bar"})
    with pytest.raises(UsageError, match="unsupported scheme foo"):
        Api(Place()).list("v1", "Pod")


def test_no_credentials_at_all() -> None:
    text = 'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group ""'
    error = refusal(403, {"message": text}, "https://s", "GET", "/api/v1/namespaces/n/pods")
    assert "does not accept the credentials (403): it was given none. Log in again" in str(error)
