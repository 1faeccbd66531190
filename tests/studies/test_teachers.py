"""The study of other teachers: entropies and spreads against plain sums, verdicts, rows and bars."""

from __future__ import annotations

from support.charts import AFTER, BEFORE
from support.console import Console
from support.intervals import Interval
from support.stored import open_session

import math

import numpy as np
import pytest
from made_studies import T, cells, drawn, interval, rows, words_of
from small_studies import tiny_configs

from beyond import pipeline
from distillation_mnist_omitted_3 import predict
from studies import teachers
from studies.questions import STUDIES
from studies.results import tables
from studies.study import Runs
from studies.teachers import MARGINS, PLAIN, POINTS, mean_entropy, spread_within, verdict

RNG = np.random.default_rng


@pytest.mark.parametrize("t", [0.5, 20.0])
def test_entropy_is_that_of_the_softmax_at_t(t):
    z = RNG(0).normal(0, 5, (50, 10)).astype(np.float32)
    p = np.exp(z.astype(float) / t)
    p /= p.sum(axis=1, keepdims=True)
    assert mean_entropy(z, t) == pytest.approx(np.mean([-sum(q * math.log(q) for q in row) for row in p]))
    assert mean_entropy(np.zeros((3, 10)), t) == pytest.approx(math.log(10))


def test_the_spread_is_about_the_means_of_the_classes():
    labels = RNG(1).integers(0, 10, 300)
    values = 100.0 * labels + RNG(2).normal(0, 2, 300)
    squares = [(v - values[labels == c].mean()) ** 2 for v, c in zip(values, labels, strict=True)]
    assert spread_within(values, labels) == pytest.approx(math.sqrt(np.mean(squares)))
    assert spread_within(labels.astype(float), labels) == 0


def test_a_runs_teacher_is_measured_on_what_the_student_sees(small_data, workers, tmp_path, monkeypatch):
    monkeypatch.setattr(teachers, "EVERY", 2)
    config = tiny_configs(tmp_path, temperature=4.0, probe_size=600)[0]
    with open_session(config.cache_folder, False, Console(quiet=True)) as session:
        experiment = pipeline.run_on_data(small_data, config, session)
    found = teachers.measure(experiment, workers, None)
    seen = [i for i, label in enumerate(small_data.train_labels) if label != 3][::2]
    logits = predict(experiment.teacher.network, small_data.train_images[seen], workers).astype(float)
    of_3 = (logits[:, 3] - logits.mean(axis=1)) / 4
    assert found["entropy"] == pytest.approx(mean_entropy(logits, 4.0), abs=1e-5)
    assert found["spread"] == pytest.approx(spread_within(of_3, small_data.train_labels[seen]), abs=1e-5)
    assert all(check(found[name]) for name, check in STUDIES["teachers"].further_holds.items())


@pytest.mark.parametrize(
    ("mean", "half", "said"),
    [
        (-3.0, 1.0, "less"), (3.0, 1.0, "more"), (-3.0, 4.0, "not told apart"), (0.5, 1.0, "alike"),
        (-0.9, 0.1, "alike"), (-1.9, 0.5, "not told apart"), (2.5, 0.6, "more"), (-3.0, math.nan, ""),
    ],
)  # fmt: skip
def test_a_difference_counts_by_its_margin_and_its_interval(mean, half, said):
    assert verdict(Interval(mean, half), 2.0) == said
    assert verdict(None, 2.0) == ""


def of(runs: Runs, name: str, path: tuple[str, str]) -> np.ndarray:
    mine = sorted((r for r in runs if r.settings == POINTS[name]), key=lambda r: r.config.seed)
    assert len(mine) == 3
    return np.array([r.record["student"][f"{path[0]}_correction"][path[1]] for r in mine])


def test_each_row_is_paired_with_the_plain_teachers(shaken):
    runs = shaken(["teachers"])
    table = tables(runs)["teachers"]
    assert [row[0] for row in rows(table)[1:]] == list(POINTS)
    found = {(row, heading): cell for (row, _, heading), cell in cells(table).items()}
    for name in POINTS:
        for heading, path in {
            "others, before": ("before", "other_accuracy"), "3s, before": ("before", "omitted_accuracy"),
            "3s, after": ("after", "omitted_accuracy"),
        }.items():  # fmt: skip
            assert found[name, heading].startswith(f"{100 * of(runs, name, path).mean():.2f} (")
        for when, path in zip(("before", "after"), MARGINS, strict=True):
            points = 100 * (of(runs, name, (when, "omitted_accuracy"))
                            - of(runs, PLAIN, (when, "omitted_accuracy")))  # fmt: skip
            shown = "" if name == PLAIN else interval(points, 1, "+")
            assert found[name, f"3s {when}, less plain"] == shown
            half = T[3] * points.std(ddof=1) / math.sqrt(3)
            said = "" if name == PLAIN else verdict(Interval(points.mean(), half), MARGINS[path])
            assert found[name, f"in words, {when}"] == said


def test_the_picture_has_a_row_for_each_teacher(shaken):
    runs = shaken(["teachers"])
    figure = drawn("teachers", runs)
    (axes,) = (a for a in figure.axes if a.lines)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(POINTS)
    bars = {(round(float(line.get_ydata()[0])), line.get_color()): float(line.get_xdata()[0])
            for line in axes.lines if line.get_marker() == "|"}  # fmt: skip
    assert len(bars) == 2 * len(POINTS)
    for y, name in enumerate(POINTS):
        for when, colour in (("before", BEFORE), ("after", AFTER)):
            mean = of(runs, name, (when, "omitted_accuracy")).mean()
            assert bars[y, colour] == pytest.approx(100 * mean)
    assert "log scale of the errors" in words_of(figure)
