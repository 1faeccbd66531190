"""Figures of the studies: every curve, mark, bar and word, against means that NumPy takes of the runs."""

from __future__ import annotations

from support.charts import AFTER, BEFORE, BLIND, INK, OTHERS, TEACHER

import math

import numpy as np
import pytest
from made_studies import drawn
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from shaken import shaken_runs

from beyond.settings import DRAWN_SETS
from studies import ingredients, sevens_and_eights, subliminal
from studies.claims import TRANSFORMED
from studies.questions import STUDIES
from studies.study import Run

UNSEEN, SEEN, ALL = "omitted_accuracy", "other_accuracy", "test_accuracy"
ONE_SEED_LESS = ("paper", "temperature", "hard-mix", "images", "answers", "ingredients")


@pytest.fixture(scope="module")
def runs(committed) -> list[Run]:
    """Runs of every study; of some of them, the second point lacks its last seed."""
    found = shaken_runs(committed)
    lacks = [max((r.config.seed, i) for i, r in enumerate(found) if r.study == name
                 and r.settings == STUDIES[name].grid[1])[1] for name in ONE_SEED_LESS]  # fmt: skip
    return [run for i, run in enumerate(found) if i not in lacks]


def values(runs: list[Run], study: str, part: str, key: str, **settings) -> np.ndarray:
    """A metric of the runs of a study with these settings, in the order of their seeds."""
    mine = [r for r in runs if r.study == study]
    mine = [r for r in mine if all(getattr(r.config, k) == v for k, v in settings.items())]
    assert len({r.config.seed for r in mine}) == len(mine) > 0
    mine.sort(key=lambda r: r.config.seed)
    where = {
        "teacher": lambda r: r.record["teacher"],
        "best": lambda r: r.record["bias_correction"]["best_on_test_set"],
    }.get(part, lambda r: r.record["student"][f"{part}_correction"])
    return np.array([where(r)[key] for r in mine])


Series = dict[str, list[tuple[float, float, float]]]


def series(axes: Axes, by_colour: bool = False) -> Series:
    """x, mean and standard deviation of every curve with error bars, by its name or its colour."""
    found: Series = {}
    for container in axes.containers:
        if isinstance(container, ErrorbarContainer):
            line, _, (bars,) = container.lines
            halves = [(high - low) / 2 for (_, low), (_, high) in bars.get_segments()]
            name = line.get_color() if by_colour else container.get_label()
            points = zip(*line.get_data(), halves, strict=True)
            found.setdefault(name, []).extend((float(x), float(y), float(h)) for x, y, h in points)
    return found


def expected(xs: list[float], groups: list[np.ndarray]) -> list[tuple[float, float, float]]:
    return [(x, g.mean(), g.std(ddof=1)) for x, g in zip(xs, groups, strict=True)]


def assert_same(found: Series, wanted: Series) -> None:
    assert set(found) == set(wanted)
    for name, points in wanted.items():
        np.testing.assert_allclose(found[name], points, rtol=1e-9, err_msg=name)


def test_a_picture_says_of_how_many_seeds_its_points_are(runs):
    """Whichever point lacks a seed, and however many; the same runs of two claims count once."""

    def origin(name: str, less: int) -> str:
        point = STUDIES[name].grid[-1]
        gone = [r for r in runs if r.study == name and r.settings == point][:less]
        return drawn(name, [r for r in runs if r not in gone]).get_supxlabel()

    assert origin("student-size", 0).endswith("deviation over 3 seeds")
    assert origin("student-size", 1).endswith("deviation over 2 or 3 seeds")
    assert origin("images", 0).endswith("over 4 or 5 seeds")
    assert origin("images", 3).endswith("over 2 to 5 seeds")
    two = [r for r in runs if r.study != "paper" or r.config.seed < 2]  # its picture shows five of another
    assert drawn("paper", two).get_supxlabel().endswith("over 2 or 5 seeds")
    ones = [r for r in runs if r.config.seed == 0]
    assert drawn("student-size", ones).get_supxlabel().endswith("one seed")
    assert drawn("paper", ones).get_supxlabel().endswith("one seed")


