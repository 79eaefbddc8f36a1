"""The kubernetes backend: the objects that `render` prints, applied and looked after."""

import time
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher import planning
from launcher.backends import registry, run_folder
from launcher.backends.base import JobHandle, RunStatus
from launcher.backends.files import is_run
from launcher.backends.kubernetes import driver, folders, logs, reading, scores, submitting
from launcher.backends.kubernetes.api import Api
from launcher.backends.kubernetes.connection import Place
from launcher.backends.kubernetes.reading import Cluster
from launcher.backends.kubernetes.state import CANCELLED_NOTE, Judgement, Seen, judge
from launcher.backends.status import heartbeats, is_scored, progress_of
from launcher.contract import Reason, RunPaths, State
from launcher.errors import UsageError
from launcher.render import kubernetes as render
from launcher.render.kubernetes.names import EVALUATOR
from launcher.storage import read_json

if TYPE_CHECKING:
    from launcher.planning import Plan

_FRESH_SECONDS = 2.0
"""A status that is younger is told again: `submit` asks for it four times a second."""
_SETTLED_SECONDS = 120.0
"""NFS may show a new file to another machine after its attribute cache's 60 s."""


class KubernetesBackend:
    name = "kubernetes"

    def __init__(self) -> None:
        self._last: dict[Path, tuple[float, RunStatus]] = {}

    def where(self, plan: "Plan") -> dict[str, str]:
        return Api(_wanted(plan)).place.to_json()

    def folder(self, plan: "Plan") -> Path:
        return folders.folder_of(Api(_wanted(plan)).place, plan.root)

    def sees_data(self, plan: "Plan") -> bool:
        if plan.spec.data.synthetic is not None:
            return folders.is_here(plan.root)
        return not planning.missing_data(plan.spec)

    def dry_run(self, plan: "Plan") -> dict[str, Any]:
        """A List of the objects, as kubectl takes it."""
        return {"apiVersion": "v1", "kind": "List", "items": render.objects(plan)}

    def server_dry_run(self, plan: "Plan") -> dict[str, Any]:
        """As the server would have them: defaulted, admitted, and nothing kept."""
        api = Api(_wanted(plan))
        items = [api.apply(item, dry_run=True) for item in render.objects(plan)]
        return {"apiVersion": "v1", "kind": "List", "items": items}

    def check(self, plan: "Plan", *, resume: bool = False, replace: bool = False) -> None:
        render.objects(plan)
        if plan.spec.data.synthetic is not None and not folders.is_here(plan.root):
            raise plan.spec.error(
                "data.synthetic",
                f"is drawn where submit runs, and {plan.spec.run_dir} is not mounted here",
                "Draw it into the volume with `launcher data shapes`, and name its files",
            )
        api = Api(_wanted(plan))
        before = submitting.check(api, plan, resume=resume, replace=replace)
        if folders.is_here(plan.root):
            run_folder.check_free(plan.root, api.place)
        root = folders.folder_of(api.place, plan.root)
        folders.keep_plan(root, before.files())
        if replace and before.exists and folders.is_copy(root):
            raise UsageError(
                f"the checkpoints of the run are in {plan.root}, which is not mounted here, and "
                "cannot be deleted from here",
                place=plan.name,
                remedy="Continue them with --resume, choose another name, or submit from a "
                "machine that mounts the volume",
            )

    def submit(
        self,
        plan: "Plan",
        *,
        resume: bool = False,
        replace: bool = False,
        found: dict[str, Any] | None = None,
    ) -> JobHandle:
        objects = render.objects(plan)
        api = Api(_wanted(plan))
        self._last.clear()
        before = submitting.check(api, plan, resume=resume, replace=replace)
        root = folders.folder_of(api.place, plan.root)
        if folders.is_here(root):
            run_folder.check_free(root, api.place)
        empty = partial(_empty, root) if replace else None
        submitting.apply(api, objects, plan.name, before, empty)
        if not resume:
            folders.remove_copy(root)
        folders.keep_plan(root, objects[0]["data"])
        folders.keep_check(root, found)
        return JobHandle(plan.name, root, self)

    def status(self, root: Path) -> RunStatus:
        asked, status = self._last.get(root, (0.0, None))
        if status is None or time.monotonic() - asked > _FRESH_SECONDS:
            status = self._ask(_api_of(root), root)
            self._last[root] = (time.monotonic(), status)
        return status

    def _ask(self, api: Api, root: Path) -> RunStatus:
        found = reading.read(api, root.name)
        if not found.exists:
            raise UsageError(
                f"no such run in namespace {api.place.namespace} of {api.place.context}",
                place=root.name,
                remedy="It was deleted there; `launcher list --backend kubernetes` shows all",
            )
        return _status(api, found, root)

    def runs(self, context: str, namespace: str) -> list[RunStatus]:
        """All runs of a namespace, whoever submitted them. They are on the list of runs from then
        on, so that the other commands find them by name."""
        api = Api(Place(context, namespace))
        told = []
        for name in reading.run_names(api):
            found = reading.read(api, name)
            root = folders.folder_of(api.place, found.root)
            folders.keep_plan(root, found.files())
            registry.remember(name, root, self.name, api.place.to_json())
            told.append(_status(api, found, root))
        return told

    def cancel(self, root: Path, timeout: float | None = None) -> bool:
        api = _api_of(root)
        self._last.clear()
        found = reading.read(api, root.name)
        if not found.exists or found.config_map is None:
            return False
        if judge(reading.look(api, found)).state.ended:
            return False
        now = datetime.now(UTC).isoformat(timespec="seconds")
        api.annotate(found.config_map, {CANCELLED_NOTE: now})
        submitting.remove(api, root.name, keep_plan=True)
        grace = max(map(submitting.grace_of, found.pods), default=0.0)
        seconds = grace + submitting.GRACE_MARGIN_SECONDS if timeout is None else timeout
        submitting.await_pods_gone(api, root.name, seconds)
        return True

    def delete(self, root: Path) -> bool:
        api = _api_of(root)
        self._last.clear()
        found = reading.read(api, root.name)
        if found.exists and not found.partial:
            now = judge(reading.look(api, found))
            if not now.state.ended:
                raise UsageError(
                    f"is running: {now.state} in namespace {api.place.namespace}",
                    place=root.name,
                    remedy=f"Stop it with `launcher cancel {root.name}` first",
                )
        removed = submitting.remove(api, root.name)
        if folders.is_copy(root):
            folders.remove_copy(root)
        elif is_run(root):
            run_folder.empty(root)
            root.rmdir()
        return removed > 0

    def evaluate(self, root: Path) -> None:
        raise UsageError(
            "its evaluator is a Job of the cluster",
            place=root.name,
            remedy="`launcher submit SPEC --resume` starts it again; what is scored stays scored",
        )

    def collect(self, root: Path) -> None:
        """The scores that its evaluator has printed, where its own files are not here."""
        if not folders.is_copy(root):
            return
        with logs.copied(_api_of(root), root.name, root, follow=False, role=EVALUATOR):
            scores.collect(root)

    def elsewhere(self, root: Path) -> str:
        """Where its scores are when they are not here; empty: they are."""
        return folders.elsewhere(root, read_json(RunPaths(root).plan) or {})

    def logs(self, root: Path, *, follow: bool) -> AbstractContextManager[None]:
        return logs.copied(_api_of(root), root.name, root, follow=follow)


