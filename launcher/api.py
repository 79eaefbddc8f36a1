"""The Python interface, and what the commands are made of.

`load`, `plan` and `submit` are exported as `launcher.load`, `launcher.plan`, `launcher.submit`.
Errors that a user can mend are `launcher.LauncherError`s.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher import backends, planning, precheck, preflight
from launcher.backends import registry, resuming
from launcher.backends.base import Backend, JobHandle, RunStatus
from launcher.backends.status import read_status
from launcher.errors import PreflightError, Problem, SpecError, StorageError, UsageError
from launcher.planning import Plan
from launcher.preflight import Finding, Options
from launcher.preflight.mend import Mended
from launcher.preflight.run import Report
from launcher.spec import JobSpec, shapes_of
from launcher.spec import load as load_spec

__all__ = [
    "check", "check_start", "cluster_runs", "dashboard", "delete", "draw",
    "dry_run", "evaluate", "export", "find", "load", "mend", "plan", "prepare",
    "runs", "start", "submit",
]  # fmt: skip


def load(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> JobSpec:
    """Read a job spec (YAML) or a bare pipeline.config.

    `overrides` are `key=value` texts as of `--set`, the key dotted: `batch.per_replica_batch=8`.
    Raises SpecError with all problems at once.
    """
    return load_spec(Path(path), overrides)


def plan(spec: JobSpec) -> Plan:
    """Work out batch, learning rate, steps and processes. Starts and writes nothing.

    Raises SpecError when the numbers do not add up, naming the nearest that do.
    """
    return planning.make_plan(spec)


def check(spec: JobSpec, options: Options | None = None) -> Report:
    """What would keep a run of `spec` from its mAP: findings, the costliest first.

    Raises SpecError when no plan can be made of it.
    """
    return preflight.check(plan(spec), options or Options())


def mend(
    path: str | os.PathLike[str], overrides: Sequence[str], found: Report, options: Options
) -> Mended:
    """The spec of `path` with every remedy of `found` that can be written into it."""
    from launcher.preflight import mend as mending

    return mending.mend(
        Path(path), tuple(overrides), found, lambda made: preflight.check(made, options)
    )


def submit(
    spec: JobSpec,
    *,
    resume: bool = False,
    replace: bool = False,
    allow_change: bool = False,
    force: bool = False,
) -> JobHandle:
    """Start the run and return at once; the run outlives this process.

    resume: continue a run of this name that has ended, from its checkpoints; where there is none
    yet, it is started as any other. replace: delete it
    and start anew. A running name is refused in any case (UsageError). force: in spite of what the
    preflight finds (PreflightError). Raises SpecError when data is missing, or when the run to
    resume has another spec (allow_change: unless what differs is safe), DataError when it is
    damaged, StorageError when run_dir cannot be written; then nothing was started.
    """
    made = prepare(spec, resume=resume, replace=replace, allow_change=allow_change, force=force)
    return start(made, resume=resume, replace=replace)


@dataclass(frozen=True)
class Prepared:
    """A plan that can be started, and what the preflight found; None for a run that is resumed,
    which was checked when it was submitted."""

    plan: Plan
    report: Report | None
    notes: tuple[str, ...] = ()
    """What else the user should know before it starts."""


def prepare(
    spec: JobSpec,
    *,
    resume: bool = False,
    replace: bool = False,
    allow_change: bool = False,
    force: bool = False,
) -> Prepared:
    """All that `submit` does before it starts anything: check, and draw data.synthetic."""
    made, backend = plan(spec), _backend(spec)
    backend.check(made, resume=resume, replace=replace)
    before = resuming.read_planned(backend.folder(made)) if resume else None
    if before is not None:
        made = resuming.as_it_was(made, allow_change, before)
    seen = backend.sees_data(made)
    if seen:
        draw(spec)
        if problems := planning.missing_data(spec):
            raise SpecError(problems)
        precheck.check_records(made)
    if before is not None:
        return Prepared(made, None)
    report = preflight.check(made, Options(data=seen))
    if report.errors and not force:
        raise PreflightError([*map(_problem, report.errors)])
    if not resume:
        return Prepared(made, report)
    new = f"{made.name}: there is no plan of an earlier run in {backend.folder(made)}: --resume"
    return Prepared(made, report, (f"{new} checks and submits it as a new one",))


def check_start(spec: JobSpec, *, replace: bool = False) -> None:
    """Raise what `prepare` would raise of machine, name and folder; no record is read."""
    _backend(spec).check(plan(spec), replace=replace)


def start(made: Prepared, *, resume: bool = False, replace: bool = False) -> JobHandle:
    """Start a plan that was prepared. Raises as `submit`."""
    spec = made.plan.spec
    found = made.report.to_json() if made.report else None
    handle = _backend(spec).submit(made.plan, resume=resume, replace=replace, found=found)
    backend = handle.backend
    registry.remember(handle.name, handle.root, backend.name, backend.where(made.plan))
    return handle


def _problem(finding: Finding) -> Problem:
    what = f"{finding.name}: {finding.evidence} ({finding.cost.text})"
    return Problem(finding.place, what, f"{finding.remedy}. --force starts it in spite of that")


def dry_run(spec: JobSpec, *, server: bool = False) -> dict[str, Any]:
    """Exactly the processes that `submit` would start and the files it would write, or the objects
    that it would apply; `server`: as the cluster's API server would take them, which it is asked.

    Raises UsageError for `server` where there is none.
    """
    backend = _backend(spec)
    if not server:
        return backend.dry_run(plan(spec))
    ask = getattr(backend, "server_dry_run", None)
    if ask is None:
        raise UsageError(
            f"the {backend.name} backend has no server to ask",
            place="--dry-run=server",
            remedy="Use --dry-run, or --backend kubernetes",
        )
    return dict(ask(plan(spec)))


def find(name: str, run_dir: str | os.PathLike[str] | None = None) -> JobHandle:
    """A run that was submitted before, by anyone who shares its run_dir.

    It is looked for below `run_dir` when that is given, else below ./runs and among all runs that
    this account submitted. Raises UsageError with the nearest names.
    """
    return _handle(registry.find(name, _folder(run_dir)))


def runs(run_dir: str | os.PathLike[str] | None = None) -> list[JobHandle]:
    """All runs below `run_dir`; without it, those below ./runs and those that were submitted."""
    return [_listed(root) for root in registry.all_roots(_folder(run_dir))]


def _listed(root: Path) -> JobHandle:
    """One whose folder cannot be read does not hide the others: its own status says it."""
    try:
        return _handle(root)
    except StorageError:
        return JobHandle(root.name, root, backends.get(backends.DEFAULT))


def cluster_runs(backend: str, context: str = "", namespace: str = "") -> list[RunStatus]:
    """All runs of a cluster's namespace, whoever submitted them; `find` knows them from then on.

    Raises UsageError for a backend that has no such list.
    """
    ask = getattr(backends.get(backend), "runs", None)
    if ask is None:
        raise UsageError(
            f"the {backend} backend keeps no list of runs",
            place="--backend",
            remedy="`launcher list` without --backend has them",
        )
    return list(ask(context, namespace))


def delete(name: str, run_dir: str | os.PathLike[str] | None = None) -> Path | None:
    """Remove a run that has ended, with its checkpoints. Returns its folder, None: there is none.

    Raises UsageError while it runs.
    """
    root = registry.lookup(name, _folder(run_dir))
    if root is None:
        return None
    _handle(root).backend.delete(root)
    registry.forget(name, root)
    return root


def evaluate(
    name: str, run_dir: str | os.PathLike[str] | None = None, backend: str | None = None
) -> JobHandle:
    """Score the newest checkpoint of a run that has ended, in the foreground.

    A run whose training is complete has SUCCEEDED when its last checkpoint is scored. Raises
    UsageError while it runs, or when `backend` is another one than the run's; RunFailedError when
    the evaluator fails.
    """
    handle = find(name, run_dir)
    if backend not in (None, handle.backend.name):
        raise UsageError(
            f"is a run of the {handle.backend.name} backend, which scores it",
            place=name,
            remedy="Leave out --backend",
        )
    handle.backend.evaluate(handle.root)
    return handle


def export(
    name: str,
    run_dir: str | os.PathLike[str] | None = None,
    *,
    step: int | None = None,
    output: str | os.PathLike[str] | None = None,
    replace: bool = False,
) -> Path:
    """Write a checkpoint, by default the newest, as a SavedModel with the model zoo's signature.

    Returns the folder: `output`, by default `export/step-N` in the run's. `replace` overwrites an
    earlier export. Raises RunFailedError; the reason is on standard error.
    """
    from launcher.backends import export as exporter

    root = find(name, run_dir).root
    return exporter.export(root, step, _folder(output), replace=replace)


def dashboard(name: str, run_dir: str | os.PathLike[str] | None = None) -> str:
    """The URL of a run in Ray's dashboard. Raises UsageError for a run that has none."""
    handle = find(name, run_dir)
    if handle.backend.name != "ray":
        raise UsageError(
            f"runs on the {handle.backend.name} backend, which has no dashboard",
            place=name,
            remedy=f"`launcher results {name} --html` writes a page",
        )
    from launcher.backends.ray.dashboard import url_of

    return url_of(handle.root)


def _handle(root: Path) -> JobHandle:
    """Its backend is what the list says of a run elsewhere, else what its folder says."""
    entry = registry.entry_of(root)
    if entry and entry.where:
        backend = entry.backend
    else:
        status = read_status(root)
        backend = status.backend if status else backends.DEFAULT
    return JobHandle(root.name, root, backends.get(backend))


def _backend(spec: JobSpec) -> Backend:
    return backends.get(spec.backend.kind)


def _folder(path: str | os.PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)


def draw(spec: JobSpec) -> None:
    """Make the data set of `data.synthetic` where it is missing."""
    shapes = shapes_of(spec)
    if shapes is None:
        return
    from launcher import data

    data.ensure_shapes(
        shapes.folder,
        train_images=shapes.train_images,
        val_images=shapes.val_images,
        image_size=shapes.image_size,
        seed=shapes.seed,
    )
