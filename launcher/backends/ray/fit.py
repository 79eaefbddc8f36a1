"""Whether a cluster fits a run: its versions, and nodes that could hold a worker."""

import contextlib
import importlib.metadata
import importlib.util
import json
import platform
import shlex
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from launcher.backends import registry
from launcher.backends.ray import size
from launcher.backends.ray.rest import ENDED, Dashboard, NotThereError, RefusedError, Version
from launcher.errors import (
    ConfigError,
    MissingExtraError,
    StorageError,
    UnreachableError,
    UsageError,
)
from launcher.planning import Plan
from launcher.render.ray import RayJob, told
from launcher.storage import peek_json, write_json

_PROBE_SECONDS = 90.0
_TENSORFLOWS = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-rocm")

_PROBE = f"""
import importlib.metadata as m, importlib.util as u, json, platform, sys
def version(names):
    for name in names:
        try:
            return m.version(name)
        except m.PackageNotFoundError:
            pass
print("launcher-probe", json.dumps({{
    "python": platform.python_version(), "executable": sys.executable,
    "ray": version(["ray"]), "tensorflow": version({list(_TENSORFLOWS)!r}),
    "missing": [n for n in ("tf_keras", "object_detection", "official", "pydantic", "google_crc32c")
                if u.find_spec(n) is None]}}))
"""


def check_extra(has: Callable[[str], object] = importlib.util.find_spec) -> None:
    """Raises MissingExtraError; imports nothing."""
    if has("ray") is None:
        raise MissingExtraError(
            "the ray backend needs a package that is not installed (ray)",
            remedy="Run `pip install 'launcher[ray]'`",
        )


def check_versions(dashboard: Dashboard) -> None:
    """Raises UsageError for a cluster on which our workers would not run, with both versions."""
    version = dashboard.version()
    dashboard = dashboard.patient()
    _same(dashboard, "Ray", version.ray, importlib.metadata.version("ray"), parts=3)
    if python := dashboard.python_version():
        _same(dashboard, "Python", python, platform.python_version(), parts=2)
    remembered = _memory(dashboard, version)
    with contextlib.suppress(UsageError):
        if isinstance(before := peek_json(remembered), dict):
            _check_probe(dashboard, before)
            return
    found = _probe(dashboard)
    _check_probe(dashboard, found)
    with contextlib.suppress(StorageError):  # what does not fit is asked again: it may be mended
        write_json(remembered, found)


def _check_probe(dashboard: Dashboard, found: Mapping[str, Any]) -> None:
    """Raises UsageError when the cluster's Python is not what our workers need."""
    _same(dashboard, "Python", str(found.get("python")), platform.python_version(), parts=2)
    if ours := _tensorflow():
        _same(dashboard, "TensorFlow", str(found.get("tensorflow") or "none"), ours, parts=2)
    if missing := found.get("missing"):
        raise UsageError(
            f"its Python ({found.get('executable')}) lacks packages that the workers need "
            f"({', '.join(missing)})",
            place=dashboard.address,
            remedy="Install launcher[train] and the Object Detection API on all its nodes",
        )


def check_room(dashboard: Dashboard, job: RayJob, plan: Plan) -> None:
    """Raises UsageError when no node that is there could ever hold one worker, or the evaluator.

    That the nodes are busy, or too few, is no error: the run waits, and its status says for what.
    Whether a node will be added nobody can ask: Ray reports on its autoscaler without having one.
    """
    if plan.spec.backend.ray.wait_for_nodes:
        return
    totals = [n["resources_total"] for n in dashboard.nodes()]
    for who, needs, fields in (
        ("a worker", job.worker_needs, _WORKER_FIELDS),
        ("the evaluator", job.evaluator_needs, _EVALUATOR_FIELDS),
    ):
        bundle = needs.bundle
        if any(all(t.get(k, 0.0) >= v for k, v in bundle.items()) for t in totals):
            continue
        raise UsageError(
            f"{who} asks for {needs}, and {_most(totals, bundle)}",
            place=plan.spec.place(_field(totals, bundle, fields)),
            remedy="Ask for less, add such a node, or set backend.ray.wait_for_nodes when an "
            f"autoscaler or you will add one (cluster {dashboard.address})",
        )


