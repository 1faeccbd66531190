"""The study of other people's handwriting: table, picture and words, counted by hand from made-up runs."""

from __future__ import annotations

from support.charts import AFTER, BEFORE, INK
from support.checks import hold
from support.console import Console, UserError

import argparse
import math

import numpy as np
import pytest
from made_further import FURTHER
from made_studies import cells, drawn, interval

from beyond.handwriting import handwriting as measure
from beyond.settings import Config
from studies import handwriting
from studies.handwriting import HOLDS, POINTS, pairs
from studies.study import Run


@pytest.fixture(scope="module")
def runs(shaken) -> list[Run]:
    return shaken(["handwriting"])


def values(runs: list[Run], point: str, *path: object) -> np.ndarray:
    """What is measured on USPS, in per cent, by seed."""
    mine = sorted((r for r in runs if r.settings == POINTS[point]), key=lambda r: r.config.seed)
    found = [r.record["further"] for r in mine]
    for key in path:
        found = [one[key] for one in found]
    return 100 * np.array(found)


def by_row(runs: list[Run], place: int = 0) -> dict[tuple[str, str], str]:
    """The cells of one of the tables by the row's name and the column's."""
    table = handwriting.table(runs).split("\n\n")[place]
    return {(first, name): cell for (first, _, name), cell in cells(table).items()}


@pytest.mark.parametrize("c", [3, 8])
def test_a_row_of_the_table_is_counted_by_hand(c, runs):
    table = by_row(runs)
    row, without, control = str(c), f"small, without {c}", "small, all digits"
    of_control = values(runs, control, "per_class_accuracy", "before", c)
    of_teacher = values(runs, without, "per_class_accuracy", "teacher", c)
    ways = {
        "student, before": "before", "set on MNIST": "after", "set anew by frequencies": "by_frequencies",
        "set anew by the teacher's answers": "by_answers",
    }  # fmt: skip
    wanted = {name: values(runs, without, way, "omitted_accuracy") for name, way in ways.items()}
    wanted |= {"teacher": of_teacher, "student of all digits": of_control}
    for name, found in wanted.items():
        assert table[row, name] == f"{found.mean():.1f} ± {found.std(ddof=1):.1f}", name
    behind = values(runs, without, "after", "omitted_accuracy") - of_control
    assert table[row, "set on MNIST less student of all digits"] == interval(behind, 1)
    others = [values(runs, without, way, "other_accuracy") for way in ("after", "before")]
    assert table[row, "the nine others, after less before"] == interval(others[0] - others[1], 1)


def test_the_picture_shows_each_seed_their_mean_and_the_student_of_all_digits(runs):
    (axes,) = drawn("handwriting", runs).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["3s, 800 units", *(f"{c}s" for c in range(10))]
    points = ["without 3", *(f"small, without {c}" for c in range(10))]
    for colour, way in ((BEFORE, "before"), (AFTER, "after")):
        lines = [line for line in axes.lines if line.get_color() == colour]
        dots = [line for line in lines if line.get_marker() == "o"]
        means = [line for line in lines if line.get_marker() == "|"]
        for y, (point, dot, bar) in enumerate(zip(points, dots, means, strict=True)):
            wanted = values(runs, point, way, "omitted_accuracy")
            np.testing.assert_allclose(dot.get_xdata(), wanted)
            assert np.abs(np.asarray(dot.get_ydata()) - y).max() < 0.5
            assert bar.get_xdata() == pytest.approx([wanted.mean()])
    strokes = [line for line in axes.lines if line.get_color() == INK]
    for c, stroke in zip(range(10), strokes, strict=True):
        wanted = values(runs, "small, all digits", "per_class_accuracy", "before", c).mean()
        assert stroke.get_xdata() == pytest.approx([wanted, wanted])
        assert np.mean(stroke.get_ydata()) == pytest.approx(c + 1)  # below the larger student's row


def test_the_larger_student_has_a_row_of_its_own_and_none_to_compare_it_with(runs):
    table = by_row(runs)
    after = values(runs, "without 3", "after", "omitted_accuracy")
    assert table["3, 800 units", "set on MNIST"] == f"{after.mean():.1f} ± {after.std(ddof=1):.1f}"
    for name in ("student of all digits", "set on MNIST less student of all digits"):
        assert table["3, 800 units", name] == "-"


