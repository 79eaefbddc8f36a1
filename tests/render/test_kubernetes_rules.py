"""What each kind must say, one rule a test: from the APIs' documentation, and why runs fail."""

import json
import re
import shlex
from importlib import metadata
from typing import Any

import pytest
import yaml

from launcher.contract import plan_digest
from launcher.errors import SpecError
from launcher.render.kubernetes import KINDS, Kind, objects
from tests.render import kube

Object = dict[str, Any]


def made(kind: Kind, *overrides: str) -> list[Object]:
    return objects(kube.plan_of(*overrides), kind)


# Every kind


@pytest.mark.parametrize("kind", KINDS)
def test_pods_are_those_that_the_restricted_standard_admits(kind: Kind) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards, column "Restricted"."""
    for pod in kube.pods(made(kind, *kube.FULL[:5])):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        allowed = {"configMap", "emptyDir", "persistentVolumeClaim"}
        assert {k for v in spec["volumes"] for k in v if k != "name"} <= allowed


@pytest.mark.parametrize("kind", KINDS)
def test_what_programs_write_to_is_mounted(kind: Kind) -> None:
    for pod in kube.pods(made(kind)):
        (container,) = pod["spec"]["containers"]
        volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
        mounted = {m["mountPath"]: volumes[m["name"]] for m in container["volumeMounts"]}
        home = next(e["value"] for e in container["env"] if e["name"] == "HOME")
        assert mounted["/tmp"]["emptyDir"] == {}
        assert mounted[home]["emptyDir"] == {}
        assert mounted["/dev/shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
        assert mounted["/mnt/runs"]["persistentVolumeClaim"] == {"claimName": "runs"}
        assert mounted["/data"]["persistentVolumeClaim"] == {"claimName": "coco", "readOnly": True}


@pytest.mark.parametrize("kind", KINDS)
def test_no_pod_has_a_token_or_the_environment_of_services(kind: Kind) -> None:
    for pod in kube.pods(made(kind, "cluster.service_account=trainer")):
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["enableServiceLinks"] is False
        assert pod["spec"]["serviceAccountName"] == "trainer"


@pytest.mark.parametrize("kind", KINDS)
def test_gpus_are_limits_and_the_rest_is_both(kind: Kind) -> None:
    found = made(kind, "cluster.cpus_per_worker=7.5", "cluster.memory_per_worker=64Gi")
    (container,) = kube.workers(found, kind)["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "7500m", "memory": "64Gi"},
        "limits": {"cpu": "7500m", "memory": "64Gi", "nvidia.com/gpu": "4"},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_another_vendors_gpus(kind: Kind) -> None:
    found = made(kind, "backend.kubernetes.gpu_resource=amd.com/gpu")
    (container,) = kube.workers(found, kind)["spec"]["containers"]
    assert container["resources"] == {"limits": {"amd.com/gpu": "4"}}


@pytest.mark.parametrize("kind", KINDS)
def test_a_container_without_gpus_sees_none(kind: Kind) -> None:
    """An image with NVIDIA_VISIBLE_DEVICES=all would be given all GPUs of its node."""
    found = made(kind, "cluster.gpus_per_worker=0", "evaluate.gpus=0")
    for pod in kube.pods(found):
        env = {e["name"]: e.get("value") for e in pod["spec"]["containers"][0]["env"]}
        assert env["NVIDIA_VISIBLE_DEVICES"] == "void"
        assert env["CUDA_VISIBLE_DEVICES"] == "-1"


@pytest.mark.parametrize("kind", KINDS)
def test_secrets_go_by_reference(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2-is-secret")
    found = made(kind, *kube.FULL)
    for pod in kube.pods(found):
        (entry,) = [e for e in pod["spec"]["containers"][0]["env"] if e["name"] == "TOKEN"]
        assert entry["valueFrom"] == {"secretKeyRef": {"name": "storage", "key": "token"}}
    assert "hunter2" not in json.dumps(found)


@pytest.mark.parametrize("kind", KINDS)
def test_values_reach_the_container_as_they_were_given(kind: Kind) -> None:
    for pod in kube.pods(made(kind, *kube.FULL)):
        env = kube.environment(pod, "vision", {}, {})
        assert env["ODD"] == "a$(HOME)$$b"
        assert env["NUMBER"] == "1e3"
        assert env["LINES"] == "a\nb"


@pytest.mark.parametrize("kind", KINDS)
def test_one_claim_is_one_volume(kind: Kind) -> None:
    """A pod that names a claim in two volumes may wait for ever."""
    both = (
        "cluster.volumes=[{name: all, mount_path: /mnt, claim: c},"
        " {name: data, mount_path: /data, claim: c, read_only: true}]"
    )
    for pod in kube.pods(made(kind, both)):
        claims = [v for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v]
        assert claims == [{"name": "all", "persistentVolumeClaim": {"claimName": "c"}}]
        mounts = pod["spec"]["containers"][0]["volumeMounts"]
        assert {"name": "all", "mountPath": "/mnt"} in mounts
        assert {"name": "all", "mountPath": "/data", "readOnly": True} in mounts


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_has_time_to_be_saved(kind: Kind) -> None:
    for pod in kube.pods(made(kind, "backend.kubernetes.termination_grace_seconds=77")):
        assert pod["spec"]["terminationGracePeriodSeconds"] == 77


@pytest.mark.parametrize("kind", KINDS)
def test_scheduling_is_the_specs(kind: Kind) -> None:
    for pod in kube.pods(made(kind, *kube.FULL)):
        spec = pod["spec"]
        assert spec["nodeSelector"] == {"example.com/pool": "gpu"}
        assert spec["tolerations"] == [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
            {
                "key": "spot", "operator": "Equal", "value": "yes", "effect": "NoExecute",
                "tolerationSeconds": 60,
            },
        ]  # fmt: skip
        assert spec["priorityClassName"] == "high"
        assert spec["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("placement", "rule"), [("spread", "podAntiAffinity"), ("pack", "podAffinity")]
)
def test_workers_spread_or_pack(kind: Kind, placement: str, rule: str) -> None:
    worker = kube.workers(made(kind, f"backend.kubernetes.placement={placement}"), kind)
    assert list(worker["spec"]["affinity"]) == [rule]
    (term,) = worker["spec"]["affinity"][rule]["preferredDuringSchedulingIgnoredDuringExecution"]
    wanted = term["podAffinityTerm"]["labelSelector"]["matchLabels"]
    assert wanted.items() <= worker["metadata"]["labels"].items(), "it selects the workers"
    assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"


@pytest.mark.parametrize("kind", KINDS)
def test_the_queue_holds_what_starts_pods(kind: Kind) -> None:
    """Kueue's webhooks suspend what has the label: a manifest that suspended itself would never
    start in a cluster without Kueue."""
    settings = ("cluster.queue=research", "backend.kubernetes.queue_priority=urgent")
    for found in made(kind, *settings):
        labels = found["metadata"]["labels"]
        starts_pods = found["kind"] in ("Job", "JobSet", "TFJob", "RayJob")
        assert labels.get("kueue.x-k8s.io/queue-name") == ("research" if starts_pods else None)
        assert labels.get("kueue.x-k8s.io/priority-class") == ("urgent" if starts_pods else None)
    assert '"suspend"' not in json.dumps(made(kind, *settings))


@pytest.mark.parametrize("kind", KINDS)
def test_everything_has_the_recommended_labels(kind: Kind) -> None:
    found = made(kind, "backend.kubernetes.network_policy=true")
    for one in [o["metadata"] for o in found] + [p["metadata"] for p in kube.pods(found)]:
        assert one["labels"].items() >= {
            "app.kubernetes.io/name": "launcher",
            "app.kubernetes.io/instance": "d3",
            "app.kubernetes.io/part-of": "launcher",
            "app.kubernetes.io/managed-by": "launcher",
        }.items()  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_objects_have_the_version_and_pods_do_not(kind: Kind) -> None:
    """Else the next version of launcher could not apply the same run: templates are immutable."""
    found = made(kind, "backend.kubernetes.network_policy=true")
    versions = {o["metadata"]["labels"]["app.kubernetes.io/version"] for o in found}
    assert versions == {metadata.version("launcher")}
    for one in found:
        assert "app.kubernetes.io/version" not in json.dumps(one.get("spec", {}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_namespace_is_on_all_or_on_none(kind: Kind) -> None:
    assert {o["metadata"].get("namespace") for o in made(kind)} == {None}
    named = made(kind, "backend.kubernetes.namespace=vision")
    assert {o["metadata"].get("namespace") for o in named} == {"vision"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_policy_lets_the_runs_own_pods_in(kind: Kind) -> None:
    found = made(kind, "backend.kubernetes.network_policy=true")
    policy = kube.of_kind(found, "NetworkPolicy")["spec"]
    own = {"matchLabels": policy["podSelector"]["matchLabels"]}
    for pod in kube.pods(found):
        assert own["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert policy["policyTypes"] == ["Ingress"]
    assert policy["ingress"][0] == {"from": [{"podSelector": own}]}
    operators = [rule["ports"] for rule in policy["ingress"][1:]]
    assert operators == ([[{"protocol": "TCP", "port": 8265}]] if kind == "rayjob" else [])
    assert not [o for o in made(kind) if o["kind"] == "NetworkPolicy"], "only when asked for"


@pytest.mark.parametrize("kind", KINDS)
def test_the_config_map_is_the_plan(kind: Kind) -> None:
    plan = kube.plan_of()
    found = objects(plan, kind)
    data = found[0]["data"]
    assert found[0]["kind"] == "ConfigMap", "it comes before the pods that mount it"
    assert json.loads(data["plan.json"]) == plan.to_json()
    assert data["pipeline.config"] == plan.pipeline_text
    assert yaml.safe_load(data["spec.yaml"])["name"] == "d3"
    assert ("ray.json" in data) == (kind == "rayjob")
    sums = {p["metadata"]["annotations"]["launcher/plan-sha256"] for p in kube.pods(found)}
    assert sums == {plan_digest(data)}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_a_shell_string(kind: Kind) -> None:
    odd = "run_dir=/mnt/runs/a b;$(touch x)"
    for pod in kube.pods(made(kind, odd)):
        command = pod["spec"]["containers"][0].get("command")
        if command:  # a RayJob's pods are started by KubeRay
            expanded = [kube._expand(word, {}) for word in command]
            assert expanded[:3] == ["python", "-m", "launcher.pod"]
            assert expanded[4:] == ["/mnt/runs/a b;$(touch x)/d3"]
    if kind == "rayjob":
        entry = kube.of_kind(made(kind, odd), "RayJob")["spec"]["entrypoint"]
        assert entry.endswith("driver '/mnt/runs/a b;$(touch x)/d3'")


# job


def test_an_indexed_job_whose_indexes_return_by_themselves() -> None:
    spec = kube.job(made("job", "restart.max_restarts=5"), "worker")["spec"]
    assert spec["completionMode"] == "Indexed"
    assert (spec["completions"], spec["parallelism"]) == (8, 8)
    assert spec["backoffLimitPerIndex"] == 5
    assert spec["maxFailedIndexes"] == 0, "or the Job could end Complete with failed indexes"
    assert spec["podReplacementPolicy"] == "Failed", "required by podFailurePolicy"
    assert spec["template"]["spec"]["restartPolicy"] == "Never", "required by the two above"
    assert "backoffLimit" not in spec


@pytest.mark.parametrize(
    ("component", "kind"), [("worker", "job"), *(("evaluator", k) for k in KINDS[:3])]
)
def test_exit_codes_and_preemption(component: str, kind: Kind) -> None:
    found = kube.job(made(kind), component)
    final, disrupted, stopped = found["spec"]["podFailurePolicy"]["rules"]
    name = found["spec"]["template"]["spec"]["containers"][0]["name"]
    # A worker's 75 asks for another start; an evaluator's says that the run is over, unscored.
    codes = [64, 65, 66] if component == "worker" else [64, 65, 66, 75]
    assert final == {
        "action": "FailJob",
        "onExitCodes": {"containerName": name, "operator": "In", "values": codes},
    }
    assert disrupted == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    assert stopped == {
        "action": "Ignore",
        "onExitCodes": {"containerName": name, "operator": "In", "values": [143]},
    }


def test_a_headless_service_names_pods_before_they_are_ready() -> None:
    found = made("job")
    service, worker = kube.of_kind(found, "Service"), kube.workers(found, "job")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"].items() <= worker["metadata"]["labels"].items()
    evaluator = kube.job(found, "evaluator")["spec"]["template"]
    assert not service["spec"]["selector"].items() <= evaluator["metadata"]["labels"].items()
    assert worker["spec"]["subdomain"] == service["metadata"]["name"]
    (port,) = worker["spec"]["containers"][0]["ports"]
    assert [p["port"] for p in service["spec"]["ports"]] == [port["containerPort"]]


@pytest.mark.parametrize("kind", ["job", "jobset", "tfjob"])
def test_the_evaluator_is_a_job_of_its_own_outside_the_cluster(kind: Kind) -> None:
    spec = kube.job(made(kind), "evaluator")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "launcher.pod", "evaluator", "/mnt/runs/d3"]
    assert (spec["completions"], spec["backoffLimit"]) == (1, 30)
    names = {e["name"] for e in container["env"]}
    assert not names & {"TF_CONFIG", "LAUNCHER_HOSTS", "LAUNCHER_INDEX"}
    assert "subdomain" not in spec["template"]["spec"]


@pytest.mark.parametrize("kind", ["job", "jobset", "tfjob", "rayjob"])
def test_hours_end_it(kind: Kind) -> None:
    found = made(kind, "backend.kubernetes.max_hours=1.5")
    for one in (o for o in found if o["kind"] in ("Job", "JobSet", "TFJob", "RayJob")):
        assert '"activeDeadlineSeconds": 5400' in json.dumps(one)


# jobset


def test_a_jobset_restarts_as_a_group() -> None:
    spec = kube.of_kind(made("jobset", "restart.max_restarts=5"), "JobSet")["spec"]
    (group,) = spec["replicatedJobs"]
    job = group["template"]["spec"]
    assert (group["name"], group["replicas"]) == ("worker", 1)
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 8, 8)
    assert job["backoffLimit"] == 0
    assert job["podReplacementPolicy"] == "Failed"
    # Empty it becomes OnFailure, which excludes podFailurePolicy.
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert {rule["action"] for rule in job["podFailurePolicy"]["rules"]} == {"FailJob"}
    assert {"type": "DisruptionTarget", "status": "True"} in (
        job["podFailurePolicy"]["rules"][1]["onPodConditions"]
    )
    assert spec["failurePolicy"]["maxRestarts"] == 5
    assert spec["failurePolicy"]["restartStrategy"] == "BlockingRecreate"
    assert spec["network"] == {
        "enableDNSHostnames": True, "subdomain": "d3", "publishNotReadyAddresses": True,
    }  # fmt: skip
    assert not [o for o in made("jobset") if o["kind"] == "Service"], "it makes its own"


MESSAGES = {
    # As pkg/controller/job of Kubernetes 1.34 words them.
    64: "Container worker for pod ns/d3-worker-0-3-x failed with exit code 64 matching FailJob "
    "rule at index 0",
    66: "Container worker for pod ns/d3-worker-0-3-x failed with exit code 66 matching FailJob "
    "rule at index 0",
    143: "Container worker for pod ns/d3-worker-0-3-x failed with exit code 143 matching FailJob "
    "rule at index 2",
    None: "Pod ns/d3-worker-0-64-x has condition DisruptionTarget matching FailJob rule at index 1",
}


def action_of(rules: list[Object], reason: str, message: str) -> str:
    """As JobSet chooses (controllers/failure_policy.go): the first rule that fits, or its own."""
    for rule in rules:
        patterns = rule.get("onJobFailureMessagePatterns")
        if reason in rule["onJobFailureReasons"] and (
            not patterns or any(re.search(p, message) for p in patterns)
        ):
            return str(rule["action"])
    return "RestartJobSet"


def test_the_hours_of_a_jobset_end_it() -> None:
    """By default it would start the group again, and each time for as long."""
    spec = kube.of_kind(made("jobset", "backend.kubernetes.max_hours=2"), "JobSet")["spec"]
    (group,) = spec["replicatedJobs"]
    assert group["template"]["spec"]["activeDeadlineSeconds"] == 7200
    said = "Job was active longer than specified deadline"
    assert action_of(spec["failurePolicy"]["rules"], "DeadlineExceeded", said) == "FailJobSet"
    assert action_of(spec["failurePolicy"]["rules"], "BackoffLimitExceeded", said) == (
        "RestartJobSet"
    )


@pytest.mark.parametrize("code", MESSAGES)
def test_a_jobset_tells_final_codes_from_preemption(code: int | None) -> None:
    rules = kube.of_kind(made("jobset"), "JobSet")["spec"]["failurePolicy"]["rules"]

    final = code in (64, 65, 66)
    action = action_of(rules, "PodFailurePolicy", MESSAGES[code])
    assert action == ("FailJobSet" if final else "RestartJobSetAndIgnoreMaxRestarts")
    assert action_of(rules, "BackoffLimitExceeded", "exit code 64 ") == "RestartJobSet", "counts"
    for rule in rules:
        assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", rule["name"])


# tfjob


def test_a_tfjob_of_workers_only() -> None:
    spec = kube.of_kind(made("tfjob"), "TFJob")["spec"]
    assert list(spec["tfReplicaSpecs"]) == ["Worker"], "no evaluator, chief or ps in its TF_CONFIG"
    worker = spec["tfReplicaSpecs"]["Worker"]
    assert worker["replicas"] == 8
    (container,) = worker["template"]["spec"]["containers"]
    assert container["name"] == "tensorflow", "the operator looks for it"
    assert container["ports"] == [{"name": "tfjob-port", "containerPort": 2222}]
    assert worker["restartPolicy"] == "ExitCode"
    assert "restartPolicy" not in worker["template"]["spec"]
    assert spec["successPolicy"] == "AllWorkers"
    assert "backoffLimit" not in spec["runPolicy"], "with ExitCode it does not count restarts"
    assert {"name": "LAUNCHER_EXIT_OFFSET", "value": "128"} in container["env"]


# rayjob


def test_a_rayjob_is_one_cluster_for_one_driver() -> None:
    found = made("rayjob")
    assert [o["kind"] for o in found] == ["ConfigMap", "RayJob"]
    spec = kube.of_kind(found, "RayJob")["spec"]
    assert spec["entrypoint"] == "python -m launcher.pod driver /mnt/runs/d3"
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["backoffLimit"] == 0, "a retry would build a new cluster"
    assert spec["submissionMode"] == "HTTPMode", "no submitter whose retry reuses the id"
    assert spec["jobId"] == json.loads(found[0]["data"]["ray.json"])["submission"]
    groups = {g["groupName"]: g for g in spec["rayClusterSpec"]["workerGroupSpecs"]}
    assert {name: g["replicas"] for name, g in groups.items()} == {"worker": 8, "evaluator": 1}
    for group in groups.values():
        assert group["minReplicas"] == group["replicas"] == group["maxReplicas"]
        assert "command" not in group["template"]["spec"]["containers"][0], "KubeRay's"


def test_in_a_ray_cluster_each_pod_takes_one_process() -> None:
    found = made("rayjob", "cluster.cpus_per_worker=8", "cluster.memory_per_worker=16Gi")
    cluster = kube.of_kind(found, "RayJob")["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]["rayStartParams"]
    worker, evaluator = (g["rayStartParams"] for g in cluster["workerGroupSpecs"])
    needs = json.loads(found[0]["data"]["ray.json"])["worker_needs"]
    assert (worker["num-cpus"], worker["num-gpus"]) == ("8", "4")
    assert int(worker["memory"]) == needs["memory"] == 16 * 2**30
    assert (head["num-cpus"], head["num-gpus"]) == ("0", "0"), "no worker fits on the head"
    assert (evaluator["num-cpus"], evaluator["num-gpus"]) == ("0", "1"), "nor beside the evaluator"
    assert all(isinstance(v, str) for v in {**head, **worker, **evaluator}.values())


@pytest.mark.parametrize("gpus", [0, 1])
def test_the_evaluator_takes_no_workers_gpu(gpus: int) -> None:
    """It starts before the group: one idle GPU of a worker's node would keep that worker out."""
    found = made("rayjob", f"evaluate.gpus={gpus}", "backend.ray.resources={fast_disk: 2}")
    cluster = kube.of_kind(found, "RayJob")["spec"]["rayClusterSpec"]
    nodes = {"head": cluster["headGroupSpec"]}
    nodes |= {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    offered = {}
    for name, group in nodes.items():
        text = group["rayStartParams"].get("resources", '"{}"')
        (word,) = shlex.split(text)  # as bash takes it
        offered[name] = json.loads(word)
    needs = json.loads(found[0]["data"]["ray.json"])
    asked = needs["evaluator_needs"]["resources"]
    home = "evaluator" if gpus else "head"
    assert [name for name, has in offered.items() if asked.items() <= has.items()] == [home]
    wanted = needs["worker_needs"]["resources"]
    assert wanted == offered["worker"] == {"fast_disk": 2, "launcher_worker": 1}, "one a pod"


def test_a_custom_resource_is_no_shell() -> None:
    with pytest.raises(SpecError, match="plain names"):
        made("rayjob", "backend.ray.resources={'$(touch x)': 1}")


def test_ray_is_the_version_of_the_extra() -> None:
    spec = kube.of_kind(made("rayjob"), "RayJob")["spec"]
    pinned = [r for r in metadata.requires("launcher") or [] if r.startswith("ray[")]
    assert pinned
    assert f"=={spec['rayClusterSpec']['rayVersion']}" in pinned[0]


def test_the_names_of_modules_are_the_ray_backends() -> None:
    from launcher import contract
    from launcher.backends.ray.channel import Channel
    from launcher.render import ray

    assert Channel(kube.ROOT).control.name == contract.RAY_CONTROL_FILE
    assert (contract.DRIVER_MODULE, contract.RAY_JOB_FILE) == (ray.DRIVER_MODULE, ray.JOB_FILE)
