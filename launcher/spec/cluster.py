"""Where a run runs: processes, devices, and what a cluster needs to know of them."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from launcher.spec.fields import AnyText, Count, CountOrNone, EnvName
from launcher.spec.kubernetes_fields import (
    HostName,
    ImageName,
    KubernetesName,
    LabelValue,
    MountPath,
    QualifiedName,
    Quantity,
    QueueName,
    SecretKey,
    SubPath,
)
from launcher.spec.section import Section


class Toleration(Section):
    """A Kubernetes toleration: which taints of a node do not matter."""

    key: QualifiedName | None = None
    """The taint's key, as nvidia.com/gpu. Default: every key, which operator Exists alone can."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Exists: any value is tolerated; Equal: `value` only, Kubernetes' default."""
    value: LabelValue | None = None
    """The taint's value, with operator Equal. Default: none."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect. Default: every effect."""
    toleration_seconds: CountOrNone | None = None
    """Seconds on the node after the taint appears, with NoExecute. Default: for ever."""


class Nfs(Section):
    """A folder of an NFS server, mounted by the nodes themselves."""

    server: HostName
    """Host name or address of the server."""
    path: MountPath
    """The folder that the server exports."""


class Volume(Section):
    """Storage that every process of the run sees: one of claim, nfs and host_path."""

    name: KubernetesName
    """Name of the volume, unique in the spec."""
    mount_path: MountPath
    """Where it appears in the containers: an absolute path."""
    claim: KubernetesName | None = None
    """Name of the PersistentVolumeClaim. Default: none, another kind is given."""
    nfs: Nfs | None = None
    """NFS server and folder, where a claim is too much: the restricted Pod Security Standard admits
    claims only. Default: none."""
    host_path: MountPath | None = None
    """Folder of the node: refused on Kubernetes unless backend.kubernetes.allow_host_path is set.
    Default: none."""
    sub_path: SubPath | None = None
    """Folder inside the volume. Default: its root."""
    read_only: bool = False
    """No writing: right for data sets. Default false, because run_dir must be written."""


class Secret(Section):
    """A reference to a secret of the cluster, never the secret itself."""

    env: EnvName
    """Environment variable that the processes see it in."""
    name: KubernetesName
    """Name of the Secret object."""
    key: SecretKey
    """Key inside the Secret."""


class Elastic(Section):
    """As many workers as a cluster has room for, within bounds; the global batch stays."""

    min: Count
    """The fewest workers to train with. No default: fewer wait."""
    max: Count
    """The most workers. No default. Counts that do not divide the global batch are passed over."""


def _kind_of_workers(value: object) -> str:
    return "[range]" if isinstance(value, Mapping | Elastic) else "[count]"


Workers = Annotated[
    Annotated[Count, Tag("[count]")] | Annotated[Elastic, Tag("[range]")],
    Discriminator(_kind_of_workers),
]
"""A number, or {min, max}. By the kind of the value, so that an error is about that kind alone."""


class Cluster(Section):
    """Where it runs: how many processes with how many devices each."""

    workers: Workers = 1
    """Training processes, one machine or container each; or {min, max}, with which a Ray run grows
    and shrinks with its cluster (others take max). Default 1."""
    gpus_per_worker: Annotated[int, Field(ge=0, le=1024)] = 0
    """GPUs of each worker, one replica on each. Default 0: one replica on the CPU."""
    image: ImageName | None = None
    """Container image with launcher[train] in it. Needed by backends that run containers."""
    cpus_per_worker: Annotated[float, Field(gt=0, le=4096, allow_inf_nan=False)] | None = None
    """CPU cores of each worker. Default: the backend's; too few starve the input."""
    memory_per_worker: Quantity | None = None
    """Main memory of each worker, as 32Gi. Default: the backend's."""
    node_selector: dict[QualifiedName, LabelValue] = Field(default={})
    """Labels that a node must have. Default: any node."""
    tolerations: tuple[Toleration, ...] = Field(default=(), strict=False)
    """Taints of nodes that do not matter. Default: none."""
    volumes: tuple[Volume, ...] = Field(default=(), strict=False)
    """Storage for data and run_dir. Default: none."""
    env: dict[EnvName, AnyText] = Field(default={})
    """Environment variables of workers and evaluator. Default: none."""
    image_pull_secrets: tuple[KubernetesName, ...] = Field(default=(), strict=False)
    """Names of the Secret objects that the image is pulled with. Default: none."""
    secrets: tuple[Secret, ...] = Field(default=(), strict=False)
    """Secrets of the cluster as environment variables. Default: none."""
    queue: QueueName | None = None
    """Kueue's LocalQueue that admits the run. Default: started at once."""
    priority_class: KubernetesName | None = None
    """PriorityClass of the run. Default: the cluster's."""
    service_account: KubernetesName | None = None
    """ServiceAccount of the processes. Default: the namespace's."""

    @property
    def most_workers(self) -> int:
        return self.workers.max if isinstance(self.workers, Elastic) else self.workers

    @property
    def fewest_workers(self) -> int:
        return self.workers.min if isinstance(self.workers, Elastic) else self.workers
