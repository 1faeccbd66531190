"""What the studies' pictures and tables show, point by point."""

from __future__ import annotations

from support.charts import DPI, our_style

import math
import re

import numpy as np
import pytest
from made_studies import NOTHING, cells, drawn, runs_with_errors, words_of
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.legend import Legend
from matplotlib.markers import CARETLEFT
from matplotlib.text import Text

from beyond.settings import Config
from studies import claims, contours, images, ingredients, little, sevens_and_eights, subliminal
from studies.questions import STUDIES
from studies.results import tables
from studies.several_omitted import SEVERAL
from studies.study import Run
from studies.temperature import EPOCHS_BY_UNITS, TEMPERATURES


def laid_out(name: str, runs: list[Run]):
    """The same with everything where it will stand in the file."""
    with our_style():
        figure = drawn(name, runs)
        figure.set_dpi(DPI)
        FigureCanvasAgg(figure).draw()
    return figure


def points(figure) -> list[tuple[int, float, float]]:
    """Every mean with an error bar: the number of its axes, x and y."""
    return [
        (index, x, y)
        for index, axes in enumerate(figure.axes)
        for container in axes.containers
        if isinstance(container, ErrorbarContainer)
        for x, y in container.lines[0].get_xydata()
        if not math.isnan(y)
    ]


def mean_of(runs: list[Run], part: str, key: str, **settings) -> float:
    """The mean of a metric of the student, with no help from the code that draws."""
    mine = [r for r in runs if all(getattr(r.config, k) == v for k, v in settings.items())]
    assert len(mine) == len({r.config.seed for r in mine}) > 0
    return float(np.mean([r.record["student"][f"{part}_correction"][key] for r in mine]))


UNSEEN, SEEN = "omitted_accuracy", "other_accuracy"
CLAIMED = ("paper", "transformed")  # studies whose pictures show claims
BEYOND = list(STUDIES)[list(STUDIES).index("answers") :]  # the paper; their pictures have no error bars
OTHERWISE = {*CLAIMED, *BEYOND}


def expected_points(name: str, runs: list[Run]) -> list[tuple[int, float, float]]:
    """The same from the grid and the records; several-omitted with the number of classes left out as x."""

    def mean(*what: str, **settings) -> float:
        return mean_of(runs, *what, **settings)

    if name == "temperature":
        top = [
            (i, t, mean("before", "test_errors", temperature=t, student_hidden=(n, n), omitted_class=()))
            for i, n in enumerate(EPOCHS_BY_UNITS)
            for t in TEMPERATURES
        ]
        bottom = [
            (i + 3, t, mean(*what, temperature=t, student_hidden=(n, n), omitted_class=(3,)))
            for i, n in enumerate(EPOCHS_BY_UNITS)
            for t in TEMPERATURES
            for what in (("before", UNSEEN), ("after", UNSEEN), ("after", SEEN))
        ]
        return top + bottom
    if name == "omitted-class":
        return [
            (0, c + shift, mean(part, UNSEEN, omitted_class=(c,)))
            for c in range(10)
            for part, shift in (("before", -0.12), ("after", 0.12))
        ]
    if name == "several-omitted":
        return [
            (0, place, mean(*what, omitted_class=choice))
            for place, alternatives in enumerate(SEVERAL.values())
            for choice in alternatives
            for what in (("before", UNSEEN), ("after", UNSEEN), ("after", SEEN))
        ]
    if name == "ingredients":
        kinds = ("none", "shifts", "affine", "elastic", "all")
        everyone = ("the teacher alone", "the student alone", "both")
        return [
            (axes, x + shift, mean("after", key, **(NOTHING | ingredients.point(kind, whose))))
            for x, kind in enumerate(kinds)
            for shift, whose in zip((-0.16, 0, 0.16), everyone, strict=True)
            for axes, key in enumerate(("test_errors", "omitted_errors"))
        ]
    found = []
    for settings in STUDIES[name].grid:
        if name == "student-size":
            x = settings["student_hidden"][0]
            whats = [(0, "after", SEEN), (0, "before", UNSEEN), (0, "after", UNSEEN)]
        elif name == "label-weight":  # left without 3s, right 7s and 8s alone
            x, right = settings["hard_weight"], len(settings["omitted_class"]) > 1
            whats = [(int(right), part, "test_errors") for part in ("before", "after")]
            whats += [] if right else [(0, "before", "omitted_errors")]
        elif name == "hard-mix":
            x = settings["hard_weight"]
            whats = [(i, part, k) for i, k in enumerate((UNSEEN, SEEN)) for part in ("before", "after")]
        else:
            x, whats = 100 * settings["transfer_fraction"], [(1, "before", SEEN)]
            if settings["hard_weight"] == 0:
                whats += [(0, "before", UNSEEN), (0, "after", UNSEEN)]
        found += [(i, x, mean(part, key, **settings)) for i, part, key in whats]
    return found


