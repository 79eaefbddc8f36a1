"""What keeps a run from its number, said before it costs anything.

Reading is separate from judging: each check is a pure function of what was read and returns
Findings. Importing this loads no numpy: `data_findings` does.
"""

from typing import TYPE_CHECKING, Any

from launcher.errors import MissingExtraError
from launcher.preflight.finding import Cost, Finding, Severity

if TYPE_CHECKING:
    from launcher.planning import Plan
    from launcher.preflight.data import DataFindings

__all__ = ["Cost", "Finding", "Severity", "data_findings"]


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