# ---- The paper's claims ------------------------------------------------------------------------------------

SOFT, HARD = {"hard_weight": 0.0}, {"hard_weight": 1.0}
FULL, NO_3S, ONLY_7_AND_8 = ({"omitted_class": c} for c in ((), (3,), (0, 1, 2, 3, 4, 5, 6, 9)))
BIAS_BY_TEST, BIAS = "7  bias of 3 chosen on the test set", "7  bias of 3 chosen without test labels"
PAPER_ROWS = [  # words, the paper's figure, where ours is
    ("1  large net, jitter, dropout, max-norm", 67, "paper", "teacher", "test_errors", FULL | SOFT),
    ("1  large net, transformed images", 67, TRANSFORMED, "teacher", "test_errors", FULL),
    ("2  small net, hard labels", 146, "paper", "before", "test_errors", FULL | HARD),
    ("3  small net, soft targets and hard labels", 74, "paper", "before", "test_errors",
     FULL | {"hard_weight": 0.1}),
    ("3  the same, soft targets alone", 74, "paper", "before", "test_errors", FULL | SOFT),
    ("3  soft targets, transformed images", 74, TRANSFORMED, "before", "test_errors", FULL),
    ("6  transfer set without 3s", 206, "paper", "before", "test_errors", NO_3S),
    ("6  3s, never seen", 133, "paper", "before", "omitted_errors", NO_3S),
    ("6  without 3s, transformed images", 206, TRANSFORMED, "before", "test_errors", NO_3S),
    ("6  3s, never seen, transformed images", 133, TRANSFORMED, "before", "omitted_errors", NO_3S),
    (BIAS_BY_TEST, 109, "paper", "best", "test_errors", NO_3S),
    ("7  3s, bias chosen on the test set", 14, "paper", "best", "omitted_errors", NO_3S),
    (BIAS, 109, "paper", "after", "test_errors", NO_3S),
    ("7  3s, bias chosen without test labels", 14, "paper", "after", "omitted_errors", NO_3S),
    ("7  without test labels, transformed images", 109, TRANSFORMED, "after", "test_errors", NO_3S),
    ("7  3s, without test labels, transformed images", 14, TRANSFORMED, "after", "omitted_errors", NO_3S),
    ("8  transfer set of 7s and 8s only", 4730, "paper", "before", "test_errors", ONLY_7_AND_8),
    ("9  one bias for 7 and 8, chosen on the test set", 1320, "paper", "best", "test_errors", ONLY_7_AND_8),
    ("9  eight biases, chosen without test labels", 1320, "paper", "after", "test_errors", ONLY_7_AND_8),
]  # fmt: skip
# Of 95 % of Student's t, by the number of values.
T_HALF = {2: 12.7062, 3: 4.30265, 4: 3.18245, 5: 2.77645, 9: 2.30600, 10: 2.26216}


