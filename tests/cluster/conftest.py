"""What the tests against a cluster share: a namespace of their own, pods that end as told, a spec.

They run with `-m cluster` only, against the cluster of KUBECONFIG, else that of `make cluster-up`.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster import proxy as proxies
from tests.cluster import up
from tests.cluster.kubelet import Kubelet
from tests.cluster.proxy import Proxy

if TYPE_CHECKING:
    from launcher.backends.base import JobHandle, RunStatus
    from launcher.planning import Plan


@pytest.fixture(autouse=True, scope="session")
def cluster(request: pytest.FixtureRequest) -> str:
    """The kubeconfig; skips with the reason where there is none, or nobody asked for a cluster."""
    expression = request.config.option.markexpr
    if "cluster" not in expression or "not cluster" in expression:
        pytest.skip("needs a Kubernetes cluster: `make cluster-up`, then `make cluster-test`")
    path = os.environ.get("KUBECONFIG") or str(up.kubeconfig())
    if not Path(path.split(os.pathsep)[0]).is_file():
        pytest.skip("no KUBECONFIG, and no cluster of `make cluster-up`")
    os.environ["KUBECONFIG"] = os.environ["LAUNCHER_TEST_KUBECONFIG"] = path
    return path


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of runs, and copies of logs, of this test alone."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("LAUNCHER_RUN_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.backends.kubernetes.backend._FRESH_SECONDS", 0.0)


@pytest.fixture(scope="session")
def core(cluster: str) -> Any:
    from kubernetes import client, config

    configuration = client.Configuration()
    config.load_kube_config(cluster, client_configuration=configuration)
    return client.CoreV1Api(client.ApiClient(configuration))


@pytest.fixture
def namespace(core: Any) -> Iterator[str]:
    yield from _namespace(core, {})


@pytest.fixture
def restricted(core: Any) -> Iterator[str]:
    """One that admits only what the restricted Pod Security Standard does."""
    yield from _namespace(core, {"pod-security.kubernetes.io/enforce": "restricted"})


def _namespace(core: Any, labels: dict[str, str]) -> Iterator[str]:
    name = f"launcher-test-{token_hex(4)}"
    core.create_namespace({"metadata": {"name": name, "labels": labels}})
    yield name
    core.delete_namespace(name)


def is_simulated(core: Any) -> bool:
    nodes = core.list_node().items
    return any("kwok.x-k8s.io/node" in (n.metadata.annotations or {}) for n in nodes)


@pytest.fixture
def kubelet(core: Any, namespace: str) -> Kubelet:
    """Ends containers of simulated nodes; skips on a cluster that runs them for real."""
    if not is_simulated(core):
        pytest.skip("needs simulated nodes: a real kubelet says itself how a container ends")
    return Kubelet(core, namespace)


@pytest.fixture
def make_plan(namespace: str) -> "Callable[..., Plan]":
    return lambda *overrides, **more: plan_in(namespace, *overrides, **more)


def plan_in(namespace: str, *overrides: str, workers: int = 2, name: str = "d0") -> "Plan":
    """EfficientDet D0 at its recipe, on CPUs; `overrides` as of --set."""
    from launcher import api
    from launcher.spec import from_mapping

    values = {
        "apiVersion": "launcher/v1",
        "name": name,
        "recipe": "efficientdet_d0",
        "data": {
            "train": "/data/coco_train.record-*",
            "val": "/data/coco_val.record-*",
            "label_map": "/data/mscoco_label_map.pbtxt",
            "dataset": "coco2017",
        },
        "batch": {"global_batch": 16 * workers, "per_replica_batch": 16},
        "cluster": {
            "workers": workers,
            "image": "registry.invalid/launcher:1",
            "cpus_per_worker": 1,
            "memory_per_worker": "1Gi",
            "volumes": [
                {"name": "data", "mount_path": "/data", "claim": "coco", "read_only": True},
                {"name": "runs", "mount_path": "/mnt/launcher-runs", "claim": "runs"},
            ],
        },
        "backend": {"kind": "kubernetes", "kubernetes": {"namespace": namespace}},
        "run_dir": "/mnt/launcher-runs",
    }
    return api.plan(from_mapping(values, overrides=overrides))


@pytest.fixture
def claims(core: Any, namespace: str) -> None:
    """The volumes of the spec, bound without any storage: the scheduler asks for no more."""
    make_claims(core, namespace)


def make_claims(core: Any, namespace: str) -> None:
    for name in ("coco", "runs"):
        volume = f"{namespace}-{name}"
        size = {"storage": "1Gi"}
        core.create_persistent_volume(
            {
                "metadata": {"name": volume},
                "spec": {
                    "capacity": size,
                    "accessModes": ["ReadWriteMany"],
                    "hostPath": {"path": f"/nowhere/{volume}"},
                    "claimRef": {"name": name, "namespace": namespace},
                    "storageClassName": "",
                    "persistentVolumeReclaimPolicy": "Retain",
                },
            }
        )
        core.create_namespaced_persistent_volume_claim(
            namespace,
            {
                "metadata": {"name": name},
                "spec": {
                    "accessModes": ["ReadWriteMany"],
                    "resources": {"requests": size},
                    "storageClassName": "",
                    "volumeName": volume,
                },
            },
        )


@pytest.fixture
def container_log(core: Any, namespace: str, tmp_path: Path) -> Callable[[list[str]], Path]:
    """What all containers of the namespace have written, as the simulated kubelet gives it."""
    from kubernetes import client

    def write(lines: list[str]) -> Path:
        path = tmp_path / "container.log"
        stamp = "2026-11-24T12:00:{:02d}.{:09d}Z stdout F {}\n"
        path.write_text("".join(stamp.format(i // 10, i, line) for i, line in enumerate(lines)))
        item = {
            "apiVersion": "kwok.x-k8s.io/v1alpha1",
            "kind": "ClusterLogs",
            "metadata": {"name": namespace},
            "spec": {
                "selector": {"matchNamespaces": [namespace]},
                "logs": [{"logsFile": str(path), "follow": True}],
            },
        }
        custom = client.CustomObjectsApi(core.api_client)
        custom.create_cluster_custom_object("kwok.x-k8s.io", "v1alpha1", "clusterlogs", item)
        return path

    return write


@pytest.fixture
def proxy(core: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The cluster's own server behind a proxy, which KUBECONFIG names."""
    configuration = core.api_client.configuration
    token = str(configuration.api_key.get("BearerToken", "")).removeprefix("Bearer ")
    if not token:
        pytest.skip("the proxy hands on a token, and this kubeconfig has a certificate")
    authority = configuration.ssl_ca_cert or ""
    with proxies.in_front_of(configuration.host, authority) as made:
        monkeypatch.setenv("KUBECONFIG", str(made.kubeconfig(tmp_path, token)))
        yield made


def eventually(
    ask: "Callable[[], RunStatus]", good: "Callable[[RunStatus], object]", seconds: float = 60.0
) -> "RunStatus":
    """The first status that is good. Fails with the last one after `seconds`."""
    deadline = time.monotonic() + seconds
    while not good(now := ask()):
        if time.monotonic() > deadline:
            pytest.fail(f"after {seconds:g} s it is {now.state} ({now.reason}): {now.message}")
        time.sleep(0.2)
    return now


def start(plan: "Plan", **how: bool) -> "JobHandle":
    """Submitted and remembered, as `launcher submit --detach` does after its checks."""
    from launcher import api

    return api.start(api.Prepared(plan, None), **how)


def kubectl(*args: str, text: str = "") -> str:
    """As the administrator, whoever the test acts as. Fails with what kubectl says."""
    path = os.environ["LAUNCHER_TEST_KUBECONFIG"]
    argv = ["kubectl", f"--kubeconfig={path}", *args]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
