"""The pod of a role: what workers and evaluator have in common, whoever starts them.

It is one that the `restricted` Pod Security Standard admits: a numeric user that is not root, no
privileges, no capabilities, the runtime's seccomp profile, a read-only root file system with the
places mounted that programs write to.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from launcher.contract import (
    ENV_CPU_THREADS,
    ENV_HOSTS,
    ENV_INDEX,
    ENV_MAX_RESTARTS,
    ENV_NAMESPACE,
    ENV_PLAN_DIR,
    POD_MODULE,
)
from launcher.render.kubernetes import names as wire
from launcher.render.kubernetes.names import Names

if TYPE_CHECKING:
    from launcher.planning import Plan
    from launcher.planning.plan import Role
    from launcher.spec.cluster import Toleration, Volume

Object = dict[str, Any]


def template(plan: "Plan", names: Names, role: str) -> Object:
    """The pod template of a role: `worker` or `evaluator`."""
    return {
        "metadata": {
            "labels": wire.labels(plan.name, role),
            "annotations": {wire.PLAN_ANNOTATION: names.plan},
        },
        "spec": pod(plan, names, role),
    }


def pod(plan: "Plan", names: Names, role: str) -> Object:
    cluster, settings = plan.spec.cluster, plan.spec.backend.kubernetes
    spec: Object = {"restartPolicy": "Never"}
    if role == wire.WORKER and names.kind == "job":
        spec["subdomain"] = names.service
    spec |= {
        "terminationGracePeriodSeconds": settings.termination_grace_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _pod_security(plan),
    }
    if cluster.service_account:
        spec["serviceAccountName"] = cluster.service_account
    if cluster.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in cluster.image_pull_secrets]
    if cluster.priority_class:
        spec["priorityClassName"] = cluster.priority_class
    if cluster.node_selector:
        spec["nodeSelector"] = dict(cluster.node_selector)
    if cluster.tolerations:
        spec["tolerations"] = [_toleration(t) for t in cluster.tolerations]
    if role == wire.WORKER and (affinity := _affinity(plan)):
        spec["affinity"] = affinity
    spec["containers"] = [container(plan, names, role)]
    spec["volumes"] = volumes(plan, names)
    return spec


def container(plan: "Plan", names: Names, role: str) -> Object:
    tfjob = role == wire.WORKER and names.kind == "tfjob"
    found: Object = {
        "name": wire.TFJOB_CONTAINER if tfjob else role,
        "image": plan.spec.cluster.image,
        "command": ["python", "-m", POD_MODULE, role, literal(str(plan.root))],
        "env": environment(plan, names, role),
        "resources": resources(plan, role),
        "securityContext": container_security(),
        "volumeMounts": mounts(plan),
        # The pod's status says why it failed, for those who do not see the run's folder.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if role == wire.WORKER:
        # The training-operator looks for a port of this name.
        port_name = "tfjob-port" if tfjob else "tensorflow"
        port = plan.spec.backend.kubernetes.port
        found["ports"] = [{"name": port_name, "containerPort": port}]
    return found


def environment(plan: "Plan", names: Names, role: str) -> list[Object]:
    """What launcher.pod reads first, then the user's, then secrets by reference."""
    cluster = plan.spec.cluster
    given: dict[str, str] = {
        ENV_PLAN_DIR: wire.PLAN_PATH,
        ENV_MAX_RESTARTS: str(plan.max_restarts),
        "HOME": wire.HOME_PATH,
        "PYTHONUNBUFFERED": "1",
    }
    if (cores := _cpus(plan, role)) is not None:
        given[ENV_CPU_THREADS] = str(max(1, int(cores)))
    if not role_of(plan, role).gpus:
        # An image may ask for all GPUs of its node, which the container did not ask for.
        given |= {"CUDA_VISIBLE_DEVICES": "-1", "NVIDIA_VISIBLE_DEVICES": "void"}
    given |= {name: literal(value) for name, value in cluster.env.items()}
    found: list[Object] = [_from_field(ENV_NAMESPACE, "metadata.namespace")]
    found += [{"name": name, "value": value} for name, value in given.items()]
    if role == wire.WORKER and names.kind != "rayjob":
        hosts = names.hosts(plan.spec.backend.kubernetes.port)
        found.append({"name": ENV_HOSTS, "value": hosts})
        if names.kind == "tfjob":
            label = f"metadata.labels['{wire.REPLICA_INDEX_LABEL}']"
            found.append(_from_field(ENV_INDEX, label))
    return found + [
        {
            "name": secret.env,
            "valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}},
        }
        for secret in cluster.secrets
    ]


def literal(text: str) -> str:
    """As Kubernetes hands it on unchanged: it replaces $(NAME), and takes $$ for one $."""
    return text.replace("$", "$$")


def role_of(plan: "Plan", name: str) -> "Role":
    return next(role for role in plan.roles if role.name == name)


