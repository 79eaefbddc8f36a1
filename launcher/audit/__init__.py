"""Data that one can look at: `launcher data stats`, `audit`, `clean` and `view`.

What is read, and what is a fault, is `launcher.preflight`'s; here it becomes numbers, lists, a
mended copy and pictures.

stats      numbers of a data set        tables, plots   stats for people
faults     one line a fault             cleaning        a copy without them
view       starts the process that draws contact sheets
"""

from typing import TYPE_CHECKING

from launcher.errors import MissingExtraError

if TYPE_CHECKING:
    from launcher.planning import Plan
    from launcher.preflight.reading import DataRead
    from launcher.spec import JobSpec


def read(spec: "JobSpec", *, sample: int, full: bool) -> "tuple[Plan, DataRead]":
    """The plan and the data of a spec: `start.read`. Loads numpy, which importing this does not."""
    try:
        import numpy  # noqa: F401
    except ImportError:
        raise MissingExtraError(
            "numpy, which the data commands need, is not installed",
            remedy="pip install 'launcher[train]'",
        ) from None
    from launcher.audit import start

    return start.read(spec, sample=sample, full=full)
