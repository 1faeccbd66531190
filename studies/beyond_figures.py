"""Pictures of the questions beyond the paper: a dot per seed, the mean as a line through them."""

from __future__ import annotations

from support.charts import (
    AFTER,
    BEFORE,
    FAINT,
    INK,
    OMITTED,
    OTHERS,
    TEACHER,
    draw_image,
    light_grid,
    log_ticks,
)

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from studies import beyond, beyond_tables
from studies.beyond_tables import Row, at, over_seeds
from studies.measured import Run
from synthetic import digits, noise

DOTS = "dots: seeds, bars or lines: their mean"


def percent_x(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    light_grid(axes, "x")


def draw_rows(axes: Axes, rows: Sequence[Row], series: Sequence[tuple[str, str, str]]) -> None:
    """For each row of runs and each (path, label, colour) the seeds' accuracies in per cent, and the mean."""
    for place, (path, label, colour) in enumerate(series):
        shift = 0.3 * (place - (len(series) - 1) / 2)
        for y, (_, mine) in enumerate(rows):
            values = [100 * run.value(path) for run in mine]
            axes.plot(values, [y + shift] * len(values), "o", color=colour, markersize=4.5, alpha=0.6)
            axes.plot(statistics.mean(values), y + shift, "|", color=colour, markersize=15, markeredgewidth=3,
                      label=None if y else label)  # fmt: skip
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    for y in np.arange(len(rows) - 1) + 0.5:
        axes.axhline(y, color=FAINT, linewidth=0.8)


def error_scale(axes: Axes, lowest: float) -> None:
    """An x axis of accuracies in per cent that spreads what lies near 100: logarithmic in the errors."""

    def forward(accuracy: np.ndarray) -> np.ndarray:
        return -np.log10(np.maximum(100 - np.asarray(accuracy, float), 1e-3))

    axes.set_xscale("function", functions=(forward, lambda x: 100 - 10 ** (-np.asarray(x, float))))
    ticks = [tick for tick in (0, 50, 80, 90, 95, 98, 99, 99.5) if tick >= lowest - 1e-9]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(lowest, 99.7)
    percent_x(axes)


BOTH = (
    (beyond_tables.UNSEEN_BEFORE, "before the bias correction", BEFORE),
    (beyond_tables.UNSEEN_AFTER, "after it", AFTER),
)
BOTH_ALL = (
    (beyond_tables.BEFORE, "before the biases are corrected", BEFORE),
    (beyond_tables.AFTER, "after it, by frequencies alone", AFTER),
)


def below(axes: Axes, columns: int, down: float) -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, down), ncols=columns, borderaxespad=0)


def draw_answers(figure: Figure, runs: Sequence[Run]) -> None:
    axes = figure.subplots()
    draw_rows(axes, beyond_tables.answers_rows(runs), BOTH)
    axes.set_ylabel("what the student hears of the teacher")
    axes.set_xlabel("test 3s recognised by a student that never saw one")
    axes.set_xlim(-2, 102)
    percent_x(axes)
    below(axes, 2, -0.2)


def draw_images(figure: Figure, runs: Sequence[Run]) -> None:
    upper, lower, _ = figure.subfigures(3, 1, height_ratios=(1, 0.16, 0.05))  # the last for the origin
    left, right = upper.subplots(1, 2, sharey=True)
    sides: tuple[tuple[Axes, Sequence[float], str, str, Callable[[float], float]], ...] = (
        (left, beyond.DROPPED, "least-like", "taken out of the transfer set", lambda s: 1 - s),
        (right, beyond.KEPT, "most-like", "kept, and nothing else", lambda s: s),
    )
    for axes, shares, choice, words, fraction in sides:
        xs = [100 * share for share in shares]
        for which, name, colour in ((choice, "the most 3-like", OMITTED), ("random", "at random", TEACHER)):
            for path, when, line in ((BOTH[0][0], "before", "--"), (BOTH[1][0], "after", "-")):
                groups = [at(runs, beyond.part(fraction(share), which)) for share in shares]
                means = [over_seeds(group, path, 100).mean for group in groups]
                axes.plot(
                    xs, means, line, color=colour, label=f"{name}, {when} the correction", linewidth=1.8
                )
                for x, group in zip(xs, groups, strict=True):
                    values = [100 * run.value(path) for run in group]
                    axes.plot([x] * len(values), values, "o", color=colour, markersize=4, alpha=0.5)
        log_ticks(axes, xs, "{:g} %".format)
        axes.set_xlabel(f"share of the images {words} (log scale)")
        light_grid(axes)
    whole = over_seeds(at(runs, beyond.IMAGES[0]), BOTH[0][0], 100).mean
    left.axhline(whole, color=BEFORE, linestyle=":", label="all images, before the correction")
    left.set_ylabel("test 3s recognised")
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    left.set_title("images taken out")
    right.set_title("images kept alone")
    lower.legend(*left.get_legend_handles_labels(), loc="center", ncols=3)


