"""kubectl and a real API server take every file of manifests/, under the restricted standard."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from launcher.render.kubernetes import KINDS, Kind, objects
from launcher.render.kubernetes.output import MOST_ANNOTATED_BYTES, apply_command, to_yaml
from tests.render import kube

pytestmark = pytest.mark.cluster

MANIFESTS = kube.ROOT / "manifests"
OWN = sorted(p for kind in KINDS for p in (MANIFESTS / kind).glob("*.yaml"))
BY_HAND = [MANIFESTS / name for name in ("pvc.yaml", "convert-coco.yaml", "rbac.yaml")]
"""kueue.yaml needs Kueue's own kinds, whose schemas are not at hand."""


def kubectl(namespace: str, *arguments: str) -> str:
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl")
    done = subprocess.run(
        ["kubectl", "-n", namespace, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", [*OWN, *BY_HAND], ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_dry_run_of_the_server_takes_it(path: Path, restricted: str) -> None:
    said = kubectl(restricted, "apply", "--dry-run=server", "-f", str(path))
    assert said.count("(server dry run)") == path.read_text().count("\nkind: ")


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
