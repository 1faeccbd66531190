"""Does it read other people's handwriting?"""

from __future__ import annotations

from support.charts import AFTER, BEFORE, INK
from support.checks import Check, list_of, number, object_of, optional, share, whole
from support.console import Console
from support.intervals import Interval, interval
from support.report import markdown
from support.settings import N_CLASSES

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from beyond.handwriting import WAYS, handwriting
from beyond.settings import EVERY_CLASS, Config
from beyond.usps import load_usps
from runs.records import Further
from studies.charts import draw_rows, percent_x, study_figure
from studies.looks import DOTS
from studies.measured import holds, mean, mean_sd, percent, seed_means
from studies.paths import UNSEEN_AFTER, UNSEEN_BEFORE
from studies.study import WHOLE_PROBE, Runs, Settings, Study, at
from studies.tables import interval_cell, rows_of

# In points, declared when one seed had been seen. A student that never saw a class reads it as well as one
# that saw it if the 95 % interval of the difference lies above -AS_WELL; and the correction costs the other
# classes nothing that counts if the interval of what it changes there lies above -NOTHING_THAT_COUNTS.
AS_WELL, NOTHING_THAT_COUNTS = 1.0, 0.5
# By kind of student: of the recipe, and smaller, in a fifth of the time, so that each class can be left out.
KINDS: dict[str, Settings] = {"": {}, "small, ": {"student_hidden": (200, 200)}}
POINTS: dict[str, Settings] = {
    "without 3": {"omitted_class": (3,)},
    "small, all digits": {"omitted_class": (), **KINDS["small, "]},
    **{f"small, without {c}": {"omitted_class": (c,), **KINDS["small, "]} for c in EVERY_CLASS},
}
# What "fast" says of 3s, do the other recipes say it, too? AS_WELL is the margin here as well, against their
# teachers; it was set for these when one seed of each had been seen.
RECIPES_TRIED = ("described", "middle", "best", "no-digit")
POINTS |= {f"recipe {name}": {"recipe": name} for name in RECIPES_TRIED}
LEFT_OUT, OTHERS, ALL = "omitted_accuracy", "other_accuracy", "accuracy"


def further(arguments: argparse.Namespace, config: Config, console: Console) -> Further:
    """Raises UserError where USPS cannot be had."""
    return Further("handwriting", handwriting, load_usps(arguments.usps_dir, config.cache_folder, console))


# What `beyond.handwriting` gives.
READ = object_of({ALL: share, LEFT_OUT: optional(share), OTHERS: optional(share)})
READERS = dict.fromkeys(("teacher", *WAYS), READ)
HOLDS: dict[str, Check] = {
    **READERS,
    "test": object_of(READERS),
    "per_class_accuracy": object_of(
        dict.fromkeys(("teacher", "before"), list_of(optional(share), N_CLASSES))
    ),
    "offsets": object_of(dict.fromkeys(WAYS, list_of(number()))),
    "n_images": object_of(dict.fromkeys(("all", "test"), whole(1))),
    "class_shares": list_of(share, N_CLASSES),
}


def usps(way: str, part: str = LEFT_OUT) -> str:
    """The path of an accuracy on USPS."""
    return f"further.{way}.{part}"


def per_class(way: str, c: int) -> str:
    return f"further.per_class_accuracy.{way}.{c}"


@dataclass(frozen=True)
class Pair:
    """The runs of students of one kind that never saw a class and, if any, of those that saw all digits."""

    kind: str
    left_out: int
    without: Runs
    control: Runs

    def behind(self) -> Interval:
        """The corrected student less the one that saw the class, on it, in points."""
        return difference((self.without, usps("after")), (self.control, per_class("before", self.left_out)))

    def price(self) -> Interval:
        """What the correction changes on the nine other classes, in points."""
        return difference((self.without, usps("after", OTHERS)), (self.without, usps("before", OTHERS)))


def difference(first: tuple[Runs, str], second: tuple[Runs, str]) -> Interval:
    """In points, one accuracy less the other, paired by seed; NaN without a seed that both have."""
    ours, theirs = (seed_means(*one) for one in (first, second))
    return interval([100 * (ours[seed] - theirs[seed]) for seed in ours if seed in theirs] or [float("nan")])


