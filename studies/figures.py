"""One picture for each study, from its runs alone: means over seeds, and how far these scatter."""

from __future__ import annotations

from support.charts import (
    AFTER,
    BEFORE,
    FAINT,
    INK,
    OTHERS,
    TEACHER,
    light_grid,
    log_ticks,
    percent_axis,
    titled_figure,
)
from support.report import class_name

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import CARETLEFT

from studies import beyond_figures, ingredients
from studies.claims import CLAIMS, TEST_ERRORS, against_paper, is_the_papers_data, runs_for
from studies.intervals import in_words
from studies.measured import EVERY_CLASS, Run, choices, spread, where

UNSEEN_BEFORE = {"color": BEFORE, "marker": "o", "linestyle": "--"}
UNSEEN_AFTER = {"color": AFTER, "marker": "D", "linestyle": "-"}
SEEN = {"color": OTHERS, "marker": "s", "linestyle": "-"}
BLACK = {"color": INK, "marker": "v", "linestyle": ":"}
MEAN_SD = "mean ± standard deviation"


def unseen(runs: Sequence[Run]) -> str:
    """What the students of these runs never saw: "3s", "classes 3, 5", "the 8 classes left out"."""
    omitted = runs[0].config.omitted_class
    if len(omitted) == 1:
        return f"{omitted[0]}s"
    return class_name(omitted) if len(omitted) <= 3 else f"the {len(omitted)} classes left out"


def study_figure(runs: Sequence[Run], title: str, size: tuple[float, float], bars: str = MEAN_SD) -> Figure:
    config = runs[0].config
    seeds: dict[str, set[int]] = {}  # of each point of a study
    for run in runs:
        seeds.setdefault(f"{run.study} {run.settings}", set()).add(run.config.seed)
    counts = sorted({len(numbers) for numbers in seeds.values()})
    temperature = f"T = {config.temperature:g}, " if len(choices(runs, "temperature")) == 1 else ""
    several = f"{counts[0]} to {counts[-1]}" if len(counts) > 2 else " or ".join(map(str, counts))
    over = f"{bars} over {several} seeds" if counts[-1] > 1 else "one seed"
    epochs = f"{config.n_epochs_teacher} teacher epoch{'s' if config.n_epochs_teacher > 1 else ''}, "
    epochs = epochs if len(choices(runs, "n_epochs_teacher")) == 1 else ""
    origin = f"{runs[0].value('data.name')}, {temperature}{epochs}{over}"
    return titled_figure(title, origin, *size)


def draw_curve(
    axes: Axes, xs: Sequence[float], groups: Sequence[Sequence[Run]], path: str, **style: Any
) -> None:
    """Mean and standard deviation of a metric against x, one group of runs (the seeds) per x."""
    means, sds = np.array([spread(group, path) for group in groups]).T
    axes.errorbar(xs, means, np.nan_to_num(sds), **{"markersize": 5, "capsize": 3, "linewidth": 1.5, **style})


def legend_below(axes: Axes, n_columns: int, down: float = -0.2) -> None:
    """A legend under the axes, where it hides no point."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, down), ncols=n_columns, borderaxespad=0)


def draw_paper(question: str, runs: Sequence[Run]) -> Figure:
    """Our errors in per cent of the paper's, with 95 % intervals: a row per claim, its figures beside it."""
    shown = [(claim, mine) for claim in CLAIMS if (mine := runs_for(claim, runs))]
    title = f"{question}  Our test errors in per cent of the paper's"
    every = [run for _, mine in shown for run in mine]
    figure = study_figure(every, title, (12, 1.6 + 0.37 * len(shown)), "95 % interval")
    axes = figure.subplots()
    comparable, marked, longest = is_the_papers_data(runs), {"label": "ours"}, 100.0
    beyond: dict[str, Any] = {"label": "the interval goes on below 0"}
    beside = []
    for row, (claim, mine) in enumerate(shown):
        difference = against_paper(mine, claim)
        ours, half = difference.mean + claim.paper, np.nan_to_num(difference.half)
        percents = [100 * x / claim.paper for x in (ours, min(half, ours), half)]  # no fewer than 0 errors
        axes.plot([100, percents[0]], [row, row], color=FAINT, linewidth=3, zorder=1)
        bar = np.array([[percents[1]], [percents[2]]])
        dot = {"fmt": "o", "color": AFTER, "markersize": 7, "capsize": 4}
        axes.errorbar(percents[0], row, xerr=bar, **dot, **marked)
        if half > ours:
            axes.plot(0, row, marker=CARETLEFT, color=AFTER, markersize=9, linestyle="none", **beyond)
            beyond = {}
        words = in_words(difference) if comparable else "other test images"
        beside.append(f"{claim.paper:,.0f} → {ours:,.0f}  {words}")
        longest, marked = max(longest, percents[0] + percents[2]), {}
    axes.axvline(100, color=INK, linewidth=1.5, zorder=1, label="the paper")
    axes.set_yticks(range(len(shown)), [f"{claim.number}  {claim.text}" for claim, _ in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(shown)), beside)
    right.spines.right.set_visible(False)
    for side in (axes, right):
        side.tick_params(axis="y", length=0)
    axes.set_title("right: errors, the paper's → ours", loc="right", fontsize=10)
    axes.set_xlim(0, 1.05 * longest)
    n_test = runs[0].value("data.n_test")
    of = f"of {n_test:,} images" if comparable else f"ours of {n_test:,} images, the paper's of 10,000"
    axes.set_xlabel(f"test errors {of}, in per cent of the paper's (further left: fewer)")
    light_grid(axes, "x")
    legend_below(axes, 3, -0.8 / figure.get_figheight())
    return figure


