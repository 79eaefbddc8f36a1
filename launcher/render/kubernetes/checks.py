"""What no cluster would take, or what would fail in it an hour later: told before anything else."""

import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from launcher.errors import Problem, SpecError
from launcher.render.kubernetes import config_map
from launcher.render.kubernetes import names as wire
from launcher.render.kubernetes.names import Names
from launcher.spec.fields import is_url
from launcher.spec.kubernetes_fields import quantity_bytes

if TYPE_CHECKING:
    from launcher.planning import Plan
    from launcher.spec.cluster import Volume

_VISIBLE = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_NO_GPUS = ("", "none", "void", "-1")


def check(plan: "Plan", names: Names, files: dict[str, str]) -> None:
    """`files`: the data of the ConfigMap. Raises SpecError with all problems at once."""
    problems = [
        *_image(plan),
        *_names(plan, names),
        *_volumes(plan),
        *_covered(plan),
        *_environment(plan),
        *_queue(plan),
        *_resources(plan, names),
        *_shared_memory(plan),
        *_size(plan, files),
    ]
    if problems:
        raise SpecError(problems)


def _image(plan: "Plan") -> Iterator[Problem]:
    if plan.spec.cluster.image is None:
        yield plan.spec.problem(
            "cluster.image",
            "is not set, and pods need one",
            "Name the image that the Dockerfile builds, as registry.example.com/launcher:0.1.0",
        )


def _names(plan: "Plan", names: Names) -> Iterator[Problem]:
    if plan.name[0].isdigit():  # RFC 1035, which Services and the operators ask for
        yield plan.spec.problem(
            "name",
            f"{plan.name} begins with a digit, which the name of a Service may not",
            f"Use run-{plan.name}",
        )
    too_long = [
        (name, what, len(name) - most)
        for name, what, most in names.longest(plan.workers)
        if len(name) > most
    ]
    if too_long:
        name, what, over = max(too_long, key=lambda found: found[2])
        yield plan.spec.problem(
            "name",
            f"{plan.name} makes {name} ({what}), {over} characters longer than Kubernetes allows",
            f"Use at most {len(plan.name) - over} characters",
        )


def _volumes(plan: "Plan") -> Iterator[Problem]:
    taken = dict.fromkeys(wire.OWN_PATHS, "launcher's own")
    for i, volume in enumerate(plan.spec.cluster.volumes):
        field = f"cluster.volumes.{i}"
        if volume.host_path and not plan.spec.backend.kubernetes.allow_host_path:
            yield plan.spec.problem(
                f"{field}.host_path",
                f"{volume.host_path} is a folder of whatever node a pod lands on",
                "Use a claim, or allow it with backend.kubernetes.allow_host_path: true",
            )
        if volume.name in wire.OWN_VOLUMES or "." in volume.name or len(volume.name) > 63:
            yield plan.spec.problem(
                f"{field}.name",
                f"{volume.name} cannot be the name of a volume",
                "Use a short one of small letters, digits and dashes",
            )
        path = str(PurePosixPath(volume.mount_path))
        if path in taken:
            yield plan.spec.problem(
                f"{field}.mount_path", f"{path} is {taken[path]} mount", "Use another path"
            )
        elif ":" in path or path == "/":
            yield plan.spec.problem(
                f"{field}.mount_path", f"{path} cannot be mounted", "Use a path such as /data"
            )
        taken[path] = f"{volume.name}'s"


def _covered(plan: "Plan") -> Iterator[Problem]:
    """Everything that a run reads or writes lies on a volume: a container has nothing else."""
    volumes = plan.spec.cluster.volumes
    holder = _holder(str(plan.root), volumes)
    if holder is None:
        where = _mounted(volumes)
        yield plan.spec.problem(
            "run_dir",
            f"{plan.spec.run_dir} is on no volume: {where}",
            "Mount a volume there that all pods can write, or set run_dir to a mounted path",
        )
    elif holder.read_only:
        yield plan.spec.problem(
            "run_dir",
            f"{plan.spec.run_dir} is on the volume {holder.name}, which is read_only",
            "Remove read_only, or set run_dir to another volume",
        )
    for field, path in _read(plan):
        if not is_url(path) and _holder(path, volumes) is None:
            yield plan.spec.problem(
                field,
                f"{path} is on no volume: {_mounted(volumes)}",
                "Mount the volume that holds it (cluster.volumes), or name its path in the pods",
            )


