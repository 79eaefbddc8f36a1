"""Line charts as SVG that follows the page's light and dark colours (page.css) and its width."""

from collections.abc import Sequence
from dataclasses import dataclass

from launcher.report.axis import Axis, Point, axis_of, short, thinned
from launcher.report.markup import Markup, tag

WIDTH, HEIGHT = 480, 250
"""Of the drawing; 12-unit text stays readable when it is shrunk to a telephone's width."""
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 10, 36
COLORS = 8
"""Of page.css, --series-1 to --series-8."""


@dataclass(frozen=True)
class Series:
    """`kind`: line, faint (raw values behind their mean), band (the plan, beneath what came) or
    dots."""

    label: str
    points: Sequence[Point]
    color: int = 1
    kind: str = "line"


@dataclass(frozen=True)
class Chart:
    """x is images seen. `marks` are vertical lines (restarts), `levels` horizontal ones (target),
    each with a label."""

    title: str
    series: Sequence[Series]
    unit: str = ""
    log: bool = False
    marks: Sequence[tuple[float, str]] = ()
    levels: Sequence[tuple[float, str]] = ()
    x_label: str = "images seen"
    note: str = ""


def figure(chart: Chart) -> Markup:
    """With its legend; without points it says so."""
    shown = [(s, thinned(s.points)) for s in chart.series]
    shown = [(s, points) for s, points in shown if points]
    caption = tag("figcaption", tag("b", chart.title), f" {chart.unit}" if chart.unit else None)
    if not shown:
        return tag("figure", caption, tag("p", "nothing was recorded", cls="none"), cls="chart")
    return tag(
        "figure",
        caption,
        _legend(chart, [s for s, _ in shown]),
        _drawing(chart, shown),
        tag("p", chart.note, cls="note") if chart.note else None,
        cls="chart",
    )


def _legend(chart: Chart, series: Sequence[Series]) -> Markup | None:
    named = [s for s in series if s.kind != "faint"]
    if len(named) < 2 and not any(s.kind == "faint" for s in series):
        return None
    return tag(
        "ul",
        [
            tag(
                "li",
                tag("span", cls=f"swatch {s.kind} c{s.color}"),
                s.label,
                tag("span", f" {_last(s)}", cls="dim"),
            )
            for s in named
        ],
        cls="legend",
    )


def _last(series: Series) -> str:
    return short(series.points[-1][1])


def _drawing(chart: Chart, shown: Sequence[tuple[Series, list[Point]]]) -> Markup:
    xs = [x for _, points in shown for x, _ in points]
    ys = [y for _, points in shown for _, y in points]
    across = axis_of([0.0, max(xs)])
    across = Axis(across.low, max(max(xs), 1e-9))
    up = axis_of([*ys, *(y for y, _ in chart.levels)], log=chart.log)
    grid, labels = _grid(across, up)
    return tag(
        "svg",
        grid,
        [_mark(across, x, label) for x, label in chart.marks if across.low <= x <= across.high],
        [_level(up, y, label) for y, label in chart.levels],
        [_series(s, points, across, up) for s, points in shown],
        labels,
        tag(
            "text", chart.x_label, x=WIDTH - RIGHT, y=HEIGHT - 4, text_anchor="end", cls="axis dim"
        ),
        viewbox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=_told(chart, [s for s, _ in shown]),
    )


def _told(chart: Chart, series: Sequence[Series]) -> str:
    """The chart in words."""
    parts = [
        f"{s.label} from {short(s.points[0][1])} to {short(s.points[-1][1])}"
        for s in series
        if s.kind != "faint"
    ]
    return f"{chart.title} over {chart.x_label}: {'; '.join(parts)}"


def _x(axis: Axis, value: float) -> float:
    return round(LEFT + axis.at(value) * (WIDTH - LEFT - RIGHT), 1)


def _y(axis: Axis, value: float) -> float:
    return round(HEIGHT - BOTTOM - axis.at(value) * (HEIGHT - TOP - BOTTOM), 1)


def _grid(across: Axis, up: Axis) -> tuple[list[Markup], list[Markup]]:
    lines, labels = [], []
    for tick in up.ticks():
        y = _y(up, tick)
        lines.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, cls="grid"))
        labels.append(tag("text", short(tick), x=LEFT - 6, y=y + 4, text_anchor="end", cls="axis"))
    for tick in across.ticks():
        x, bottom = _x(across, tick), HEIGHT - BOTTOM
        lines.append(tag("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, cls="tick"))
        labels.append(
            tag("text", short(tick), x=x, y=bottom + 17, text_anchor="middle", cls="axis")
        )
    return lines, labels


def _mark(across: Axis, value: float, label: str) -> Markup:
    x = _x(across, value)
    line = tag("line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM, cls="mark")
    return tag("g", tag("title", label), line)


def _level(up: Axis, value: float, label: str) -> Markup:
    y = _y(up, value)
    return tag(
        "g",
        tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, cls="level"),
        tag("text", label, x=WIDTH - RIGHT, y=y - 5, text_anchor="end", cls="axis"),
    )


def _series(series: Series, points: Sequence[Point], across: Axis, up: Axis) -> Markup:
    places = [(_x(across, x), _y(up, y)) for x, y in points]
    color = f"c{series.color}"
    if series.kind == "dots":
        dots = [
            tag("circle", tag("title", f"{short(x)}: {y:.4g}"), cx=px, cy=py, r=3.5, cls="dot")
            for (x, y), (px, py) in zip(points, places, strict=True)
        ]
        return tag("g", _line(places, "line"), dots, cls=color)
    if len(places) == 1:
        return tag("circle", cx=places[0][0], cy=places[0][1], r=3.5, cls=f"dot {color}")
    return _line(places, f"{series.kind} {color}")


def _line(places: Sequence[Point], cls: str) -> Markup:
    return tag("polyline", points=" ".join(f"{x:g},{y:g}" for x, y in places), cls=cls)
