"""What the progress of the CIFAR-10 experiment says of the time left."""

from __future__ import annotations

from support.forecast import Forecast
from support.stored import Training

from typing import Any

import pytest
from small_run import SMALL, trained

from cifar10 import experiment, lessons
from cifar10.network import ConvNet
from cifar10.settings import Config


@pytest.fixture
def told(monkeypatch) -> list[Forecast]:
    """The forecasts of the runs made here, what each began with, and what lay ahead when last asked."""
    found, left = [], Forecast.left

    def remembered(self: Forecast, share: float) -> float:
        self.ahead, self.shares = set(self.costs), [*getattr(self, "shares", []), (self.phase, share)]
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


def test_the_time_left_counts_smaller_images_for_less(told, data, tmp_path):
    experiment = trained(data, tmp_path, sides=(16, 32))
    costs = lessons.costs_per_image(experiment.config.training("teacher"))
    shares = [share for phase, share in told[0].shares if phase == "teacher"]
    n_steps = len(data.train_labels) // 20
    first = costs[0] / sum(costs)  # the first epoch's
    expected = [first * step / n_steps for step in range(1, n_steps + 1)] + [first]
    expected += [first + (1 - first) * step / n_steps for step in range(1, n_steps + 1)] + [1]
    assert shares == pytest.approx(expected)


def test_smaller_images_count_for_less():
    settings = Config(sides=(16, 32), n_epochs_teacher=3).training("teacher")
    costs = lessons.costs_per_image(settings)
    products = ConvNet(settings.channels, None).n_multiply_adds - 1440  # all but the linear layer's
    assert costs == pytest.approx([products / 4 + 1440 + 1.5e6] + [products + 1440 + 6e6] * 2)
    training = Training("teacher", {}, None, 3, None, (0, 10), None, {}, costs=costs)
    assert training.done(1, 0.5) == pytest.approx(costs[0] / 2 / sum(costs))
    assert training.done(3, 0.25) == pytest.approx(1 - 0.75 * costs[2] / sum(costs))
    assert training.done(3, 1.0) == 1
    alike = Training("teacher", {}, None, 4, None, (0, 10), None, {})
    assert alike.done(2, 0.5) == 1.5 / 4
