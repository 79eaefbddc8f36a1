"""kubectl and a real API server take every file of manifests/, under the restricted standard."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.render.kubernetes import KINDS, Kind, objects
from launcher.render.kubernetes.output import MOST_ANNOTATED_BYTES, apply_command, to_yaml
from tests.cluster import kueue
from tests.cluster.kubelet import Kubelet
from tests.render import kube

pytestmark = pytest.mark.cluster

MANIFESTS = kube.ROOT / "manifests"
OWN = sorted(p for kind in KINDS for p in (MANIFESTS / kind).glob("*.yaml"))
BY_HAND = [
    MANIFESTS / name for name in ("pvc.yaml", "get-coco.yaml", "convert-coco.yaml", "rbac.yaml")
]


def kubectl(namespace: str, *arguments: str, text: str | None = None) -> str:
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl")
    done = subprocess.run(
        ["kubectl", "-n", namespace, *arguments],
        input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", [*OWN, *BY_HAND], ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_dry_run_of_the_server_takes_it(path: Path, restricted: str) -> None:
    said = kubectl(restricted, "apply", "--dry-run=server", "-f", str(path))
    assert said.count("(server dry run)") == path.read_text().count("\nkind: ")


@pytest.mark.parametrize("path", [*OWN, *BY_HAND], ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_it_is_applied(path: Path, restricted: str) -> None:
    """For good, as far as a namespace goes: what a dry run says and what is kept are two things."""
    said = kubectl(restricted, "apply", "-f", str(path))
    assert said.count(" created") == path.read_text().count("\nkind: ")
    kubectl(restricted, "diff", "-f", str(path))


def test_the_queue_is_applied(core: Any, restricted: str) -> None:
    """Unknown fields are errors. The two objects of the cluster get a name of this test's own."""
    kueue.install(core, "resourceflavors", "clusterqueues", "localqueues", "workloads")
    text = (MANIFESTS / "kueue.yaml").read_text()
    flavor, queue, local = yaml.safe_load_all(text)
    (resources,) = queue["spec"]["resourceGroups"]
    assert [f["name"] for f in resources["flavors"]] == [flavor["metadata"]["name"]]
    assert local["spec"]["clusterQueue"] == queue["metadata"]["name"]
    own = text.replace("name: launcher-gpu", f"name: {restricted}-gpu")
    before, after = "name: launcher\nspec:\n  namespace", f"name: {restricted}\nspec:\n  namespace"
    own = own.replace(before, after)
    own = own.replace("clusterQueue: launcher", f"clusterQueue: {restricted}")
    assert own.count(restricted) == 4
    try:
        said = kubectl(restricted, "apply", "--dry-run=server", "-f", "-", text=own)
        assert said.count("(server dry run)") == 3
        assert kubectl(restricted, "apply", "-f", "-", text=own).count(" created") == 3
        broken = own.replace("nominalQuota", "nominalQuotas")
        with pytest.raises(AssertionError, match="nominalQuota"):
            kubectl(restricted, "apply", "-f", "-", text=broken)
    finally:
        argv = ["kubectl", "-n", restricted, "delete", "--ignore-not-found", "-f", "-"]
        subprocess.run(argv, input=own, text=True, check=True, capture_output=True)