BACKEND = KubernetesBackend()


def _empty(root: Path) -> None:
    if is_run(root):
        run_folder.empty(root)


def _wanted(plan: "Plan") -> Place:
    settings = plan.spec.backend.kubernetes
    return Place(settings.context or "", settings.namespace or "")


def _api_of(root: Path) -> Api:
    """Of a run on the list of runs; else kubectl's choice."""
    entry = registry.entry_of(root)
    where = entry.where if entry else {}
    return Api(Place(where.get("context", ""), where.get("namespace", "")))


def _status(api: Api, found: Cluster, root: Path) -> RunStatus:
    total = int(found.plan.get("total_steps") or 0)
    said = judge(_with_score(reading.look(api, found), root, total))
    holder = found.config_map or found.workers or found.evaluator or {}
    status = RunStatus(
        name=found.name,
        root=root,
        state=said.state,
        reason=said.reason,
        message=_message(said, found, root),
        attempt=said.attempt,
        restarts=said.restarts,
        total_steps=total,
        backend=KubernetesBackend.name,
        submitted=_seconds((holder.get("metadata") or {}).get("creationTimestamp")),
        updated=time.time(),
    )
    if found.names.kind == "rayjob" and found.workers and not folders.is_copy(root):
        created = _seconds(found.workers["metadata"].get("creationTimestamp"))
        status = driver.with_written(status, root, created)
    return _with_progress(status, root)


def _with_score(seen: Seen, root: Path, total: int) -> Seen:
    """Whether this machine has the score of the last step. A network file system may show it some
    time after its Job is complete."""
    scored = total > 0 and is_scored(RunPaths(root).eval_metrics, total)
    if not scored and (folders.is_copy(root) or not RunPaths(root).plan.is_file()):
        return seen
    ended = _seconds(seen.evaluator.ended) if seen.evaluator else None
    settled = ended is None or time.time() - ended > _SETTLED_SECONDS
    return replace(seen, scored=scored, settled=settled)


def _message(said: Judgement, found: Cluster, root: Path) -> str:
    """With where the scores are when it has ended, and with the plan of half the batch when
    memory was short."""
    if said.state is State.SUCCEEDED and folders.is_copy(root):
        return folders.elsewhere(root, found.plan)
    images = int(found.plan.get("per_replica_batch") or 0)
    if said.reason is Reason.OOM_KILLED and images > 1 and images % 2 == 0:
        steps = 2 * int(found.plan.get("accumulation_steps") or 1)
        return (
            f"{said.message}. batch.per_replica_batch={images // 2} with {steps} accumulation steps"
            f" keeps the global batch of {found.plan.get('global_batch')}"
        )
    return said.message


def _with_progress(status: RunStatus, root: Path) -> RunStatus:
    """What the workers wrote down, where this machine sees it."""
    beats = heartbeats(root)
    if not beats:
        done = status.reason in (Reason.TRAINED, Reason.SCORED)
        step = status.total_steps if done else 0
        return replace(status, step=step, progress=progress_of(root, status))
    newest = max(int(beat.get("attempt") or 0) for beat in beats)
    step = min(int(b["step"]) for b in beats if int(b.get("attempt") or 0) == newest)
    seen = replace(status, attempt=max(status.attempt, newest), step=step)
    told = progress_of(root, replace(seen, attempt=newest))
    if status.state is not State.RUNNING:
        told = replace(told, eta_seconds=None)
    return replace(seen, progress=told)


def _seconds(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
