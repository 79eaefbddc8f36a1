"""Which drawings of val images stay: some hundred of a run, however often it is scored. No
TensorFlow.

Two weeks of a checkpoint each quarter of an hour are 1,340 scores. Of each hundredth of the steps
the first that was drawn stays, so also the first of the run and the last step's; and the newest,
until there is a newer one. The folder alone says what was drawn: an evaluator that is started again
goes on with it.
"""

import contextlib
import re
from collections.abc import Collection
from pathlib import Path

from launcher.contract import RunPaths

PARTS = 100
"""Of a run: each keeps one drawing, and the last step is one more."""
_NAME = re.compile(r"val-step-(\d+)\.png")


class Drawings:
    """The pictures of a run in report/, by step."""

    def __init__(self, paths: RunPaths, total_steps: int) -> None:
        self._paths = paths
        self._total_steps = total_steps

    def stays(self, step: int) -> bool:
        """Whether a drawing of it is to be kept: TensorBoard's files take nothing back."""
        return step in spread({*self._drawn(), step}, self._total_steps)

    def thin_out(self, newest: int) -> None:
        """Delete those that need not stay. `newest`: the step that was drawn now."""
        drawn = self._drawn()
        kept = spread(drawn, self._total_steps) | {newest, max(drawn, default=newest)}
        for step in drawn.keys() - kept:
            with contextlib.suppress(OSError):
                drawn[step].unlink()

    def _drawn(self) -> dict[int, Path]:
        try:
            files = list(self._paths.report.iterdir())
        except OSError:  # not there yet; no score must end for it
            return {}
        found = ((_NAME.fullmatch(path.name), path) for path in files)
        return {int(match[1]): path for match, path in found if match}


def spread(steps: Collection[int], total_steps: int) -> set[int]:
    """The first in each of the PARTS of `total_steps`."""
    first: dict[int, int] = {}
    for step in sorted(steps):
        first.setdefault(min(step * PARTS // max(total_steps, 1), PARTS), step)
    return set(first.values())
