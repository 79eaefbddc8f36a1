"""Names on the wire: objects, labels, mount points. Nothing else says them a second time.

A run's objects, for the name `d3`:

    ConfigMap d3-plan            spec.yaml, plan.json, pipeline.config
    Service d3                   DNS names of the workers (job; a JobSet makes its own)
    NetworkPolicy d3             when it is asked for
    Job d3-worker | JobSet d3 | TFJob d3 | RayJob d3
    Job d3-evaluator
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from launcher.contract import ENV_NAMESPACE

if TYPE_CHECKING:
    from launcher.planning import Plan

Kind = Literal["job", "jobset", "tfjob", "rayjob"]
KINDS: tuple[Kind, ...] = get_args(Kind)

WORKER, EVALUATOR = "worker", "evaluator"
"""Roles, and the names of their containers (a TFJob's must be named `tensorflow`)."""
TFJOB_CONTAINER = "tensorflow"

NAME_LABEL = "app.kubernetes.io/name"
INSTANCE_LABEL = "app.kubernetes.io/instance"
COMPONENT_LABEL = "app.kubernetes.io/component"
PART_OF_LABEL = "app.kubernetes.io/part-of"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
VERSION_LABEL = "app.kubernetes.io/version"
APP = "launcher"
PLAN_ANNOTATION = "launcher/plan-sha256"
"""Of the ConfigMap's data, on every pod: a changed plan cannot slip into a Job that is there, whose
template is immutable."""

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
QUEUE_PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"

FAILURE_COUNT_ANNOTATION = "batch.kubernetes.io/job-index-failure-count"
"""Kubernetes': what a Job has counted against backoffLimitPerIndex, on each of its pods."""
REPLICA_INDEX_LABEL = "training.kubeflow.org/replica-index"
"""The training-operator's, on each pod of a TFJob."""

PLAN_VOLUME, PLAN_PATH = "launcher-plan", "/etc/launcher/plan"
SHM_VOLUME, SHM_PATH = "launcher-shm", "/dev/shm"  # noqa: S108
TMP_VOLUME, TMP_PATH = "launcher-tmp", "/tmp"  # noqa: S108
HOME_VOLUME, HOME_PATH = "launcher-home", "/home/launcher"
OWN_VOLUMES = (PLAN_VOLUME, SHM_VOLUME, TMP_VOLUME, HOME_VOLUME)
OWN_PATHS = (PLAN_PATH, SHM_PATH, TMP_PATH, HOME_PATH)

LONGEST_LABEL = 63
"""Characters of a DNS label, RFC 1123: host names, Services and what Jobs make pods' names of."""
_POD_SUFFIX = 6
"""`-x7k2p`, which Jobs and JobSets append to the names of their pods."""


@dataclass(frozen=True)
class Names:
    """All names of one run of one kind."""

    run: str
    kind: Kind
    plan: str = ""
    """SHA-256 of the plan's files, for the annotation of pods."""

    @property
    def config_map(self) -> str:
        return f"{self.run}-plan"

    @property
    def service(self) -> str:
        return self.run

    @property
    def workers(self) -> str:
        """The object that starts the workers."""
        return f"{self.run}-{WORKER}" if self.kind == "job" else self.run

    @property
    def evaluator(self) -> str:
        return f"{self.run}-{EVALUATOR}"

    def host(self, index: int | str) -> str:
        """The first part of the DNS name of a worker's pod."""
        if self.kind == "jobset":  # <jobset>-<replicated job>-<job index>-<pod index>
            return f"{self.run}-{WORKER}-0-{index}"
        return f"{self.run}-{WORKER}-{index}"

    def address(self, index: int | str, port: int, namespace: str) -> str:
        """`host:port` of a worker, as it resolves from every pod of the cluster."""
        # The training-operator makes a Service for each worker; the others share one.
        subdomain = "" if self.kind == "tfjob" else f".{self.service}"
        return f"{self.host(index)}{subdomain}.{namespace}.svc:{port}"

    def hosts(self, port: int) -> str:
        """LAUNCHER_HOSTS: one pattern, however many workers there are. Kubernetes puts the
        namespace into it."""
        return self.address("{index}", port, f"$({ENV_NAMESPACE})")

    def longest(self, workers: int) -> list[tuple[str, str, int]]:
        """Name, what it is, and how many characters Kubernetes allows it."""
        last = self.host(workers - 1)
        suffix = _POD_SUFFIX if self.kind == "jobset" else 0
        return [
            (last, "host name of the last worker", LONGEST_LABEL - suffix),
            (self.evaluator, "Job of the evaluator", LONGEST_LABEL - _POD_SUFFIX),
        ]


def names_of(plan: "Plan", kind: Kind | None = None) -> Names:
    """Of a plan; kind: that of the spec unless given."""
    return Names(plan.name, kind or plan.spec.backend.kubernetes.kind)


def run_labels(run: str) -> dict[str, str]:
    """What selects all objects of a run, and nothing else."""
    return {NAME_LABEL: APP, INSTANCE_LABEL: run}


def version() -> str:
    """Of launcher, as a label may have it."""
    from importlib import metadata

    return metadata.version(APP).replace("+", "-")


def labels(run: str, component: str | None = None) -> dict[str, str]:
    """The recommended labels of Kubernetes. component: worker or evaluator; None: of the run.

    Without the version, which objects have and pods do not: their templates are immutable, and
    another launcher may render the same run.
    """
    found = {**run_labels(run), PART_OF_LABEL: APP, MANAGED_BY_LABEL: APP}
    return found | ({COMPONENT_LABEL: component} if component else {})