@pytest.mark.parametrize("name", ["paper", TRANSFORMED])
def test_claims_stand_in_their_rows_beside_the_papers_figures(name, runs):
    rows = [row for row in PAPER_ROWS if name == "paper" or row[2] == name]
    axes, = (a for a in drawn(name, runs).axes if a.containers)  # fmt: skip
    right = axes.child_axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [row[0] for row in rows]
    assert list(axes.get_yticks()) == list(right.get_yticks()) == list(range(len(rows)))
    assert len(axes.containers) == len(rows)
    beside = [label.get_text() for label in right.get_yticklabels()]
    for y, (row, container) in enumerate(zip(rows, axes.containers, strict=True)):
        _, paper, study, part, key, settings = row
        ours = values(runs, study, part, key, **settings)
        (dot_x,), (dot_y,) = container.lines[0].get_data()
        half = T_HALF[len(ours)] * ours.std(ddof=1) * math.sqrt(1 + 1 / len(ours))
        ((low, _), (high, _)) = container.lines[2][0].get_segments()[0]
        assert dot_y == y
        assert dot_x == pytest.approx(ours.mean())
        assert high - dot_x == pytest.approx(half, rel=1e-5)
        assert low == pytest.approx(max(1, dot_x - half), rel=1e-4)
        assert axes.get_xlim()[0] <= low <= high <= axes.get_xlim()[1]
        look = {"teacher": (TEACHER, "s"), "before": (BEFORE, "o")}.get(part, (AFTER, "D"))
        assert (container.lines[0].get_color(), container.lines[0].get_marker()) == look
        less = ours.mean() - paper
        said = "fewer errors" if less + half < 0 else "more errors" if less > half else "not told apart"
        assert beside[y].startswith(f"{paper:,} → {ours.mean():,.0f}  n = {len(ours)}  {said}")
    marks = [line for line in axes.lines if line.get_marker() == "|" and line.get_color() == INK]
    assert [line.get_xydata().tolist() for line in marks] == [[[row[1], y]] for y, row in enumerate(rows)]
    bands = [line for line in axes.lines if line.get_linewidth() == 9]
    sds = [math.sqrt(row[1] * (1 - row[1] / 10_000)) for row in rows]  # of a binomial count
    np.testing.assert_allclose(
        [line.get_xdata() for line in bands],
        [(row[1] - 2 * sd, row[1] + 2 * sd) for row, sd in zip(rows, sds, strict=True)],
    )
    assert axes.get_xscale() == "log"
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first claim above


# ---- Curves with error bars --------------------------------------------------------------------------------


def test_temperature_has_a_column_for_each_size_of_student(runs):
    figure = drawn("temperature", runs)
    temperatures = sorted({r.config.temperature for r in runs if r.study == "temperature"})
    assert [axes.get_title(loc="left") for axes in figure.axes[:3]] == [
        f"student of 2 x {n} units" for n in (800, 300, 30)
    ]
    for column, n in enumerate((800, 300, 30)):
        upper, lower = figure.axes[column], figure.axes[column + 3]

        def at(part: str, key: str, omitted: tuple[int, ...], n: int = n) -> list[np.ndarray]:
            fixed = {"student_hidden": (n, n), "omitted_class": omitted}
            return [values(runs, "temperature", part, key, temperature=t, **fixed) for t in temperatures]

        (only,) = series(upper).values()
        np.testing.assert_allclose(only, expected(temperatures, at("before", "test_errors", ())))
        wanted = {
            "3s, before the correction": expected(temperatures, at("before", UNSEEN, (3,))),
            "3s, after it": expected(temperatures, at("after", UNSEEN, (3,))),
            "other classes, after it": expected(temperatures, at("after", SEEN, (3,))),
        }
        assert_same(series(lower), wanted)
    assert figure.axes[0].get_ylabel() == "test errors,\ntransfer set of all classes"
    assert figure.axes[3].get_ylabel() == "test accuracy,\ntransfer set without 3s"


def test_omitted_class_has_teacher_and_student_at_each_class(runs):
    (axes,) = drawn("omitted-class", runs).axes
    groups = {
        part: [values(runs, "omitted-class", part, UNSEEN, omitted_class=(c,)) for c in range(10)]
        for part in ("before", "after")
    }
    wanted = {
        "student that never saw it": expected([c - 0.12 for c in range(10)], groups["before"]),
        "the same, bias corrected": expected([c + 0.12 for c in range(10)], groups["after"]),
    }
    assert_same(series(axes), wanted)
    (dashes,) = (line for line in axes.lines if line.get_label() == "teacher, on that class")
    own = [
        np.mean([per[c] for per in values(runs, "omitted-class", "teacher", "per_class_accuracy",
                                          omitted_class=(c,))])
        for c in range(10)
    ]  # fmt: skip
    assert dashes.get_marker() == "_"
    np.testing.assert_allclose(dashes.get_xydata(), np.array([range(10), own]).T)