def crowded(dashboard: Dashboard, job: RayJob, plan: Plan) -> str:
    """What the run would wait for on the cluster as it is, with nothing else there; else empty."""
    if plan.spec.backend.ray.wait_for_nodes:
        return ""
    totals = [n["resources_total"] for n in dashboard.nodes()]
    room = size.room(totals, job.worker_needs, job.placement)
    workers = size.largest(job.sizes, room)
    if workers is None:
        fewest = min(job.sizes)
        return (
            f"the cluster has room for {room} of {fewest} workers with {job.worker_needs} each "
            f"({job.placement.lower()}): the run waits until nodes are added"
        )
    if size.has_room_beside(totals, job.worker_needs, workers, job.placement, job.evaluator_needs):
        return ""
    return (
        f"the evaluator asks for {job.evaluator_needs}, for which there is no room beside "
        f"{workers} workers with {job.worker_needs} each: it scores only when they have "
        f"ended, or by `launcher evaluate {plan.name}`"
    )


def _most(totals: list[dict[str, float]], bundle: Mapping[str, float]) -> str:
    """`no node of 3 has it; the most of one node are 8 CPU, 2 GPU`."""
    if not totals:
        return "the cluster has no node"
    most = {k: max(t.get(k, 0.0) for t in totals) for k in bundle}
    return f"no node of {len(totals)} has that: the most of one node are {told(most)}"


_WORKER_FIELDS = {
    "CPU": "cluster.cpus_per_worker",
    "GPU": "cluster.gpus_per_worker",
    "memory": "cluster.memory_per_worker",
    "": "backend.ray.resources",
}
_EVALUATOR_FIELDS = {
    "CPU": "backend.ray.evaluator_cpus",
    "GPU": "evaluate.gpus",
    "": "backend.ray.evaluator_resources",
}


def _field(
    totals: list[dict[str, float]], bundle: Mapping[str, float], fields: Mapping[str, str]
) -> str:
    """The field to blame: of a resource that no node has enough of."""
    lacking = [k for k, v in bundle.items() if all(t.get(k, 0.0) < v for t in totals)]
    return fields.get(lacking[0], fields[""]) if lacking else "cluster"


def _same(dashboard: Dashboard, what: str, theirs: str, ours: str, parts: int) -> None:
    if theirs.split(".")[:parts] == ours.split(".")[:parts]:
        return
    wanted = ".".join(ours.split(".")[:parts])
    raise UsageError(
        f"the cluster has {what} {theirs}, this launcher {what} {ours}",
        place=dashboard.address,
        remedy=f"Use a cluster with {what} {wanted}, or run launcher with the cluster's",
    )


def _tensorflow() -> str | None:
    """Ours; None: the launcher alone is installed, without TensorFlow."""
    for name in _TENSORFLOWS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return None


def _memory(dashboard: Dashboard, version: Version) -> Path:
    """Where the answer of a cluster that fits is kept, so that it is asked once while its head
    lives."""
    name = f"{dashboard.address}-{version.session}".replace("/", "_").replace(":", "_")
    return registry.state_dir() / "ray-clusters" / f"{name}.json"


def _probe(dashboard: Dashboard) -> dict[str, Any]:
    """What the cluster's Python has, by a job of a second. Raises ConfigError when the job does not
    say.

    Ray keeps the job: one that is deleted as soon as it has ended comes back as FAILED.
    """
    submission = f"launcher-probe-{uuid.uuid4().hex[:12]}"
    entrypoint = shlex.join(["python", "-c", _PROBE])
    try:
        dashboard.submit({"entrypoint": entrypoint, "submission_id": submission})
    except RefusedError as e:
        raise ConfigError(
            f"takes no jobs ({e.problems[0].what})",
            place=dashboard.address,
            remedy="See its dashboard",
        ) from None
    deadline = time.monotonic() + _PROBE_SECONDS
    try:
        while dashboard.job(submission).get("status") not in ENDED:
            if time.monotonic() > deadline:
                dashboard.stop(submission)
                raise UnreachableError(
                    f"has not run a job of one second within {_PROBE_SECONDS:g} s",
                    place=dashboard.address,
                    remedy="See its dashboard",
                )
            time.sleep(0.2)
        logs = dashboard.logs(submission)
    except NotThereError:
        raise ConfigError(
            "forgot a job that it had taken", place=dashboard.address, remedy="Submit again"
        ) from None
    for line in reversed(logs.splitlines()):
        if line.startswith("launcher-probe "):
            return dict(json.loads(line.partition(" ")[2]))
    said = next((line for line in reversed(logs.splitlines()) if line.strip()), "nothing")
    raise ConfigError(
        f"`python` of the cluster could not say its versions: {said.strip()[:300]}",
        place=dashboard.address,
        remedy="Start Ray with the Python that has launcher[train] first on PATH",
    )