def resources(plan: "Plan", role: str) -> Object:
    """Requests are the limits: the pod is of the class that is evicted last.

    GPUs are limits only: Kubernetes makes their requests of them.
    """
    sizes: dict[str, str] = {}
    if (cores := _cpus(plan, role)) is not None:
        sizes["cpu"] = quantity(cores)
    if memory := _memory(plan, role):
        sizes["memory"] = memory
    limits: dict[str, str] = dict(sizes)
    if gpus := role_of(plan, role).gpus:
        limits[plan.spec.backend.kubernetes.gpu_resource] = str(gpus)
    return ({"requests": sizes} if sizes else {}) | ({"limits": limits} if limits else {})


def quantity(cores: float) -> str:
    """CPU cores as Kubernetes writes them: `4`, `500m`."""
    millis = max(1, round(cores * 1000))
    return f"{millis}m" if millis % 1000 else str(millis // 1000)


def _cpus(plan: "Plan", role: str) -> float | None:
    own = plan.spec.evaluate.cpus if role == wire.EVALUATOR else None
    return own or plan.spec.cluster.cpus_per_worker


def _memory(plan: "Plan", role: str) -> str | None:
    own = plan.spec.evaluate.memory if role == wire.EVALUATOR else None
    return own or plan.spec.cluster.memory_per_worker


def _pod_security(plan: "Plan") -> Object:
    settings = plan.spec.backend.kubernetes
    return {
        "runAsNonRoot": True,
        "runAsUser": settings.run_as_user,
        "runAsGroup": settings.fs_group,
        "fsGroup": settings.fs_group,
        # Not every file of a large data set at every start of a pod.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Object:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def volumes(plan: "Plan", names: Names) -> list[Object]:
    shared_memory = plan.spec.backend.kubernetes.shared_memory
    given = plan.spec.cluster.volumes
    return [
        {"name": wire.PLAN_VOLUME, "configMap": {"name": names.config_map}},
        {
            "name": wire.SHM_VOLUME,
            "emptyDir": {"medium": "Memory", "sizeLimit": shared_memory},
        },
        {"name": wire.TMP_VOLUME, "emptyDir": {}},
        {"name": wire.HOME_VOLUME, "emptyDir": {}},
        *(_volume(v, given) for v in given if _storage_of(v, given) is v),
    ]


def mounts(plan: "Plan") -> list[Object]:
    own = zip(wire.OWN_VOLUMES, wire.OWN_PATHS, strict=True)
    found: list[Object] = [{"name": name, "mountPath": path} for name, path in own]
    found[0]["readOnly"] = True  # the plan
    given = plan.spec.cluster.volumes
    return found + [_mount(volume, _storage_of(volume, given)) for volume in given]


def _storage_of(volume: "Volume", given: "tuple[Volume, ...]") -> "Volume":
    """The first of those on the same storage: a pod that names a claim twice may never start."""
    kinds = ("claim", "nfs", "host_path")
    return next(v for v in given if all(getattr(v, k) == getattr(volume, k) for k in kinds))


def _volume(volume: "Volume", given: "tuple[Volume, ...]") -> Object:
    """Read-only as a whole where every mount of it is."""
    only = {"readOnly": True}
    if not all(v.read_only for v in given if _storage_of(v, given) is volume):
        only = {}
    if volume.claim:
        source: Object = {"persistentVolumeClaim": {"claimName": volume.claim, **only}}
    elif volume.nfs:
        source = {"nfs": {"server": volume.nfs.server, "path": volume.nfs.path, **only}}
    else:
        source = {"hostPath": {"path": volume.host_path}}
    return {"name": volume.name, **source}


def _mount(volume: "Volume", storage: "Volume") -> Object:
    found: Object = {"name": storage.name, "mountPath": volume.mount_path}
    if volume.sub_path:
        found["subPath"] = volume.sub_path
    if volume.read_only:
        found["readOnly"] = True
    return found


def _toleration(toleration: "Toleration") -> Object:
    given: Mapping[str, Any] = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": toleration.effect,
        "tolerationSeconds": toleration.toleration_seconds,
    }
    return {name: value for name, value in given.items() if value is not None}


def _affinity(plan: "Plan") -> Object | None:
    """Preferred only: a run that could not start for it would wait for ever."""
    settings = plan.spec.backend.kubernetes
    if settings.placement is None or plan.workers == 1:
        return None
    near = {
        "weight": 100,
        "podAffinityTerm": {
            "topologyKey": settings.topology_key,
            "labelSelector": {
                "matchLabels": {
                    **wire.run_labels(plan.name),
                    wire.COMPONENT_LABEL: wire.WORKER,
                }
            },
        },
    }
    which = "podAntiAffinity" if settings.placement == "spread" else "podAffinity"
    return {which: {"preferredDuringSchedulingIgnoredDuringExecution": [near]}}


def _from_field(name: str, path: str) -> Object:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
