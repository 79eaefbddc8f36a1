"""Train TensorFlow Object Detection API models at their published recipe, and know the mAP.

    import launcher

    spec = launcher.load("d3.yaml", ["cluster.workers=2"])
    for finding in launcher.check(spec).errors:  # what would waste the run
        print(finding.evidence, finding.cost.text, finding.remedy)
    plan = launcher.plan(spec)  # batch, learning rate, steps; nothing is started
    handle = launcher.submit(spec)
    handle.wait()
    print(handle.results().final["mAP"])

Everything is imported on first use, so that `import launcher` costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launcher.api import check, find, load, plan, runs, submit
    from launcher.backends.base import JobHandle, JobState, RunStatus
    from launcher.errors import LauncherError
    from launcher.planning import Plan
    from launcher.report.results import Results
    from launcher.spec import JobSpec

_EXPORTS = {
    "check": "launcher.api",
    "load": "launcher.api",
    "plan": "launcher.api",
    "submit": "launcher.api",
    "find": "launcher.api",
    "runs": "launcher.api",
    "JobHandle": "launcher.backends.base",
    "JobState": "launcher.backends.base",
    "RunStatus": "launcher.backends.base",
    "Results": "launcher.report.results",
    "JobSpec": "launcher.spec",
    "Plan": "launcher.planning",
    "LauncherError": "launcher.errors",
}

__all__ = [
    "JobHandle",
    "JobSpec",
    "JobState",
    "LauncherError",
    "Plan",
    "Results",
    "RunStatus",
    "check",
    "find",
    "load",
    "plan",
    "runs",
    "submit",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
