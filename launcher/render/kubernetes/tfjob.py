"""A TFJob (kubeflow.org/v1, training-operator 1.9) of workers only.

It starts a pod again whose exit code is above 127, for ever; one below ends the job. So our pods
add 128 to the codes that ask for another start, and count their starts themselves
(pod/ending.py): the last one allowed leaves with a code below, whatever ended it. The evaluator
stays outside: the operator would list it in TF_CONFIG, and end the job with its failure.
"""

from typing import TYPE_CHECKING, Any

from launcher.contract import ENV_EXIT_OFFSET
from launcher.render.kubernetes import names as wire
from launcher.render.kubernetes.job import deadline
from launcher.render.kubernetes.names import Names
from launcher.render.kubernetes.pod import template

if TYPE_CHECKING:
    from launcher.planning import Plan

Object = dict[str, Any]

RETRIED_ABOVE = 128
"""The operator's: codes from here on are retried by restartPolicy ExitCode."""


def workers(plan: "Plan", names: Names, metadata: Object) -> Object:
    pods = template(plan, names, wire.WORKER)
    del pods["spec"]["restartPolicy"]  # the operator sets it, and warns of one that is there
    container = pods["spec"]["containers"][0]
    container["env"].append({"name": ENV_EXIT_OFFSET, "value": str(RETRIED_ABOVE)})
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": {"name": names.workers, **metadata},
        "spec": {
            # By default the job has succeeded with worker 0, while others still leave.
            "successPolicy": "AllWorkers",
            "runPolicy": {**deadline(plan), "cleanPodPolicy": "Running"},
            "tfReplicaSpecs": {
                "Worker": {
                    "replicas": plan.workers,
                    "restartPolicy": "ExitCode",
                    "template": pods,
                }
            },
        },
    }
