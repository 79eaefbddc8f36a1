"""Two or more runs: what differs in what went in, beside what came out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from google.protobuf import json_format

from launcher.errors import LauncherError
from launcher.odapi import pipeline
from launcher.report import curves, numbers
from launcher.report.axis import Point, smoothed, thinned
from launcher.report.record import RunRecord
from launcher.report.results import POINTS
from launcher.report.table import columns, duration

Values = tuple[Any, ...]
"""One of each run, in their order; None where a run has none."""

_EACH = {"spec": ("name", "run_dir"), "plan": ("name", "root", "roles", "spec", "warnings")}
"""Keys that differ between any two runs, or are told elsewhere."""
LONG = 48
"""Characters of a value in a table."""


@dataclass(frozen=True)
class Comparison:
    """`differences` by what differs (spec, plan, pipeline, data, versions) and dotted key; a part
    without differences is empty. `outcome` by name, points in COCO points."""

    runs: tuple[RunRecord, ...]
    differences: dict[str, dict[str, Values]]
    outcome: dict[str, Values]
    known: tuple[str, ...]
    """The parts that at least one run has recorded."""

    @property
    def names(self) -> list[str]:
        return labels([run.name for run in self.runs])

    def curve(self, key: str) -> dict[str, list[Point]]:
        """Of each run, over images seen: mAP, loss (smoothed), learning_rate, images_per_second."""
        return {
            name: thinned(_curve(run, key)) for name, run in zip(self.names, self.runs, strict=True)
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "runs": [
                {"name": name, "root": str(run.paths.root), "final": run.results.final}
                for name, run in zip(self.names, self.runs, strict=True)
            ],
            "differences": self.differences,
            "outcome": self.outcome,
            "curves": {key: self.curve(key) for key in ("mAP", "loss", "learning_rate")},
        }


def compare(runs: Sequence[RunRecord]) -> Comparison:
    parts = {
        "spec": [_flat(_without(run.spec, _EACH["spec"])) for run in runs],
        "plan": [_flat(_without(run.plan, _EACH["plan"])) for run in runs],
        "pipeline": [_flat(_pipeline(run)) for run in runs],
        "data": [_flat(run.data()) for run in runs],
        "versions": [run.versions() for run in runs],
    }
    for plan in parts["plan"]:
        for key in [k for k in plan if _repeated(k, plan)]:
            del plan[key]
    return Comparison(
        runs=tuple(runs),
        differences={part: _differing(each) for part, each in parts.items()},
        outcome=_outcome(runs),
        known=tuple(part for part, each in parts.items() if any(each)),
    )


def lines(found: Comparison) -> list[str]:
    """For a terminal: what came out, mAP over images, then what differs."""
    out = columns([["", *found.names], *([k, *map(written, v)] for k, v in found.outcome.items())])
    if scored := _scores(found):
        out += ["", "mAP by images seen", *columns([["images", *found.names], *scored])]
    for part, differing in found.differences.items():
        if differing:
            rows = [[key, *(cut(written(v)) for v in values)] for key, values in differing.items()]
            out += ["", f"{part}: {len(rows)} differ", *columns([["", *found.names], *rows])]
        else:
            out += ["", f"{part}: {'no difference' if part in found.known else 'not recorded'}"]
    return out


def written(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else json.dumps(value)


def cut(text: str) -> str:
    """With its end, where paths differ, when it is too long for a table."""
    return text if len(text) <= LONG else f"{text[: LONG // 2 - 1]}...{text[-LONG // 2 + 2 :]}"


def labels(names: Sequence[str]) -> list[str]:
    """Each once: runs of the same name in different folders get a number."""
    return [
        f"{name} ({names[: i + 1].count(name)})" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]


def _repeated(key: str, plan: Mapping[str, Any]) -> bool:
    """worker_config holds the plan's numbers a second time."""
    head, _, name = key.partition(".")
    return head == "worker_config" and (name == "name" or name in plan)


def _outcome(runs: Sequence[RunRecord]) -> dict[str, Values]:
    rows: dict[str, Values] = {"state": tuple(str(run.results.state) for run in runs)}
    rows["target"] = tuple(_target(run) for run in runs)
    for name in numbers.MEANINGS:
        values = tuple(_points((run.results.final or {}).get(name)) for run in runs)
        if any(v is not None for v in values):
            rows[name] = values
    rows["best mAP"] = tuple(_points((run.results.best or {}).get("mAP")) for run in runs)
    rows["scored step"] = tuple((run.results.final or {}).get("step") for run in runs)
    rows["images seen"] = tuple(run.images_seen for run in runs)
    rows["loss at the end"] = tuple(_last_loss(run) for run in runs)
    rows["images/s"] = tuple(_speed(run) for run in runs)
    rows["restarts"] = tuple(run.restarts for run in runs)
    seconds = [run.seconds for run in runs]
    rows["time"] = tuple(None if s is None else duration(s) for s in seconds)
    rows["findings"] = tuple(len(numbers.findings(run)) for run in runs)
    return rows


def _target(run: RunRecord) -> str | None:
    target, met = run.results.target_map, run.results.target_met
    if target is None:
        return None
    return f"{target:g}" + ("" if met is None else " reached" if met else " missed")


def _points(value: Any) -> float | None:
    known = isinstance(value, int | float) and value >= 0
    return round(value * POINTS, 2) if known else None


def _last_loss(run: RunRecord) -> float | None:
    """The mean of the last twentieth of the rows."""
    losses = [row["loss"] for row in run.train if isinstance(row.get("loss"), int | float)]
    return round(fmean(losses[-max(1, len(losses) // 20) :]), 4) if losses else None


def _speed(run: RunRecord) -> float | None:
    speeds = [y for _, y in curves.train_points(run, "images_per_second")]
    return round(median(speeds), 1) if speeds else None


def _scores(found: Comparison, most: int = 10) -> list[list[str]]:
    """Rows of images seen and each run's mAP there, or `-` where it was not scored."""
    by_run = [dict(points) for points in found.curve("mAP").values()]
    images = sorted({x for points in by_run for x in points})
    every = max(1, -(-len(images) // most))
    kept = images[::-1][::every][::-1]
    return [[f"{x:,.0f}", *(f"{p[x]:.1f}" if x in p else "-" for p in by_run)] for x in kept]


def _curve(run: RunRecord, key: str) -> list[Point]:
    if key == "mAP":
        return curves.score_points(run, key)
    points = curves.train_points(run, key)
    return smoothed(points) if key == "loss" else points


def _differing(each: Sequence[Mapping[str, Any]]) -> dict[str, Values]:
    keys = dict.fromkeys(key for one in each for key in one)
    rows = {key: tuple(one.get(key) for one in each) for key in keys}
    return {key: row for key, row in rows.items() if any(v != row[0] for v in row)}


def _flat(value: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested keys joined with dots; lists are values."""
    out: dict[str, Any] = {}
    for key, one in value.items():
        if isinstance(one, Mapping):
            out |= _flat(one, f"{above}{key}.")
        else:
            out[f"{above}{key}"] = one
    return out


def _without(value: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {k: v for k, v in value.items() if k not in keys}


def _pipeline(run: RunRecord) -> dict[str, Any]:
    """The effective pipeline.config, empty where it cannot be read."""
    try:
        message = pipeline.read(run.paths.pipeline)
    except LauncherError:
        return {}
    read = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return read if isinstance(read, dict) else {}
