"""The study of slopes: its tables, its picture and what other runs set, against means counted by hand."""

from __future__ import annotations

from support.checks import hold
from support.console import Console, UserError
from support.intervals import Interval

import argparse
import copy
import math

import numpy as np
import pytest
from made_studies import drawn, interval, rows

from beyond.settings import Config
from beyond.slopes import FACTORS, OFFSETS
from studies import slope
from studies.corrections import CORRECTIONS, THE_OFFSET, WITHOUT_ANY, less_the_offset
from studies.study import Run

SMALL = (200, 200)


@pytest.fixture(scope="module")
def runs(shaken) -> list[Run]:
    """Three seeds of every point."""
    return shaken(["slope"])


def of(runs: list[Run], omitted: tuple[int, ...], hidden: tuple[int, ...] = SMALL, **settings) -> list[Run]:
    """The runs with one omission and size, in the order of their seeds, and otherwise the recipe's."""
    wanted = Config(
        recipe="fast", probe_size=60_000, omitted_class=omitted, student_hidden=hidden, **settings
    )
    mine = [r for r in runs if Config(**{**vars(r.config), "seed": 0}) == wanted]
    assert [r.config.seed for r in mine] == [0, 10, 20]
    return mine


def by_row(table: str) -> dict[str, list[str]]:
    return {name: cells for name, *cells in rows(table)[1:]}


def further(runs: list[Run], *path) -> list:
    found = [r.record["further"] for r in runs]
    for key in path:
        found = [one[key] for one in found]
    return found


def test_a_row_says_how_the_students_logit_follows_its_teachers(runs):
    found = by_row(slope.following_table(runs))
    assert list(found) == list(slope.POINTS)
    usual = of(runs, (3,), (800, 800))
    cells = found["without 3"]
    for place, key, digits in ((0, "ratio", 3), (2, "slope", 3), (3, "bias", 2)):
        assert cells[place] == interval([v[0] for v in further(usual, "unseen", key)], digits)
    assert cells[4] == interval(further(usual, "seen", "ratio"), 3)
    accuracies = [r.record["student"]["before_correction"]["omitted_accuracy"] for r in usual]
    assert cells[5] == interval([100 * a for a in accuracies], 1)
    small = of(runs, (3,), (200, 200))
    by_seed = [{r.config.seed: r.record["further"]["unseen"]["ratio"][0] for r in g} for g in (usual, small)]
    less = [by_seed[0][seed] - by_seed[1][seed] for seed in sorted(by_seed[0])]
    assert cells[1] == interval(less, 3, "+")
    assert found["small, without 3"][1] == ""
    fold = of(runs, (3, 4, 5, 6))
    ratios = further(fold, "unseen", "ratio")
    assert found["small, without 3 4 5 6"][0] == interval([one[0] for one in ratios], 3)  # the 3's
    biases = further(fold, "unseen", "bias")
    assert found["small, without 3 4 5 6"][3] == interval([np.mean(one) for one in biases], 2)
    (lines,) = [name for name in found if "contour" in name]
    assert found[lines][4] == "-"


def spearman(x: list[float], y: list[float]) -> float:
    places = [[sorted(values).index(v) for v in values] for values in (x, y)]
    d = np.subtract(*places)
    return 1 - 6 * float(d @ d) / (10 * 99)


def test_the_ten_classes_stand_with_what_may_predict_their_ratio(runs):
    found = by_row(slope.classes_table(runs))
    mine = {c: of(runs, (c,)) for c in range(10)}
    ratios = [np.mean([v[0] for v in further(mine[c], "unseen", "ratio")]) for c in range(10)]
    paths = [("nearest",), *(("linear", name, "residual") for name in ("pixels", "random", "teacher"))]
    for place, path in enumerate(paths):
        means = [np.mean(further(mine[c], "predictors", *path)) for c in range(10)]
        assert [found[str(c)][place + 1] for c in range(10)] == [f"{m:.2f}" for m in means]
        r = spearman(means, ratios)
        half = 1.96 * math.sqrt(1.06 / 7)
        ends = [math.tanh(math.atanh(r) + sign * half) for sign in (-1, 1)]
        assert found["rank correlation"][place + 1] == f"{r:+.2f} ({ends[0]:+.2f} to {ends[1]:+.2f})"


def counted(run: Run, what: str, grid: tuple[float, ...], value: float) -> float:
    """Errors in all at a value between two of the grid."""
    errors = run.record["further"][what][0]
    above = next(i for i, x in enumerate(grid) if x >= value)
    part = (value - grid[above - 1]) / (grid[above] - grid[above - 1])
    return (1 - part) * errors[above - 1] + part * errors[above]


