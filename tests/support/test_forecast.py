"""The time left of a command, against a clock that the test turns."""

from __future__ import annotations

from support import forecast
from support.forecast import Forecast

import pytest


class Clock:
    """Seconds as the test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(forecast, "time", mine := Clock())
    return mine


def test_what_is_left_is_of_all_phases_at_the_rate_so_far(clock):
    told = Forecast({"teacher": 60.0, "answers": 10.0, "student": 20.0, "baseline": 10.0})
    told.begin("teacher")
    clock.now += 15
    assert told.left(0.25) == pytest.approx(85)  # a unit a second
    clock.now += 105
    assert told.left(1.0) == pytest.approx(2 * 40)  # two seconds a unit
    told.end()
    told.begin("student")
    clock.now += 3  # until it asks for the answers
    with told.interrupted_by("answers"):
        clock.now += 20
        assert told.left(1.0) == pytest.approx(2 * 30)
    clock.now += 20
    assert told.left(0.5) == pytest.approx(2 * 20)  # its time counts from where the answers were there
    told.skip("baseline")
    assert told.left(0.5) == pytest.approx(2 * 10)


def test_what_is_stored_is_not_waited_for_and_counts_again_once_it_is_begun(clock):
    told = Forecast({"teacher": 50.0, "baseline": 10.0})
    told.skip("teacher")
    told.begin("baseline")
    clock.now += 4
    assert told.left(0.5) == pytest.approx(4)
    told.end()
    told.begin("teacher")  # what was stored is damaged
    clock.now += 20
    assert told.left(0.5) == pytest.approx(24 / 35 * 25)


def test_one_training_alone_is_its_own_time(clock):
    told = Forecast({"teacher": 1.0})
    told.begin("teacher")
    for epoch in range(1, 5):
        clock.now += 7
        assert told.left(epoch / 4) == pytest.approx(7 * (4 - epoch))
