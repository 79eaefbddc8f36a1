"""A JobSet (jobset.x-k8s.io/v1alpha2) of one Indexed Job: the group restarts as a whole.

The child Job fails with its first pod, and the JobSet then makes all pods anew. Why it failed is in
the Job's message, which the rules read: a bad configuration is final, and so is the deadline; a
preempted pod restarts the group without counting, everything else counts against maxRestarts.
"""

from typing import TYPE_CHECKING, Any

from launcher.errors import FINAL_WORKER_EXITS, WorkerExit
from launcher.render.kubernetes import names as wire
from launcher.render.kubernetes.job import deadline
from launcher.render.kubernetes.names import Names
from launcher.render.kubernetes.pod import template

if TYPE_CHECKING:
    from launcher.planning import Plan

Object = dict[str, Any]

_REASON = "PodFailurePolicy"
"""Of a Job that a rule with FailJob ended."""
_DEADLINE = "DeadlineExceeded"
"""Of a Job that has run for its activeDeadlineSeconds; each start of the group is a new Job."""
_FINAL = sorted(int(code) for code in FINAL_WORKER_EXITS)


def workers(plan: "Plan", names: Names, metadata: Object) -> Object:
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": names.workers, **metadata},
        "spec": {
            "network": {
                "enableDNSHostnames": True,
                "subdomain": names.service,
                "publishNotReadyAddresses": True,
            },
            "failurePolicy": {
                "maxRestarts": plan.max_restarts,
                # Two groups at a time would save into the same folder.
                "restartStrategy": "BlockingRecreate",
                "rules": _rules(),
            },
            "replicatedJobs": [
                {
                    "name": wire.WORKER,
                    "replicas": 1,
                    "template": {
                        "metadata": {"labels": wire.labels(plan.name, wire.WORKER)},
                        "spec": _job(plan, names),
                    },
                }
            ],
        },
    }


def _rules() -> list[Object]:
    codes = "|".join(map(str, _FINAL))
    return [
        {
            "name": "final",
            "action": "FailJobSet",
            "onJobFailureReasons": [_REASON],
            "onJobFailureMessagePatterns": [f"exit code ({codes}) "],
        },
        {"name": "deadline", "action": "FailJobSet", "onJobFailureReasons": [_DEADLINE]},
        {
            "name": "preempted",
            "action": "RestartJobSetAndIgnoreMaxRestarts",
            "onJobFailureReasons": [_REASON],
        },
    ]


def _job(plan: "Plan", names: Names) -> Object:
    def left_with(codes: list[int]) -> Object:
        return {"containerName": wire.WORKER, "operator": "In", "values": codes}

    return {
        **deadline(plan),
        "completionMode": "Indexed",
        "completions": plan.workers,
        "parallelism": plan.workers,
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": left_with(_FINAL)},
                {
                    "action": "FailJob",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                },
                {"action": "FailJob", "onExitCodes": left_with([int(WorkerExit.STOPPED)])},
            ]
        },
        "template": template(plan, names, wire.WORKER),
    }