def pairs(runs: Runs, *kinds: str) -> list[Pair]:
    """Of these kinds, where there are runs: a pair for each class that was left out."""
    found = []
    for kind in kinds:
        control = at(runs, POINTS.get(f"{kind}all digits", {}))
        for c in EVERY_CLASS:
            without = at(runs, POINTS.get(f"{kind}without {c}", {}))
            found += [Pair(kind, c, without, control)] if without else []
    return found


def is_without_3(runs: Runs) -> bool:
    """Whether the 3 alone was left out."""
    return runs[0].config.omitted_class == (3,)


def behind_teacher(runs: Runs) -> Interval:
    """On 3s, the corrected student less its own teacher, in points."""
    return difference((runs, usps("after")), (runs, per_class("teacher", 3)))


def verdict(each: Sequence[Interval], margin: float, of: str = "classes") -> str:
    """How many intervals say that nothing worse than the margin happens, and how many that it does."""
    above = sum(one.mean - one.half > -margin for one in each)
    below = sum(one.mean + one.half < -margin for one in each)
    return f"kept in {above} of the {len(each)} {of}, broken in {below}, undecided in the others"


def table(runs: Runs) -> str:
    rows = []
    for pair in pairs(runs, *KINDS):
        c, mine = pair.left_out, pair.without
        cells = [
            mean_sd(mine, per_class("teacher", c), 100),
            mean_sd(pair.control, per_class("before", c), 100),
        ]
        cells += [mean_sd(mine, usps(way), 100) for way in WAYS]
        cells += [interval_cell(found, 1) for found in (pair.behind(), pair.price())]
        rows.append([f"{c}{'' if pair.kind else ', 800 units'}", *cells])
    header = [
        "left out", "teacher", "student of all digits", "student, before", "set on MNIST",
        "set anew by frequencies", "set anew by the teacher's answers",
        "set on MNIST less student of all digits", "the nine others, after less before",
    ]  # fmt: skip
    recipes = []
    for name, mine in rows_of(runs, {name: POINTS[f"recipe {name}"] for name in RECIPES_TRIED}):
        cells = [mean_sd(mine, usps(way, ALL), 100) for way in ("teacher", "before", "after")]
        cells += [mean_sd(mine, per_class(way, 3), 100) for way in ("teacher", "before")]
        more = [mean_sd(mine, usps("after"), 100), interval_cell(behind_teacher(mine), 1)]
        recipes.append([f"`{name}`", *cells, *(more if is_without_3(mine) else ("", ""))])
    of_recipes = ["recipe", "teacher", "student, before", "student, after", "its teacher's 3s",
                  "the student's, before", "the student's, after", "after less teacher"]  # fmt: skip
    return "\n\n".join((markdown(header, rows), markdown(of_recipes, recipes)))


def draw(question: str, runs: Runs) -> Figure:
    shown = f"they read {runs[0].value('further.n_images.all'):,} digits of USPS, {DOTS}"
    found = pairs(runs, *KINDS)
    figure = study_figure([run for pair in found for run in pair.without], question, (9, 7.4), shown)
    axes = figure.subplots()
    rows = [(f"{p.left_out}s{'' if p.kind else ', 800 units'}", list(p.without)) for p in found]
    series = [(usps("before"), "before", BEFORE), (usps("after"), "after", AFTER)]
    draw_rows(axes, rows, series)
    for y, pair in enumerate(found):
        if pair.control:
            x = 100 * mean(pair.control, per_class("before", pair.left_out))
            axes.plot([x, x], [y - 0.42, y + 0.42], color=INK, linewidth=1.4)
    axes.set_ylabel("the class never seen, by students of 200 units but for the first row")
    axes.set_xlabel("of USPS's images of that class, it reads (axis does not start at 0)")
    percent_x(axes)
    dot = {"marker": "o", "linestyle": "none"}
    marks = [
        Line2D([], [], color=BEFORE, label="never saw it, before the correction", **dot),
        Line2D([], [], color=AFTER, label="after it (bias set on MNIST)", **dot),
        Line2D([], [], color=INK, label="a student that saw all digits"),
    ]
    axes.legend(handles=marks, loc="upper center", bbox_to_anchor=(0.45, -0.1), ncols=3, borderaxespad=0)
    return figure


