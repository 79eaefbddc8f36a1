"""Memory of one accelerator in a training step, from the shapes of the step's tensors.

    memory = state x (1 + 1/2 when micro-batches are summed up) + fixed + image x images at once

`bench/memory.py` traces the worker's own step for 1 and 3 images and simulates, in the order of the
trace, when tensors are made and freed; nothing is run. What it needs on a CPU was measured beside
it (`WORST`). What a GPU adds is in neither: cuDNN's workspace, the pieces of the allocator, CUDA's
own 0.3 to 0.5 GiB.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from launcher.planning.arithmetic import largest_divisor
from launcher.planning.memory_table import PLAIN, RECOMPUTED, WORST

if TYPE_CHECKING:
    from launcher.planning.plan import Plan

_MB_IN_GIB = 1024


@dataclass(frozen=True)
class Footprint:
    """In MB (2^20 bytes): weights and slots, what does not grow with the images, one image more."""

    state: float
    fixed: float
    image: float

    def gib(self, images: int, *, accumulates: bool) -> float:
        """`accumulates`: gradients are summed up in a vector of their own, as large as the weights,
        of which state has two (weights and momentum)."""
        state = self.state * (1.5 if accumulates else 1.0)
        return (state + self.fixed + self.image * images) / _MB_IN_GIB

    def largest(self, gib: float, *, accumulates: bool) -> int:
        """Images that fit into `gib`; 0 when not one does."""
        left = gib - self.gib(0, accumulates=accumulates)
        return max(0, int(left * _MB_IN_GIB / self.image))


def footprint(recipe: str | None, *, recompute: bool) -> Footprint | None:
    """Of a published model at its own image size; None where it was not traced."""
    row = (RECOMPUTED if recompute else PLAIN).get(recipe or "")
    return Footprint(*row) if row else None


@dataclass(frozen=True)
class Fit:
    """A replica's batch against the memory of one accelerator. GiB; `error` is the part by which a
    measured peak was above the estimate at most."""

    available: float
    images: int
    needed: float
    largest: int
    """Images that fit by the estimate and its error; 0: not one does."""
    dividing: int
    """The largest of them that makes a whole number of accumulation steps; 0 with `largest`."""
    error: float

    @property
    def cannot(self) -> bool:
        """By the tensors alone."""
        return self.needed > self.available

    @property
    def verdict(self) -> str:
        if self.cannot:
            return "cannot fit"
        return "may not fit" if self.images > self.largest else "fits, as far as is known"

    def to_json(self) -> dict[str, Any]:
        """Sizes in GiB."""
        return {**asdict(self), "verdict": self.verdict}


def fit_of(plan: "Plan", gib: float, *, recompute: bool | None = None) -> Fit | None:
    """`recompute` None: as the spec has it. None where the model was not traced."""
    again = plan.spec.train.recompute if recompute is None else recompute
    found = footprint(plan.published, recompute=again)
    if found is None:
        return None
    accumulates = plan.accumulation_steps > 1
    largest = found.largest(gib / (1 + WORST), accumulates=accumulates)
    share = plan.global_batch // plan.replicas
    return Fit(
        available=gib,
        images=plan.per_replica_batch,
        needed=round(found.gib(plan.per_replica_batch, accumulates=accumulates), 3),
        largest=largest,
        dividing=largest_divisor(share, min(largest, share)) if largest else 0,
        error=WORST,
    )
