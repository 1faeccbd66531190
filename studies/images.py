"""In which images does the knowledge of a 3 sit?"""

from __future__ import annotations

from support.charts import AFTER, BEFORE, light_grid, log_ticks, say_if_cut
from support.checks import list_of, whole
from support.data import Data
from support.experiment import Experiment
from support.report import markdown
from support.settings import N_CLASSES
from support.tiles import Workers

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from runs.records import Further
from studies.charts import above_a_legend, per_cent, study_figure
from studies.looks import DOTS
from studies.measured import between, count, holds, mean_sd, over_seeds, paired_difference, percent
from studies.paths import SEEN_AFTER, SEEN_BEFORE, UNSEEN_AFTER, UNSEEN_BEFORE
from studies.study import WHOLE_PROBE, Run, Runs, Settings, Study, at
from studies.tables import percent_cell, points_cell

DROPPED = (0.01, 0.05, 0.1, 0.25, 0.5)  # share of the transfer set that is taken out
KEPT = (0.01, 0.05, 0.1)  # share that is kept alone


NAMES = [f"without {100 * share:g} %" for share in DROPPED] + [f"{100 * share:g} % alone" for share in KEPT]


def part(share: float, choice: str) -> Settings:
    return {"omitted_class": (3,), "transfer_fraction": share, "transfer_choice": choice}


WAYS = {  # of taking images out, and of keeping them: what a point is called, and the choices
    "at random": ("random", "random"),
    "the most 3-like": ("least-like", "most-like"),
    "the most 3-like of each digit": ("least-like-within", "most-like-within"),
}
POINTS: dict[str, Settings] = {
    "all of them": part(1.0, "random"),
    **{
        f"without {100 * share:g} %, {words}": part(1 - share, choice)
        for share in DROPPED
        for words, (choice, _) in WAYS.items()
    },
    **{
        f"{100 * share:g} % alone, {words}": part(share, choice)
        for share in KEPT
        for words, (_, choice) in WAYS.items()
    },
}


def measure(experiment: Experiment, workers: Workers, images: Data | None) -> dict[str, Any]:
    """How many test images of classes seen are read as the one left out, before and after the correction.

    And how many training images of each class the student learned from.
    """
    data, omitted = experiment.data, experiment.config.omitted_class[0]
    others = data.test_labels != omitted
    both = {"before": experiment.student_logits, "after": experiment.corrected_logits}
    kept = data.train_labels[np.unique(experiment.lesson.indices)]
    return {
        **{when: int((logits[others].argmax(axis=1) == omitted).sum()) for when, logits in both.items()},
        "kept": np.bincount(kept, minlength=N_CLASSES).tolist(),
    }


def table(runs: Runs) -> str:
    paths, whole = (UNSEEN_BEFORE, UNSEEN_AFTER, SEEN_BEFORE, SEEN_AFTER), at(runs, POINTS["all of them"])
    false = [f"further.{when}" for when in ("before", "after")]

    def cells(mine: Runs) -> list[str]:
        return [percent_cell(mine, path) for path in paths] + [mean_sd(mine, path, 1, 0) for path in false]

    found = [["all of them", "", *cells(whole), "", ""]]
    for name in NAMES:
        random = at(runs, POINTS[f"{name}, at random"])
        for which in WAYS:
            mine = at(runs, POINTS[f"{name}, {which}"])
            if mine and random:
                less = [points_cell(mine, random, p) for p in paths[:2]] if which != "at random" else ["", ""]
                found.append([name, which, *cells(mine), *less])
    header = ["transfer set", "which", "3s, before", "3s, after", "others, before", "others, after",
              "false 3s, before", "false 3s, after", "3s before, less random", "3s after, less random",
    ]  # fmt: skip
    return markdown(header, found, n_left=2)


LOOKS = {  # of the ways; blue is before the correction, green after it
    "at random": {"marker": "o", "linestyle": "-"},
    "the most 3-like": {"marker": "D", "linestyle": "--"},
    "the most 3-like of each digit": {"marker": "v", "linestyle": ":"},
}


def draw(question: str, runs: Runs) -> Figure:
    figure = study_figure(runs, question, (12, 8.4), DOTS)
    upper, lower = above_a_legend(figure, 0.14)
    rows = upper.subplots(2, 2, sharex="col", sharey="row")
    sides: tuple[tuple[int, Sequence[float], str, str, str], ...] = (
        (0, DROPPED, "without {:g} %", "images taken out", "taken out of the transfer set"),
        (1, KEPT, "{:g} % alone", "images kept alone", "kept, and nothing else"),
    )
    for column, shares, name, title, said in sides:
        xs = [100 * share for share in shares]
        for row, before, after in ((0, UNSEEN_BEFORE, UNSEEN_AFTER), (1, SEEN_BEFORE, SEEN_AFTER)):
            axes = rows[row, column]
            for path, when, colour in ((before, "before", BEFORE), (after, "after", AFTER)):
                for way, look in LOOKS.items():
                    groups = [at(runs, POINTS[f"{name.format(x)}, {way}"]) for x in xs]
                    means = [over_seeds(group, path, 100).mean for group in groups]
                    axes.plot(xs, means, color=colour, label=f"{way}, {when} the correction", **look)
                    for x, group in zip(xs, groups, strict=True):
                        values = [100 * run.value(path) for run in group]
                        axes.plot([x] * len(values), values, ".", color=colour, markersize=4, alpha=0.5)
            log_ticks(axes, xs, "{:g} %".format)
            axes.yaxis.set_major_formatter(FuncFormatter(per_cent))
            light_grid(axes)
        rows[0, column].set_title(title)
        rows[1, column].set_xlabel(f"share of the images {said} (log scale)")
    rows[0, 0].set_ylabel("test 3s recognised, never seen")
    rows[1, 0].set_ylabel("other digits recognised")
    say_if_cut(rows[0, 0])
    say_if_cut(rows[1, 0])
    lower.legend(*rows[0, 0].get_legend_handles_labels(), loc="center", ncols=2)
    return figure