def test_the_commands_of_the_readme_in_their_order(
    core: Any, namespace: str, kubelet: Kubelet, tmp_path: Path
) -> None:
    """Line by line as they stand there, in a namespace that the kubeconfig names. The pods of the
    data end well, as soon as they run."""
    config = tmp_path / "kubeconfig"
    shutil.copy(os.environ["LAUNCHER_TEST_KUBECONFIG"], config)
    env = {**os.environ, "KUBECONFIG": str(config)}

    def sh(text: str) -> str:
        argv = ["sh", "-ec", text]
        done = subprocess.run(
            argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, (text, done.stderr)
        return done.stdout

    sh(f"kubectl config set-context --current --namespace={namespace}")
    bind("launcher", core, namespace)
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    (change,) = [b for b in kube.readme_commands() if "sed -e" in b]
    (order,) = [b for b in kube.readme_commands() if "job/convert-coco-train" in b]
    (after,) = [b for b in kube.readme_commands() if "delete" in b]
    sh(change.replace("MY-CLAIM", "launcher"))
    for line in order.splitlines():
        if line.startswith("kubectl wait"):
            for component, count in (("download", 1), ("convert", 2)):
                if component[:4] in line.replace("get-coco", "download"):
                    for pod in kubelet.running(count, component):
                        kubelet.end(pod, 0)
        sh(line)
    assert kubelet.running(1), "the simulated nodes have 32 GPUs, and other tests take some"
    assert len(kubelet.pods()) == 8
    assert "d3-coco-worker-0" in sh(after.splitlines()[0])
    sh(next(line for line in after.splitlines() if "delete" in line))
    assert kubelet.pods() == [], "who applies again now does not meet the old group"


def bind(claim: str, core: Any, namespace: str) -> None:
    """A volume without any storage for pvc.yaml: the scheduler asks for no more."""
    volume = f"{namespace}-{claim}"
    spec = {
        "capacity": {"storage": "200Gi"},
        "accessModes": ["ReadWriteMany"],
        "hostPath": {"path": f"/nowhere/{volume}"},
        "claimRef": {"name": claim, "namespace": namespace},
        "storageClassName": "",
        "persistentVolumeReclaimPolicy": "Retain",
    }
    core.create_persistent_volume({"metadata": {"name": volume}, "spec": spec})


@pytest.mark.parametrize("kind", KINDS)
def test_applied_twice_nothing_changes(kind: Kind, restricted: str) -> None:
    """kubectl says "configured" of lists with defaults; the server keeps what it has."""
    path = str(MANIFESTS / kind / "efficientdet_d3.yaml")
    assert kubectl(restricted, "apply", "-f", path).count(" created") >= 2
    generations = ("get", "-f", path, "-o", "jsonpath={.items[*].metadata.generation}")
    before = kubectl(restricted, *generations)
    kubectl(restricted, "apply", "-f", path)
    assert kubectl(restricted, *generations) == before


@pytest.mark.parametrize("kind", KINDS)
def test_the_fullest_spec(kind: Kind, namespace: str, tmp_path: Path) -> None:
    """With what the restricted standard does not admit: NFS and a host path."""
    made = objects(kube.plan_of(*kube.FULL, f"backend.kubernetes.namespace={namespace}"), kind)
    (tmp_path / "full.yaml").write_text(to_yaml(made))
    path = str(tmp_path / "full.yaml")
    said = kubectl(namespace, "apply", "--server-side", "--dry-run=server", "-f", path)
    assert said.count("serverside-applied") == len(made)


def test_the_copy_that_plain_apply_keeps_has_room_where_render_says_so(
    namespace: str, tmp_path: Path
) -> None:
    """Just below the bound, and just above: kubectl's own words."""
    path = tmp_path / "plan.yaml"
    config_map = objects(kube.plan_of(f"backend.kubernetes.namespace={namespace}"))[0]
    room = MOST_ANNOTATED_BYTES - len(json.dumps(config_map, separators=(",", ":")))
    config_map["data"]["more"] = "x" * (room - 1200)
    assert apply_command([config_map]) == "kubectl apply"
    path.write_text(to_yaml([config_map]))
    kubectl(namespace, "apply", "-f", str(path))
    config_map["data"]["more"] = "x" * (room + 200)
    assert apply_command([config_map]) == "kubectl apply --server-side"
    path.write_text(to_yaml([config_map]))
    with pytest.raises(AssertionError, match="Too long: may not be more than 262144 bytes"):
        kubectl(namespace, "apply", "-f", str(path))
    kubectl(namespace, "delete", "-f", str(path))
    kubectl(namespace, "apply", "--server-side", "-f", str(path))


def test_the_pods_have_the_names_that_tf_config_has(core: Any, restricted: str) -> None:
    import time

    kubectl(restricted, "apply", "-f", str(MANIFESTS / "job" / "efficientdet_d3.yaml"))
    deadline = time.monotonic() + 30
    while True:
        found = core.list_namespaced_pod(
            restricted, label_selector="app.kubernetes.io/component=worker"
        ).items
        if len(found) == 8:
            break
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert {p.spec.hostname for p in found} == {f"d3-coco-worker-{i}" for i in range(8)}
    assert {p.spec.subdomain for p in found} == {"d3-coco"}
    for pod in found:
        annotations = pod.metadata.annotations
        assert annotations["batch.kubernetes.io/job-index-failure-count"] == "0"
