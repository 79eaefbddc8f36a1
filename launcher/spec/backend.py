"""What starts the processes, and what each backend needs to know.

Every backend has a section of its own, so that `--backend` chooses another one without an edit.
"""

from typing import Annotated, Literal

from pydantic import Field

from launcher.spec.fields import Positive, Text
from launcher.spec.kubernetes_fields import (
    DeviceName,
    Namespace,
    QualifiedName,
    Quantity,
    QueueName,
)
from launcher.spec.section import Section


class Kubernetes(Section):
    """A cluster that takes manifests. What each process needs is in `cluster`."""

    kind: Literal["job", "jobset", "tfjob", "rayjob"] = "job"
    """The kind of object that starts the workers (docs/kubernetes.md compares them). job, the
    default, needs nothing installed; jobset, tfjob and rayjob need their controllers."""
    namespace: Namespace | None = None
    """Namespace of all objects. Default: that of the context, as kubectl takes it."""
    context: Text | None = None
    """Context of the kubeconfig, for submit. Default: the current one."""
    gpu_resource: DeviceName = "nvidia.com/gpu"
    """What the device plugin calls a GPU. Default nvidia.com/gpu; AMD's is amd.com/gpu."""
    port: Annotated[int, Field(ge=1024, le=65535)] = 2222
    """TCP port of the workers' TensorFlow servers. Default 2222: the one of TensorFlow's examples;
    below 1024 a process that is not root cannot listen."""
    shared_memory: Quantity = "1Gi"
    """Size of /dev/shm in memory, which counts against memory_per_worker: NCCL passes data between
    the GPUs of a worker through it. Default 1Gi: a runtime's own 64 MB are too few."""
    placement: Literal["spread", "pack"] | None = None
    """spread: workers prefer nodes without another worker of the run; pack: they prefer the
    neighbourhood of the others, for a fast network. Default: the scheduler's choice."""
    topology_key: QualifiedName = "kubernetes.io/hostname"
    """Label of nodes that says what a neighbourhood is for `placement`. Default: the node itself;
    topology.kubernetes.io/zone or a rack's label packs into one zone or rack."""
    run_as_user: Annotated[int, Field(ge=1, le=2**31 - 1)] = 10001
    """Numeric user of the processes, never root. Default 10001: that of this project's image."""
    fs_group: Annotated[int, Field(ge=1, le=2**31 - 1)] = 10001
    """Group that may write to the volumes. Default 10001."""
    termination_grace_seconds: Annotated[int, Field(ge=1, le=86_400)] = 120
    """Seconds from SIGTERM to SIGKILL: time to save a checkpoint of a large model. Default 120."""
    max_hours: Positive | None = None
    """Hours after which the run is ended, whatever its state. A JobSet counts them anew with each
    start of the group. Default: none."""
    queue_priority: QueueName | None = None
    """Kueue's WorkloadPriorityClass, with cluster.queue. Default: the queue's."""
    network_policy: bool = False
    """A NetworkPolicy that lets only pods of the run connect to its pods. Default false: it needs a
    network plugin that enforces it."""
    allow_host_path: bool = False
    """Allow volumes of kind host_path, which are folders of whatever node a pod lands on, and which
    the baseline and restricted Pod Security Standards refuse. Default false."""


class Ray(Section):
    """A Ray cluster. GPUs, CPUs and memory of each worker are in `cluster`."""

    address: Text | None = None
    """The cluster's dashboard, as http://10.0.0.5:8265. Default: RAY_ADDRESS; without that a Ray of
    this machine is started for the run and stopped with it. `--address` wins over both."""
    resources: dict[Text, Positive] = Field(default={})
    """Custom resources that each worker takes, as {fast_disk: 1}. Default: none."""
    placement: Literal["pack", "spread", "strict_pack", "strict_spread"] = "pack"
    """pack: workers on as few nodes as possible; spread: on as many; strict_pack: all on one node;
    strict_spread: each on a node of its own. Default pack: all-reduce is fastest within a node."""
    evaluator_cpus: Annotated[float, Field(ge=0, le=4096, allow_inf_nan=False)] = 0.0
    """CPU cores that are reserved for the evaluator. Default 0: those of evaluate.cpus; without
    them it takes none from the workers, and runs on the head node unless it asks for more."""
    evaluator_resources: dict[Text, Positive] = Field(default={})
    """Custom resources of the evaluator, to choose its node. Default: none."""
    wait_for_nodes: bool = False
    """Submit although no node that is there now could run a worker, because an autoscaler or a
    person will add one. Default false: that is refused, as a mistake."""
    resize_seconds: Annotated[float, Field(ge=1, le=86_400, allow_inf_nan=False)] = 30.0
    """How long a cluster must have room for more workers before an elastic run grows. Default 30;
    each change costs a restart of the group."""


class Backend(Section):
    """What starts the processes."""

    kind: Literal["local", "ray", "kubernetes"] = "local"
    """local: processes on this machine, the default; ray: a Ray cluster; kubernetes: a cluster."""
    ray: Ray = Ray()
    """What the ray backend needs to know."""
    kubernetes: Kubernetes = Kubernetes()
    """What the kubernetes backend needs to know."""