def test_several_omitted_has_a_band_of_points_with_their_mean_for_each_number(runs):
    (axes,) = drawn("several-omitted", runs).axes
    mine = [r for r in runs if r.study == "several-omitted"]
    choices = sorted({r.config.omitted_class for r in mine})
    numbers = sorted({len(choice) for choice in choices})
    assert [label.get_text() for label in axes.get_xticklabels()] == [str(n) for n in numbers]
    levels = [c for c in axes.collections if c.get_alpha() == 0.6]
    for place, (part, key, colour, shift) in enumerate(
        (("before", UNSEEN, BEFORE, -0.27), ("after", UNSEEN, AFTER, 0), ("after", SEEN, OTHERS, 0.27))
    ):
        points, means = [], []
        for x, n in enumerate(numbers):
            those = [choice for choice in choices if len(choice) == n]
            groups = [values(mine, "several-omitted", part, key, omitted_class=c) for c in those]
            start = x + shift - 0.06 * (len(those) - 1) / 2
            points += expected([start + 0.06 * i for i in range(len(those))], groups)
            means.append(np.mean([group.mean() for group in groups]))
        np.testing.assert_allclose(series(axes, by_colour=True)[colour], points)
        band = levels[place * len(numbers) : (place + 1) * len(numbers)]
        np.testing.assert_allclose([level.get_segments()[0][:, 1] for level in band], np.c_[means, means])
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    colours = [handle.lines[0].get_color() for handle in axes.get_legend_handles_labels()[0]]
    assert dict(zip(colours, labels, strict=True)) == {
        BEFORE: "classes never seen, before the correction",
        AFTER: "classes never seen, after it",
        OTHERS: "classes seen, after it",
    }


def test_student_size_hard_mix_and_transfer_size_name_what_each_curve_is(runs):
    def at(study: str, name: str, xs: list, part: str, key: str, scale: float = 1, **more) -> list:
        groups = [values(runs, study, part, key, **{name: x}, **more) for x in xs]
        return expected([scale * (x[0] if isinstance(x, tuple) else x) for x in xs], groups)

    def xs_of(study: str, name: str) -> list:
        return sorted({getattr(r.config, name) for r in runs if r.study == study})

    study, name = "student-size", "student_hidden"
    sizes = xs_of(study, name)
    (axes,) = drawn(study, runs).axes
    wanted = {
        "other classes, after the correction": at(study, name, sizes, "after", SEEN),
        "3s, before it": at(study, name, sizes, "before", UNSEEN),
        "3s, after it": at(study, name, sizes, "after", UNSEEN),
    }
    assert_same(series(axes), wanted)

    study, name = "hard-mix", "hard_weight"
    weights = xs_of(study, name)
    for axes, key, title in zip(
        drawn(study, runs).axes, (UNSEEN, SEEN), ("3s, never seen", "the classes seen"), strict=True
    ):
        assert axes.get_title(loc="left") == f"test accuracy on {title}"
        wanted = {
            "before the correction": at(study, name, weights, "before", key),
            "after it": at(study, name, weights, "after", key),
        }
        assert_same(series(axes), wanted)

    study, name = "transfer-size", "transfer_fraction"
    shares = xs_of(study, name)
    left, right = drawn(study, runs).axes
    assert left.get_title(loc="left") == "soft targets: test accuracy on 3s, never seen"
    assert right.get_title(loc="left") == "test accuracy on the classes seen"
    wanted = {
        "before the correction": at(study, name, shares, "before", UNSEEN, 100, **SOFT),
        "after it": at(study, name, shares, "after", UNSEEN, 100, **SOFT),
    }
    assert_same(series(left), wanted)
    wanted = {
        "soft targets": at(study, name, shares, "before", SEEN, 100, **SOFT),
        "hard labels": at(study, name, shares, "before", SEEN, 100, **HARD),
    }
    assert_same(series(right), wanted)


