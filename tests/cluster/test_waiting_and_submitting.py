"""What a run waits for, told within a minute; submits that are interrupted, refused, dry; least
rights; a restricted namespace; many workers."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from launcher.backends.kubernetes import BACKEND, reading
from launcher.backends.kubernetes.api import MANAGER, Api
from launcher.backends.kubernetes.connection import Place
from launcher.contract import Reason, State
from launcher.errors import UsageError
from launcher.render.kubernetes import objects
from tests.cluster import up
from tests.cluster.conftest import eventually, make_claims, plan_in
from tests.cluster.kubelet import Kubelet, until

if TYPE_CHECKING:
    from launcher.backends.base import JobHandle
    from launcher.planning import Plan

pytestmark = pytest.mark.cluster
CHECKOUT = Path(__file__).parents[2]
MINUTE = 60.0


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.backends.kubernetes.backend._FRESH_SECONDS", 0.0)


def start(plan: "Plan", **how: bool) -> "JobHandle":
    from launcher import api

    return api.start(api.Prepared(plan, None), **how)


@pytest.mark.usefixtures("claims")
def test_image_that_cannot_be_pulled(make_plan: "Callable[..., Plan]", kubelet: Kubelet) -> None:
    handle = start(make_plan("cluster.image=registry.invalid/missing:1"))
    now = eventually(handle.status, lambda now: now.reason is Reason.IMAGE_PULL, MINUTE)
    assert now.state is State.PENDING
    assert "worker-0 (pod d0-worker-0-" in now.message
    assert "ImagePullBackOff" in now.message
    assert "repository does not exist" in now.message
    assert "cluster.image" in now.message


@pytest.mark.usefixtures("claims")
def test_no_node_has_so_many_gpus(make_plan: "Callable[..., Plan]") -> None:
    handle = start(make_plan("cluster.gpus_per_worker=64", "batch.global_batch=2048"))
    now = eventually(handle.status, lambda now: "nvidia.com/gpu" in now.message, MINUTE)
    assert (now.state, now.reason) == (State.PENDING, Reason.UNSCHEDULABLE)
    assert "FailedScheduling" in now.message


def test_claim_that_is_missing(make_plan: "Callable[..., Plan]") -> None:
    handle = start(make_plan())
    now = eventually(handle.status, lambda now: now.reason is Reason.UNSCHEDULABLE, MINUTE)
    assert 'persistentvolumeclaim "coco" not found' in now.message


@pytest.mark.usefixtures("claims")
def test_quota(core: Any, make_plan: "Callable[..., Plan]", namespace: str) -> None:
    core.create_namespaced_resource_quota(
        namespace, {"metadata": {"name": "small"}, "spec": {"hard": {"requests.cpu": "500m"}}}
    )
    until(lambda: core.read_namespaced_resource_quota("small", namespace).status.hard)
    handle = start(make_plan())
    now = eventually(handle.status, lambda now: now.reason is Reason.QUOTA, MINUTE)
    assert "job d0-worker: FailedCreate" in now.message
    assert "exceeded quota: small" in now.message


@pytest.mark.usefixtures("claims")
def test_part_of_the_workers_for_the_quota(
    core: Any, make_plan: "Callable[..., Plan]", namespace: str
) -> None:
    """One runs and waits for the other: still a run that has not started, and why."""
    core.create_namespaced_resource_quota(
        namespace, {"metadata": {"name": "small"}, "spec": {"hard": {"requests.cpu": "1500m"}}}
    )
    until(lambda: core.read_namespaced_resource_quota("small", namespace).status.hard)
    handle = start(make_plan())
    now = eventually(handle.status, lambda now: now.reason is Reason.QUOTA, MINUTE)
    assert now.state is State.PENDING


def test_queue_without_kueue(make_plan: "Callable[..., Plan]") -> None:
    """Suspended by the render, or by Kueue's webhook: nobody admits it."""
    plan = make_plan("cluster.queue=gpus")
    handle = start(plan)
    kinds = {o["kind"]: o for o in objects(plan)}
    if not kinds["Job"]["spec"].get("suspend"):
        api = Api(Place("", plan.spec.backend.kubernetes.namespace or ""))
        job = reading.read(api, "d0").workers
        assert job
        job["metadata"].pop("managedFields")
        job["spec"]["suspend"] = True
        api._json("PATCH", api._path(job), {}, {"spec": {"suspend": True}},
                  "application/merge-patch+json")  # fmt: skip
    now = eventually(handle.status, lambda now: now.reason is Reason.QUEUED, MINUTE)
    assert now.state is State.PENDING
    assert 'queue "gpus"' in now.message
    assert "Kueue" in now.message


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


