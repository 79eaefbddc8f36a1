"""Which cluster is asked, and one that does not answer."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from launcher.backends.kubernetes.api import Api
from launcher.backends.kubernetes.connection import Place, connect
from launcher.backends.kubernetes.refusals import refusal
from launcher.errors import UnreachableError, UsageError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(path: Path, context: str, server: str, namespace: str = "") -> Path:
    where = {"cluster": context, "user": context, **({"namespace": namespace} if namespace else {})}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {"server": server}}],
        "users": [{"name": context, "user": {"token": "t"}}],
        "contexts": [{"name": context, "context": where}],
        "current-context": context,
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(config))
    return path


def test_order_of_kubectl(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / ".kube" / "config", "home", "https://home:6443")
    first = write(home / "a", "first", "https://a:6443", "vision")
    second = write(home / "b", "second", "https://b:6443")
    assert connect(Place()).place == Place("home", "default")
    monkeypatch.setenv("KUBECONFIG", f"{first}:{home / 'missing'}:{second}")
    assert connect(Place()).place == Place("first", "vision")
    assert connect(Place("second", "mine")).place == Place("second", "mine")
    assert connect(Place("second")).server == "https://b:6443"


def test_context_that_is_not_there(home: Path) -> None:
    write(home / ".kube" / "config", "home", "https://home:6443")
    with pytest.raises(UsageError, match='no context "far"') as caught:
        connect(Place("far"))
    assert "Set backend.kubernetes.context to home" in str(caught.value)


@pytest.mark.parametrize("current", [None, "", "gone"])
def test_a_named_context_needs_no_current_one(home: Path, current: str | None) -> None:
    path = write(home / ".kube" / "config", "home", "https://home:6443", "vision")
    config = json.loads(path.read_text())
    del config["current-context"]
    named = {} if current is None else {"current-context": current}
    path.write_text(json.dumps(config | named))
    assert connect(Place("home")).place == Place("home", "vision")
    with pytest.raises(UsageError, match='no context "far"'):
        connect(Place("far"))
    with pytest.raises(UsageError, match='no context "gone"' if current else "no current-context"):
        connect(Place())


def test_no_cluster_at_all() -> None:
    with pytest.raises(UsageError, match="no cluster is configured") as caught:
        connect(Place())
    assert "Set KUBECONFIG" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "a: [", "just text", "contexts: 3"])
def test_broken_file(home: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (home / "broken").write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(home / "broken"))
    with pytest.raises(UsageError, match="this kubeconfig cannot be used"):
        connect(Place())


def test_server_that_refuses_is_unreachable(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    write(home / ".kube" / "config", "home", f"https://127.0.0.1:{port}")
    began = time.monotonic()
    with pytest.raises(UnreachableError) as caught:
        Api(Place()).list("v1", "Pod")
    assert time.monotonic() - began < 5
    assert str(caught.value).startswith(
        f"https://127.0.0.1:{port}: the API server does not answer (Connection refused)"
    )


@pytest.mark.parametrize(
    ("code", "message", "said"),
    [
        (
            403,
            'jobs.batch is forbidden: User "u" cannot patch resource "jobs" in API group "batch" '
            'in the namespace "n"',
            "this account may not patch jobs.batch",
        ),
        (
            403,
            'pods is forbidden: User "u" cannot list resource "pods" in API group ""',
            "list pods",
        ),
        (403, 'jobs "x" is forbidden: exceeded quota: small', "larger ResourceQuota"),
        (404, "the server could not find the requested resource", "JobSet"),
        (422, 'Job.batch "x" is invalid: spec.template: field is immutable', "jobsets/d0 (422)"),
        (401, "Unauthorized", "Log in again"),
        (503, "etcd is gone", "Try again later"),
    ],
)
def test_refusals_name_what_to_do(code: int, message: str, said: str) -> None:
    path = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/n/jobsets/d0"
    body: Any = {"kind": "Status", "message": message}
    assert said in str(refusal(code, body, "https://a:6443", "PATCH", path))