def test_a_correction_is_set_by_the_runs_that_left_out_other_classes(runs):
    for run in of(runs, (3,)):
        others = [r for c in range(10) if c != 3 for r in of(runs, (c,)) if r.config.seed == run.config.seed]
        assert len(others) == 9
        factor = 9 / sum(further(others, "ratio_on_training", 0))
        found = CORRECTIONS["factor of nine other classes"][1](run, runs)
        assert (found.factor, found.offset) == (pytest.approx(factor), 0)
        assert found.counts[0] == pytest.approx(counted(run, "by_factor", FACTORS, factor))
        offset = np.mean(further(others, "best_offset_on_training"))
        found = CORRECTIONS["offset, calibrated stacking"][1](run, runs)
        assert (found.factor, found.offset) == (1, pytest.approx(offset))
        assert found.counts[0] == pytest.approx(counted(run, "by_offset", OFFSETS, offset))


@pytest.mark.parametrize("hidden", [SMALL, (800, 800)])
def test_a_correction_without_any_3_is_set_by_students_of_its_size_that_saw_none(runs, hidden):
    for place, run in enumerate(of(runs, (3,), hidden)):
        ratios = []
        for fold in ((0, 1, 2, 3), (3, 4, 5, 6), (3, 7, 8, 9)):
            one = of(runs, fold, hidden)[place].record["further"]["ratio_on_training"]
            ratios += [value for c, value in zip(fold, one, strict=True) if c != 3]
        found = CORRECTIONS[WITHOUT_ANY][1](run, runs)
        assert found.factor == pytest.approx(9 / sum(ratios))
        assert found.counts[0] == pytest.approx(counted(run, "by_factor", FACTORS, found.factor))
    assert CORRECTIONS[WITHOUT_ANY][1](of(runs, (5,))[0], runs) is None
    few = [r for r in runs if r.config.omitted_class != (3, 4, 5, 6)]
    assert CORRECTIONS[WITHOUT_ANY][1](run, few) is None


def test_corrections_stand_beside_each_other_less_the_offsets_errors(runs):
    found = by_row(slope.corrections_table(runs))
    usual = of(runs, (3,), (800, 800))
    counts = {name: np.array(further(usual, "corrections", name, "counts")) for name in ("offset", "factor")}
    cells = found["factor, by frequencies"]
    assert cells[1] == f"{np.mean(further(usual, 'corrections', 'factor', 'factor')):.2f}"
    assert cells[3:6] == [f"{n:.1f}" for n in counts["factor"].mean(axis=0)]
    best = further(usual, "at_best", "factor")
    assert cells[6] == f"{np.mean([one[0] for one in best]):.1f}"
    assert cells[7] == interval(counts["factor"][:, 0] - counts["offset"][:, 0], 1, "+")
    best = further(usual, "at_best", "offset")
    assert found[THE_OFFSET][6:] == [f"{np.mean([one[0] for one in best]):.1f}", "", "", ""]
    by_class = [
        np.subtract(*([one[0] for one in further(of(runs, (c,)), "corrections", name, "counts")]
                      for name in ("factor", "offset")))
        for c in range(10)
    ]  # fmt: skip
    assert cells[8] == interval(by_class[3], 1, "+")
    assert cells[9] == interval(np.mean(by_class, axis=0), 1, "+")
    # nine of the recipe's own size were not run
    assert found["factor of nine other classes"][3:8] == ["-", "-", "-", "", "-"]
    assert less_the_offset("factor, by frequencies", runs, []) is None


def test_the_picture_shows_the_points_and_both_lines_through_the_3s(runs):
    figure = drawn("slope", runs)
    left, right = figure.axes
    lines = {line.get_label(): np.array(line.get_data()) for line in left.lines}
    (run,) = [r for r in runs if r.record["further"]["points"]]
    assert run.config.student_hidden == (800, 800)
    (t3, s3), (t, s) = (np.array(part) for part in run.record["further"]["points"])
    np.testing.assert_array_equal(lines["3s"], [t3, s3])
    np.testing.assert_array_equal(lines["other digits"], [t, s])
    ratio = run.record["further"]["unseen"]["ratio"][0]
    np.testing.assert_allclose(lines[f"{ratio:.2f} of it"], [[0, t3.max()], [0, ratio * t3.max()]])
    x, y = lines["were it a prior: less by one number"]
    np.testing.assert_allclose(y - x, np.mean(s3 - t3))
    usual = of(runs, (3,), (800, 800))
    marks = [line for line in right.lines if line.get_marker() in "os"]
    curves = [line for line in right.lines if line not in marks]
    for curve, mark, name in zip(curves, marks, ("offset", "factor"), strict=True):
        wrong, missed, _ = np.mean(further(usual, f"by_{name}"), axis=0)
        np.testing.assert_allclose(curve.get_data(), [missed, wrong - missed])
        wrong, missed, _ = np.mean(further(usual, "corrections", name, "counts"), axis=0)
        np.testing.assert_allclose(np.ravel(mark.get_data()), [missed, wrong - missed])
        assert f"{np.mean(further(usual, 'corrections', name, name)):.2f}" in mark.get_label()


