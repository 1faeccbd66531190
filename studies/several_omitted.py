"""How many classes can be left out at once?"""

from __future__ import annotations

from support.charts import FAINT, SMALL, percent_axis, say_if_cut

import statistics
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from beyond.settings import EVERY_CLASS
from studies.charts import draw_curve, legend_below, study_figure
from studies.looks import SEEN_STYLE, UNSEEN_AFTER_STYLE, UNSEEN_BEFORE_STYLE
from studies.measured import between, mean, percent, spread
from studies.paths import ALL_AFTER, SEEN_AFTER, UNSEEN_AFTER, UNSEEN_BEFORE
from studies.study import WHOLE_PROBE, Runs, Settings, Study, all_but, at, choices, where
from studies.tables import classes_seen, metric_table

SEVERAL = {
    1: ((0,), (3,), (4,), (8,)),
    2: ((0, 1), (3, 5), (4, 9), (7, 8)),
    3: ((0, 1, 2), (2, 6, 7), (3, 5, 8), (4, 7, 9)),
    5: ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9), (0, 2, 4, 6, 8), (1, 3, 5, 7, 9)),
    8: (all_but(7, 8), all_but(0, 1), all_but(3, 5), all_but(4, 9)),
}
EPOCHS_BY_OMITTED = {1: 6, 2: 7, 3: 8, 5: 12, 8: 30}  # about as many steps whatever is left out
POINTS: dict[str, Settings] = {
    classes_seen(classes): {"omitted_class": classes, "n_epochs_student": EPOCHS_BY_OMITTED[n]}
    for n, alternatives in SEVERAL.items()
    for classes in alternatives
}


def in_digits(left_out: Sequence[Sequence[int]]) -> str:
    """Choices of equally many classes: "01, 35"; by the ones kept where these are fewer, "all but 78, 01"."""
    kept = [[c for c in EVERY_CLASS if c not in classes] for classes in left_out]
    by_kept = len(kept[0]) < len(left_out[0])
    names = ", ".join("".join(map(str, classes)) for classes in (kept if by_kept else left_out))
    return f"all but {names}" if by_kept else names


def draw(question: str, runs: Runs) -> Figure:
    """For each number of classes three bands side by side, each with a point per choice of classes."""
    figure = study_figure(runs, f"{question}  One offset for each", (11, 5.8))
    axes = figure.subplots()
    left_out = choices(runs, "omitted_class")
    numbers = sorted({len(classes) for classes in left_out})
    for path, label, style, shift in (
        (UNSEEN_BEFORE, "classes never seen, before the correction", UNSEEN_BEFORE_STYLE, -0.27),
        (UNSEEN_AFTER, "classes never seen, after it", UNSEEN_AFTER_STYLE, 0.0),
        (SEEN_AFTER, "classes seen, after it", SEEN_STYLE, 0.27),
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
        below = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "top", "fontsize": SMALL}
        axes.annotate(which, (place, -0.065), **below)
    words = "number of classes left out, and which they are, point by point (lines: means over these choices)"
    axes.set_xlabel(words, labelpad=20)
    axes.set_ylabel("test accuracy")
    percent_axis(axes)
    say_if_cut(axes)
    legend_below(axes, 3, -0.22)
    return figure


def words(runs: Runs) -> str:
    five = [at(runs, POINTS[classes_seen(classes)]) for classes in SEVERAL[5]]
    one = [at(runs, POINTS[classes_seen(classes)]) for classes in SEVERAL[1]]
    of_7_8, of_0_1 = (at(runs, POINTS[f"without all but {kept}"]) for kept in ("7 8", "0 1"))
    return f"""
Five of ten, at the price of some errors: with one class left out, {between(one, ALL_AFTER, 1)} % of all
test images are right after the correction, with five {between(five, ALL_AFTER, 1)} %, and
{between(five, UNSEEN_AFTER, 1)} % of the images of classes never seen. With eight left out it depends on
which two are kept: from 7s and 8s the other eight digits are recovered to
{percent(of_7_8, UNSEEN_AFTER, 1)} %, from 0s and 1s only to {percent(of_0_1, UNSEEN_AFTER, 1)} %.

Epochs are chosen so that every student makes about as many steps. From 7s and 8s
{100 - 100 * mean(of_7_8, ALL_AFTER):.1f} % errors are left, less than half of those of the first study,
whose teacher was trained for 60 epochs with dropout instead of 4, and whose student took smaller steps. [A
study of its own](#7s-and-8s-alone-why-3--errors-here-6--there) takes these differences apart.

{{details}}
"""


STUDY = Study(
    "several-omitted", __doc__, POINTS, metric_table(POINTS), draw, words, preset=WHOLE_PROBE,
    caption="Several classes left out",
)  # fmt: skip
