"""What keeps a run from its number, said before it costs anything.

Reading is separate from judging: each check is a pure function of what was read and returns
Findings. Importing this loads no numpy: `data_findings` does.

finding         Finding: what is wrong, what it costs, what to write instead
evidence        the figures that costs are taken from
options, run    what is looked at; all checks, and their report
subject         what is read of a configuration: plan, file, starting weights (weights)
batch           images in a step                    rates      learning rate and warm-up
normalization   images of a statistic               budget     images of the whole training
schedule        boundaries and their end            evaluation what makes a score incomparable
ignored         fields that nobody reads            fine_tune  the weights it starts from
memory          whether a replica's images fit
mend            a spec without the errors
data            the checks of the data; reading and contents are what they look at
"""

from typing import TYPE_CHECKING, Any

from launcher.errors import MissingExtraError
from launcher.preflight.finding import Cost, Finding, Severity, ordered
from launcher.preflight.options import Options

if TYPE_CHECKING:
    from launcher.planning import Plan
    from launcher.preflight.data import DataFindings
    from launcher.preflight.run import Report

__all__ = [
    "Cost",
    "Finding",
    "Options",
    "Severity",
    "check",
    "data_findings",
    "ordered",
]


def check(plan: "Plan", options: Options | None = None) -> "Report":
    """All findings about a plan and its data: `run.check`."""
    from launcher.preflight import run

    return run.check(plan, options or Options())


def data_findings(plan: "Plan", **options: Any) -> "DataFindings":
    """The checks of shards, counts, records, labels, boxes and images: `data.data_findings`."""
    try:
        import numpy  # noqa: F401
    except ImportError:
        raise MissingExtraError(
            "numpy, which the data checks need, is not installed",
            remedy="pip install 'launcher[train]'",
        ) from None
    from launcher.preflight import data

    return data.data_findings(plan, **options)