def test_ingredients_have_all_errors_left_those_on_3s_right_and_the_teacher_s(runs):
    figure = drawn("ingredients", runs)
    kinds = ("none", "shifts", "affine", "elastic", "all")
    named = {
        "student (teacher's images)": ("the teacher alone", -0.16),
        "student (its own)": ("the student alone", 0),
        "student (both's)": ("both", 0.16),
    }
    titles = ("all 10,000 test images", "3s, never seen")
    for axes, key, title in zip(figure.axes, ("test_errors", "omitted_errors"), titles, strict=True):
        assert axes.get_title(loc="left") == title
        assert [label.get_text() for label in axes.get_xticklabels()] == list(kinds)
        wanted, settings = {}, {"none": "both"}
        for label, (whose, shift) in named.items():
            points = [ingredients.point(kind, settings.get(kind, whose)) for kind in kinds]
            groups = [values(runs, "ingredients", "after", key, **point) for point in points]
            wanted[label] = expected([i + shift for i in range(len(kinds))], groups)
        assert_same(series(axes), wanted)
        (dashes,) = (line for line in axes.lines if line.get_label() == "teacher")
        both = [ingredients.point(kind, "both") for kind in kinds]
        means = [values(runs, "ingredients", "teacher", key, **point).mean() for point in both]
        np.testing.assert_allclose(dashes.get_xydata(), np.array([range(len(kinds)), means]).T)
        assert dashes.get_color() == TEACHER


# ---- Beyond the paper: dots for seeds, a mark for their mean -----------------------------------------------


def at_point(runs: list[Run], study: str, point: dict, part: str, key: str) -> np.ndarray:
    mine = [r for r in runs if r.study == study and r.settings == point]
    return 100 * np.array([r.record["student"][f"{part}_correction"][key] for r in mine])