def test_every_recipe_has_a_row_and_the_one_of_no_digit_no_corrected_3s_of_its_own(runs):
    table, recipes = by_row(runs, 1), ("described", "middle", "best", "no-digit")
    assert list(dict.fromkeys(row for row, _ in table)) == [f"`{name}`" for name in recipes]
    for name in recipes:
        point = f"recipe {name}"
        wanted = {
            "teacher": values(runs, point, "teacher", "accuracy"),
            "student, before": values(runs, point, "before", "accuracy"),
            "student, after": values(runs, point, "after", "accuracy"),
            "its teacher's 3s": values(runs, point, "per_class_accuracy", "teacher", 3),
            "the student's, before": values(runs, point, "per_class_accuracy", "before", 3),
            "the student's, after": values(runs, point, "after", "omitted_accuracy"),
        }
        behind = wanted["the student's, after"] - wanted["its teacher's 3s"]
        if name == "no-digit":  # all ten are left out
            assert not table[f"`{name}`", "the student's, after"] + table[f"`{name}`", "after less teacher"]
            del wanted["the student's, after"]
        else:
            assert table[f"`{name}`", "after less teacher"] == interval(behind, 1)
        for column, found in wanted.items():
            assert table[f"`{name}`", column] == f"{found.mean():.1f} ± {found.std(ddof=1):.1f}", column


def test_differences_are_paired_by_seed_and_need_one_that_both_have(runs):
    pair = pairs(runs, "small, ")[3]
    assert pair.left_out == 3
    other_order = handwriting.Pair(pair.kind, 3, pair.without[::-1], pair.control)
    assert other_order.behind() == pair.behind()
    alone = handwriting.Pair(pair.kind, 3, pair.without[:1], pair.control[1:])
    assert math.isnan(alone.behind().mean)
    assert pairs([r for r in runs if r.settings == POINTS["small, all digits"]], "small, ") == []


@pytest.mark.parametrize(
    ("intervals", "said"),
    [
        ([(-0.2, 0.5), (-0.4, 0.7)], "kept in 1 of the 2 classes, broken in 0,"),
        ([(-3.0, 1.9), (-3.0, 2.1), (2.0, 0.1)], "kept in 1 of the 3 classes, broken in 1,"),
        ([(-2.0, math.nan)], "kept in 0 of the 1 classes, broken in 0,"),
    ],
)
def test_a_margin_is_kept_or_broken_by_a_whole_interval(intervals, said):
    found = [handwriting.Interval(*one) for one in intervals]
    assert handwriting.verdict(found, 1.0).startswith(said)


def test_words_are_of_the_runs_and_refuse_what_they_do_not_say(shaken):
    runs = shaken(["handwriting"])
    for run in runs:  # a digit that is frequent here, and read badly where frequencies set the bias
        found = run.record["further"]
        found["class_shares"][6] = 0.321
        found["after"]["omitted_accuracy"] = 0.98 + 0.01 * run.config.seed / 20
        found["per_class_accuracy"]["teacher"][3] = 0.97
        if run.config.omitted_class == (6,):
            found["by_frequencies"]["omitted_accuracy"] = 0.4321
    said = " ".join(handwriting.words(runs).split())
    assert "32.1 % of USPS's digits are 6s" in said
    assert "then reads 43.2 % of them, less than before any correction" in said
    after = values(runs, "without 3", "after", "omitted_accuracy").mean()
    assert f"{after:.1f} % after it, with the offset" in said
    assert "on 3s: kept in 3 of the 3 recipes, broken in 0" in said
    of_test = values(runs, "without 3", "test", "by_answers", "omitted_accuracy").mean()
    assert f"{of_test:.1f} % with the one that was set anew" in said
    for run in runs:
        run.record["further"]["after"]["omitted_accuracy"] = 0.5
    with pytest.raises(ValueError, match=r"the runs no longer say: Yes\."):
        handwriting.words(runs)


def test_what_is_measured_is_held_to_its_form():
    rng = np.random.default_rng(0)
    found = FURTHER["handwriting"](rng, Config())
    hold(found, dict(HOLDS))
    for wrong in (
        {"teacher": {}}, {"after": found["after"] | {"accuracy": 1.2}}, {"test": {}},
        {"offsets": {"before": [0]}}, {"n_images": {"all": 0, "test": 1}}, {"class_shares": [0.1]},
        {"per_class_accuracy": {"teacher": [1.0] * 9, "before": [1.0] * 10}},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(wrong))):
            hold(found | wrong, dict(HOLDS))


def test_usps_is_asked_for_where_the_flag_says_and_the_cache_is(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(handwriting, "load_usps", lambda *where: asked.append(where[:2]) or "USPS")
    arguments = argparse.Namespace(usps_dir=tmp_path)
    found = handwriting.STUDY.further(arguments, Config(cache_dir=tmp_path / "cache"), Console(quiet=True))
    assert (found.study, found.measure, found.images) == ("handwriting", measure, "USPS")
    assert asked == [(tmp_path, tmp_path / "cache")]


def test_another_folder_than_uspss_is_refused_before_anything_is_trained(tmp_path):
    arguments = argparse.Namespace(usps_dir=tmp_path)
    with pytest.raises(UserError, match=r"--usps-dir .*: no zip\.train or zip\.train\.gz there"):
        handwriting.further(arguments, Config(cache_dir=tmp_path), Console(quiet=True))
