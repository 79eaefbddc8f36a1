"""Submits: what is applied, dry on the server, interrupted, refused, large; what a user types."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from launcher.backends.kubernetes import BACKEND, reading
from launcher.backends.kubernetes.api import MANAGER, Api
from launcher.backends.kubernetes.connection import Place
from launcher.contract import State
from launcher.errors import UsageError
from launcher.render.kubernetes import KINDS, objects
from tests.cluster.conftest import eventually, kubectl, make_claims, start
from tests.cluster.kubelet import Kubelet, until
from tests.cluster.proxy import Fault, Proxy

if TYPE_CHECKING:
    from launcher.planning import Plan

pytestmark = pytest.mark.cluster


def test_submit_applies_what_render_prints(
    make_plan: "Callable[..., Plan]", namespace: str
) -> None:
    plan = make_plan()
    handle = start(plan)
    api = Api(Place("", namespace))
    for wanted in objects(plan):
        there = api.get(wanted["apiVersion"], wanted["kind"], wanted["metadata"]["name"])
        assert there
        assert is_part(wanted, there), wanted["kind"]
        assert next(f["manager"] for f in there["metadata"]["managedFields"]) == MANAGER
    with pytest.raises(UsageError, match="is already running"):
        BACKEND.check(plan)
    assert handle.status().submitted == pytest.approx(time.time(), abs=60)


def is_part(wanted: Any, there: Any) -> bool:
    """All that was asked for is there; the server adds defaults."""
    if isinstance(wanted, dict):
        return all(k in there and is_part(v, there[k]) for k, v in wanted.items())
    if isinstance(wanted, list):
        return len(wanted) == len(there) and all(map(is_part, wanted, there))
    return bool(wanted == there)


def test_server_dry_run_leaves_nothing(make_plan: "Callable[..., Plan]", namespace: str) -> None:
    made = BACKEND.server_dry_run(make_plan())
    assert [item["kind"] for item in made["items"]] == ["ConfigMap", "Service", "Job", "Job"]
    assert all(item["metadata"]["uid"] for item in made["items"])
    assert reading.all_objects(Api(Place("", namespace)), "d0") == []


@pytest.mark.parametrize("many", [1, 2, 3])
def test_interrupted_submit_is_completed_by_the_next(
    make_plan: "Callable[..., Plan]", namespace: str, many: int
) -> None:
    plan, api = make_plan(), Api(Place("", namespace))
    for item in objects(plan)[:many]:
        api.apply(item)
    before = {i["metadata"]["name"]: i["metadata"]["uid"] for i in reading.all_objects(api, "d0")}
    handle = start(plan)
    assert handle.status().state in (State.PENDING, State.RUNNING)
    after = {i["metadata"]["name"]: i["metadata"]["uid"] for i in reading.all_objects(api, "d0")}
    assert len(after) == 4
    assert before.items() <= after.items()  # adopted, not made anew


def test_interrupted_submit_of_another_plan_is_removed(
    make_plan: "Callable[..., Plan]", namespace: str
) -> None:
    api = Api(Place("", namespace))
    old = make_plan("backend.kubernetes.network_policy=true", workers=4)
    for item in objects(old)[:4]:
        api.apply(item)
    assert {i["kind"] for i in reading.all_objects(api, "d0")} >= {"NetworkPolicy", "Job"}
    start(make_plan())
    found = reading.all_objects(api, "d0")
    assert sorted(i["kind"] for i in found) == ["ConfigMap", "Job", "Job", "Service"]
    workers = next(i for i in found if i["metadata"]["name"] == "d0-worker")
    assert workers["spec"]["completions"] == 2


def test_interrupted_submit_is_told(make_plan: "Callable[..., Plan]", namespace: str) -> None:
    plan, api = make_plan(), Api(Place("", namespace))
    for item in objects(plan)[:2]:
        api.apply(item)
    from launcher.backends import registry

    registry.remember("d0", plan.root, "kubernetes", api.place.to_json())
    now = BACKEND.status(plan.root)
    assert now.state is State.PENDING
    assert "interrupted before the workers were made" in now.message
    assert BACKEND.delete(plan.root) is True
    assert BACKEND.delete(plan.root) is False


def test_refused_submit_leaves_nothing(
    make_plan: "Callable[..., Plan]", namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last object cannot be made: the ones before it are gone again."""
    plan = make_plan()
    broken = objects(plan)
    broken[-1]["spec"]["template"]["spec"]["containers"][0]["image"] = ""
    monkeypatch.setattr("launcher.render.kubernetes.objects", lambda made: broken)
    with pytest.raises(UsageError, match=r"refuses jobs/d0-evaluator .*image"):
        BACKEND.submit(plan)
    api = Api(Place("", namespace))
    assert reading.all_objects(api, "d0") == []