@pytest.mark.parametrize(
    ("name", "n_seeds"), [("several-omitted", 1), *((name, 3) for name in STUDIES if name not in OTHERWISE)]
)
def test_every_point_of_a_figure_is_the_mean_of_its_runs(name, n_seeds, shaken):
    runs = shaken([name], n_seeds=n_seeds)
    found = points(drawn(name, runs))
    if name == "several-omitted":
        found = [(index, round(x), y) for index, x, y in found]
    assert len(found) == len(expected_points(name, runs))
    assert np.array(sorted(found)) == pytest.approx(np.array(sorted(expected_points(name, runs))))


def marks(figure, marker: str) -> list[list[float]]:
    """What stands at the marks of one kind, axes by axes: x of vertical ones, y of horizontal ones."""
    return [
        [
            float(line.get_xydata()[0, int(marker == "_")])
            for line in axes.lines
            if line.get_marker() == marker
        ]
        for axes in figure.axes
    ]


BEYOND_ROWS = {
    "answers": ("omitted_accuracy", ("before", "after")),
    "little": ("test_accuracy", ("before", "after")),
    "contours": ("test_accuracy", ("before", "after")),
    "sevens-and-eights": ("test_accuracy", ("after",)),
}


@pytest.mark.parametrize("name", BEYOND_ROWS)
def test_the_marks_beyond_the_paper_are_means_over_seeds_and_the_dots_are_the_seeds(name, shaken):
    runs, (key, parts) = shaken([name]), BEYOND_ROWS[name]
    axes = drawn(name, runs).axes[-1 if name == "little" else 0]
    means = [float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "|"]
    values = {
        (part, place): [r.record["student"][f"{part}_correction"][key] for r in runs if r.settings == point]
        for part in parts
        for place, point in enumerate(STUDIES[name].grid)
    }
    assert means == pytest.approx([100 * np.mean(values[part, i]) for part, i in values])
    dots = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots, 100 * np.array(list(values.values())))


def test_points_of_several_classes_are_named_in_their_order(shaken):
    runs = shaken(["several-omitted"], n_seeds=1)
    figure = drawn("several-omitted", runs)
    found = sorted((x, y) for _, x, y in points(figure))
    assert len(figure.axes[0].texts) == len(SEVERAL)
    for place, text in enumerate(figure.axes[0].texts):
        words = text.get_text()
        named = [{int(c) for c in name} for name in words.removeprefix("all but ").split(", ")]
        if words.startswith("all but "):
            named = [set(range(10)) - kept for kept in named]
        before = [mean_of(runs, "before", UNSEEN, omitted_class=tuple(sorted(classes))) for classes in named]
        assert [y for x, y in found if round(x) == place][: len(named)] == pytest.approx(before)


@pytest.mark.parametrize(("errors", "n_arrows"), [((60, 70, 80), 0), ((1, 300, 2), 1), ((0, 0, 0), 1)])
def test_an_interval_that_goes_on_below_the_axis_is_drawn_as_one(errors, n_arrows, monkeypatch):
    monkeypatch.setattr(claims, "CLAIMS", claims.CLAIMS[:1])
    monkeypatch.setattr(claims, "runs_for", lambda claim, runs: runs)
    axes = claims.draw_claims("?", runs_with_errors(*errors)).axes[0]
    arrows = [line for line in axes.lines if line.get_marker() == CARETLEFT]
    assert [list(line.get_xdata()) for line in arrows] == [[1]] * n_arrows
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert ("the interval goes below 1" in words) == (n_arrows > 0)


def test_the_marks_of_subliminal_learning_are_means(shaken):
    runs = shaken(["subliminal"])
    left, right = marks(drawn("subliminal", runs), "_")[:2]

    def mean(n: int, width: int, start: str) -> float:
        chosen = {"spare_outputs": n, "student_start": start, "student_hidden": (width, width)}
        return 100 * mean_of(runs, "before", "test_accuracy", **chosen)

    assert left == pytest.approx([mean(n, 256, s) for s in ("teacher", "own") for n in (2, 3, 10, 30, 0)])
    assert right == pytest.approx([mean(3, w, s) for s in ("teacher", "own") for w in (64, 256, 1024)])


