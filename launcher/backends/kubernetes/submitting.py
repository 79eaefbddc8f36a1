"""Applying a run's objects, and removing them: each step may be interrupted and begun again."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from launcher.backends.kubernetes import reading
from launcher.backends.kubernetes.api import Api
from launcher.backends.kubernetes.reading import Cluster
from launcher.backends.kubernetes.state import CANCELLED_NOTE, judge
from launcher.errors import LauncherError, RunFailedError, UsageError

if TYPE_CHECKING:
    from launcher.planning import Plan

Json = dict[str, Any]

_GONE_SECONDS = 30.0
_POLL_SECONDS = 0.3
_GRACE_SECONDS = 120.0
GRACE_MARGIN_SECONDS = 30.0
_TELL_AFTER_SECONDS = 2.0


def check(api: Api, plan: "Plan", *, resume: bool, replace: bool) -> Cluster:
    """Raises UsageError when the run may not start under this name."""
    if resume and replace:
        raise UsageError("--resume and --replace exclude each other", remedy="Give one of them")
    found = reading.read(api, plan.name)
    if not found.exists or found.partial:
        return found
    now = judge(reading.look(api, found))
    where = f"{now.state} in namespace {api.place.namespace}"
    if not now.state.ended:
        raise UsageError(
            f"is already running: {where}",
            place=plan.name,
            remedy=f"Stop it with `launcher cancel {plan.name}`; after that `submit --resume` "
            "continues it and `submit --replace` starts anew",
        )
    if not (resume or replace):
        raise UsageError(
            f"has already ended: {where}",
            place=plan.name,
            remedy="Continue it from its checkpoints with --resume, or delete it and start anew "
            "with --replace",
        )
    return found


def apply(
    api: Api,
    objects: Sequence[Json],
    name: str,
    before: Cluster,
    empty: Callable[[], None] | None = None,
) -> None:
    """All objects in order. What is there of an earlier submit is removed first, unless it was
    interrupted and meant the same: then this one completes it.

    `empty` removes the files of a run that is started anew: when no pod of the earlier one is left
    to write more, and the server has said that it takes the new objects.

    Raises LauncherError; what was begun is undone then.
    """
    same = empty is None and before.partial and _means(before, objects)
    if before.exists and not same:
        remove(api, name)
    elif not same:
        _await_pods(api, name)  # of a removal that was interrupted
    if empty is not None:
        _ask(api, objects, name)
        empty()
    made: list[Json] = []
    try:
        for item in objects:
            made.append(api.apply(item))
        if before.cancelled:
            api.annotate(objects[0], {CANCELLED_NOTE: None})
    except LauncherError:
        if not same:
            for item in reversed(made):
                api.delete(item)
        raise
    if before.exists:
        _prune(api, name, objects)


def _ask(api: Api, objects: Sequence[Json], name: str) -> None:
    """Raises what `apply` would raise. The names are free by now: a Job that is there does not let
    itself be changed, whatever else is right or wrong with the new one."""
    try:
        for item in objects:
            api.apply(item, dry_run=True)
    except LauncherError:
        say(f"{name}: its files are left as they were; `launcher submit SPEC --resume` goes on")
        raise


def remove(api: Api, name: str, *, keep_plan: bool = False) -> int:
    """All objects of a run, workers first; returns how many there were when they are gone, and
    their pods have ended: new ones would save into the same folder beside them. With `keep_plan`
    the pods may still save.

    Raises RunFailedError when an object or a pod does not go away.
    """
    found = reading.all_objects(api, name)
    if keep_plan:
        found = [item for item in found if item["kind"] != "ConfigMap"]
    for item in found:
        api.delete(item)
    deadline = time.monotonic() + _GONE_SECONDS
    for item in found:
        _await_gone(api, item, deadline)
    if not keep_plan:
        _await_pods(api, name)
    return len(found)


def await_pods_gone(api: Api, name: str, seconds: float) -> bool:
    """False after `seconds`: they still save."""
    deadline = time.monotonic() + seconds
    while any(not m.ended for m in reading.read(api, name).members()):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _await_pods(api: Api, name: str) -> None:
    """Until those of every object that there was have ended, as long as they may take to save."""
    began, told = time.monotonic(), False
    while left := reading.pods_at_work(api, name):
        waited = time.monotonic() - began
        if waited > max(map(grace_of, left)) + GRACE_MARGIN_SECONDS:
            names = ", ".join(sorted(pod["metadata"]["name"] for pod in left)[:3])
            raise RunFailedError(
                f"{len(left)} pods of {name} do not end ({names})",
                place=api.server,
                remedy="When their node is gone for good, `kubectl delete pod --force` them; then "
                "the same command again",
            )
        if waited > _TELL_AFTER_SECONDS and not told:
            told = True
            say(f"{name}: waiting for {len(left)} pods of the earlier run, which save and leave")
        time.sleep(_POLL_SECONDS)


def grace_of(pod: Json) -> float:
    """Seconds between SIGTERM and SIGKILL."""
    return float(pod["spec"].get("terminationGracePeriodSeconds") or _GRACE_SECONDS)


def say(text: str) -> None:
    """To the user, of what takes long."""
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _means(before: Cluster, objects: Sequence[Json]) -> bool:
    """The plan that is there is the one of this submit. Jobs without any plan cannot be trusted."""
    plan = next(item for item in objects if item["kind"] == "ConfigMap")
    return before.config_map is not None and before.config_map.get("data") == plan["data"]


def _prune(api: Api, name: str, objects: Sequence[Json]) -> None:
    """Labelled pieces that this submit does not have: of another kind, a policy of before."""
    wanted = {(item["kind"], item["metadata"]["name"]) for item in objects}
    for item in reading.all_objects(api, name):
        if (item["kind"], item["metadata"]["name"]) not in wanted:
            api.delete(item)


def _await_gone(api: Api, item: Json, deadline: float) -> None:
    meta = item["metadata"]
    while True:
        now = api.get(item["apiVersion"], item["kind"], meta["name"])
        if now is None or now["metadata"]["uid"] != meta["uid"]:
            return
        if time.monotonic() > deadline:
            holds = ", ".join(now["metadata"].get("finalizers") or []) or "nobody knows"
            raise RunFailedError(
                f"{item['kind']} {meta['name']} does not go away (waits for {holds})",
                place=api.server,
                remedy="Its controller has to let it go: `kubectl describe` shows it",
            )
        time.sleep(_POLL_SECONDS)
