"""The charts of one run, over images seen."""

from collections.abc import Callable, Sequence
from typing import Any

from launcher.contract import RunPaths
from launcher.errors import LauncherError
from launcher.report.axis import Point, smoothed
from launcher.report.chart import Chart, Series
from launcher.report.record import RunRecord
from launcher.report.results import POINTS

Rows = Sequence[dict[str, Any]]


def charts(run: RunRecord) -> list[Chart]:
    marks = restart_marks(run)
    return [
        map_chart(run, marks),
        loss_chart(run, marks),
        parts_chart(run, marks),
        rate_chart(run, marks),
        Chart(
            "Gradient norm",
            _with_mean(train_points(run, "gradient_norm"), "norm, before clipping"),
            log=True,
            marks=marks,
        ),
        Chart(
            "Speed",
            [Series("images/s", train_points(run, "images_per_second"))],
            unit="images/s",
            marks=marks,
        ),
    ]


def map_chart(run: RunRecord, marks: Sequence[tuple[float, str]] = ()) -> Chart:
    target = run.results.target_map
    return Chart(
        "mAP",
        [
            Series("mAP", score_points(run, "mAP"), 1, "dots"),
            Series("AP50", score_points(run, "AP50"), 2, "dots"),
        ],
        unit="COCO points",
        levels=[(target, f"target {target:g}")] if target is not None else [],
        marks=marks,
    )


def loss_chart(run: RunRecord, marks: Sequence[tuple[float, str]] = ()) -> Chart:
    return Chart("Loss", _with_mean(train_points(run, "loss"), "total"), log=True, marks=marks)


def parts_chart(run: RunRecord, marks: Sequence[tuple[float, str]] = ()) -> Chart:
    names = sorted({name for row in run.train for name in row.get("losses") or ()})
    parts = [name for name in names if not name.endswith("total_loss")]
    series = [
        Series(_short_name(name), smoothed(_points(run, _part(name))), number)
        for number, name in enumerate(parts, start=1)
    ]
    return Chart("Parts of the loss", series[:8], unit="smoothed", log=True, marks=marks)


def rate_chart(run: RunRecord, marks: Sequence[tuple[float, str]] = ()) -> Chart:
    planned = planned_rates(run)
    series = [Series("planned", planned, 2, "band")] if planned else []
    series.append(Series("applied", train_points(run, "learning_rate"), 1))
    return Chart("Learning rate", series, unit="per step", marks=marks)


def train_points(run: RunRecord, key: str) -> list[Point]:
    return _points(run, lambda row: row[key])


def score_points(run: RunRecord, key: str) -> list[Point]:
    """In COCO points; what cannot be scored (-1) is left out."""
    return [
        (run.images_at(row["step"]), float(row[key]) * POINTS)
        for row in run.results.history
        if isinstance(row.get(key), int | float) and row[key] >= 0
    ]


def planned_rates(run: RunRecord) -> list[Point]:
    """By the effective pipeline.config, at the steps that were recorded; empty when unreadable."""
    rate = rate_function(run.paths)
    if rate is None:
        return []
    steps = [int(row["step"]) for row in run.train]
    every = max(1, len(steps) // 400)
    kept = [*steps[::every], *steps[-1:]]
    return [(run.images_at(step), rate(step)) for step in kept]


def rate_function(paths: RunPaths) -> Callable[[int], float] | None:
    """The planned rate of the step that a row of metrics calls `step` (the first one is 1)."""
    from launcher.odapi import pipeline
    from launcher.odapi.schedule import rate_at

    try:
        optimizer = pipeline.read(paths.pipeline).train_config.optimizer
        rate_at(optimizer, 0)
    except (LauncherError, KeyError, TypeError, AttributeError, ZeroDivisionError):
        return None
    return lambda step: rate_at(optimizer, step - 1)


def restart_marks(run: RunRecord) -> list[tuple[float, str]]:
    """Where another attempt went on, by the first step that it trained."""
    marks, attempt = [], None
    for row in run.train:
        if attempt is not None and row.get("attempt") != attempt:
            label = f"attempt {row.get('attempt')} from step {row['step']:,}"
            marks.append((float(run.images_at(row["step"] - 1)), label))
        attempt = row.get("attempt")
    return marks


def _with_mean(points: Sequence[Point], label: str) -> list[Series]:
    return [Series("as recorded", points, 1, "faint"), Series(label, smoothed(points), 1)]


def _points(run: RunRecord, value: Callable[[dict[str, Any]], Any]) -> list[Point]:
    found = []
    for row in run.train:
        try:
            y = value(row)
        except (KeyError, TypeError):
            continue
        if isinstance(y, int | float):
            found.append((float(run.images_at(row["step"])), float(y)))
    return found


def _part(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda row: row["losses"][name]


def _short_name(name: str) -> str:
    """`Loss/BoxClassifierLoss/classification_loss` as `BoxClassifierLoss/classification`."""
    return name.removeprefix("Loss/").removesuffix("_loss")
