"""Intervals in words: none goes where nothing can be; and how far apart colours are for other eyes."""

from __future__ import annotations

from support import charts
from support.intervals import Interval

import math

import pytest
from legible import APART, VISION, distance, lab

from studies.tables import interval_cell


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (96.24, 1.14, "96.24 (95.10 to 97.38)"),
        (0.5, 2.0, "0.50 (0.00, clipped, to 2.50)"),
        (99.0, 1.5, "99.00 (97.50 to 100.00, clipped)"),
        (50.0, 60.0, "50.00 (0.00, clipped, to 100.00, clipped)"),
        (0.0, 0.0, "0 in all runs"),
        (97.5, 0.0, "97.50 in all runs"),
        (97.5, math.nan, "97.50"),
        (math.nan, math.nan, "-"),
    ],
)
def test_a_percentage_lies_between_0_and_100(mean, half, text):
    assert interval_cell(Interval(mean, half), 2, most=100) == text


def test_a_count_may_pass_100_and_does_not_fall_below_0():
    assert interval_cell(Interval(140.0, 150.0), 0) == "140 (0, clipped, to 290)"


def test_a_difference_falls_no_further_than_to_no_errors():
    assert Interval(-0.7, 28.2).clipped(-14) == "-0.7 (-14.0, clipped, to +27.5)"
    assert Interval(-0.7, 10.0).clipped(-14) == str(Interval(-0.7, 10.0)) == "-0.7 (-10.7 to +9.3)"
    assert Interval(2.0, math.nan).clipped(-14) == "+2.0"


def test_colours_as_others_see_them():
    """Grey stays grey for everyone; red and green of one lightness meet; CIELAB of known colours."""
    assert lab("#FFFFFF") == pytest.approx([100, 0, 0], abs=0.02)
    assert lab("#FF0000") == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    assert lab("#0000FF") == pytest.approx([32.30, 79.19, -107.86], abs=0.05)
    for vision in VISION:
        assert lab("#777777", vision) == pytest.approx(lab("#777777"), abs=0.05)
    assert (
        distance("#B8860B", "#D55E00") < APART < distance("#000000", "#FFFFFF") == pytest.approx(100, abs=0.1)
    )


def test_no_two_colours_of_the_palette_are_one_for_anyone_but_those_that_marks_tell_apart():
    names = ("OMITTED", "TEACHER", "BEFORE", "AFTER", "OTHERS", "BLIND", "SOFT", "HARD", "INK")
    near = {
        (one, other)
        for place, one in enumerate(names)
        for other in names[place + 1 :]
        if distance(getattr(charts, one), getattr(charts, other)) < APART
    }
    assert near == {("TEACHER", "AFTER"), ("TEACHER", "BLIND")}