BEFORE_AFTER = (("before", "before the bias correction", BEFORE), ("after", "after it", AFTER))
ALL_BEFORE_AFTER = (
    ("before", "before the biases are corrected", BEFORE),
    ("after", "after it, by frequencies alone", AFTER),
)
ROWS = {  # what stands beside the rows, in their order; the metric; the series
    "answers": (
        ["everything", "the logits for 3 shuffled within each class", "for 3 the mean of each class",
         "for 3 one mean of all images, 3s among them",
         "for 3 everything, for the others the mean of each class", "a teacher that never saw a 3 either"],
        UNSEEN, BEFORE_AFTER, "test 3s recognised by a student that never saw one",
    ),
    "little": (
        ["all ten digits", "no 3s", "only 7s and 8s", "only 0s and 1s", "only 8s", "only 1s",
         *DRAWN_SETS.values()],
        ALL, ALL_BEFORE_AFTER, "test accuracy on all ten digits",
    ),
    "contours": (
        ["T = 20, new images in each of 8 epochs, teacher of 4", "T = 1", "T = 4",
         "1,000 images, again and again", "10,000 images, again and again",
         "60,000 images, again and again", "teacher of 1 epoch", "teacher of 12 epochs",
         "biases set on noise, too"],
        ALL, ALL_BEFORE_AFTER, "test accuracy of a student that saw contour lines of noise alone",
    ),
    "sevens-and-eights": (
        list(sevens_and_eights.DIFFERENCES), ALL,
        (("after", "biases corrected, by frequencies alone", AFTER),),
        "test accuracy on all digits of a student that saw 7s and 8s alone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_rows_have_their_names_dots_and_means(name, runs):
    names, key, parts, x_label = ROWS[name]
    (axes,) = (axes for axes in drawn(name, runs).axes if axes.get_xlabel())
    besides = {"sevens-and-eights": ["the claims: teacher of 60 epochs"]}.get(name, [])
    assert [label.get_text() for label in axes.get_yticklabels()] == names + besides
    assert len(names) == len(STUDIES[name].grid)
    assert axes.get_xlabel().startswith(x_label)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row above
    labels = {text.get_text() for text in axes.get_legend().get_texts()}
    assert labels == {label for _, label, _ in parts}
    for place, (part, label, colour) in enumerate(parts):
        dots = [line for line in axes.lines if line.get_marker() == "o" and line.get_color() == colour]
        marks = [line for line in axes.lines if line.get_marker() == "|" and line.get_color() == colour]
        assert marks[0].get_label() == label
        assert len(marks) == len(names) + len(besides)
        for row, point in enumerate(STUDIES[name].grid):
            own = at_point(runs, name, point, part, key)
            y = row + 0.3 * (place - (len(parts) - 1) / 2)
            np.testing.assert_allclose(dots[row].get_xydata(), np.c_[own, np.full(len(own), y)])
            np.testing.assert_allclose(marks[row].get_xydata(), [[own.mean(), y]])
    if besides:
        own = 100 * values(runs, "paper", "after", ALL, **ONLY_7_AND_8)
        np.testing.assert_allclose(dots[-1].get_xydata(), np.c_[own, np.full(len(own), len(names))])


def test_images_have_dots_and_lines_of_both_kinds_of_digits(runs):
    upper, lower = drawn("images", runs).axes[:2], drawn("images", runs).axes[2:4]
    assert [axes.get_title(loc="left") for axes in upper] == ["images taken out", "images kept alone"]
    assert "taken out of" in lower[0].get_xlabel()
    assert "kept, and nothing else" in lower[1].get_xlabel()
    sides = (
        (0, (0.01, 0.05, 0.1, 0.25, 0.5), "least-like", lambda s: 1 - s),
        (1, (0.01, 0.05, 0.1), "most-like", lambda s: s),
    )
    for column, shares, choice, kept in sides:
        for axes, key in ((upper[column], UNSEEN), (lower[column], "other_accuracy")):
            for which, words_ in (
                ("random", "at random"), (choice, "the most 3-like"),
                (f"{choice}-within", "the most 3-like of each digit"),
            ):  # fmt: skip
                for part, colour in (("before", BEFORE), ("after", AFTER)):
                    groups = [
                        100
                        * values(runs, "images", part, key, transfer_fraction=kept(s), transfer_choice=which)
                        for s in shares
                    ]
                    (line,) = (x for x in axes.lines if x.get_label() == f"{words_}, {part} the correction")
                    assert line.get_color() == colour
                    means = [group.mean() for group in groups]
                    np.testing.assert_allclose(line.get_xydata(), np.c_[[100 * s for s in shares], means])
                    dots = {
                        tuple(np.round(p, 9)) for x in axes.lines for p in x.get_xydata()
                        if x.get_marker() == "." and x.get_color() == colour
                    }  # fmt: skip
                    for share, group in zip(shares, groups, strict=True):
                        assert {(round(100 * share, 9), round(v, 9)) for v in group} <= dots
    looks = {(line.get_marker(), line.get_linestyle()) for line in upper[0].lines if line.get_marker() != "."}
    assert len(looks) == 3  # what colour does not tell apart


def test_subliminal_learning_stands_above_its_numbers_and_widths(runs):
    left, right = drawn("subliminal", runs).axes
    ticks = [[label.get_text() for label in axes.get_xticklabels()] for axes in (left, right)]
    assert ticks == [["2", "3", "10", "30", "none: the ten\nclasses"], ["64", "256", "1024"]]
    starts = (
        ("teacher", "from the teacher's initial weights", BLIND),
        ("own", "from weights of its own", INK),
    )
    sides = ((left, [(n, 256) for n in (2, 3, 10, 30, 0)]), (right, [(3, w) for w in (64, 256, 1024)]))
    for axes, points in sides:
        for start, label, colour in starts:
            dots = [x for x in axes.lines if x.get_marker() == "o" and x.get_color() == colour]
            marks = [x for x in axes.lines if x.get_marker() == "_" and x.get_color() == colour]
            assert marks[0].get_label() == label
            for place, (n, width) in enumerate(points):
                own = at_point(runs, "subliminal", subliminal.spare(n, width, start), "before", ALL)
                np.testing.assert_allclose(dots[place].get_xydata(), np.c_[np.full(len(own), place), own])
                np.testing.assert_allclose(marks[place].get_xydata(), [[place, own.mean()]])
        assert [list(x.get_ydata()) for x in axes.lines if x.get_label() == "guessing"] == [[10, 10]]
    assert "spare outputs" in left.get_xlabel()
    assert "units per hidden layer" in right.get_xlabel()


def test_prior_has_what_each_way_says_and_its_errors_on_that_mixture(runs):
    left, right = drawn("prior", runs).axes[:2]
    mine = [r for r in runs if r.study == "prior"]
    shares = (0.01, 0.1, 0.3)

    def found(way: str, share: float) -> tuple[list[float], list[float]]:
        """What it says and its errors per 10,000 images, by seed: both in per cent and per 10,000."""
        at = {
            prior_: {r.config.seed: r.record for r in mine
                     if r.config.probe_share == share and r.config.prior == prior_}
            for prior_ in ("known", "em")
        }  # fmt: skip
        said, errors = [], []
        for seed in sorted(at["known"].keys() & at["em"].keys()):
            further, em = at["known"][seed]["further"], at["em"][seed]
            one = further["ways"].get(way)
            if one is None:  # EM's are of the run with EM
                after = em["student"]["after_correction"]
                one = {
                    "share": em["bias_correction"]["target_frequencies"][0],
                    "on_omitted": after["omitted_errors"],
                    "on_others": after["test_errors"] - after["omitted_errors"],
                }
            truth, n = further["ways"]["the probe's own labels"]["share"], further["n_omitted"]
            others = at["known"][seed]["data"]["n_test"] - n
            errors.append(1e4 * (truth * one["on_omitted"] / n + (1 - truth) * one["on_others"] / others))
            said.append(100 * (one["share"] or 0))
        return said, errors

    for way in (
        "the teacher's mean answer", "the training labels", "EM", "EM, calibrated with labels",
        "black-box estimation, with labels", "no correction",
    ):  # fmt: skip
        for axes, k in ((left, 0), (right, 1)):
            lines = [line for line in axes.lines if line.get_label() == way]
            if way == "no correction" and k == 0:
                assert not lines
                continue
            means = [np.mean(found(way, share)[k]) for share in shares]
            np.testing.assert_allclose(lines[0].get_ydata(), means)
            ratio = lines[0].get_xdata() / (100 * np.array(shares))  # a little beside each other
            assert ratio == pytest.approx(ratio[0])
            assert 0.85 < ratio[0] < 1.15
    (truth,) = (line for line in left.lines if line.get_label() == "the truth")
    assert list(truth.get_xdata()) == list(truth.get_ydata())


def test_spread_has_a_bar_per_teacher_and_its_students_above_each_other(runs):
    left, right = drawn("spread", runs).axes[:2]
    for axes, part, key, scale in ((left, "before", UNSEEN, 100), (right, "after", "test_errors", 1)):
        by_teacher = {
            t: scale * values(runs, "spread", part, key, teacher_seed=t) for t in (0, 10, 20, 30, 40)
        }
        order = sorted(by_teacher, key=lambda t: by_teacher[t].mean())
        names = [label.get_text() for label in axes.get_xticklabels()]
        assert names == [f"teacher\n{t}" for t in order]
        bars = [line.get_ydata() for line in axes.lines if line.get_color() == INK]
        np.testing.assert_allclose(bars, [[by_teacher[t].mean()] * 2 for t in order])
        dots = np.array([line.get_ydata() for line in axes.lines if line.get_color() != INK]).T
        np.testing.assert_allclose(np.sort(dots, axis=1), [np.sort(by_teacher[t]) for t in order])
