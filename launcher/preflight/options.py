"""What a check is asked to look at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`sample` is how many images of each set are decoded, None for the default of the data checks;
    `full` decodes all of them."""

    sample: int | None = None
    full: bool = False