def _read(plan: "Plan") -> Iterator[tuple[str, str]]:
    if plan.spec.data.synthetic is None:
        for path in plan.data.train:
            yield "data.train", path
        for path in plan.data.val:
            yield "data.val", path
        if plan.data.label_map:
            yield "data.label_map", plan.data.label_map
    if plan.fine_tune:
        yield "train.fine_tune_checkpoint", plan.fine_tune.checkpoint


def _holder(path: str, volumes: "tuple[Volume, ...]") -> "Volume | None":
    """The volume that a path of the containers is on: the innermost mount."""
    around = [v for v in volumes if PurePosixPath(path).is_relative_to(v.mount_path)]
    return max(around, key=lambda v: len(PurePosixPath(v.mount_path).parts), default=None)


def _mounted(volumes: "tuple[Volume, ...]") -> str:
    if not volumes:
        return "cluster.volumes is empty"
    return f"mounted are {', '.join(v.mount_path for v in volumes)}"


def _environment(plan: "Plan") -> Iterator[Problem]:
    cluster = plan.spec.cluster
    for name in _VISIBLE:
        value = cluster.env.get(name, "")
        asked = 0 if value in _NO_GPUS else len(value.split(","))
        if value == "all" or asked > cluster.gpus_per_worker:
            yield plan.spec.problem(
                f"cluster.env.{name}",
                f"{value} makes more GPUs visible than cluster.gpus_per_worker "
                f"({cluster.gpus_per_worker}) asks for",
                "Remove it: the device plugin gives each container its own GPUs",
            )
    seen = set(cluster.env)
    for i, secret in enumerate(cluster.secrets):
        if secret.env in seen:
            yield plan.spec.problem(
                f"cluster.secrets.{i}.env", f"{secret.env} is set twice", "Remove one of them"
            )
        seen.add(secret.env)


def _queue(plan: "Plan") -> Iterator[Problem]:
    if plan.spec.backend.kubernetes.queue_priority and not plan.spec.cluster.queue:
        yield plan.spec.problem(
            "backend.kubernetes.queue_priority",
            "is for a queue of Kueue, and none is named",
            "Set cluster.queue, or remove it",
        )


def _resources(plan: "Plan", names: Names) -> Iterator[Problem]:
    """KubeRay writes them into a line of bash."""
    for name in plan.spec.backend.ray.resources if names.kind == "rayjob" else ():
        if not _PLAIN.fullmatch(name):
            yield plan.spec.problem(
                f"backend.ray.resources.{name}",
                "a RayJob's custom resources have plain names",
                "Use letters, digits, dashes and _",
            )


def _shared_memory(plan: "Plan") -> Iterator[Problem]:
    """What is written there is memory of the container, which the kernel ends for it."""
    size = plan.spec.backend.kubernetes.shared_memory
    limits = {
        "cluster.memory_per_worker": plan.spec.cluster.memory_per_worker,
        "evaluate.memory": plan.spec.evaluate.memory,
    }
    for field, limit in limits.items():
        if limit and quantity_bytes(size) > quantity_bytes(limit):
            yield plan.spec.problem(
                "backend.kubernetes.shared_memory",
                f"{size} is more than {field} ({limit}), which /dev/shm counts against",
                "Use less of it, or more memory",
            )
            return


def _size(plan: "Plan", files: dict[str, str]) -> Iterator[Problem]:
    size = config_map.size(files)
    if size > config_map.MOST_BYTES:
        field, part, remedy = _largest(plan)
        yield plan.spec.problem(
            field,
            f"the plan has {size:,} bytes, a ConfigMap holds {config_map.MOST_BYTES:,}; the "
            f"largest part is {field} with {part:,}",
            remedy,
        )


_SHORTER = {
    "data.train": "Name record files by a pattern instead of one by one",
    "data.val": "Name record files by a pattern instead of one by one",
    "cluster.env": "Put long values into a file on a volume, and give its path",
}


def _largest(plan: "Plan") -> tuple[str, int, str]:
    """Field of the spec that most of the plan comes from, its bytes as JSON, what to do."""
    spec = plan.spec.model_dump(mode="json", exclude_none=True)
    sections = {name: value for name, value in spec.items() if isinstance(value, dict)}
    sizes = {
        f"{name}.{key}": len(json.dumps(value, ensure_ascii=False).encode())
        for name, section in sections.items()
        for key, value in section.items()
    }
    files = sizes.get("data.train", 0) + sizes.get("data.val", 0)  # which the config names too
    model = "recipe" if plan.spec.pipeline_config is None else "pipeline_config"
    sizes[model] = max(0, len(plan.pipeline_text.encode()) - files)
    field = max(sizes, key=lambda name: sizes[name])
    return field, sizes[field], _SHORTER.get(field, "Shorten it")