@pytest.mark.parametrize(
    ("mean", "half", "words"),
    [(-0.6, 2.5, "within the margin"), (-0.6, 4.3, "its interval reaches beyond"), (2.1, 0.0, "more than")],
)
def test_a_difference_is_judged_by_the_margin(mean, half, words):
    said = slope.judged(Interval(mean, half))
    assert words in said
    assert ("reaches" in said) == (mean + half > 2 >= mean)


def test_the_words_take_their_figures_from_the_runs(runs):
    """Of runs that bear out what they say."""
    made = copy.deepcopy(runs)
    for place, run in enumerate(made):
        one = run.record["further"]
        if one["corrections"]:
            one["at_same_height"] = [0.7 + place / 1e4, 0.9]
            one["corrections"]["offset"]["counts"] = [100 + place % 3, 9, 9]
            one["corrections"]["glued"]["counts"] = [101 + 2 * (place % 3), 9, 9]
            one["corrections"]["prior"]["counts"] = [900, 9, 9]
        if one["predictors"]:
            one["predictors"]["linear"]["pixels"]["residual"] = 1 - one["unseen"]["ratio"][0]
    said = " ".join(slope.words(made).split())
    usual = of(made, (3,), (800, 800))
    ratios = np.mean([v[0] for v in further(usual, "unseen", "ratio")])
    assert f"that never saw one gives {ratios:.3f} of its teacher's" in said
    assert f"it gives {np.mean(further(usual, 'seen', 'ratio')):.3f} of their own" in said
    heights = np.mean(further(usual, "at_same_height"), axis=0)
    assert f"gives {heights[1]:.2f} of it on other digits, and {heights[0]:.2f} on 3s" in said
    glued, offset = (np.array(further(usual, "corrections", k, "counts"))[:, 0] for k in ("glued", "offset"))
    less = interval(list(glued - offset), 1, "+")
    assert f"Less the offset's errors it makes {less} with the recipe's student" in said
    t_1 = np.mean([v[0] for v in further(of(made, (3,), temperature=1.0), "unseen", "ratio")])
    assert f"{t_1:.2f} at a temperature of 1" in said
    for run in made:
        if run.record["further"]["at_same_height"]:
            run.record["further"]["at_same_height"] = [0.9, 0.9]
    with pytest.raises(ValueError, match="the runs no longer say: others are followed"):
        slope.words(made)


def test_other_settings_have_a_picture_and_tables_too(shaken):
    """With other flags no run is the recipe's: nothing along the way, no points."""
    runs = shaken(["slope"], {"n_epochs_teacher": 1}, 1)
    assert not any(r.record["further"]["points"] or r.record["further"]["by_factor"] for r in runs)
    drawn("slope", runs).draw_without_rendering()
    assert slope.classes_table(runs).count("\n") == 1
    assert "factor of nine other classes" not in slope.corrections_table(runs)


def test_what_was_measured_is_held_to_its_form(runs):
    good = of(runs, (3,), (800, 800))[0].record["further"]
    hold(good, slope.HOLDS)
    for key, wrong in (
        ("unseen", {"ratio": [0.8]}), ("seen", {}), ("ratio_on_training", None), ("at_same_height", [1.0]),
        ("corrections", {"offset": {"factor": 1}}), ("area", {"student": 1}), ("predictors", {"nearest": 1}),
        ("by_factor", [[1], [2], [3]]), ("by_offset", [[1] * len(OFFSETS)] * 2), ("points", [[[1.0]]]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=key):
            hold(copy.deepcopy(good) | {key: wrong}, slope.HOLDS)


@pytest.mark.parametrize("given", [{"probe": "test"}, {"probe_share": 0.3}, {"prior": "em"}])
def test_a_probe_of_other_images_is_refused(given):
    with pytest.raises(UserError, match="--study slope"):
        slope.further(argparse.Namespace(), Config(**given), Console(quiet=True))
