"""Axes, thinning and the drawing of a chart."""

import math
import re

import pytest

from launcher.report.axis import axis_of, short, smoothed, thinned
from launcher.report.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, Series, figure


def test_a_linear_axis_begins_at_zero_and_ends_at_a_round_number() -> None:
    axis = axis_of([3.1, 84.8])
    assert (axis.low, axis.high) == (0, 100)
    assert axis.ticks() == [0, 20, 40, 60, 80, 100]
    assert (axis.at(0), axis.at(50), axis.at(100)) == (0, 0.5, 1)
    assert axis_of([-0.3, 1.0]).low == pytest.approx(-0.5)


@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.0], [5.0], [-2.0, -2.0]])
def test_an_axis_of_next_to_nothing(values: list[float]) -> None:
    axis = axis_of(values)
    assert axis.low < axis.high
    assert len(axis.ticks()) >= 2


def test_a_log_axis_has_decades_or_what_is_between_them() -> None:
    axis = axis_of([0.001, 10.0], log=True)
    assert [short(t) for t in axis.ticks()] == ["0.001", "0.01", "0.1", "1", "10"]
    assert axis.at(0.1) == pytest.approx(0.5, abs=0.01)
    assert len(axis_of([0.4, 3.0], log=True).ticks()) >= 3
    assert not axis_of([0.0, 1.0], log=True).log  # 0 has no place on one


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (32_000, "32k"), (1_234_567, "1.23M"), (0.05, "0.05"), (2.1e-5, "2.1e-05")],
)
def test_numbers_on_an_axis_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_thinning_keeps_every_peak_and_drops_what_is_not_finite() -> None:
    points = [(float(i), 1.0) for i in range(10_000)]
    points[7_777] = (7_777.0, 50.0)
    points[3_333] = (3_333.0, -50.0)
    points[5_000] = (5_000.0, math.nan)
    few = thinned(points)
    assert len(few) <= 400
    assert {(7_777.0, 50.0), (3_333.0, -50.0)} <= set(few)
    assert few == sorted(few)
    assert thinned([(0.0, math.inf), (1.0, 2.0)]) == [(1.0, 2.0)]


def test_smoothing_follows_the_mean() -> None:
    noisy = [(float(i), float(i % 2)) for i in range(1000)]
    assert all(y == pytest.approx(0.5, abs=0.05) for _, y in smoothed(noisy)[15:-15])
    assert smoothed([(0.0, 3.0)]) == [(0.0, 3.0)]
    slope = [(float(i), float(i)) for i in range(100)]
    assert [y for _, y in smoothed(slope)] == pytest.approx([y for _, y in slope])  # no lag


def test_the_line_is_where_its_numbers_are() -> None:
    svg = figure(Chart("mAP", [Series("mAP", [(0, 0), (1000, 50), (2000, 100)])]))
    (points,) = re.findall(r'points="([^"]+)"', svg)
    places = [tuple(map(float, p.split(","))) for p in points.split()]
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    assert places[0] == (LEFT, bottom)
    assert places[1] == (LEFT + (right - LEFT) / 2, TOP + (bottom - TOP) / 2)
    assert places[2] == (right, TOP)
    assert "mAP over images seen: mAP from 0 to 100" in svg


def test_target_and_restart_are_drawn_and_told() -> None:
    svg = figure(
        Chart(
            "mAP",
            [Series("mAP", [(10, 1), (20, 2)])],
            levels=[(35.0, "target 35")],
            marks=[(15.0, "attempt 1 from step <5>")],
        )
    )
    assert 'class="level"' in svg
    assert "target 35" in svg
    assert "<title>attempt 1 from step &lt;5&gt;</title>" in svg
    assert "40" in re.findall(r"<text[^>]*>(\d+)</text>", svg)  # the axis reaches the target


def test_a_chart_without_points_says_so() -> None:
    assert "nothing was recorded" in figure(Chart("Loss", [Series("loss", [])]))
    one = figure(Chart("Loss", [Series("loss", [(1, 2)])]))
    assert one.count("<circle") == 1  # a line of one point cannot be seen
