"""Runs on a Ray cluster: a given one, or one that is started on this machine for the run."""

import contextlib
import shutil
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.backends import run_folder
from launcher.backends.base import JobHandle, RunStatus
from launcher.backends.files import with_check, write_files
from launcher.backends.lock import RunLock, Work
from launcher.backends.machine import check_gpus, check_training_extra, this_machine
from launcher.backends.ray import address, channel, ending, fit, head, rescore, submission
from launcher.backends.ray.rest import Dashboard
from launcher.backends.ray.truth import ray_status
from launcher.backends.status import read_status, write_pending, write_status
from launcher.planning.elastic import elastic_plans
from launcher.render import ray as render
from launcher.run_record import begin_again

if TYPE_CHECKING:
    from launcher.planning import Plan


class RayBackend:
    name = "ray"

    def where(self, plan: "Plan") -> dict[str, str]:
        return {}  # ray.json in the folder says it

    def folder(self, plan: "Plan") -> Path:
        return plan.root

    def sees_data(self, plan: "Plan") -> bool:
        return True  # on the storage that all nodes share

    def dry_run(self, plan: "Plan") -> dict[str, Any]:
        """Asks no cluster. The submission id is the next that is free in the run's folder; a
        cluster that has had a job of that id gets the next one."""
        chosen = address.choose(plan.spec)
        plans = elastic_plans(plan)
        gpus = None if chosen.url else len(this_machine().gpus)
        job = _job(plan, plans, _submission(plan, None), chosen.url, gpus)
        return render.ray(plan, job, plans)

    def check(self, plan: "Plan", *, resume: bool = False, replace: bool = False) -> None:
        fit.check_extra()
        run_folder.check_name(plan.root, resume, replace)
        run_folder.check_writable(plan.root)
        chosen = address.choose(plan.spec)
        if chosen.url is None:
            check_training_extra()
            check_gpus(plan, this_machine())
            return
        dashboard = Dashboard(chosen.url)
        fit.check_versions(dashboard)
        patient, plans = dashboard.patient(), {plan.workers: plan}
        job = _job(plan, plans, plan.name, chosen.url, _gpus(plan, patient))
        fit.check_room(patient, job, plan)

    def submit(
        self,
        plan: "Plan",
        *,
        resume: bool = False,
        replace: bool = False,
        found: dict[str, Any] | None = None,
    ) -> JobHandle:
        self.check(plan, resume=resume, replace=replace)
        chosen = address.choose(plan.spec)
        say(f"{plan.name}: {chosen}")
        for warning in (*chosen.conflicts, *render.unused(plan)):
            say(f"warning: {warning}")
        dashboard = Dashboard(chosen.url).patient() if chosen.url else None
        plans = elastic_plans(plan)
        gpus = _gpus(plan, dashboard)
        if dashboard:
            job = _job(plan, plans, plan.name, chosen.url, gpus)
            if wait := fit.crowded(dashboard, job, plan):
                say(f"warning: {plan.name}: {wait}")
        held = RunLock.acquire(plan.root, Work.SUBMIT)
        if held is None:
            raise run_folder.running_error(plan.root)
        try:
            with contextlib.ExitStack() as undo:
                run_folder.check_name(plan.root, resume, replace, held=True)
                ending.end_leftovers(plan.root)
                if replace:
                    run_folder.empty(plan.root)
                if not run_folder.contents(plan.root):
                    undo.callback(shutil.rmtree, plan.root, ignore_errors=True)
                before = read_status(plan.root)
                job = _job(plan, plans, _submission(plan, dashboard), chosen.url, gpus)
                begin_again(job.paths)
                write_files(plan.root, with_check(render.files(plan, job, plans), found))
                channel.reset_control(plan.root, job.submission)
                write_pending(
                    plan.root,
                    backend=self.name,
                    attempt=run_folder.next_attempt(plan.root),
                    total_steps=job.total_steps,
                    before=before,
                )
                undo.callback(_restore, plan.root, before)
                url = chosen.url or head.start(plan.root, lambda text: say(f"{plan.name}: {text}"))
                if job.own:
                    undo.callback(head.stop, plan.root)
                submission.submit(url, render.request(job))
                undo.pop_all()
        finally:
            held.release()
        return JobHandle(plan.name, plan.root, self)

    def status(self, root: Path) -> RunStatus:
        status = ray_status(root)
        if status.state.ended and head.is_ours(root):
            head.await_end(root)
        return status

    def cancel(self, root: Path, timeout: float | None = None) -> bool:
        return ending.cancel(root, timeout)

    def delete(self, root: Path) -> bool:
        return ending.delete(root)

    def logs(self, root: Path, *, follow: bool) -> AbstractContextManager[None]:
        return contextlib.nullcontext()  # they are in the folder

    def evaluate(self, root: Path) -> None:
        rescore.rescore(root)


BACKEND = RayBackend()


def say(text: str) -> None:
    """To stderr; stdout is for what was asked for."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _job(
    plan: "Plan", plans: "dict[int, Plan]", name: str, url: str | None, gpus: int | None
) -> render.RayJob:
    return render.job(plan, tuple(sorted(plans, reverse=True)), name, url, gpus)


def _gpus(plan: "Plan", dashboard: Dashboard | None) -> int | None:
    """Of this machine or of the cluster; None: nodes with more of them may come."""
    if dashboard is None:
        return len(this_machine().gpus)
    if plan.spec.backend.ray.wait_for_nodes:
        return None
    return int(sum(n["resources_total"].get("GPU", 0.0) for n in dashboard.nodes()))


def _submission(plan: "Plan", dashboard: Dashboard | None) -> str:
    """`name-K`: K counts the attempts, and goes on where the cluster has had that job already."""
    number = run_folder.next_attempt(plan.root)
    while dashboard is not None and dashboard.knows(f"{plan.name}-{number}"):
        number += 1
    return f"{plan.name}-{number}"


def _restore(root: Path, before: RunStatus | None) -> None:
    """A submit that failed leaves an older run as it was."""
    if before is not None and root.is_dir():
        write_status(before)
