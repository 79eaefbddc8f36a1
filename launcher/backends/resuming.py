"""`submit --resume`: the run that is in the folder, compared with the plan that continues it."""

from pathlib import Path
from typing import Any

from launcher.contract import RunPaths
from launcher.errors import LauncherError, Problem, SpecError
from launcher.odapi import pipeline
from launcher.planning import Plan
from launcher.planning.changes import Change, Planned, changes
from launcher.spec import from_mapping
from launcher.storage import read_json


def as_it_was(plan: Plan, allow_change: bool, before: Planned) -> Plan:
    """The plan, with a warning for each change from `before` that is allowed.

    Raises SpecError with one line for each field that differs, unless it is a safe one and
    `allow_change` is given.
    """
    after = Planned(
        plan.spec, plan.worker_config.to_json(), pipeline.parse(plan.pipeline_text, "the plan")
    )
    found = changes(before, after)
    refused = [change for change in found if change.unsafe or not allow_change]
    if refused:
        raise SpecError([_problem(plan, change) for change in refused])
    told = tuple(f"{c.field} {c}: continued with it (--allow-change)" for c in found)
    return plan.model_copy(update={"warnings": (*plan.warnings, *told)})


def read_planned(root: Path) -> Planned | None:
    """What the run in `root` is; None when it has no plan yet.

    Raises SpecError when this version cannot read it.
    """
    paths = RunPaths(root)
    data = read_json(paths.plan)
    if not isinstance(data, dict) or not paths.pipeline.is_file():
        return None
    try:
        spec = from_mapping(_mapping(data, "spec"))
        return Planned(spec, _mapping(data, "worker_config"), pipeline.read(paths.pipeline))
    except (LauncherError, KeyError) as e:
        why = e.problems[0].what if isinstance(e, LauncherError) else f"no {e}"
        raise SpecError(
            [
                Problem(
                    str(paths.plan),
                    f"the run was planned by another version of launcher ({why})",
                    "Continue it with that version, or submit under another name",
                )
            ]
        ) from None


def _mapping(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data[key]
    if not isinstance(value, dict):
        raise KeyError(key)
    return value


def _problem(plan: Plan, change: Change) -> Problem:
    """One line: where, new and old value, and what can be done about it."""
    remedy = (
        f"Set it back, or submit under another name: {change.unsafe}"
        if change.unsafe
        else "Set it back, or give --allow-change to continue with it"
    )
    return Problem(plan.spec.place(change.field), str(change), remedy)