@pytest.mark.usefixtures("kubelet")
def test_restricted_namespace_admits_the_pods(core: Any, restricted: str) -> None:
    make_claims(core, restricted)
    handle = start(plan_in(restricted))
    eventually(handle.status, lambda now: now.state is State.RUNNING)


def test_pods_that_a_namespace_refuses_are_told(
    core: Any, restricted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_in(restricted)
    unsafe = objects(plan)
    del unsafe[2]["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]
    monkeypatch.setattr("launcher.render.kubernetes.objects", lambda made: unsafe)
    handle = start(plan)
    now = eventually(handle.status, lambda now: "PodSecurity" in now.message, MINUTE)
    assert now.reason is Reason.WAITING
    assert "runAsNonRoot" in now.message


@pytest.mark.usefixtures("claims")
def test_two_hundred_workers_in_a_constant_number_of_calls(
    make_plan: "Callable[..., Plan]", kubelet: Kubelet
) -> None:
    plan = make_plan("cluster.cpus_per_worker=0.5", "cluster.memory_per_worker=256Mi", workers=200)
    began = time.monotonic()
    handle = start(plan)
    eventually(handle.status, lambda now: now.state is State.RUNNING, 180.0)
    print(f"200 workers run after {time.monotonic() - began:.1f} s")
    api = Api(Place("", kubelet.namespace))
    began = time.monotonic()
    BACKEND._ask(api, handle.root)
    print(f"status of 200 workers: {api.calls} calls, {time.monotonic() - began:.2f} s")
    assert api.calls <= 5
    assert handle.cancel().state is State.CANCELLED


RIGHTS = CHECKOUT / "manifests" / "rbac.yaml"


@pytest.fixture
def limited(namespace: str, monkeypatch: pytest.MonkeyPatch) -> "Callable[[list[Any]], None]":
    """Acts as an account without any right but those of the role that it is given."""
    config = up.kubeconfig("limited")
    if not config.is_file():
        pytest.skip("needs the account `limited` of `make cluster-up`")
    monkeypatch.setenv("KUBECONFIG", str(config))

    def grant(rules: "list[Any]") -> None:
        role = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "limited", "namespace": namespace},
            "rules": rules,
        }
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "limited", "namespace": namespace},
            "subjects": [{"kind": "User", "name": "limited"}],
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "limited",
            },
        }
        kubectl("apply", "-f", "-", text=yaml.safe_dump_all([role, binding]))
        time.sleep(0.5)  # the authorizer's cache

    return grant


def role_rules() -> "list[Any]":
    if not RIGHTS.is_file():
        pytest.skip("manifests/rbac.yaml is not there yet")
    docs = list(yaml.safe_load_all(RIGHTS.read_text()))
    return next(list(d["rules"]) for d in docs if d["kind"] in ("Role", "ClusterRole"))


def test_least_role_is_enough(
    make_plan: "Callable[..., Plan]", limited: "Callable[[list[Any]], None]", kubelet: Kubelet
) -> None:
    from launcher import api

    limited(role_rules())
    plan = make_plan()
    handle = start(plan)
    handle.status()
    list(handle.logs())
    assert [s.name for s in api.cluster_runs("kubernetes", namespace=kubelet.namespace)] == ["d0"]
    assert handle.cancel().state is State.CANCELLED
    assert api.delete("d0")


@pytest.mark.parametrize(
    ("resource", "verb", "said"),
    [
        ("jobs", "patch", "may not patch jobs.batch"),
        ("pods", "list", "may not list pods"),
        ("configmaps", "get", "may not get configmaps"),
    ],
)
def test_missing_right_is_named(
    make_plan: "Callable[..., Plan]",
    limited: "Callable[[list[Any]], None]",
    resource: str,
    verb: str,
    said: str,
) -> None:
    rules = role_rules()
    for rule in rules:
        if resource in rule["resources"]:
            rule["verbs"] = [v for v in rule["verbs"] if v != verb] or ["watch"]
    limited(rules)
    with pytest.raises(UsageError) as caught:
        start(make_plan()).status()
    assert said in str(caught.value)
    assert "manifests/rbac.yaml" in str(caught.value)


def test_command_line_from_submit_to_delete(
    make_plan: "Callable[..., Plan]", kubelet: Kubelet, tmp_path: Path, core: Any
) -> None:
    """What a user types, in processes of their own."""
    make_claims(core, kubelet.namespace)
    spec = tmp_path / "d0.yaml"
    plan = make_plan()
    from launcher.spec import to_yaml

    spec.write_text(to_yaml(plan.spec))
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


def launcher(*args: str) -> str:
    argv = [sys.executable, "-m", "launcher", *args]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def kubectl(*args: str, text: str = "") -> str:
    argv = ["kubectl", f"--kubeconfig={up.kubeconfig()}", *args]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
