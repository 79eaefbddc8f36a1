"""What tests of manifests share: specs, the official schemas, and a kubelet's view of a pod."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

import launcher
from launcher.planning import Plan
from launcher.render.kubernetes import Kind
from launcher.spec import from_mapping

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = "1.34"
CRDS = {
    "JobSet": ("jobset.x-k8s.io_jobsets.yaml", "v1alpha2"),
    "TFJob": ("kubeflow.org_tfjobs.yaml", "v1"),
    "RayJob": ("ray.io_rayjobs.yaml", "v1"),
}
Object = dict[str, Any]

BASE: Object = {
    "name": "d3",
    "recipe": "efficientdet_d3",
    "data": {
        "train": "/data/train.record-*",
        "val": "/data/val.record-*",
        "label_map": "/data/label_map.pbtxt",
        "dataset": "coco2017",
    },
    "cluster": {
        "workers": 8,
        "gpus_per_worker": 4,
        "image": "registry.example.com/launcher:0.1.0",
        "volumes": [
            {"name": "data", "mount_path": "/data", "claim": "coco", "read_only": True},
            {"name": "runs", "mount_path": "/mnt/runs", "claim": "runs"},
        ],
    },
    "backend": {"kind": "kubernetes"},
    "run_dir": "/mnt/runs",
}

FULL = (
    "cluster.workers=2",
    "cluster.cpus_per_worker=7.5",
    "cluster.memory_per_worker=64Gi",
    "cluster.node_selector={example.com/pool: gpu}",
    "cluster.tolerations=[{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule},"
    " {key: spot, value: 'yes', effect: NoExecute, toleration_seconds: 60}]",
    "cluster.volumes=[{name: data, mount_path: /data, claim: coco, read_only: true},"
    " {name: runs, mount_path: /mnt/runs, nfs: {server: nfs.example.com, path: /export}},"
    " {name: cache, mount_path: /cache, claim: coco, sub_path: cache},"
    " {name: disk, mount_path: /disk, host_path: /ssd, read_only: true}]",
    "cluster.env={NCCL_DEBUG: INFO, ODD: 'a$(HOME)$$b', NUMBER: '1e3', LINES: \"a\\nb\"}",
    "cluster.image_pull_secrets=[registry]",
    "cluster.secrets=[{env: TOKEN, name: storage, key: token}]",
    "cluster.queue=research",
    "cluster.priority_class=high",
    "cluster.service_account=trainer",
    "evaluate.gpus=1",
    "evaluate.cpus=2",
    "evaluate.memory=8Gi",
    "restart.max_restarts=5",
    "backend.kubernetes.namespace=vision",
    "backend.kubernetes.placement=spread",
    "backend.kubernetes.topology_key=topology.kubernetes.io/zone",
    "backend.kubernetes.shared_memory=4Gi",
    "backend.kubernetes.max_hours=48",
    "backend.kubernetes.queue_priority=urgent",
    "backend.kubernetes.network_policy=true",
    "backend.kubernetes.allow_host_path=true",
    "backend.kubernetes.port=3333",
)
"""Every setting that a manifest depends on."""


def plan_of(*overrides: str, **sections: Any) -> Plan:
    """Of BASE, with sections replaced and `--set`s applied."""
    return launcher.plan(from_mapping({**BASE, **sections}, overrides=overrides))


def validate(found: Mapping[str, Any], crds: Path) -> None:
    """Against the official schema of its kind; an unknown field is an error."""
    if found["kind"] in CRDS:
        file, version = CRDS[found["kind"]]
        jsonschema.Draft202012Validator(_crd(crds / file, version)).validate(found)
    else:
        kubernetes_validate.validate(dict(found), KUBERNETES, strict=True)


@cache
def _crd(path: Path, version: str) -> Object:
    with path.open() as file:
        crd = next(d for d in yaml.load_all(file, yaml.CSafeLoader) if d)
    served = next(v for v in crd["spec"]["versions"] if v["name"] == version)
    schema: Object = _strict(served["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def _strict(schema: Any) -> Any:
    """A structural schema of Kubernetes as JSON Schema, in which unknown fields are errors."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    kept: Object = {}
    for key, value in schema.items():
        if key == "properties":
            kept[key] = {name: _strict(part) for name, part in value.items()}
        elif not key.startswith("x-") and key not in ("description", "default", "format"):
            kept[key] = _strict(value)
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields")
    if "properties" in schema and "additionalProperties" not in schema and not open_ended:
        kept["additionalProperties"] = False
    return kept


def readme_commands() -> list[str]:
    """The blocks of commands in manifests/README.md, as a user copies them."""
    lines = (ROOT / "manifests" / "README.md").read_text().splitlines()
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("    "):
            blocks[-1].append(line[4:])
        elif blocks[-1]:
            blocks.append([])
    return ["\n".join(block) for block in blocks if block]


def of_kind(objects: Sequence[Object], kind: str) -> Object:
    (found,) = [o for o in objects if o["kind"] == kind]
    return found


def job(objects: Sequence[Object], component: str) -> Object:
    """The Job of the workers or of the evaluator."""
    name = "app.kubernetes.io/component"
    jobs = [o for o in objects if o["kind"] == "Job"]
    (found,) = [o for o in jobs if o["metadata"]["labels"][name] == component]
    return found


def pods(objects: Sequence[Object]) -> list[Object]:
    """All pod templates, wherever they are."""
    found: list[Object] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "containers" in value.get("spec", {}):
                found.append(value)
                return
            for part in value.values():
                walk(part)
        elif isinstance(value, list):
            for part in value:
                walk(part)

    walk(list(objects))
    return found


def workers(objects: Sequence[Object], kind: Kind) -> Object:
    """The pod template of the workers."""
    name = "app.kubernetes.io/component"
    labelled = [p for p in pods(objects) if p["metadata"]["labels"][name] == "worker"]
    (found,) = labelled
    return found


_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")


def environment(
    pod: Object, namespace: str, labels: Mapping[str, str], annotations: Mapping[str, str]
) -> dict[str, str]:
    """What the kubelet puts into the container: fields read, $(NAME) replaced, $$ unescaped."""
    env: dict[str, str] = {}
    for entry in pod["spec"]["containers"][0]["env"]:
        if "value" in entry:
            env[entry["name"]] = _expand(entry["value"], env)
        elif "fieldRef" in entry["valueFrom"]:
            path = entry["valueFrom"]["fieldRef"]["fieldPath"]
            where, _, key = path.rstrip("']").partition("['")
            fields = {
                "metadata.namespace": namespace,
                "metadata.labels": labels.get(key, ""),
                "metadata.annotations": annotations.get(key, ""),
            }
            env[entry["name"]] = fields[where]
    return env


def _expand(text: str, env: Mapping[str, str]) -> str:
    def one(found: "re.Match[str]") -> str:
        if found[0] == "$$":
            return "$"
        return env.get(found[1], found[0])

    return _REFERENCE.sub(one, text)
