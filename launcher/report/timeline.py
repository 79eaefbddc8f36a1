"""Attempts, faults and scored checkpoints over the time of a run."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from launcher.report.markup import Markup, tag
from launcher.report.record import RunRecord
from launcher.report.table import duration


@dataclass(frozen=True)
class Attempt:
    """One start of the group; times in seconds since 1970."""

    number: int
    start: float
    end: float
    first_step: int
    last_step: int
    ended_by: str
    """Why: the reason of the restart or of the end; empty while it runs."""
    message: str = ""


def attempts(run: RunRecord) -> list[Attempt]:
    """From the supervisor's events, and of runs without them from the rows of metrics."""
    steps = _steps(run)
    starts = {
        int(e["attempt"]): float(e["time"])
        for e in reversed(run.events)
        if e.get("state") == "RUNNING" and e.get("time") and "attempt" in e
    }
    if not starts:
        starts = {number: first for number, (first, _, _, _) in steps.items()}
    found = []
    for number, start in sorted(starts.items()):
        after = next((e for e in run.events if _ends(e, number, start)), None)
        _, last, begun, done = steps.get(number, (start, start, 0, 0))
        end = float(after["time"]) if after else max(start, last)
        found.append(
            Attempt(
                number,
                start,
                end,
                begun,
                done,
                str(after["reason"]) if after else "",
                str(after.get("message") or "") if after else "",
            )
        )
    return found


def section(run: RunRecord) -> Markup | None:
    rows = attempts(run)
    if not rows:
        return None
    scored = [float(r["time"]) for r in run.results.history if isinstance(r.get("time"), float)]
    start = min(min(a.start for a in rows), float(run.status.get("submitted") or rows[0].start))
    end = max([a.end for a in rows] + scored + [float(run.status.get("updated") or 0.0)])
    span = max(1.0, end - start)

    def at(moment: float) -> float:
        return round(100 * (moment - start) / span, 2)

    lanes = [_lane(a, at) for a in rows]
    ticks = [
        tag(
            "span",
            cls="scored",
            style=f"left:{at(float(r['time']))}%",
            title=f"step {r['step']:,} scored {duration(float(r['time']) - start)} after submit",
        )
        for r in run.results.history
        if isinstance(r.get("time"), float)
    ]
    lanes.append(tag("div", tag("span", "scored", cls="name"), tag("div", ticks, cls="track")))
    scale = tag(
        "div",
        tag("span", cls="name"),
        tag("div", tag("span", "0"), tag("span", duration(span)), cls="scale"),
    )
    return tag("div", tag("div", lanes, scale, cls="lanes"), _table(rows, start))


def _lane(attempt: Attempt, at: Any) -> Markup:
    left = at(attempt.start)
    fault = attempt.ended_by not in ("", "trained", "scored")
    return tag(
        "div",
        tag("span", f"attempt {attempt.number}", cls="name"),
        tag(
            "div",
            tag(
                "span",
                cls="bar fault" if fault else "bar",
                style=f"left:{left}%;width:{max(0.4, round(at(attempt.end) - left, 2))}%",
                title=f"steps {attempt.first_step:,} to {attempt.last_step:,}",
            ),
            cls="track",
        ),
    )


def _table(rows: Sequence[Attempt], start: float) -> Markup:
    head = tag("tr", [tag("th", t) for t in ("attempt", "started", "steps", "ended", "why")])
    return tag(
        "div",
        tag(
            "table",
            tag("thead", head),
            tag(
                "tbody",
                [
                    tag(
                        "tr",
                        tag("td", a.number, cls="number"),
                        tag("td", f"{_clock(a.start)} (+{duration(a.start - start)})"),
                        tag(
                            "td", f"{a.first_step:,} to {a.last_step:,}" if a.last_step else "none"
                        ),
                        tag("td", f"+{duration(a.end - start)}" if a.ended_by else "-"),
                        tag(
                            "td",
                            tag("b", a.ended_by) if a.ended_by else None,
                            f" {a.message}" if a.message else None,
                        ),
                    )
                    for a in rows
                ],
            ),
        ),
        cls="wide",
    )


def _ends(event: dict[str, Any], number: int, start: float) -> bool:
    """Whether this event is the end of attempt `number`. The one of RESTARTING already has the
    number of the next."""
    state, attempt = event.get("state"), event.get("attempt")
    if not isinstance(event.get("time"), float) or event["time"] < start:
        return False
    if state == "RESTARTING":
        return attempt == number + 1
    return attempt == number and state in ("EVALUATING", "SUCCEEDED", "FAILED", "CANCELLED")


def _steps(run: RunRecord) -> dict[int, tuple[float, float, int, int]]:
    """First and last time, first and last step of each attempt that recorded any."""
    found: dict[int, tuple[float, float, int, int]] = {}
    for row in run.all_train:
        attempt, moment, step = row.get("attempt"), row.get("time"), row["step"]
        if isinstance(attempt, int) and isinstance(moment, float):
            first, _, begun, _ = found.get(attempt, (moment, moment, step, step))
            found[attempt] = (first, moment, begun, step)
    return found


def _clock(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
