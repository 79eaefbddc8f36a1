"""A server that is busy, slow, gone, forgetful, or resets a connection: made by a proxy in front of
the real one (proxy.py)."""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from launcher.backends.kubernetes import BACKEND, logs
from launcher.backends.kubernetes.api import Api
from launcher.backends.kubernetes.connection import Place
from launcher.contract import RunPaths
from launcher.errors import CliExit, UnreachableError, UsageError
from tests.cluster.conftest import start
from tests.cluster.kubelet import Kubelet, until
from tests.cluster.proxy import Fault, Proxy

if TYPE_CHECKING:
    from launcher.planning import Plan

pytestmark = pytest.mark.cluster


@pytest.fixture
def api(proxy: Proxy, namespace: str) -> Api:
    return Api(Place("", namespace))


def test_busy_server_is_waited_for_as_long_as_it_says(api: Api, proxy: Proxy) -> None:
    proxy.faults = [Fault("GET .*/pods", times=2, status=429, headers={"Retry-After": "1"})]
    began = time.monotonic()
    assert api.list("v1", "Pod") == []
    assert 2.0 <= time.monotonic() - began < 4.0
    assert len(proxy.requests) == 3


def test_submit_to_a_busy_server(
    make_plan: "Callable[..., Plan]", api: Api, proxy: Proxy, kubelet: Kubelet
) -> None:
    proxy.faults = [Fault("PATCH .*/jobs/", status=429, headers={"Retry-After": "1"})]
    BACKEND.submit(make_plan())
    until(lambda: len(kubelet.pods()) == 2)


def test_too_old_is_asked_anew(api: Api, proxy: Proxy) -> None:
    proxy.faults = [Fault("GET .*/pods", status=410)]
    assert api.list("v1", "Pod") == []


def test_answer_that_breaks_off_is_asked_for_again(api: Api, proxy: Proxy) -> None:
    proxy.faults = [Fault("GET .*/pods", reset_after=20)]
    assert api.list("v1", "Pod") == []


def test_expired_token(api: Api, proxy: Proxy) -> None:
    """Once is a token that was renewed meanwhile; twice is one that has expired."""
    proxy.faults = [Fault("GET", times=1, status=401)]
    assert api.list("v1", "Pod") == []
    proxy.faults = [Fault("GET", times=2, status=401)]
    with pytest.raises(UsageError, match=r"invalid or has expired\. Log in again") as caught:
        api.list("v1", "Pod")
    assert f"http://127.0.0.1:{proxy.port}" in str(caught.value)


def test_server_that_fails_for_a_moment(api: Api, proxy: Proxy) -> None:
    proxy.faults = [Fault("GET", times=2, status=500)]
    assert api.list("v1", "Pod") == []


def test_server_that_keeps_failing(api: Api, proxy: Proxy) -> None:
    proxy.faults = [Fault("GET", times=1000, status=500)]
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="made by the proxy: 500"):
        api.list("v1", "Pod")
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("how", ["refused", "silent", "unknown host"])
def test_unreachable_within_ten_seconds(
    how: str, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = f"http://127.0.0.1:{proxy.port}"
    if how == "silent":
        proxy.faults = [Fault("", times=1000, silent=True)]
    elif how == "refused":
        with socket.create_server(("127.0.0.1", 0)) as free:
            server = f"https://127.0.0.1:{free.getsockname()[1]}"
    else:
        server = "https://no-such-host.invalid:6443"
    config = json.loads(proxy.kubeconfig(tmp_path, "x").read_text())
    config["clusters"][0]["cluster"]["server"] = server
    (tmp_path / "elsewhere").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "elsewhere"))
    began = time.monotonic()
    with pytest.raises(UnreachableError) as caught:
        Api(Place()).list("v1", "Pod")
    assert time.monotonic() - began < 10
    assert str(caught.value).startswith(f"{server}: the API server does not answer (")
    assert caught.value.cli_exit is CliExit.UNREACHABLE


def test_wrong_authority_is_told_at_once(
    core: Any, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads(proxy.kubeconfig(tmp_path, "x").read_text())
    config["clusters"][0]["cluster"]["server"] = core.api_client.configuration.host
    (tmp_path / "elsewhere").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "elsewhere"))
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=r"(?i)certificate"):
        Api(Place()).list("v1", "Pod")
    assert time.monotonic() - began < 3


LINES = [f"line {i} of the log" for i in range(200)]


@pytest.fixture
def log_file(container_log: "Callable[[list[str]], Path]") -> Path:
    return container_log(LINES)


