"""All that a run has written down, read once: what pages, tables and comparisons are made of."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.contract import RunPaths, State
from launcher.preflight.finding import Finding
from launcher.report.results import Results, read_results
from launcher.run_record import read_all_train_rows, read_train_rows
from launcher.storage import read_json, read_jsonl

HASH_DIGITS = 16


@dataclass(frozen=True)
class RunRecord:
    """Rows are as contract.RunPaths describes their files. Whatever is missing is empty."""

    paths: RunPaths
    results: Results
    message: str
    """Why the run is in its state, for people."""
    status: dict[str, Any]
    plan: dict[str, Any]
    train: Sequence[dict[str, Any]]
    """The rows of the weights that are there now (contract.read_train_rows)."""
    all_train: Sequence[dict[str, Any]]
    """Those of lost attempts too, as they were written."""
    events: Sequence[dict[str, Any]]
    provenance: Sequence[dict[str, Any]]
    examples: dict[str, Any]
    checked: Sequence[dict[str, Any]] = ()
    """Findings of `check` when the run was submitted."""
    health: Sequence[Finding] = ()
    """Findings about the run itself."""
    hashes: dict[str, str] = field(default_factory=dict)
    """SHA-256 of spec.yaml and pipeline.config, by file name."""

    @property
    def name(self) -> str:
        return self.results.name

    @property
    def spec(self) -> dict[str, Any]:
        return _dict(self.plan.get("spec"))

    @property
    def global_batch(self) -> int:
        return int(self.plan.get("global_batch") or 0)

    @property
    def seconds(self) -> float | None:
        """From submit to its last sign of life."""
        start, end = self.status.get("submitted"), self.status.get("updated")
        return end - start if start and end else None

    def images_at(self, step: int) -> int:
        return step * self.global_batch

    @property
    def images_seen(self) -> int:
        return self.images_at(int(self.train[-1]["step"])) if self.train else 0

    @property
    def restarts(self) -> int:
        return int(self.status.get("restarts") or 0)

    def started(self, role: str) -> dict[str, Any]:
        """The newest line of provenance of "worker" or "evaluator"."""
        rows = [row for row in self.provenance if row.get("role") == role]
        return rows[-1] if rows else {}

    def data(self) -> dict[str, dict[str, Any]]:
        """Fingerprints by "train" and "val"."""
        both = {"train": self.started("worker"), "val": self.started("evaluator")}
        return {name: _dict(row.get("data")) for name, row in both.items() if row.get("data")}

    def versions(self) -> dict[str, str]:
        """What the evaluator and the worker ran with; where they differ, both."""
        evaluator = _dict(self.started("evaluator").get("versions"))
        worker = _dict(self.started("worker").get("versions"))
        both = evaluator | worker
        return {
            name: version
            if evaluator.get(name, version) == version
            else f"{version} (evaluator {evaluator[name]})"
            for name, version in both.items()
        }


def read_record(
    paths: RunPaths,
    name: str,
    state: State,
    message: str = "",
    health: Sequence[Finding] = (),
) -> RunRecord:
    """`state` and `message` are the true ones, which status.json of a lost run does not know."""
    checked = read_json(paths.root / "check.json")
    return RunRecord(
        paths=paths,
        results=read_results(paths, name, state),
        message=message,
        status=_dict(read_json(paths.status)),
        plan=_dict(read_json(paths.plan)),
        train=read_train_rows(paths),
        all_train=read_all_train_rows(paths),
        events=read_jsonl(paths.events),
        provenance=read_jsonl(paths.provenance),
        examples=_dict(read_json(paths.examples)),
        checked=[f for f in _dict(checked).get("findings") or () if isinstance(f, dict)],
        health=health,
        hashes={p.name: _sha256(p) for p in (paths.spec, paths.pipeline) if p.is_file()},
    )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:HASH_DIGITS]
