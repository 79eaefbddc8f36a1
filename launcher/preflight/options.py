"""What a check is asked to look at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`sample` is how many images of each set are decoded, None for the default of the data checks;
    `full` decodes all of them. `gpu_memory` is of one accelerator, in GiB. Without `data`
    records and starting checkpoint are not looked at: they are somewhere else."""

    sample: int | None = None
    full: bool = False
    gpu_memory: float | None = None
    data: bool = True
