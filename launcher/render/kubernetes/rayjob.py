"""A RayJob (ray.io/v1, KubeRay 1.7): a Ray cluster for the run, and the Ray backend's driver in it.

The driver is the supervisor that the other kinds lack: it restarts the group, starts the evaluator
as a Ray job of its own in the same cluster, and writes status.json. The cluster goes when it ends.
Nothing is retried from outside: a second cluster would start the driver again.
"""

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from launcher.contract import DRIVER_ROLE, POD_MODULE
from launcher.render import ray
from launcher.render.kubernetes import names as wire
from launcher.render.kubernetes.job import deadline
from launcher.render.kubernetes.names import Names
from launcher.render.kubernetes.pod import role_of, template

if TYPE_CHECKING:
    from launcher.planning import Plan

Object = dict[str, Any]

RAY_VERSION = "2.60.0"
"""That of the extra launcher[ray], which the image has in it."""
DASHBOARD_PORT, GCS_PORT, CLIENT_PORT = 8265, 6379, 10001
_DASHBOARD = f"http://127.0.0.1:{DASHBOARD_PORT}"
"""As the driver, which runs on the head node, reaches it."""
_OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Training passes nothing through the object store; by default it is a third of the memory, and
larger than /dev/shm."""
WORKER_NODE, EVALUATOR_NODE = "launcher_worker", "launcher_evaluator"
"""Custom resources of Ray: each node of a worker has one of the first, one node of the second."""

_HEAD = {"cpu": "2", "memory": "8Gi"}
"""Of a head node that scores nothing: Ray's own processes, the dashboard and the driver."""


def described(plan: "Plan", names: Names) -> ray.RayJob:
    """`ray.json`. The run's name is the submission's: the cluster is the run's own.

    Each process asks for a node that is meant for it: the evaluator would take a worker's idle GPU,
    and two small workers would share a pod while another one stays empty.
    """
    job = ray.job(plan, (plan.workers,), names.run, _DASHBOARD)
    here = {**plan.spec.backend.ray.resources, WORKER_NODE: 1.0}
    scoring = ray.Needs(
        cpus=plan.spec.backend.ray.evaluator_cpus,  # evaluate.cpus and memory are its pod's
        gpus=job.evaluator_needs.gpus,
        resources={EVALUATOR_NODE: 1.0},
    )
    return replace(
        job,
        worker_needs=replace(job.worker_needs, resources=here),
        evaluator_needs=scoring,
    )


def files(plan: "Plan", names: Names) -> dict[str, str]:
    """What the ConfigMap holds beside the plan."""
    return {ray.JOB_FILE: json.dumps(described(plan, names).to_json(), indent=1) + "\n"}


def workers(plan: "Plan", names: Names, metadata: Object) -> Object:
    request = ray.request(described(plan, names))
    groups = [_worker_group(plan, names)]
    if role_of(plan, wire.EVALUATOR).gpus:
        groups.append(_evaluator_group(plan, names))
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": names.workers, **metadata},
        "spec": {
            **deadline(plan),
            "entrypoint": shlex.join(["python", "-m", POD_MODULE, DRIVER_ROLE, str(plan.root)]),
            "jobId": request["submission_id"],
            "metadata": request["metadata"],
            # JSON is YAML; the keys in their order.
            "runtimeEnvYAML": json.dumps(request["runtime_env"]),
            # The operator submits it: no pod that could submit it twice.
            "submissionMode": "HTTPMode",
            "backoffLimit": 0,
            "shutdownAfterJobFinishes": True,
            "rayClusterSpec": {
                "rayVersion": RAY_VERSION,
                "headGroupSpec": _head(plan, names),
                "workerGroupSpecs": groups,
            },
        },
    }


def _head(plan: "Plan", names: Names) -> Object:
    """The driver's node, and the evaluator's when that has no GPU. No worker fits on it."""
    pods = _template(plan, names, wire.EVALUATOR)
    pods["metadata"]["labels"] = wire.labels(plan.name, DRIVER_ROLE)
    container = pods["spec"]["containers"][0]
    container["name"] = DRIVER_ROLE
    container["ports"] = [
        {"name": "gcs-server", "containerPort": GCS_PORT},
        {"name": "dashboard", "containerPort": DASHBOARD_PORT},
        {"name": "client", "containerPort": CLIENT_PORT},
    ]
    if role_of(plan, wire.EVALUATOR).gpus:  # which has a pod of its own then
        container["resources"] = {"requests": dict(_HEAD), "limits": dict(_HEAD)}
        here: dict[str, float] = {}
    else:
        here = {EVALUATOR_NODE: 1.0}
    cpus = plan.spec.backend.ray.evaluator_cpus
    started = {"dashboard-host": "0.0.0.0", **_start(cpus, 0, resources=here)}  # noqa: S104
    return {"rayStartParams": started, "template": pods}


def _worker_group(plan: "Plan", names: Names) -> Object:
    """One worker a pod: each pod has exactly what one takes."""
    needs = described(plan, names).worker_needs
    started = _start(needs.cpus, needs.gpus, needs.memory, needs.resources)
    return _group(wire.WORKER, plan.workers, started, _template(plan, names, wire.WORKER))


def _evaluator_group(plan: "Plan", names: Names) -> Object:
    """A pod with the evaluator's GPU and no core that a worker could take."""
    gpus = role_of(plan, wire.EVALUATOR).gpus
    cpus = plan.spec.backend.ray.evaluator_cpus
    started = _start(cpus, gpus, resources={EVALUATOR_NODE: 1.0})
    return _group(wire.EVALUATOR, 1, started, _template(plan, names, wire.EVALUATOR))


def _group(name: str, count: int, started: dict[str, str], pods: Object) -> Object:
    return {
        "groupName": name,
        "replicas": count,
        "minReplicas": count,
        "maxReplicas": count,
        "rayStartParams": started,
        "template": pods,
    }


def _start(
    cpus: float, gpus: int, memory: int = 0, resources: Mapping[str, float] | None = None
) -> dict[str, str]:
    """What a node offers, said rather than found: Ray counts the cores of the whole machine.

    KubeRay writes the values into a line of bash as they are: JSON needs quotes around it.
    """
    given: dict[str, int | str] = {"num-cpus": math.ceil(cpus), "num-gpus": gpus}
    given |= {"memory": memory} if memory else {}
    if resources:
        given["resources"] = json.dumps(json.dumps(dict(resources)))
    given["object-store-memory"] = _OBJECT_STORE_BYTES
    return {name: str(value) for name, value in given.items()}


def _template(plan: "Plan", names: Names, role: str) -> Object:
    """KubeRay starts Ray in the container, and starts it again itself."""
    pods = template(plan, names, role)
    del pods["spec"]["restartPolicy"]
    container = pods["spec"]["containers"][0]
    del container["command"]
    container.pop("ports", None)
    return pods