def words(runs: Runs) -> str:
    (threes,), small = pairs(runs, ""), pairs(runs, "small, ")
    mine = threes.without
    left_out = [run for pair in small for run in pair.without]
    anew = difference((left_out, usps("by_answers", ALL)), (left_out, usps("after", ALL)))
    n_all, n_test = (f"{mine[0].value(f'further.n_images.{part}'):,}" for part in ("all", "test"))
    failing = min(small, key=lambda pair: mean(pair.without, usps("by_frequencies")))
    c, failed = failing.left_out, failing.without
    here = 100 * mean(failed, f"further.class_shares.{c}")
    there = 100 * mean(failed, "bias_correction.target_frequencies.0")
    said = holds("less than before any correction",
                 mean(failed, usps("by_frequencies")) < mean(failed, usps("before")))  # fmt: skip
    of_test = {way: percent(mine, f"further.test.{way}.{LEFT_OUT}", 1) for way in WAYS}
    by_recipe = {name: at(runs, POINTS[f"recipe {name}"]) for name in RECIPES_TRIED}
    best, no_digit = by_recipe["best"], by_recipe["no-digit"]
    lags = [behind_teacher(one) for one in by_recipe.values() if is_without_3(one)]
    yes = holds("Yes.", mean(mine, usps("after")) > mean(mine, per_class("teacher", 3)) - AS_WELL / 100)
    return f"""
{yes} USPS is {n_all} digits from envelopes: other people, another scanner. Brought to MNIST's form
([how](reference.md#how-do-i-use-data-of-my-own)), they are read by networks that learned from MNIST
alone. The teacher reads {percent(mine, usps("teacher", ALL), 1)} % of them, and of their 3s
{percent(mine, per_class("teacher", 3), 1)} %. The student that never saw a 3 reads
{percent(mine, usps("before"), 1)} % of these before the correction and {percent(mine, usps("after"), 1)}
% after it, with the offset that MNIST's training images gave. On MNIST's own test set its 3s go from
{percent(mine, UNSEEN_BEFORE, 1)} to {percent(mine, UNSEEN_AFTER, 1)} %.

Each class left out in turn, with smaller students: {percent(left_out, usps("before"), 1)} % of the class
that was never seen before the correction, {percent(left_out, usps("after"), 1)} % after it, as means over
the ten. Two margins were declared when one seed had been seen, each to be kept by the whole 95 %
interval. A student should be less than {AS_WELL:g} point behind one that saw the class:
{verdict([p.behind() for p in small], AS_WELL)}. The correction should take less than
{NOTHING_THAT_COUNTS:g} points from the nine others:
{verdict([p.price() for p in small], NOTHING_THAT_COUNTS)}.

**Must the bias be set anew for other people?** That takes no label, only their images. Towards the
teacher's mean answer on these, the accuracy on all digits changes by {anew.plus_minus(2)} points, as the
mean over the ten. Towards how often a class occurs in MNIST, it can go wrong: {here:.1f} % of USPS's
digits are {c}s, and {there:.1f} % of MNIST's, so that the student that never saw a {c} then reads
{percent(failed, usps("by_frequencies"), 1)} % of them, {said} ({percent(failed, usps("before"), 1)} %).
How often a digit occurs depends on whose post it is; what a teacher answers follows the images.

On the {n_test} images of USPS's own test set, which its source calls notoriously difficult, and on which
nothing was set, the 3s read are {of_test["before"]} % before the correction, {of_test["after"]} % with
MNIST's offset and {of_test["by_answers"]} % with the one that was set anew by the teacher's answers on the
other images.

**And the other recipes?** They stand in the second table. The student of `best` reads
{percent(best, usps("before", ALL), 1)} % of USPS, its teacher {percent(best, usps("teacher", ALL), 1)} %.
That of `no-digit`, which saw contour lines of noise and never a digit, of MNIST or any other, reads
{percent(no_digit, usps("before", ALL), 1)} %. Where the 3 alone was never seen, a corrected student should be
less than {AS_WELL:g} point behind its own teacher on 3s: {verdict(lags, AS_WELL, "recipes")}.

{{table}}

Per cent of all USPS images of the class that was left out, mean ± standard deviation; the last two
columns are paired differences in points with their 95 % interval. Students of 784-200-200-10, but for the
first row; all else is the recipe `fast`. The second table: all of USPS, and its 3s, read by networks of the
other recipes.
"""


STUDY = Study(
    "handwriting", __doc__, POINTS, table, draw, words, preset=WHOLE_PROBE, n_seeds=5, apart=10,
    further=further, further_holds=HOLDS,
    caption="Digits from envelopes, read by students that never saw one of the classes",
)  # fmt: skip