def mean_of_each(runs: Runs, path: str) -> np.ndarray:
    """The means over runs of a metric that is a list."""
    return np.mean([run.value(path) for run in runs], axis=0)


def share_in_half(runs: Runs) -> np.ndarray:
    """By class, which part of its images lies in the most 3-like half of the transfer set; 1 for 3s."""
    whole_set, rest = (at(runs, POINTS[name]) for name in ("all of them", "without 50 %, the most 3-like"))
    return 1 - mean_of_each(rest, "further.kept") / mean_of_each(whole_set, "further.kept").clip(1)


def words(runs: Runs) -> str:
    def of(name: str) -> list[Run]:
        return at(runs, POINTS[name])

    tenth, half = (of(f"without {share} %, the most 3-like") for share in (10, 50))
    random = [of(f"without {100 * share:g} %, at random") for share in DROPPED]
    tenth_within, half_within = (
        of(f"without {share} %, the most 3-like of each digit") for share in (10, 50)
    )
    costs = [
        paired_difference(mine, of(f"without {share} %, at random"), UNSEEN_BEFORE, 100)
        for share, mine in ((10, tenth_within), (50, half_within))
    ]
    likeness = holds("likeness itself counts", all(cost.mean + cost.half < 0 for cost in costs))
    most, some, within = (
        of(f"1 % alone, {which}")
        for which in ("the most 3-like", "at random", "the most 3-like of each digit")
    )
    gone = share_in_half(runs)
    digits = sorted((c for c in range(N_CLASSES) if c != 3), key=lambda c: -gone[c])
    taken = [f"{100 * gone[c]:.0f} % of the {c}s" for c in (*digits[:3], digits[-1])]
    n_kept = round(KEPT[0] * most[0].n_transfer)
    return f"""
In many of them, and most of all in those that are most like a 3. Without the tenth that is most 3-like,
{percent(tenth, UNSEEN_BEFORE)} % of the unseen 3s are recognised before the correction, without half of the
images {percent(half, UNSEEN_BEFORE)} %; as many images taken out at random leave
{between(random, UNSEEN_BEFORE)} %. After the bias correction it is {percent(tenth, UNSEEN_AFTER)} and
{percent(half, UNSEEN_AFTER)} %. So the other images tell of 3s, too, but less.

Is it the likeness, or are whole digits gone? The most 3-like half of all images holds {taken[0]},
{taken[1]}, {taken[2]} and so on, down to {taken[3]}. Taken out of each digit in equal shares,
so that all nine stay as frequent as they were, the most 3-like tenth leaves
{percent(tenth_within, UNSEEN_BEFORE)} % and the most 3-like half {percent(half_within, UNSEEN_BEFORE)} %;
the differences from as many at random are {costs[0]} and {costs[1]} points. So {likeness}, and the mixture of
digits does as well.

Kept alone, the {n_kept} images that are most 3-like teach {percent(most, UNSEEN_BEFORE)} % of the 3s before
the correction, as many at random {percent(some, UNSEEN_BEFORE)} %. But these students read only
{percent(most, SEEN_BEFORE)} % of the classes that they saw (at random: {percent(some, SEEN_BEFORE)} %) and
take {count(most, "further.before")} of 8,990 other digits for 3s (at random:
{count(some, "further.before")}); the correction lowers the bias and leaves
{percent(most, UNSEEN_AFTER)} % of the 3s. The most 3-like of each digit, kept alone, teach
{percent(within, UNSEEN_BEFORE)} % of the 3s and {percent(within, SEEN_BEFORE)} % of the classes seen, with
{count(within, "further.before")} false 3s.

{{table}}

"3-like" is the soft target for 3 at T = 20. "False 3s" are test images of other digits that are read as 3s.
As many steps on fewer images. Percentages with 95 % intervals, counts ± standard deviation.
"""


STUDY = Study(
    "images", __doc__, POINTS, table, draw, words, preset=WHOLE_PROBE, n_seeds=5,
    further=lambda *_: Further("images", measure),
    further_holds={"before": whole(0), "after": whole(0), "kept": list_of(whole(0), N_CLASSES)},
    caption="Images taken out, images kept",
)  # fmt: skip
