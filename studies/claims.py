"""The paper's claims: its figures, ours, and the difference with the interval for one further run of ours."""

from __future__ import annotations

from support.charts import AFTER, BEFORE, FAINT, INK, SMALL, TEACHER, light_grid, log_ticks
from support.intervals import LEVEL, Interval, holm, in_words, prediction
from support.report import markdown

import math
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.figure import Figure
from matplotlib.markers import CARETLEFT

from studies.charts import legend_below, study_figure
from studies.measured import mean_sd, paired_difference, seed_means
from studies.paths import BEST, ERRORS_AFTER, ERRORS_BEFORE, TEACHER_ERRORS
from studies.study import Run, Runs, Settings, all_but, choices, where

# The points of the grid that the claims are about.
SOFT_ALL: Settings = {"omitted_class": (), "hard_weight": 0.0, "n_epochs_student": 20}
HARD_ALL = SOFT_ALL | {"hard_weight": 1.0}
MIXED_ALL = SOFT_ALL | {"hard_weight": 0.1}
WITHOUT_3 = SOFT_ALL | {"omitted_class": (3,)}
ONLY_7_AND_8 = SOFT_ALL | {"omitted_class": all_but(7, 8), "n_epochs_student": 100}  # about as many steps
TRANSFORMED = "transformed"  # the study in which the paper's networks learn from transformed images
ALL_DIGITS: Settings = {"omitted_class": ()}
NO_3S: Settings = {"omitted_class": (3,)}
HEADER = (
    "claim", "test errors of", "paper", "ours", "seeds", "difference (95 % interval)", "p (Holm)", "in words",
)  # fmt: skip
# "As many" is said of two numbers of errors whose difference, with its whole interval, is smaller than twice
# the standard deviation that a number of errors has over test sets: 16 of 67. Declared before the paper's
# seeds 3 and up were run, but not before its 0 to 2, nor before any of the transformed images.
MARGIN = 2.0
FEWEST = 1.0  # errors, where the logarithmic axis of the picture begins


@dataclass(frozen=True)
class Claim:
    """A claim of section 3 about test errors: the paper's figure and where ours is found."""

    number: str
    text: str
    paper: float
    settings: Settings
    path: str
    if_fewer: str = ""  # what has to be said when we make fewer errors
    study: str = "paper"