@pytest.mark.usefixtures("log_file", "claims")
def test_log_is_whole_after_a_reset_in_its_middle(
    make_plan: "Callable[..., Plan]", api: Api, proxy: Proxy, kubelet: Kubelet
) -> None:
    handle = BACKEND.submit(make_plan(workers=1))
    kubelet.running(1)
    until(lambda: b"".join(api.log(kubelet.pods()[0].metadata.name)))
    proxy.faults = [Fault("GET .*/log", reset_after=n) for n in (3000, 1, 5000)]
    with logs.copied(api, "d0", handle.root, follow=False):
        pass
    assert RunPaths(handle.root).worker_log(0, 0).read_text().splitlines() == LINES
    with logs.copied(api, "d0", handle.root, follow=False):  # nothing twice
        pass
    assert RunPaths(handle.root).worker_log(0, 0).read_text().splitlines() == LINES


@pytest.mark.usefixtures("claims")
def test_followed_log_grows_in_spite_of_resets(
    make_plan: "Callable[..., Plan]", api: Api, proxy: Proxy, kubelet: Kubelet, log_file: Path
) -> None:
    handle = BACKEND.submit(make_plan(workers=1))
    kubelet.running(1)
    until(lambda: b"".join(api.log(kubelet.pods()[0].metadata.name)))
    proxy.faults = [Fault("GET .*follow=true", reset_after=4000)]
    mine = RunPaths(handle.root).worker_log(0, 0)
    with logs.copied(api, "d0", handle.root, follow=True):
        until(lambda: mine.is_file() and mine.read_text().splitlines() == LINES)
        with log_file.open("a") as file:
            file.write("2026-11-24T12:01:00.000000000Z stdout F one more\n")
        until(lambda: mine.read_text().splitlines() == [*LINES, "one more"])


@pytest.mark.usefixtures("log_file", "claims")
def test_logs_of_all_attempts_while_their_pods_are_there(
    make_plan: "Callable[..., Plan]", api: Api, kubelet: Kubelet
) -> None:
    handle = start(make_plan(workers=1))
    kubelet.end(kubelet.running(1)[0], 75)
    until(lambda: len(kubelet.pods()) == 2)
    kubelet.running(1)
    assert list(handle.logs("worker-0", attempt=0)) == LINES
    assert list(handle.logs("worker-0")) == LINES * 2
    for pod in kubelet.pods():  # gone: what was copied stays
        api.delete({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod.metadata.name}})
    until(lambda: not [p for p in kubelet.pods() if p.metadata.deletion_timestamp])
    assert list(handle.logs("worker-0", attempt=0)) == LINES


@pytest.mark.usefixtures("log_file", "claims")
def test_logs_of_a_resumed_run_are_beside_the_earlier_ones(
    make_plan: "Callable[..., Plan]", kubelet: Kubelet
) -> None:
    plan = make_plan(workers=1)
    handle = start(plan)
    kubelet.running(1)
    assert list(handle.logs("worker-0")) == LINES
    handle.cancel()
    handle = start(plan, resume=True)
    kubelet.running(1)
    for _ in range(2):  # the second finds its file again
        assert list(handle.logs("worker-0", attempt=0)) == LINES
        assert list(handle.logs("worker-0", attempt=1)) == LINES


@pytest.mark.usefixtures("log_file")
def test_followed_log_of_a_pod_that_takes_the_name_of_the_one_before(
    make_plan: "Callable[..., Plan]", core: Any, api: Api, kubelet: Kubelet
) -> None:
    """As the training-operator does it, which is not there: its pods are the test's."""
    handle = start(make_plan("backend.kubernetes.kind=tfjob", workers=1))
    made = api.get("kubeflow.org/v1", "TFJob", "d0")
    assert made
    template = made["spec"]["tfReplicaSpecs"]["Worker"]["template"]
    labels = {**template["metadata"]["labels"], "training.kubeflow.org/replica-index": "0"}
    container = {"name": "tensorflow", "image": "registry.invalid/launcher:1"}
    pod = {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "d0-worker-0", "labels": labels},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }  # fmt: skip
    first, second = (RunPaths(handle.root).worker_log(k, 0) for k in (0, 1))
    with logs.copied(api, "d0", handle.root, follow=True):
        core.create_namespaced_pod(kubelet.namespace, pod)
        kubelet.running(1)
        until(lambda: first.is_file() and first.read_text().splitlines() == LINES)
        api.delete(pod)
        until(lambda: not kubelet.pods())
        core.create_namespaced_pod(kubelet.namespace, pod)
        kubelet.running(1)
        until(lambda: second.is_file() and second.read_text().splitlines() == LINES)
    assert first.read_text().splitlines() == LINES
