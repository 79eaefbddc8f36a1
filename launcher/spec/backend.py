"""What starts the processes, and what each backend needs to know.

Every backend has a section of its own, so that `--backend` chooses another one without an edit.
"""

from typing import Annotated, Literal

from pydantic import Field

from launcher.spec.fields import KubernetesName, Positive, QualifiedName, Quantity, Text
from launcher.spec.section import Section


class Kubernetes(Section):
    """A cluster that takes manifests. What each process needs is in `cluster`."""

    kind: Literal["job", "jobset", "tfjob", "rayjob"] = "job"
    """The kind of object that starts the workers (docs/kubernetes.md compares them). job, the
    default, needs nothing installed; jobset, tfjob and rayjob need their controllers."""
    namespace: KubernetesName | None = None
    """Namespace of all objects. Default: that of the context, as kubectl takes it."""
    context: Text | None = None
    """Context of the kubeconfig, for submit. Default: the current one."""
    gpu_resource: QualifiedName = "nvidia.com/gpu"
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
    run_as_user: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1000
    """Numeric user of the processes, never root. Default 1000: that of this project's image."""
    fs_group: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1000
    """Group that may write to the volumes. Default 1000."""
    termination_grace_seconds: Annotated[int, Field(ge=1, le=86_400)] = 120
    """Seconds from SIGTERM to SIGKILL: time to save a checkpoint of a large model. Default 120."""
    max_hours: Positive | None = None
    """Hours after which the run is ended, whatever its state. Default: none."""
    queue_priority: KubernetesName | None = None
    """Kueue's WorkloadPriorityClass, with cluster.queue. Default: the queue's."""
    network_policy: bool = False
    """A NetworkPolicy that lets only pods of the run connect to its pods. Default false: it needs a
    network plugin that enforces it."""
    allow_host_path: bool = False
    """Allow volumes of kind host_path, which are folders of whatever node a pod lands on, and which
    the baseline and restricted Pod Security Standards refuse. Default false."""


class Backend(Section):
    """What starts the processes."""

    kind: Literal["local", "ray", "kubernetes"] = "local"
    """local: processes on this machine, the default; ray: a Ray cluster; kubernetes: a cluster."""
    kubernetes: Kubernetes = Kubernetes()
    """What the kubernetes backend needs to know."""