CLAIMS = (
    Claim("1", "large net, jitter, dropout, max-norm", 67, SOFT_ALL, TEACHER_ERRORS),
    Claim("1", "large net, transformed images", 67, ALL_DIGITS, TEACHER_ERRORS, study=TRANSFORMED),
    Claim("2", "small net, hard labels", 146, HARD_ALL, ERRORS_BEFORE),
    Claim("3", "small net, soft targets and hard labels", 74, MIXED_ALL, ERRORS_BEFORE),
    Claim("3", "the same, soft targets alone", 74, SOFT_ALL, ERRORS_BEFORE),
    Claim("3", "soft targets, transformed images", 74, ALL_DIGITS, ERRORS_BEFORE, study=TRANSFORMED),
    Claim("6", "transfer set without 3s", 206, WITHOUT_3, ERRORS_BEFORE),
    Claim("6", "3s, never seen", 133, WITHOUT_3, "before.omitted_errors"),
    Claim("6", "without 3s, transformed images", 206, NO_3S, ERRORS_BEFORE, study=TRANSFORMED),
    Claim("6", "3s, never seen, transformed images", 133, NO_3S, "before.omitted_errors", study=TRANSFORMED),
    Claim("7", "bias of 3 chosen on the test set", 109, WITHOUT_3, f"{BEST}.test_errors"),
    Claim("7", "3s, bias chosen on the test set", 14, WITHOUT_3, f"{BEST}.omitted_errors"),
    Claim("7", "bias of 3 chosen without test labels", 109, WITHOUT_3, ERRORS_AFTER),
    Claim("7", "3s, bias chosen without test labels", 14, WITHOUT_3, "after.omitted_errors"),
    Claim("7", "without test labels, transformed images", 109, NO_3S, ERRORS_AFTER, study=TRANSFORMED),
    Claim(
        "7", "3s, without test labels, transformed images", 14, NO_3S, "after.omitted_errors",
        study=TRANSFORMED,
    ),
    Claim(
        "8", "transfer set of 7s and 8s only", 4730, ONLY_7_AND_8, ERRORS_BEFORE,
        if_fewer="a discrepancy in our favour, not a reproduction",
    ),
    Claim("9", "one bias for 7 and 8, chosen on the test set", 1320, ONLY_7_AND_8, f"{BEST}.test_errors"),
    Claim("9", "eight biases, chosen without test labels", 1320, ONLY_7_AND_8, ERRORS_AFTER),
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """A claim about two of our own settings: seed by seed, the errors of `first` less those of `second`."""

    number: str
    text: str
    paper: str
    first: Runs
    second: Runs


def is_the_papers_data(runs: Runs) -> bool:
    """Whether errors can be set beside the paper's: the same 10,000 test images."""
    return all(run.value("data.name") == "MNIST" for run in runs)


def against_paper(runs: Runs, claim: Claim) -> Interval:
    """Our mean errors less the paper's figure, with the interval for one further run of ours.

    The paper's figure is one run, too: it can be told from ours if it lies where one of ours would not.
    No run makes fewer than 0 errors.
    """
    return replace(prediction([run.value(claim.path) - claim.paper for run in runs]), least=-claim.paper)


def margin(errors: float, n_test: int) -> float:
    """The difference below which two numbers of errors are called "as many"."""
    return MARGIN * math.sqrt(errors * (1 - errors / n_test))


@dataclass
class Row:
    """One line of the table."""

    number: str
    text: str
    paper: str
    ours: str
    n_seeds: int
    difference: Interval | None  # None where test images are others than the paper's
    margin: float = 0.0
    if_fewer: str = ""
    claim: Claim | None = None
    p: float = field(default=math.nan, init=False)  # Holm's, over the whole table

    @property
    def words(self) -> str:
        if self.difference is None:
            return "not compared: other test images"
        words = in_words(self.difference)
        if words == "not told apart" and abs(self.difference.mean) + self.difference.half < self.margin:
            return "as many"
        if words in ("fewer errors", "more errors") and self.p >= 1 - LEVEL:
            words += ", but not by Holm"
        return f"{words}: {self.if_fewer}" if self.if_fewer and words.startswith("fewer") else words

    def cells(self) -> list[str]:
        p = "-" if math.isnan(self.p) else "< 0.001" if self.p < 0.001 else f"{self.p:.3f}"
        found = str(self.difference or "-")
        return [self.number, self.text, self.paper, self.ours, str(self.n_seeds), found, p, self.words]


def runs_for(claim: Claim, runs: Runs) -> list[Run]:
    """Those that a claim is about."""
    return where([run for run in runs if run.study == claim.study], **claim.settings)


def claim_rows(runs: Runs) -> list[Row]:
    """A row for every claim of which there are runs, in the order of the paper."""
    rows = []
    for claim in CLAIMS:
        if mine := runs_for(claim, runs):
            shown = claim.number, claim.text, f"{claim.paper:g}", mean_sd(mine, claim.path)
            n_seeds = len({run.config.seed for run in mine})
            difference = against_paper(mine, claim) if is_the_papers_data(mine) else None
            most = margin(claim.paper, mine[0].value("data.n_test")) if difference else 0.0
            rows.append(Row(*shown, n_seeds, difference, most, claim.if_fewer, claim))
    for comparison in comparisons(runs):
        difference = paired_difference(comparison.first, comparison.second, ERRORS_BEFORE)
        if difference is not None:
            sides = [seed_means(side, ERRORS_BEFORE) for side in (comparison.first, comparison.second)]
            first, second = (statistics.mean(side.values()) for side in sides)
            shown = comparison.number, comparison.text, comparison.paper, f"{first:.1f} against {second:.1f}"
            most = margin(second, comparison.second[0].value("data.n_test"))
            rows.append(Row(*shown, len(sides[0].keys() & sides[1].keys()), difference, most))
    tested = [row for row in rows if row.difference is not None and not math.isnan(row.difference.p)]
    for row, p in zip(tested, holm([row.difference.p for row in tested]), strict=True):
        row.p = p
    return sorted(rows, key=lambda row: row.number)


def complete(runs: Runs) -> list[Run]:
    """Those of the seeds that have every temperature: the mean of others would be one of other points."""
    n_runs = Counter(run.config.seed for run in runs)
    return [run for run in runs if n_runs[run.config.seed] == len(choices(runs, "temperature"))]


def comparisons(runs: Runs) -> list[Comparison]:
    """Claim 3 against 2; claim 4, from T = 8 on all alike; claim 5, T from 2.5 to 4 best for small nets."""
    paper_runs = [run for run in runs if run.study == "paper"]
    soft, mixed, hard = (where(paper_runs, **point) for point in (SOFT_ALL, MIXED_ALL, HARD_ALL))
    found = [
        Comparison("3", "soft targets and hard labels against hard labels", "74 against 146", mixed, hard),
        Comparison("3", "soft targets alone against hard labels", "74 against 146", soft, hard),
    ]
    temperature = [run for run in runs if run.study == "temperature" and not run.config.omitted_class]

    def between(number: str, units: int, paper: str, *ranges: Callable[[float], bool]) -> None:
        mine = where(temperature, student_hidden=(units, units))
        first, second = (complete([r for r in mine if within(r.config.temperature)]) for within in ranges)
        text = f"{units} units: {named(first)} against {named(second)}"
        found.append(Comparison(number, text, paper, first, second))

    def named(side: Runs) -> str:
        return "T = " + ", ".join(f"{t:g}" for t in choices(side, "temperature"))

    for units in (800, 300):
        between("4", units, "similar", lambda t: t > 8, lambda t: t == 8)
    between("5", 30, "clearly fewer", lambda t: 2.5 <= t <= 4, lambda t: t < 2.5)
    between("5", 30, "clearly fewer", lambda t: 2.5 <= t <= 4, lambda t: t > 4)
    return found


def claims_table(runs: Runs) -> str:
    return markdown(HEADER, [row.cells() for row in claim_rows(runs)], n_left=2)


LOOK: dict[str, dict[str, str]] = {  # by the first word of a claim's path; "best" is a corrected student, too
    "teacher": {"color": TEACHER, "marker": "s", "label": "our teacher"},
    "before": {"color": BEFORE, "marker": "o", "label": "our student"},
    "after": {"color": AFTER, "marker": "D", "label": "our student, bias corrected"},
}


def draw_claims(question: str, runs: Runs) -> Figure:
    """Errors of the paper and of ours: a row per claim, on one scale, with what each is known to.

    The paper's with the margin, which is what a number of errors differs by over test sets; ours with the
    interval for one further run. The scale is logarithmic: 14 errors and 4,730 have each their place.
    """
    shown = [(claim, mine) for claim in CLAIMS if (mine := runs_for(claim, runs))]
    said = {CLAIMS.index(row.claim): row for row in claim_rows(runs) if row.claim}
    title = f"{question}  Test errors, the paper's and ours"
    every = [run for _, mine in shown for run in mine]
    figure = study_figure(every, title, (12.7, 1.9 + 0.37 * len(shown)), "95 % interval for one more run")
    axes = figure.subplots()
    comparable, beside, labels = is_the_papers_data(runs), [], set()
    arrow = f"the interval goes below {FEWEST:g}"
    n_test = runs[0].value("data.n_test")
    for y, (claim, mine) in enumerate(shown):
        found, row = against_paper(mine, claim), said[CLAIMS.index(claim)]
        ours, half = found.mean + claim.paper, np.nan_to_num(found.half)
        within = margin(claim.paper, max(n_test, claim.paper))
        axes.plot(
            [claim.paper - within, claim.paper + within], [y, y], color=FAINT, linewidth=9, zorder=1,
            solid_capstyle="butt", label=None if y else "two standard deviations over test sets",
        )  # fmt: skip
        axes.plot(claim.paper, y, "|", color=INK, markersize=15, markeredgewidth=2.5, zorder=1.5,
                  label=None if y else "the paper")  # fmt: skip
        head = claim.path.partition(".")[0]
        look = LOOK.get(head, LOOK["after"])
        label = None if look["label"] in labels else look["label"]
        labels.add(look["label"])
        bar = np.array([[min(half, ours - FEWEST)], [half]]) if ours > FEWEST else np.zeros((2, 1))
        dot = {"markersize": 7, "capsize": 4, "linestyle": "none", **look, "label": label}
        axes.errorbar(max(ours, FEWEST), y, xerr=bar, **dot)
        if ours - half < FEWEST:
            axes.plot(FEWEST, y, marker=CARETLEFT, color=look["color"], markersize=9, linestyle="none",
                      label=None if arrow in labels else arrow)  # fmt: skip
            labels.add(arrow)
        words = row.words.partition(":")[0] if comparable else "other test images"
        beside.append(f"{claim.paper:,.0f} → {ours:,.0f}  n = {row.n_seeds}  {words}")
    axes.set_yticks(range(len(shown)), [f"{claim.number}  {claim.text}" for claim, _ in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(shown)), beside)
    right.spines.right.set_visible(False)
    for side in (axes, right):
        side.tick_params(axis="y", length=0)
    axes.set_title("right: errors, the paper's → ours, our seeds", loc="right", fontsize=SMALL)
    log_ticks(axes, (1, 5, 20, 100, 500, 2000), "{:,g}".format)
    axes.set_xlim(FEWEST, 1.2 * max(*axes.dataLim.intervalx, 4730))
    of = f"of {n_test:,} images" if comparable else f"ours of {n_test:,} images, the paper's of 10,000"
    axes.set_xlabel(f"test errors {of} (log scale)")
    light_grid(axes, "x")
    legend_below(axes, 3, -0.8 / figure.get_figheight(), 0.7)
    return figure
