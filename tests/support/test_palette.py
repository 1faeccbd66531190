"""How far apart the colours of the palette are for other eyes, by a measure that knows known colours."""

from __future__ import annotations

from support import charts

import pytest
from legible import APART, VISION, distance, lab


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