def draw_little(figure: Figure, runs: Sequence[Run]) -> None:
    pictures, axes = figure.subplots(1, 2, width_ratios=(0.2, 1))
    rows = beyond_tables.little_rows(runs)
    draw_rows(axes, rows, BOTH_ALL)
    error_scale(axes, 0)
    axes.set_xlabel("test accuracy on all ten digits (a scale that spreads what lies near 100 %)")
    below(axes, 2, -0.1)
    pictures.axis("off")
    pictures.set_xlim(0, 2)
    pictures.set_ylim(len(rows) - 0.5, -0.5)
    for y, (_, mine) in enumerate(rows):
        for place, image in enumerate(examples(mine[0])):
            inset = pictures.inset_axes((place, y - 0.46, 0.95, 0.92), transform=pictures.transData)
            draw_image(inset, image)


def examples(run: Run) -> np.ndarray:
    """Two images of a drawn transfer set; none where they are MNIST's or made from them."""
    kind, rng = run.config.transfer_set, np.random.default_rng(5)
    if kind == "rendered":
        return digits.render_digits(2, rng)[0]
    return noise.DRAW[kind](8, rng)[[4, 7]] if kind in noise.DRAW else np.empty((0, 28, 28))


def draw_contours(figure: Figure, runs: Sequence[Run]) -> None:
    axes = figure.subplots()
    draw_rows(axes, beyond_tables.contours_rows(runs), BOTH_ALL)
    error_scale(axes, 50)
    axes.set_xlabel(
        "test accuracy of a student that saw contour lines of noise alone (stretched towards 100 %)"
    )
    below(axes, 2, -0.14)


def draw_subliminal(figure: Figure, runs: Sequence[Run]) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    starts = (
        ("teacher", "from the teacher's initial weights", AFTER),
        ("own", "from weights of its own", BEFORE),
    )
    of_n = [(n, beyond.spare(n, 256, "teacher")) for n in (*beyond.N_SPARE, 0)]
    of_width = [(width, beyond.spare(3, width, "teacher")) for width in beyond.WIDTHS]
    sides: tuple[tuple[Axes, list[Any], str], ...] = (
        (left, of_n, "spare outputs that the student learns from, 256 units per layer"),
        (right, of_width, "units per hidden layer, three spare outputs"),
    )
    for axes, named, words in sides:
        for start, label, colour in starts:
            for place, (_, point) in enumerate(named):
                values = [
                    100 * run.value(BOTH_ALL[0][0]) for run in at(runs, point | {"student_start": start})
                ]
                if values:
                    axes.plot([place] * len(values), values, "o", color=colour, markersize=5, alpha=0.6)
                    axes.plot(place, statistics.mean(values), "_", color=colour, markersize=28,
                              markeredgewidth=3, label=None if place else label)  # fmt: skip
        ticks = [str(n) if n else "none: the ten\nclasses" for n, _ in named]
        axes.set_xticks(range(len(named)), ticks)
        axes.axhline(10, color=INK, linestyle=":", linewidth=1, label="guessing")
        axes.set_xlabel(words)
        light_grid(axes)
    left.set_ylim(0, 100)
    left.set_ylabel("digits read by the student")
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    left.legend(loc="center", bbox_to_anchor=(0.4, 0.45))


def draw_differences(figure: Figure, runs: Sequence[Run]) -> None:
    axes = figure.subplots()
    named = [(name, beyond.SEVENS_AND_EIGHTS | changed) for name, changed in beyond.DIFFERENCES.items()]
    corrected = (beyond_tables.AFTER, "biases corrected, by frequencies alone", AFTER)
    draw_rows(axes, beyond_tables.rows_of(runs, named), [corrected])
    axes.set_xlabel("test accuracy on all digits of a student that saw 7s and 8s alone")
    percent_x(axes)
    below(axes, 1, -0.2)


