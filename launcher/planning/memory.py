"""Memory of one accelerator in a training step, from the shapes of the step's tensors.

    memory = state x (1 + 1/2 when micro-batches are summed up) + fixed + image x images at once

`bench/memory.py` traces the worker's own step for 1 and 3 images and simulates, in the order of the
trace, when tensors are made and freed; nothing is run. What it needs on a CPU was measured beside
it (`WORST`). What a GPU adds is in neither: cuDNN's workspace, the pieces of the allocator, CUDA's
own 0.3 to 0.5 GiB.
"""

from dataclasses import dataclass

from launcher.planning.memory_table import PLAIN, RECOMPUTED

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
