"""What the studies' pictures and tables show, point by point."""

from __future__ import annotations

from support.charts import DPI, our_style

import math
import re

import numpy as np
import pytest
from legible import hard_to_read
from made_studies import drawn, runs_with_errors, words_of
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.legend import Legend
from matplotlib.markers import CARETLEFT
from matplotlib.text import Text

from beyond.settings import Config
from studies import claims, little
from studies.questions import STUDIES
from studies.results import tables
from studies.several_omitted import SEVERAL
from studies.study import Run


def laid_out(name: str, runs: list[Run]):
    """The same with everything where it will stand in the file; it can be read by everyone on a page."""
    with our_style():
        figure = drawn(name, runs)
        figure.set_dpi(DPI)
        FigureCanvasAgg(figure)
        assert hard_to_read(figure) == []
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


BEYOND = list(STUDIES)[list(STUDIES).index("answers") :]  # the paper


def test_the_points_of_the_weights_of_labels_are_the_means_of_their_runs(shaken):
    """Left of students without 3s, right of those with 7s and 8s alone."""
    runs, wanted = shaken(["label-weight"]), []
    for settings in STUDIES["label-weight"].grid:
        right = len(settings["omitted_class"]) > 1
        asked = [("before", "test_errors"), ("after", "test_errors"), ("before", "omitted_errors")]
        wanted += [
            (int(right), settings["hard_weight"], mean_of(runs, *what, **settings))
            for what in asked[: 2 if right else 3]
        ]
    found = points(drawn("label-weight", runs))
    assert np.array(sorted(found)) == pytest.approx(np.array(sorted(wanted)))


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
        before = [
            mean_of(runs, "before", "omitted_accuracy", omitted_class=tuple(sorted(classes)))
            for classes in named
        ]
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


@pytest.mark.parametrize("name", BEYOND)
def test_a_point_whose_runs_all_failed_is_missing_and_nothing_else(name, shaken):
    runs = shaken([name], n_seeds=2)
    grid = STUDIES[name].grid
    for place, point in enumerate(grid):
        others = [run for run in runs if run.settings != point]
        assert tables(others)[name]
        if place in (0, len(grid) // 2, len(grid) - 1):
            assert drawn(name, others).axes


def test_how_many_classes_a_teacher_says():
    def classes(*p: float) -> float:
        return little.effective_classes(
            Run("little", {}, Config(), {"transfer_set": {"teacher_mean_probabilities": p}})
        )

    assert classes(*[0.1] * 10) == pytest.approx(10)
    assert classes(0.5, 0.5, *[0.0] * 8) == pytest.approx(2)


@pytest.mark.parametrize(
    ("name", "omitted", "named"),
    [
        ("transfer-size", (5,), "5s"),
        ("transfer-size", tuple(range(8)), "the 8 classes left out"),
        *((name, (3, 5), "classes 3, 5") for name in ("student-size", "hard-mix", "transfer-size")),
    ],
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


def test_the_papers_lines_of_the_weights_are_at_its_errors(shaken):
    left, right = drawn("label-weight", shaken(["label-weight"], n_seeds=1)).axes
    for axes, errors in ((left, [206, 133]), (right, [4730])):
        lines = [line for line in axes.lines if list(line.get_xdata()) == [0, 1]]
        assert [list(line.get_ydata()) for line in lines] == [[n, n] for n in errors]
        assert [text.xy[1] for text in axes.texts] == errors
        assert all(f"{n:,}" in text.get_text() for n, text in zip(errors, axes.texts, strict=True))