def draw_prior(figure: Figure, runs: Sequence[Run]) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    shares = [100 * share for share in beyond.SHARES]
    for x, share in zip(shares, beyond.SHARES, strict=True):
        em = at(runs, beyond.NO_3S | {"probe_share": share, "prior": "em"})
        said = [100 * run.value("bias_correction.target_frequencies.0") for run in em]
        left.plot(
            [x] * len(said),
            said,
            "o",
            color=AFTER,
            alpha=0.6,
            label=None if x != shares[0] else "EM, a dot per seed",
        )
    left.plot([0.5, 50], [0.5, 50], color=INK, linewidth=1, label="the truth")
    log_ticks(left, shares, "{:g} %".format)
    left.set_yscale("log")
    left.yaxis.set_major_locator(FixedLocator(shares))
    left.yaxis.set_minor_locator(NullLocator())
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    left.set_xlabel("3s among the images of the probe (log scale)")
    left.set_ylabel("3s that EM finds, without a label")
    left.set_title("how often do 3s occur?")
    light_grid(left)
    left.legend(loc="upper left")
    draw_calibration(right, runs)


def sizes(run: Run) -> tuple[int, float]:
    """How many test images there are, and how many of the omitted class: from means over both parts."""
    on, n_test = run.value("bias_correction.calibration.0"), run.value("data.n_test")
    return n_test, n_test * (on["on_all"] - on["on_others"]) / (on["on_omitted"] - on["on_others"])


def draw_calibration(axes: Axes, runs: Sequence[Run]) -> None:
    """What the mean probability of a 3 on the test set is made of, at offsets from several choices."""
    known = {"prior": "known"}
    whole, first = (at(runs, beyond.NO_3S | p | known) for p in ({"probe": "training"}, {"probe_size": 5000}))
    choices = [
        ("no offset", whole, 0),
        ("best on the\ntest set", whole, 2),
        ("matched on\n60,000", whole, 1),
        ("matched on the\nfirst 5,000", first, 1),
    ]
    choices = [choice for choice in choices if choice[1]]
    if not choices:
        return
    n_test, n_3s = (statistics.mean(sizes(run)[i] for run in choices[0][1]) for i in (0, 1))
    bottom, share = np.zeros(len(choices)), n_3s / n_test
    for key, weight, label, colour in (
        ("on_omitted", share, "from 3s: their share x their mean p(3)", OMITTED),
        ("on_others", 1 - share, "from other digits", OTHERS),
    ):
        means = [over_seeds(mine, f"bias_correction.calibration.{k}.{key}").mean for _, mine, k in choices]
        heights = 100 * weight * np.array(means)
        axes.bar(range(len(choices)), heights, bottom=bottom, color=colour, width=0.6, label=label)
        bottom += heights
    names = []
    for place, (name, mine, k) in enumerate(choices):
        offset = over_seeds(mine, f"bias_correction.calibration.{k}.offset").mean
        errors = {0: "before.test_errors", 1: "after.test_errors"}.get(
            k, "bias_correction.best_on_test_set.test_errors"
        )
        names.append(f"{name}\n{offset:+.2f}: {over_seeds(mine, errors).mean:.0f} errors")
        axes.annotate(f"{bottom[place]:.2f} %", (place, bottom[place]), xytext=(0, 3),
                      textcoords="offset points", ha="center")  # fmt: skip
    axes.axhline(
        100 * share, color=INK, linestyle="--", linewidth=1, label=f"the share of 3s: {100 * share:.1f} %"
    )
    axes.set_xticks(range(len(choices)), names, fontsize=9)
    start = max(0.0, np.floor(2 * (100 * share - 1.2)) / 2)
    axes.set_ylim(start, max(*bottom, 100 * share) + 0.5)
    axes.set_ylabel(f"mean p(3) on the test set\n(axis starts at {start:g} %)")
    axes.set_title("why the matched offset overshoots")
    light_grid(axes)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, fontsize=9)


SIZES = {
    "answers": (11, 4.6), "images": (12, 5.6), "little": (12, 8.5), "contours": (12, 5.4),
    "subliminal": (12, 5.2), "sevens-and-eights": (11, 4.6), "prior": (12.5, 5.6),
}  # fmt: skip
DRAW: dict[str, Callable[[Figure, Sequence[Run]], None]] = {
    "answers": draw_answers, "images": draw_images, "little": draw_little, "contours": draw_contours,
    "subliminal": draw_subliminal, "sevens-and-eights": draw_differences, "prior": draw_prior,
}  # fmt: skip
