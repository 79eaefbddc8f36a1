"""An Indexed Job of the workers, which needs nothing installed, and the evaluator's Job.

A Job cannot restart a group. Our workers can: when one is lost the others leave with 75, and each
comes back at its own index (backoffLimitPerIndex). Preemption and an orderly stop (143) are free of
charge. 64, 65 and 66 end the run: no restart would mend them.
"""

from collections.abc import Set
from typing import TYPE_CHECKING, Any

from launcher.contract import ENV_FAILURES
from launcher.errors import FINAL_WORKER_EXITS, WorkerExit
from launcher.render.kubernetes import names as wire
from launcher.render.kubernetes.names import Names
from launcher.render.kubernetes.pod import template

if TYPE_CHECKING:
    from launcher.planning import Plan

Object = dict[str, Any]

EVALUATOR_RETRIES = 30
"""Starts of an evaluator that fails, beyond the first, in a whole run. The local backend begins to
count anew with each score; a Job cannot, so this is enough for ten checkpoints of a run of weeks
that kill it, three starts each (evaluate/attempts.py). One that never works is given up after four
or five hours: a Job's pauses grow to ten minutes, and stay there."""
_EVALUATOR_FINAL = FINAL_WORKER_EXITS | {WorkerExit.PEER_LOST}
"""75: the run has ended, or is silent, without the score of its last step. The next evaluator would
find the same, after up to a day of waiting with its GPU."""


def workers(plan: "Plan", names: Names, metadata: Object) -> Object:
    pods = template(plan, names, wire.WORKER)
    container = pods["spec"]["containers"][0]
    count = f"metadata.annotations['{wire.FAILURE_COUNT_ANNOTATION}']"
    container["env"].append({"name": ENV_FAILURES, "valueFrom": {"fieldRef": {"fieldPath": count}}})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": names.workers, **metadata},
        "spec": {
            **deadline(plan),
            "completionMode": "Indexed",
            "completions": plan.workers,
            "parallelism": plan.workers,
            "backoffLimitPerIndex": plan.max_restarts,
            # Without it a Job can end Complete though an index has failed.
            "maxFailedIndexes": 0,
            # A new pod of an index while the old one still saves would write into its files.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": _failure_policy(wire.WORKER, FINAL_WORKER_EXITS),
            "template": pods,
        },
    }


def evaluator(plan: "Plan", names: Names, metadata: Object) -> Object:
    """A Job of its own in every kind: it has no part in the cluster of the workers, its failure is
    not the training's, and it goes on after they have ended."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": names.evaluator, **metadata},
        "spec": {
            **deadline(plan),
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": EVALUATOR_RETRIES,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": _failure_policy(wire.EVALUATOR, _EVALUATOR_FINAL),
            "template": template(plan, names, wire.EVALUATOR),
        },
    }


def _failure_policy(container: str, final: Set[WorkerExit]) -> Object:
    """The first rule that fits a failed pod decides; none: it counts."""
    codes = sorted(map(int, final))
    return {
        "rules": [
            {
                "action": "FailJob",
                "onExitCodes": {"containerName": container, "operator": "In", "values": codes},
            },
            {
                "action": "Ignore",
                "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
            },
            {
                "action": "Ignore",
                "onExitCodes": {
                    "containerName": container,
                    "operator": "In",
                    "values": [int(WorkerExit.STOPPED)],
                },
            },
        ]
    }


def deadline(plan: "Plan") -> Object:
    hours = plan.spec.backend.kubernetes.max_hours
    return {"activeDeadlineSeconds": max(1, round(hours * 3600))} if hours else {}