def test_tables_beyond_the_paper_are_counted_by_hand(shaken):
    runs = shaken(["answers", "sevens-and-eights", "little"])
    found = tables(runs)
    for name, point, path, scale, digits in (
        ("answers", STUDIES["answers"].grid[1], "omitted_accuracy", 100, 2),
        ("sevens-and-eights", STUDIES["sevens-and-eights"].grid[2], "test_accuracy", 100, 2),
    ):
        values = [r.record["student"]["after_correction"][path] for r in runs if r.settings == point]
        mean = scale * np.mean(values)
        half = 4.302653 * scale * np.std(values, ddof=1) / math.sqrt(3)  # Student's t with two degrees
        low, high = max(0, mean - half), min(100, mean + half)
        assert f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})" in found[name], name
    first, second = (
        [r.record["student"]["after_correction"]["omitted_accuracy"] for r in runs if r.settings == point]
        for point in STUDIES["answers"].grid[:2]
    )
    points = 100 * (np.array(second) - first)
    half = 4.302653 * points.std(ddof=1) / math.sqrt(3)
    shown = f"{points.mean():+.1f} ({points.mean() - half:+.1f} to {points.mean() + half:+.1f})"
    assert shown in found["answers"]


@pytest.mark.parametrize(
    ("name", "row", "point", "columns"),
    [
        ("answers", 1, {"omitted_class": (3,), "teacher_answers": "shuffled"},
         {"3s, after": ("after", UNSEEN), "others, after": ("after", SEEN)}),
        ("images", 5, images.part(0.95, "least-like"),
         {"3s, before": ("before", UNSEEN), "3s, after": ("after", UNSEEN)}),
        ("little", 8, little.STUDY.grid[8],
         {"test accuracy, before": ("before", "test_accuracy"), "after": ("after", "test_accuracy")}),
        ("contours", 3, contours.STUDY.grid[3],
         {"before": ("before", "test_accuracy"), "after": ("after", "test_accuracy")}),
        ("subliminal", 1, subliminal.spare(3, 256, "teacher"),
         {"student from the teacher's start": ("before", "test_accuracy")}),
        ("subliminal", 1, subliminal.spare(3, 256, "own"),
         {"student from its own": ("before", "test_accuracy")}),
        ("sevens-and-eights", 3, sevens_and_eights.STUDY.grid[3],
         {"before": ("before", "test_accuracy"), "after": ("after", "test_accuracy")}),
    ],
)  # fmt: skip
def test_each_cell_stands_in_its_row_and_under_its_heading(name, row, point, columns, shaken):
    runs = shaken([name])
    table = tables(runs)[name]
    key = list(dict.fromkeys((first, second) for first, second, _ in cells(table)))[row]
    for heading, (part, metric) in columns.items():
        values = [r.record["student"][f"{part}_correction"][metric] for r in runs if r.settings == point]
        mean = np.mean(values) * (1 if metric.endswith("errors") else 100)
        shown = float(cells(table)[(*key, heading)].partition(" ")[0])
        assert shown == pytest.approx(mean, abs=0.051), heading


@pytest.mark.parametrize("name", BEYOND)
def test_a_point_whose_runs_all_failed_is_missing_and_nothing_else(name, shaken):
    runs = shaken([name], n_seeds=2)
    for point in STUDIES[name].grid:
        others = [run for run in runs if run.settings != point]
        assert tables(others)[name]
        assert drawn(name, others).axes


def test_how_many_classes_a_teacher_says():
    def classes(*p: float) -> float:
        return little.effective_classes(
            Run("little", {}, Config(), {"transfer_set": {"teacher_mean_probabilities": p}})
        )

    assert classes(*[0.1] * 10) == pytest.approx(10)
    assert classes(0.5, 0.5, *[0.0] * 8) == pytest.approx(2)


def test_the_points_of_the_claims_are_our_errors(committed):
    figure = drawn("paper", committed)
    found = {round(y): x for _, x, y in points(figure)}
    assert list(found) == list(range(len(claims.CLAIMS)))
    of_soft = [r for r in committed if r.study == "paper" and r.settings == claims.SOFT_ALL]
    teachers = [r.record["teacher"]["test_errors"] for r in of_soft]
    assert found[0] == pytest.approx(np.mean(teachers))
    only_7_and_8 = [claim.number for claim in claims.CLAIMS].index("8")
    assert found[only_7_and_8] == pytest.approx(2153, abs=0.5)
    assert "4,730 → 2,153  n = 3  fewer errors" in words_of(figure)
    assert f"67 → {np.mean(teachers):.0f}  n = {len(teachers)}  not told apart" in words_of(figure)
    axes = figure.axes[0]
    for container in axes.containers:  # nothing runs past the axis
        for bar in container.lines[2]:
            (left, _), (right, _) = bar.get_segments()[0]
            assert axes.get_xlim()[0] <= left <= right <= axes.get_xlim()[1]