@pytest.mark.usefixtures("claims")
def test_replace_deletes_no_checkpoint_before_the_server_takes_the_new_run(
    make_plan: "Callable[..., Plan]",
    kubelet: Kubelet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its run_dir is mounted here."""
    (tmp_path / "runs").mkdir()
    volumes = [{"name": "data", "mount_path": "/data", "claim": "coco", "read_only": True},
               {"name": "runs", "mount_path": str(tmp_path / "runs"), "claim": "runs"}]  # fmt: skip
    here = (f"run_dir={tmp_path}/runs", f"cluster.volumes={json.dumps(volumes)}")
    plan = make_plan(*here, workers=1)
    handle = start(plan)
    plan.write(plan.root)  # as the pods do
    kubelet.end(kubelet.running(1)[0], 66)
    eventually(handle.status, lambda now: now.state is State.FAILED)
    checkpoint = plan.root / "checkpoints" / "ckpt-5.index"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    broken = objects(plan)
    broken[-1]["spec"]["template"]["spec"]["containers"][0]["image"] = ""
    with monkeypatch.context() as patched:
        patched.setattr("launcher.render.kubernetes.objects", lambda made: broken)
        with pytest.raises(UsageError, match=r"refuses jobs/d0-evaluator .*image"):
            BACKEND.submit(plan, replace=True)
    assert checkpoint.exists()
    assert reading.all_objects(Api(Place("", kubelet.namespace)), "d0") == []
    BACKEND.submit(plan, resume=True)
    kubelet.end(kubelet.running(1)[0], 66)
    eventually(handle.status, lambda now: now.state is State.FAILED)
    assert checkpoint.exists()
    BACKEND.submit(plan, replace=True)
    assert not checkpoint.exists()
    assert kubelet.running(1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_submitted_cancelled_and_deleted(
    make_plan: "Callable[..., Plan]", namespace: str, kind: str
) -> None:
    """No controller of JobSet, TFJob and RayJob is there: a run of theirs waits, and goes away."""
    from launcher import api

    plan = make_plan(f"backend.kubernetes.kind={kind}")
    handle = start(plan)
    assert handle.status().state in (State.PENDING, State.RUNNING)
    made = {(i["kind"], i["metadata"]["name"]) for i in objects(plan)}
    cluster = Api(Place("", namespace))
    there = {(i["kind"], i["metadata"]["name"]) for i in reading.all_objects(cluster, "d0")}
    assert there == made
    with pytest.raises(UsageError, match="is already running"):
        BACKEND.check(plan)
    assert handle.cancel().state is State.CANCELLED
    assert [i["kind"] for i in reading.all_objects(cluster, "d0")] == ["ConfigMap"]
    BACKEND.submit(plan, resume=True)
    assert handle.status().state is not State.CANCELLED
    handle.cancel()
    assert api.delete("d0") == handle.root


def test_run_that_kubectl_applied_is_found(namespace: str) -> None:
    """Nobody submitted it: the list of the namespace has it, and from then on its name."""
    from launcher import api

    manifests = Path(__file__).parents[2] / "manifests"
    kubectl("apply", "-n", namespace, "-f", str(manifests / "job" / "efficientdet_d0.yaml"))
    found = api.cluster_runs("kubernetes", namespace=namespace)
    assert [run.state for run in found] == [State.PENDING]
    assert api.find(found[0].name).status().name == found[0].name
    assert BACKEND.cancel(found[0].root) is True
    assert api.delete(found[0].name) == found[0].root


@pytest.mark.usefixtures("claims")
def test_two_hundred_workers_in_a_constant_number_of_calls(
    make_plan: "Callable[..., Plan]", kubelet: Kubelet
) -> None:
    small = "cluster.cpus_per_worker=0.5", "cluster.memory_per_worker=256Mi"
    plan = make_plan(*small, "backend.kubernetes.shared_memory=64Mi", workers=200)
    began = time.monotonic()
    handle = start(plan)
    eventually(handle.status, lambda now: now.state is State.RUNNING, 180.0)
    print(f"200 workers run after {time.monotonic() - began:.1f} s")
    api = Api(Place("", kubelet.namespace))
    began = time.monotonic()
    BACKEND._ask(api, handle.root)
    print(f"status of 200 workers: {api.calls} calls, {time.monotonic() - began:.2f} s")
    assert api.calls == 3
    assert handle.cancel().state is State.CANCELLED


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ("PATCH .*/jobs/d0-worker", ["ConfigMap", "Service"]),
        ("PATCH .*/jobs/d0-evaluator", ["ConfigMap", "Job", "Service"]),
    ],
)
def test_killed_submit_is_completed_by_the_next(
    make_plan: "Callable[..., Plan]",
    kubelet: Kubelet,
    core: Any,
    proxy: Proxy,
    tmp_path: Path,
    asked: str,
    made: list[str],
) -> None:
    """kill -9 while the API server takes its time with an object."""
    make_claims(core, kubelet.namespace)
    spec = write_spec(make_plan(), tmp_path)
    proxy.faults = [Fault(asked, times=100, silent=True)]
    argv = [sys.executable, "-m", "launcher", "submit", str(spec), "--detach"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        until(lambda: any(re.search(asked, request) for request in proxy.requests))
        child.kill()
    proxy.faults = []
    api = Api(Place("", kubelet.namespace))
    before = {i["metadata"]["uid"]: i["kind"] for i in reading.all_objects(api, "d0")}
    assert sorted(before.values()) == made
    assert "d0 is started" in launcher("submit", str(spec), "--detach")
    kubelet.running(2)
    after = {i["metadata"]["uid"]: i["kind"] for i in reading.all_objects(api, "d0")}
    assert sorted(after.values()) == ["ConfigMap", "Job", "Job", "Service"]
    assert before.items() <= after.items()  # adopted, not made anew
    assert json.loads(launcher("status", "d0", "--json"))["state"] == "RUNNING"


def test_command_line_from_submit_to_delete(
    make_plan: "Callable[..., Plan]", kubelet: Kubelet, tmp_path: Path, core: Any
) -> None:
    """What a user types, in processes of their own."""
    make_claims(core, kubelet.namespace)
    spec = write_spec(make_plan(), tmp_path)
    assert "kind: List" in launcher("submit", str(spec), "--dry-run=server")
    assert "d0 is started" in launcher("submit", str(spec), "--detach")
    kubelet.running(2)
    now = json.loads(launcher("status", "d0", "--json"))
    assert (now["state"], now["backend"]) == ("RUNNING", "kubernetes")
    listed = json.loads(
        launcher("list", "--backend", "kubernetes", "-n", kubelet.namespace, "--json")
    )
    assert [run["name"] for run in listed] == ["d0"]
    assert "d0" in launcher("list")
    assert "CANCELLED" in launcher("cancel", "d0")
    assert "deleted" in launcher("delete", "d0")
    assert "nothing to delete" in launcher("delete", "d0")


def write_spec(plan: "Plan", folder: Path) -> Path:
    from launcher.spec import to_yaml

    path = folder / "d0.yaml"
    path.write_text(to_yaml(plan.spec))
    return path


def launcher(*args: str) -> str:
    argv = [sys.executable, "-m", "launcher", *args]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
