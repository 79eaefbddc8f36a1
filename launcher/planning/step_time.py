"""How long an optimizer step takes on N accelerators, from what one of them was measured at.

    step       = max(compute, input) + all_reduce + update
    compute    = accumulation_steps x (fixed + per_image x per_replica_batch)
               + accumulation_steps x 2 x synced_layers x latency of one small all-reduce
    all_reduce = 2 (n - 1) / n x bytes / bandwidth + 2 (n - 1) x latency
    bytes      = 4 x parameters

The all-reduce is the ring's: each of the n members sends and receives 2 (n - 1) pieces of 1 / n of
the vector (Patarasuk and Yuan, J. Parallel Distrib. Comput. 69, 2009; the same factor makes NCCL's
"bus bandwidth" of an algorithm bandwidth, nccl-tests doc/PERFORMANCE.md). It is added, not hidden
behind the backward pass: our step reduces one vector, once, after the last micro-batch, float32.

Times in seconds, sizes in bytes, batches in images. Pure: nothing is read, nothing is rounded.
docs/performance.md says where the constants were measured and what the model leaves out.
"""

from dataclasses import dataclass

BYTES_PER_VALUE = 4
"""Gradients are reduced as float32, mixed precision or not."""

ALL_REDUCES_PER_SYNCED_LAYER = 2
"""Synchronized batch norm sums its moments in the forward pass, their gradients in the backward."""


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}")


def _not_negative(**values: float) -> None:
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} is {value}")


@dataclass(frozen=True)
class Link:
    """Between neighbours of the ring: the slowest one, when they differ.

    `bytes_per_second` is of one direction; what a collective reaches is below the line rate (65 to
    90 % where people publish both), so measure it with nccl-tests' bus bandwidth.
    """

    bytes_per_second: float
    latency_seconds: float

    def __post_init__(self) -> None:
        _positive(bytes_per_second=self.bytes_per_second)
        _not_negative(latency_seconds=self.latency_seconds)


LINKS = {
    "10gbe": Link(1.25e9, 50e-6),
    "25gbe": Link(3.125e9, 50e-6),
    "100gbe": Link(12.5e9, 30e-6),
    "pcie4x16": Link(32e9, 10e-6),
    "nvlink3": Link(300e9, 5e-6),
}
"""Line rates by their standards (Ethernet's names; PCIe 4.0: 16 lanes x 2 GB/s; NVLink 3: 600 GB/s
in both directions of an A100). The latencies are orders of magnitude, not measurements."""


@dataclass(frozen=True)
class Replica:
    """What one accelerator was measured at, alone, with the run's model and image size."""

    per_image_seconds: float
    """Forward and backward pass of one more image in a micro-batch."""
    fixed_seconds: float = 0.0
    """What a micro-batch costs however few images it has: starting operations, small tensors."""
    update_seconds: float = 0.0
    """Clipping and the optimizer, once a step; grows with the parameters, not with the batch."""
    input_seconds: float = 0.0
    """One image through decoding and augmentation, on the cores that feed this replica."""

    def __post_init__(self) -> None:
        _positive(per_image_seconds=self.per_image_seconds)
        _not_negative(
            fixed_seconds=self.fixed_seconds,
            update_seconds=self.update_seconds,
            input_seconds=self.input_seconds,
        )


@dataclass(frozen=True)
class StepTime:
    """The parts of one step, in seconds; `waiting` is for input that is slower than its use."""

    images: int
    compute: float
    waiting: float
    all_reduce: float
    update: float

    @property
    def total(self) -> float:
        return self.compute + self.waiting + self.all_reduce + self.update

    @property
    def images_per_second(self) -> float:
        return self.images / self.total


def fit(first: tuple[int, float], second: tuple[int, float]) -> tuple[float, float]:
    """`(per_image_seconds, fixed_seconds)` from two measured micro-batches `(images, seconds)`.

    Raises ValueError for the same size twice, and where the larger one was not the slower.
    """
    (few, short), (many, long) = sorted((first, second))
    if few == many:
        raise ValueError(f"two sizes are needed, both are {few}")
    per_image = (long - short) / (many - few)
    if per_image <= 0:
        raise ValueError(f"{many} images took {long:g} s, {few} took {short:g} s")
    return per_image, max(0.0, short - few * per_image)


def ring_all_reduce(size: float, members: int, link: Link) -> float:
    """Seconds to sum `size` bytes over `members`, each of which ends with the sum."""
    if members < 1:
        raise ValueError(f"members is {members}")
    _not_negative(size=size)
    hops = 2 * (members - 1)
    return hops / members * size / link.bytes_per_second + hops * link.latency_seconds


def step_time(
    replica: Replica,
    *,
    replicas: int,
    per_replica_batch: int,
    accumulation_steps: int,
    parameters: int,
    link: Link | None = None,
    synced_layers: int = 0,
) -> StepTime:
    """One optimizer step over replicas x per_replica_batch x accumulation_steps images.

    `parameters` are the trained ones. `link` is needed for more than one replica; `synced_layers`
    are the batch-norm layers whose moments are summed over the replicas. Raises ValueError.
    """
    _positive(
        replicas=replicas,
        per_replica_batch=per_replica_batch,
        accumulation_steps=accumulation_steps,
        parameters=parameters,
    )
    _not_negative(synced_layers=synced_layers)
    if replicas > 1 and link is None:
        raise ValueError(f"{replicas} replicas need a link")
    micro_batch = replica.fixed_seconds + per_replica_batch * replica.per_image_seconds
    reducing = 0.0
    if link is not None:
        small = ring_all_reduce(0, replicas, link)
        micro_batch += ALL_REDUCES_PER_SYNCED_LAYER * synced_layers * small
        reducing = ring_all_reduce(BYTES_PER_VALUE * parameters, replicas, link)
    per_replica = accumulation_steps * per_replica_batch
    compute = accumulation_steps * micro_batch
    return StepTime(
        images=replicas * per_replica,
        compute=compute,
        waiting=max(0.0, per_replica * replica.input_seconds - compute),
        all_reduce=reducing,
        update=replica.update_seconds,
    )