def draw_temperature(question: str, runs: Sequence[Run]) -> Figure:
    left_out = [run for run in runs if run.config.omitted_class]
    never = unseen(left_out) if left_out else "a class"
    title = f"{question}  Errors with all classes; recovery of unseen {never}"
    figure = study_figure(runs, title, (12, 7.4))
    sizes = choices(runs, "student_hidden")[::-1]
    grid = figure.subplots(2, len(sizes), sharex=True, squeeze=False)
    temperatures = choices(runs, "temperature")
    for column, hidden in zip(grid.T, sizes, strict=True):
        mine = where(runs, student_hidden=hidden)
        everything, partial = where(mine, omitted_class=()), [run for run in mine if run.config.omitted_class]
        groups = [where(everything, temperature=t) for t in temperatures]
        draw_curve(column[0], temperatures, groups, TEST_ERRORS, color=INK, marker="o")
        column[0].set_title(f"student of {len(hidden)} x {hidden[0]} units")
        column[0].set_ylim(bottom=0)
        light_grid(column[0])
        groups = [where(partial, temperature=t) for t in temperatures]
        for path, label, style in (
            ("before.omitted_accuracy", f"{never}, before the correction", UNSEEN_BEFORE),
            ("after.omitted_accuracy", f"{never}, after it", UNSEEN_AFTER),
            ("after.other_accuracy", "other classes, after it", SEEN),
        ):
            draw_curve(column[1], temperatures, groups, path, label=label, **style)
        percent_axis(column[1])
        column[1].set_xlabel("temperature T (log scale)")
        log_ticks(column[1], (1, 2, 4, 8, 20, 50))
    grid[0, 0].set_ylabel("test errors,\ntransfer set of all classes")
    grid[1, 0].set_ylabel(f"test accuracy,\ntransfer set without {never}")
    lowest = min(axes.get_ylim()[0] for axes in grid[1])
    for axes in grid[1]:
        axes.set_ylim(max(0, lowest), 1.02)
    figure.legend(*grid[1, 0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return figure


def draw_omitted_class(question: str, runs: Sequence[Run]) -> Figure:
    figure = study_figure(runs, f"{question}  Accuracy on the class left out", (11, 5.2))
    axes = figure.subplots()
    present = [c for c in EVERY_CLASS if where(runs, omitted_class=(c,))]
    groups = [where(runs, omitted_class=(c,)) for c in present]
    of_teacher = [
        statistics.mean(run.value("teacher.per_class_accuracy")[c] for run in group)
        for c, group in zip(present, groups, strict=True)
    ]
    dash = {"color": TEACHER, "markersize": 26, "markeredgewidth": 3}
    axes.plot(present, of_teacher, "_", label="teacher, on that class", **dash)
    for path, label, style, shift in (
        ("before.omitted_accuracy", "student that never saw it", UNSEEN_BEFORE, -0.12),
        ("after.omitted_accuracy", "the same, bias corrected", UNSEEN_AFTER, 0.12),
    ):
        xs = [c + shift for c in present]
        draw_curve(axes, xs, groups, path, label=label, **{**style, "linestyle": "none"})
    axes.set_xticks(present)
    axes.set_xlabel("the class left out of the transfer set")
    axes.set_ylabel("test accuracy on that class")
    percent_axis(axes)
    legend_below(axes, 3)
    return figure


def in_digits(left_out: Sequence[Sequence[int]]) -> str:
    """Choices of equally many classes: "01, 35"; by the ones kept where these are fewer, "all but 78, 01"."""
    kept = [[c for c in EVERY_CLASS if c not in classes] for classes in left_out]
    by_kept = len(kept[0]) < len(left_out[0])
    names = ", ".join("".join(map(str, classes)) for classes in (kept if by_kept else left_out))
    return f"all but {names}" if by_kept else names


def draw_several_omitted(question: str, runs: Sequence[Run]) -> Figure:
    """For each number of classes three bands side by side, each with a point per choice of classes."""
    figure = study_figure(runs, f"{question}  One offset for each", (11, 5.8))
    axes = figure.subplots()
    left_out = choices(runs, "omitted_class")
    numbers = sorted({len(classes) for classes in left_out})
    for path, label, style, shift in (
        ("before.omitted_accuracy", "classes never seen, before the correction", UNSEEN_BEFORE, -0.27),
        ("after.omitted_accuracy", "classes never seen, after it", UNSEEN_AFTER, 0.0),
        ("after.other_accuracy", "classes seen, after it", SEEN, 0.27),
    ):
        for place, n in enumerate(numbers):
            groups = [where(runs, omitted_class=classes) for classes in left_out if len(classes) == n]
            style = {**style, "linestyle": "none", "label": None if place else label}
            xs = place + shift + 0.06 * (np.arange(len(groups)) - (len(groups) - 1) / 2)
            draw_curve(axes, xs, groups, path, **style)
            mean = statistics.mean(spread(group, path)[0] for group in groups)
            axes.hlines(mean, xs[0] - 0.04, xs[-1] + 0.04, color=style["color"], linewidth=1.5, alpha=0.6)
    for border in np.arange(len(numbers) - 1) + 0.5:
        axes.axvline(border, color=FAINT, linewidth=0.8)
    axes.set_xlim(-0.5, len(numbers) - 0.5)
    axes.set_xticks(range(len(numbers)), map(str, numbers))
    for place, n in enumerate(numbers):
        which = in_digits([classes for classes in left_out if len(classes) == n])
        below = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "top", "fontsize": 9}
        axes.annotate(which, (place, -0.065), **below)
    words = "number of classes left out, and which they are, point by point (lines: means over these choices)"
    axes.set_xlabel(words, labelpad=20)
    axes.set_ylabel("test accuracy")
    percent_axis(axes)
    legend_below(axes, 3, -0.22)
    return figure


def draw_student_size(question: str, runs: Sequence[Run]) -> Figure:
    never = unseen(runs)
    title = f"{question}  Two hidden layers of equal size, {never} never seen"
    figure = study_figure(runs, title, (11, 5.4))
    axes = figure.subplots()
    hidden = choices(runs, "student_hidden")
    groups, sizes = [where(runs, student_hidden=h) for h in hidden], [h[0] for h in hidden]
    for path, label, style in (
        ("after.other_accuracy", "other classes, after the correction", SEEN),
        ("before.omitted_accuracy", f"{never}, before it", UNSEEN_BEFORE),
        ("after.omitted_accuracy", f"{never}, after it", UNSEEN_AFTER),
    ):
        draw_curve(axes, sizes, groups, path, label=label, **style)
    log_ticks(axes, sizes)
    axes.set_xlabel("units per hidden layer of the student (log scale)")
    axes.set_ylabel("test accuracy")
    percent_axis(axes)
    axes.set_ylim(0, 1.03)
    legend_below(axes, 3)
    return figure


def draw_hard_mix(question: str, runs: Sequence[Run]) -> Figure:
    figure = study_figure(runs, f"{question}  Those of the classes seen, mixed in", (11, 5.2))
    left, right = figure.subplots(1, 2)
    weights = choices(runs, "hard_weight")
    groups = [where(runs, hard_weight=w) for w in weights]
    before, after = {"label": "before the correction"}, {"label": "after it"}
    draw_curve(left, weights, groups, "before.omitted_accuracy", **before, **UNSEEN_BEFORE)
    draw_curve(left, weights, groups, "after.omitted_accuracy", **after, **UNSEEN_AFTER)
    left.set_title(f"test accuracy on {unseen(runs)}, never seen")
    left.set_ylim(-0.03, 1.03)
    draw_curve(right, weights, groups, "before.other_accuracy", **before, **SEEN)
    draw_curve(right, weights, groups, "after.other_accuracy", **after, **BLACK)
    right.set_title("test accuracy on the classes seen")
    for axes in (left, right):
        axes.set_xlabel("weight of the hard labels (0: soft targets alone)")
        percent_axis(axes)
        legend_below(axes, 2)
    return figure


def draw_transfer_size(question: str, runs: Sequence[Run]) -> Figure:
    figure = study_figure(runs, f"{question}  As many steps, on fewer images", (11, 5.2))
    left, right = figure.subplots(1, 2)
    fractions = choices(runs, "transfer_fraction")
    soft, hard = ([where(runs, transfer_fraction=f, hard_weight=w) for f in fractions] for w in (0.0, 1.0))
    xs = [100 * f for f in fractions]
    draw_curve(left, xs, soft, "before.omitted_accuracy", label="before the correction", **UNSEEN_BEFORE)
    draw_curve(left, xs, soft, "after.omitted_accuracy", label="after it", **UNSEEN_AFTER)
    left.set_title(f"soft targets: test accuracy on {unseen(runs)}, never seen")
    left.set_ylim(-0.03, 1.03)
    draw_curve(right, xs, soft, "before.other_accuracy", label="soft targets", **SEEN)
    draw_curve(right, xs, hard, "before.other_accuracy", label="hard labels", **BLACK)
    right.set_title("test accuracy on the classes seen")
    for axes in (left, right):
        log_ticks(axes, xs, "{:g} %".format)
        axes.set_xlabel(f"share of the transfer set (100 %: {runs[0].n_transfer:,} images; log scale)")
        percent_axis(axes)
        legend_below(axes, 2)
    return figure


def draw_ingredients(question: str, runs: Sequence[Run]) -> Figure:
    """Errors of the student, by what is done to the images and in whose training; left all, right on 3s."""
    figure = study_figure(runs, f"{question}  Errors after the bias correction", (12, 5.2))
    whose = {
        "the teacher alone": ("student (teacher's images)", BLACK),
        "the student alone": ("student (its own)", SEEN),
        "both": ("student (both's)", UNSEEN_AFTER),
    }
    kinds = [kind for kind in ingredients.KINDS if ingredients.runs_at(runs, kind, "both")]
    for axes, path, title in zip(
        figure.subplots(1, 2),
        ("after.test_errors", "after.omitted_errors"),
        (f"all {runs[0].value('data.n_test'):,} test images", f"{unseen(runs)}, never seen"),
        strict=True,
    ):
        for place, (who, (label, style)) in enumerate(whose.items()):
            groups = [ingredients.runs_at(runs, kind, who) for kind in kinds]
            xs = np.arange(len(kinds)) + 0.16 * (place - 1)
            draw_curve(axes, xs, groups, path, **{**style, "linestyle": "none", "label": label})
        groups = [ingredients.runs_at(runs, kind, "both") for kind in kinds]
        means = [spread(group, path.replace("after", "teacher"))[0] for group in groups]
        dash = {"color": TEACHER, "markersize": 30, "markeredgewidth": 3}
        axes.plot(range(len(kinds)), means, "_", label="teacher", **dash)
        axes.set_xticks(range(len(kinds)), kinds)
        axes.set_xlabel("what is done to the images (in brackets: to whose)")
        axes.set_title(title)
        axes.set_ylim(bottom=0)
        light_grid(axes)
        legend_below(axes, 2)
    figure.axes[0].set_ylabel("test errors")
    return figure


def draw_beyond(name: str) -> Callable[[str, Sequence[Run]], Figure]:
    """What draws one of the questions beyond the paper."""

    def draw(question: str, runs: Sequence[Run]) -> Figure:
        figure = study_figure(runs, question, beyond_figures.SIZES[name], beyond_figures.DOTS)
        beyond_figures.DRAW[name](figure, runs)
        return figure

    return draw


DRAW: dict[str, Callable[[str, Sequence[Run]], Figure]] = {
    "paper": draw_paper,
    "transformed": draw_paper,
    "ingredients": draw_ingredients,
    "temperature": draw_temperature,
    "omitted-class": draw_omitted_class,
    "several-omitted": draw_several_omitted,
    "student-size": draw_student_size,
    "hard-mix": draw_hard_mix,
    "transfer-size": draw_transfer_size,
    **{name: draw_beyond(name) for name in beyond_figures.DRAW},
}
