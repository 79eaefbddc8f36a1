"""Scores of a run whose folder this machine does not see, from what its evaluator printed.

`step 1000: mAP 0.8480, AP50 0.9954, ...` (evaluate/scoring.py) is enough to compare with a target:
it is exact to a hundredth of a point. The other ten numbers stay unknown: -1, as everywhere.
"""

import json
import re
from contextlib import suppress
from pathlib import Path

from launcher.backends.base import log_attempts
from launcher.contract import COCO_NUMBERS, RunPaths
from launcher.errors import StorageError
from launcher.storage import write_text

_SCORED = re.compile(r"step (?P<step>\d+): mAP (?P<mAP>-?[\d.]+), AP50 (?P<AP50>-?[\d.]+),")


def collect(root: Path) -> None:
    """Writes metrics/eval.jsonl of a copy from the evaluator's logs in it."""
    paths = RunPaths(root)
    rows = []
    for attempt in log_attempts(paths):
        with suppress(OSError):
            for line in paths.evaluator_log(attempt).read_text(errors="replace").splitlines():
                if found := _SCORED.search(line):
                    known = {name: float(found[name]) for name in ("mAP", "AP50")}
                    numbers = {**dict.fromkeys(COCO_NUMBERS, -1.0), **known}
                    rows.append({"step": int(found["step"]), **numbers, "source": "log"})
    if rows:
        with suppress(StorageError):
            write_text(paths.eval_metrics, "".join(json.dumps(row) + "\n" for row in rows))
