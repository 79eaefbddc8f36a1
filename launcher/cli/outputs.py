"""Where -o must not lead: to a file that the same command reads."""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.errors import UsageError

if TYPE_CHECKING:
    from launcher.contract import RunPaths
    from launcher.spec import JobSpec

_ELSEWHERE = "Choose another place with -o"


@dataclass(frozen=True)
class Inputs:
    """SPEC and the single files that it names, each with what it is."""

    files: tuple[tuple[Path, str], ...]

    @classmethod
    def of(cls, spec: Path, job: "JobSpec") -> "Inputs":
        named = (
            (spec, "SPEC itself"),
            (job.pipeline_config, "SPEC's pipeline_config"),
            (job.batch.reference_config, "SPEC's batch.reference_config"),
            (job.data.label_map, "SPEC's data.label_map"),
        )
        return cls(tuple((Path(path), what) for path, what in named if path))

    def keep(self, *outputs: Path, remedy: str = _ELSEWHERE) -> None:
        """Raises UsageError for an output that is one of them, under whatever name."""
        for output in outputs:
            for path, what in self.files:
                if _same(output, path):
                    raise _refusal(output, what, remedy)


def keep_runs(output: Path, runs: Iterable["RunPaths"]) -> None:
    """Raises UsageError when `output` is a file in which a run has written itself down."""
    target = Path(os.path.realpath(output))
    for run in runs:
        root = Path(os.path.realpath(run.root))
        of_root = (run.spec, run.plan, run.pipeline, run.status, run.lock, run.check, run.records)
        logs = run.logs(0).parent
        folders = (logs, run.checkpoints, run.train_metrics.parent, run.progress(0).parent)
        mine = [root / path.name for path in of_root]
        if target in mine or any(root / folder.name in target.parents for folder in folders):
            raise _refusal(output, f"a file of the run {run.root.name}", _ELSEWHERE)


def _same(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return one.samefile(other)
    return False  # what is not there is nobody's input


def _refusal(output: Path, what: str, remedy: str) -> UsageError:
    return UsageError(f"is {what}, which -o would overwrite", place=str(output), remedy=remedy)