@pytest.mark.parametrize("name", ["student-size", "hard-mix", "transfer-size"])
@pytest.mark.parametrize(
    ("omitted", "named"),
    [((5,), "5s"), ((3, 5), "classes 3, 5"), (tuple(range(8)), "the 8 classes left out")],
)
def test_a_picture_names_the_classes_that_were_left_out(name, omitted, named, shaken, small_data):
    words = words_of(drawn(name, shaken([name], {"omitted_class": omitted}, 1)))
    assert named in words
    assert not re.search(r"\b3s\b", words)
    if name == "transfer-size":
        n_transfer = int((~np.isin(small_data.train_labels, omitted)).sum())
        assert f"100 %: {n_transfer:,} images" in words


def test_claims_about_other_images_are_not_compared_with_the_papers(shaken):
    runs = shaken(["paper"])
    assert all(run.value("data.name") != "MNIST" for run in runs)
    rows = [row for row in claims.claim_rows(runs) if "against" not in row.text]
    assert len(rows) == len([claim for claim in claims.CLAIMS if claim.study == "paper"])
    cells = {tuple(row.cells()[-3:]) for row in rows}
    assert cells == {("-", "-", "not compared: other test images")}
    words = words_of(drawn("paper", runs))
    assert "ours of 300 images, the paper's of 10,000" in words
    assert "more errors" not in words


@pytest.mark.parametrize(("name", "source"), [("paper", "shaken"), *((s, "committed") for s in STUDIES)])
def test_nothing_in_a_picture_hides_a_point_or_runs_out_of_it(name, source, committed, shaken):
    figure = laid_out(name, committed if source == "committed" else shaken([name]))
    legends = figure.findobj(Legend)
    assert legends
    boxes = [legend.get_window_extent() for legend in legends]
    for index, x, y in points(figure):
        axes = figure.axes[index]
        place = axes.transData.transform((x, y))
        assert axes.bbox.padded(1).contains(*place), (x, y)
        assert not any(box.padded(4).contains(*place) for box in boxes), (x, y)
    everything = figure.get_tightbbox()
    assert min(*everything.p0) >= -0.02  # inches
    assert all(everything.p1 <= figure.get_size_inches() + 0.02)
    labels = [label for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label, axes.title)]
    own = {text for legend in legends for text in legend.findobj(Text)}
    for text in {*labels, *(t for t in figure.findobj(Text) if len(t.get_text()) > 6)} - own:
        box = text.get_window_extent()
        assert not any(box.overlaps(legend) for legend in boxes), text.get_text()


def test_no_point_of_several_omitted_lies_on_another(committed):
    figure = laid_out("several-omitted", committed)
    places = np.array([figure.axes[index].transData.transform((x, y)) for index, x, y in points(figure)])
    distances = np.hypot(*(places[:, None] - places[None]).T)
    np.fill_diagonal(distances, np.inf)
    assert distances.min() > 5 * figure.dpi / 72  # the size of a marker


def test_tables_have_means_and_spread_counted_by_hand(shaken):
    runs = shaken(list(STUDIES))
    found = tables(runs)
    assert list(found) == list(STUDIES)
    mine = [
        run.record["student"]["after_correction"]["omitted_accuracy"]
        for run in runs
        if run.study == "hard-mix" and run.config.hard_weight == 0.25
    ]
    assert len(mine) == 3
    shown = f"{100 * np.mean(mine):.2f} ± {100 * np.std(mine, ddof=1):.2f}"
    row = next(line for line in found["hard-mix"].splitlines() if "0.25" in line)
    assert row.split(" | ")[4] == shown
    assert found["temperature"].count("\n") == 61
    numbers = re.findall(r"^\| (\d) \|", found["paper"], re.M)
    assert list(dict.fromkeys(numbers)) == list("123456789")


def test_the_papers_lines_of_the_weights_are_at_its_errors(shaken):
    left, right = drawn("label-weight", shaken(["label-weight"], n_seeds=1)).axes
    for axes, errors in ((left, [206, 133]), (right, [4730])):
        lines = [line for line in axes.lines if list(line.get_xdata()) == [0, 1]]
        assert [list(line.get_ydata()) for line in lines] == [[n, n] for n in errors]
        assert [text.xy[1] for text in axes.texts] == errors
        assert all(f"{n:,}" in text.get_text() for n, text in zip(errors, axes.texts, strict=True))
