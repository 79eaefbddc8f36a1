"""What is refused before anything is written: the whole message, all of them at once."""

import re

import pytest

from launcher.errors import SpecError
from launcher.render.kubernetes import KINDS, Kind, objects
from launcher.render.kubernetes.output import apply_command
from tests.render import kube

LONG = "a" * 47


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "cluster.image=",
            "--set cluster.image: is not set, and pods need one. Name the image that the "
            "Dockerfile builds, as registry.example.com/launcher:0.1.0",
        ),
        (
            "run_dir=/somewhere",
            "--set run_dir: /somewhere is on no volume: mounted are /data, /mnt/runs. Mount a "
            "volume there that all pods can write, or set run_dir to a mounted path",
        ),
        (
            "run_dir=/data/runs",
            "--set run_dir: /data/runs is on the volume data, which is read_only. Remove "
            "read_only, or set run_dir to another volume",
        ),
        (
            "data.label_map=/labels/map.pbtxt",
            "--set data.label_map: /labels/map.pbtxt is on no volume: mounted are /data, "
            "/mnt/runs. Mount the volume that holds it (cluster.volumes), or name its path in the "
            "pods",
        ),
        (
            "cluster.volumes=[{name: a, mount_path: /, claim: c}]",
            "--set cluster.volumes.0.mount_path: / cannot be mounted. Use a path such as /data",
        ),
        (
            "cluster.volumes=[{name: a, mount_path: /data, claim: c},"
            " {name: b, mount_path: /mnt/runs, host_path: /disk}]",
            "--set cluster.volumes.1.host_path: /disk is a folder of whatever node a pod lands "
            "on. Use a claim, or allow it with backend.kubernetes.allow_host_path: true",
        ),
        (
            "cluster.volumes=[{name: a, mount_path: /data, claim: c},"
            " {name: r, mount_path: /mnt, claim: d}, {name: t, mount_path: /tmp/, claim: e}]",
            "--set cluster.volumes.2.mount_path: /tmp is launcher's own mount. Use another path",
        ),
        (
            "cluster.env={NVIDIA_VISIBLE_DEVICES: all}",
            "--set cluster.env.NVIDIA_VISIBLE_DEVICES: all makes more GPUs visible than "
            "cluster.gpus_per_worker (4) asks for. Remove it: the device plugin gives each "
            "container its own GPUs",
        ),
        (
            "cluster.env={CUDA_VISIBLE_DEVICES: '0,1,2,3,4'}",
            "--set cluster.env.CUDA_VISIBLE_DEVICES: 0,1,2,3,4 makes more GPUs visible than "
            "cluster.gpus_per_worker (4) asks for. Remove it: the device plugin gives each "
            "container its own GPUs",
        ),
        (
            "cluster.secrets=[{env: A, name: s, key: k}, {env: A, name: s, key: l}]",
            "--set cluster.secrets.1.env: A is set twice. Remove one of them",
        ),
        (
            "backend.kubernetes.queue_priority=high",
            "--set backend.kubernetes.queue_priority: is for a queue of Kueue, and none is named. "
            "Set cluster.queue, or remove it",
        ),
        (
            "backend.kubernetes.shared_memory=200Gi",
            "--set backend.kubernetes.shared_memory: 200Gi is more than cluster.memory_per_worker "
            "(128Gi), which /dev/shm counts against. Use less of it, or more memory",
        ),
        (
            "name=3d",
            "--set name: 3d begins with a digit, which the name of a Service may not. Use run-3d",
        ),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_one_mistake_is_one_message(kind: Kind, setting: str, message: str) -> None:
    if setting == "cluster.image=":
        cluster = {k: v for k, v in kube.BASE["cluster"].items() if k != "image"}
        plan, message = kube.plan_of(cluster=cluster), message.removeprefix("--set ")
    else:
        plan = kube.plan_of(setting, "cluster.memory_per_worker=128Gi")
    with pytest.raises(SpecError) as caught:
        objects(plan, kind)
    assert message in [str(problem) for problem in caught.value.problems]
    assert len(caught.value.problems) <= 2


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        objects(
            kube.plan_of(
                "run_dir=/a", "data.val=/b/val-*", "cluster.env={NVIDIA_VISIBLE_DEVICES: all}"
            )
        )
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("kind", ["job", "tfjob"])
def test_the_longest_name_fits(kind: Kind) -> None:
    assert objects(kube.plan_of(f"name={LONG}"), kind)


def test_a_jobsets_name_leaves_room_for_its_pods() -> None:
    wide = ("cluster.workers=128", "cluster.gpus_per_worker=1", "batch.per_replica_batch=1")
    with pytest.raises(SpecError) as caught:
        objects(kube.plan_of(f"name={LONG}", *wide), "jobset")
    (problem,) = caught.value.problems
    assert str(problem) == (
        f"--set name: {LONG} makes {LONG}-worker-0-127 (host name of the last worker), 3 "
        "characters longer than Kubernetes allows. Use at most 44 characters"
    )
    assert objects(kube.plan_of(f"name={LONG[:44]}", *wide), "jobset")


@pytest.mark.parametrize(
    ("setting", "field", "remedy"),
    [
        (
            f"cluster.env={{BIG: {'x' * 600_000}}}",
            "cluster.env",
            "Put long values into a file on a volume, and give its path",
        ),
        (
            f"data.train=[{', '.join(f'/data/t-{i:0200}' for i in range(2000))}]",
            "data.train",
            "Name record files by a pattern instead of one by one",
        ),
    ],
    ids=["env", "data"],
)
def test_a_plan_that_no_config_map_holds(setting: str, field: str, remedy: str) -> None:
    with pytest.raises(SpecError) as caught:
        objects(kube.plan_of(setting))
    (problem,) = caught.value.problems
    assert problem.place == f"--set {field}"
    assert re.fullmatch(
        r"the plan has \d,\d+,\d+ bytes, a ConfigMap holds 1,048,576; the largest part is "
        rf"{field} with \d+,\d+",
        problem.what,
    )
    assert problem.remedy == remedy


def test_what_plain_apply_has_no_room_for_is_to_be_applied_by_the_server() -> None:
    """tests/cluster/test_manifests_apply.py asks kubectl itself where the bound is."""
    assert apply_command(objects(kube.plan_of())) == "kubectl apply"
    large = objects(kube.plan_of(f"cluster.env={{BIG: {'x' * 120_000}}}"))
    assert apply_command(large) == "kubectl apply --server-side"
    odd = objects(kube.plan_of(f"cluster.env={{BIG: {'<' * 20_000}}}"))
    assert apply_command(odd) == "kubectl apply --server-side", "six bytes for each of them"


def test_shared_memory_is_within_the_evaluators_memory_too() -> None:
    settings = ("evaluate.memory=2Gi", "backend.kubernetes.shared_memory=3Gi")
    with pytest.raises(SpecError, match=r"3Gi is more than evaluate.memory \(2Gi\)"):
        objects(kube.plan_of(*settings))
    assert objects(kube.plan_of("evaluate.memory=3072Mi", settings[1]))


def test_a_host_path_that_is_asked_for() -> None:
    settings = (
        "cluster.volumes=[{name: all, mount_path: /data, host_path: /disk},"
        " {name: runs, mount_path: /mnt, claim: c}]",
        "backend.kubernetes.allow_host_path=true",
    )
    (pod, _) = kube.pods(objects(kube.plan_of(*settings)))
    assert {"name": "all", "hostPath": {"path": "/disk"}} in pod["spec"]["volumes"]
