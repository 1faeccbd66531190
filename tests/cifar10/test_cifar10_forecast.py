"""What the progress of the CIFAR-10 experiment says of the time left."""

from __future__ import annotations

from support.forecast import Forecast

from typing import Any

import pytest
from small_run import SMALL, trained

from cifar10 import experiment, lessons
from cifar10.network import ConvNet


@pytest.fixture
def told(monkeypatch) -> list[Forecast]:
    """The forecasts of the runs made here, what each began with, and what lay ahead when last asked."""
    found, left = [], Forecast.left

    def remembered(self: Forecast, share: float) -> float:
        self.ahead = set(self.costs)
        return left(self, share)

    def spied(*given: Any) -> Forecast:
        found.append(lessons.forecast_of(*given))
        found[-1].began_with = dict(found[-1].costs)
        return found[-1]

    monkeypatch.setattr(experiment, "forecast_of", spied)
    monkeypatch.setattr(Forecast, "left", remembered)
    return found


def test_what_remains_is_of_all_that_is_not_stored(told, data, tmp_path):
    trained(data, tmp_path)
    teacher, student = (
        ConvNet(SMALL[f"{kind}_channels"], None).n_multiply_adds + 6e6 for kind in ("teacher", "student")
    )
    n = len(data.train_labels)
    seen = (data.train_labels != 3).sum()
    assert told[0].began_with == pytest.approx(
        {"teacher": 2 * n * teacher, "answers": 0.3 * 2 * 2 * n * teacher,
         **dict.fromkeys(("student", "baseline"), 2 * seen * student)}
    )  # fmt: skip
    assert told[0].costs == {}
    trained(data, tmp_path)  # all is stored
    trained(data, tmp_path, temperature=7.0)  # the student alone is new, its teacher's answers are there
    assert [set(one.began_with) for one in told[1:]] == [{"teacher", "answers", "student"}] * 2
    assert told[2].ahead == {"student"}
    assert [one.costs for one in told] == [{}] * 3
    assert [one.ended_cost for one in told[1:]] == pytest.approx([0, 2 * seen * student])
