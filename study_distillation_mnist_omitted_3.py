#!/usr/bin/env python3
"""Every number of section 3 of the paper, and seven questions that it leaves open, each over several seeds.

    python3 study_distillation_mnist_omitted_3.py                         # all studies, into viz/study
    python3 study_distillation_mnist_omitted_3.py --study temperature     # one of them

A study is a small grid of settings. All runs go through run_many.py: teachers and runs are shared and stored,
so that nothing is trained twice and an interrupted study goes on where it stopped.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

import distillation_mnist_omitted_3 as core
import run_many
import visualize_distillation_mnist_omitted_3 as visualize
from distillation_mnist_omitted_3 import Config, Data
from run_many import Record
from suite_io import Console, UserError, atomic_output, check_writable, run_script
from visualize_distillation_mnist_omitted_3 import AFTER, BEFORE, INK, OTHERS, STYLE, TEACHER

Settings = dict[str, Any]


# ------------------------------------------------------------------------------------------------------------
# The studies: a question, a grid of settings
# ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Study:
    """A question and what answers it: a `preset`, which flags override, and a grid, which wins."""

    name: str
    question: str
    grid: Sequence[Settings]
    preset: Settings = field(default_factory=dict)


EVERY_CLASS = tuple(range(core.N_CLASSES))


def all_but(*kept: int) -> tuple[int, ...]:
    return tuple(c for c in EVERY_CLASS if c not in kept)


# The paper's large net, regularised; the small one, as long as it pays. Chosen as the recipe "best" was, on
# held-out training images.
PAPER_PRESET = {
    "n_epochs_teacher": 60,
    "batch_size": 512,
    "learning_rate": 2e-3,
    "lr_schedule": "linear",
    "dropout_input": 0.05,
    "dropout": 0.2,
    "max_norm": 3.0,
    "jitter": 2,
    "n_epochs_student": 20,
    "batch_size_student": 128,
    "learning_rate_student": 1e-3,
    "probe_size": 60_000,
}
SOFT_ALL = {"omitted_class": (), "hard_weight": 0.0, "n_epochs_student": 20}
HARD_ALL = SOFT_ALL | {"hard_weight": 1.0}
MIXED_ALL = SOFT_ALL | {"hard_weight": 0.1}
WITHOUT_3 = SOFT_ALL | {"omitted_class": (3,)}
ONLY_7_AND_8 = SOFT_ALL | {"omitted_class": all_but(7, 8), "n_epochs_student": 100}  # about as many steps

TEMPERATURES = (1.0, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 50.0)
EPOCHS_BY_UNITS = {800: 6, 300: 10, 30: 20}  # small nets learn longer, and cost less
SIZES = (5, 10, 20, 30, 50, 100, 200, 400, 800, 1200)
WEIGHTS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
FRACTIONS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.01)
SEVERAL = {
    1: ((0,), (3,), (4,), (8,)),
    2: ((0, 1), (3, 5), (4, 9), (7, 8)),
    3: ((0, 1, 2), (2, 6, 7), (3, 5, 8), (4, 7, 9)),
    5: ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9), (0, 2, 4, 6, 8), (1, 3, 5, 7, 9)),
    8: (all_but(7, 8), all_but(0, 1), all_but(3, 5), all_but(4, 9)),
}
EPOCHS_BY_OMITTED = {1: 6, 2: 7, 3: 8, 5: 12, 8: 30}  # about as many steps whatever is left out
WHOLE_PROBE = {"probe_size": 60_000}

STUDIES = {
    study.name: study
    for study in (
        Study(
            "paper",
            "Do the paper's claims hold?",
            [SOFT_ALL, HARD_ALL, MIXED_ALL, WITHOUT_3, ONLY_7_AND_8],
            PAPER_PRESET,
        ),
        Study(
            "temperature",
            "Which temperature, for which size of student?",
            [
                {
                    "temperature": t,
                    "student_hidden": (n, n),
                    "omitted_class": omitted,
                    "n_epochs_student": epochs,
                }
                for n, epochs in EPOCHS_BY_UNITS.items()
                for omitted in ((3,), ())
                for t in TEMPERATURES
            ],
            WHOLE_PROBE,
        ),
        Study("omitted-class", "Is 3 special?", [{"omitted_class": (c,)} for c in EVERY_CLASS], WHOLE_PROBE),
        Study(
            "several-omitted",
            "How many classes can be left out at once?",
            [
                {"omitted_class": classes, "n_epochs_student": EPOCHS_BY_OMITTED[n]}
                for n, choices in SEVERAL.items()
                for classes in choices
            ],
            WHOLE_PROBE,
        ),
        Study(
            "student-size",
            "How small can the student be?",
            [{"student_hidden": (n, n)} for n in SIZES],
            WHOLE_PROBE | {"n_epochs_student": 12},
        ),
        Study("hard-mix", "Do hard labels help or harm?", [{"hard_weight": w} for w in WEIGHTS], WHOLE_PROBE),
        Study(
            "transfer-size",
            "How much data does dark knowledge need?",
            [{"transfer_fraction": f, "hard_weight": w} for f in FRACTIONS for w in (0.0, 1.0)],
            WHOLE_PROBE,
        ),
    )
}


# ------------------------------------------------------------------------------------------------------------
# Runs: what was measured, by settings and seed
# ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One run of a study and what it measured."""

    study: str
    settings: Settings  # of the grid
    config: Config
    record: Record

    def value(self, path: str) -> float:
        """A metric by its path in results.json, as "teacher.test_errors"; "before" and "after" are short."""
        short = {"before": "student.before_correction", "after": "student.after_correction"}
        head, _, tail = path.partition(".")
        found: Any = self.record
        for key in f"{short.get(head, head)}.{tail}".split("."):
            found = found[key]
        return found


def where(runs: Iterable[Run], **settings: Any) -> list[Run]:
    """The runs whose configs have these settings."""
    return [run for run in runs if all(getattr(run.config, k) == v for k, v in settings.items())]


def spread(runs: Sequence[Run], path: str) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of a metric over runs; NaN where there are too few."""
    values = [run.value(path) for run in runs]
    mean = statistics.mean(values) if values else math.nan
    return mean, statistics.stdev(values) if len(values) > 1 else math.nan


def mean_sd(runs: Sequence[Run], path: str, scale: float = 1.0, digits: int = 1) -> str:
    mean, sd = (scale * x for x in spread(runs, path))
    if math.isnan(mean):
        return "-"
    return f"{mean:.{digits}f}" if math.isnan(sd) else f"{mean:.{digits}f} ± {sd:.{digits}f}"


# ------------------------------------------------------------------------------------------------------------
# The paper's claims
# ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """A claim of section 3 about test errors: the paper's figure and where ours is found."""

    number: str
    text: str
    paper: float
    settings: Settings
    path: str


TEST_ERRORS = "before.test_errors"
BEST = "bias_correction.best_on_test_set"
CLAIMS = (
    Claim("1", "large net, jitter, dropout, max-norm", 67, SOFT_ALL, "teacher.test_errors"),
    Claim("2", "small net, hard labels", 146, HARD_ALL, TEST_ERRORS),
    Claim("3", "small net, soft targets and hard labels", 74, MIXED_ALL, TEST_ERRORS),
    Claim("3", "the same, soft targets alone", 74, SOFT_ALL, TEST_ERRORS),
    Claim("6", "transfer set without 3s", 206, WITHOUT_3, TEST_ERRORS),
    Claim("6", "of these, on the 1,010 3s", 133, WITHOUT_3, "before.omitted_errors"),
    Claim("7", "bias of 3 chosen on the test set", 109, WITHOUT_3, f"{BEST}.test_errors"),
    Claim("7", "of these, on 3s", 14, WITHOUT_3, f"{BEST}.omitted_errors"),
    Claim("7", "bias of 3 chosen without test labels", 109, WITHOUT_3, "after.test_errors"),
    Claim("7", "of these, on 3s", 14, WITHOUT_3, "after.omitted_errors"),
    Claim("8", "transfer set of 7s and 8s only", 4730, ONLY_7_AND_8, TEST_ERRORS),
    Claim("9", "one bias for 7 and 8, chosen on the test set", 1320, ONLY_7_AND_8, f"{BEST}.test_errors"),
    Claim("9", "eight biases, chosen without test labels", 1320, ONLY_7_AND_8, "after.test_errors"),
)


def verdict(runs: Sequence[Run], path: str, paper: float) -> str:
    """Whether our mean number of errors is the paper's or less."""
    mean, sd = spread(runs, path)
    if math.isnan(mean):
        return "no run"
    if mean <= paper:
        return "yes"
    return "within 2 sd" if mean - 2 * sd <= paper else "no"


def claim_rows(runs: Sequence[Run]) -> list[list[str]]:
    """Claim, its text, the paper's figure, ours, whether it holds; from the studies that were run."""
    paper_runs = [run for run in runs if run.study == "paper"]
    rows = []
    for claim in CLAIMS:
        mine = where(paper_runs, **claim.settings)
        if mine:
            row = [claim.number, claim.text, f"{claim.paper:g}", mean_sd(mine, claim.path)]
            rows.append([*row, verdict(mine, claim.path, claim.paper)])
    temperature = [run for run in runs if run.study == "temperature"]
    for units in (800, 300):
        rows += [flat_above_8(where(temperature, student_hidden=(units, units), omitted_class=()), units)]
    rows += [best_in_the_middle(where(temperature, student_hidden=(30, 30), omitted_class=()))]
    return sorted((row for row in rows if row), key=lambda row: row[0])


def flat_above_8(runs: Sequence[Run], units: int) -> list[str]:
    """Claim 4: above T = 8 the temperature makes no difference; that is, less than the seeds do."""
    groups = [where(runs, temperature=t) for t in TEMPERATURES if t >= 8]
    if not all(len(group) > 1 for group in groups):
        return []
    means, sds = zip(*(spread(group, TEST_ERRORS) for group in groups), strict=True)
    pooled = math.sqrt(statistics.mean(sd**2 for sd in sds))
    ours = f"{min(means):.0f} to {max(means):.0f} (sd {pooled:.0f})"
    text = f"{units} units: T = 8, 12, 20, 50 alike (mean errors)"
    return ["4", text, "similar", ours, "yes" if max(means) - min(means) <= 2 * pooled else "no"]


def best_in_the_middle(runs: Sequence[Run]) -> list[str]:
    """Claim 5: with 30 units, T from 2.5 to 4 beats lower and higher, by over two standard errors."""
    groups = {
        "below": [r for r in runs if r.config.temperature < 2.5],
        "middle": [r for r in runs if 2.5 <= r.config.temperature <= 4],
        "above": [r for r in runs if r.config.temperature > 4],
    }
    if not all(len(group) > 1 for group in groups.values()):
        return []
    found = {name: spread(group, TEST_ERRORS) for name, group in groups.items()}

    def clearly_worse(name: str) -> bool:
        errors = [found[k][1] / math.sqrt(len(groups[k])) for k in (name, "middle")]
        return found[name][0] - found["middle"][0] > 2 * math.hypot(*errors)

    ours = f"{found['middle'][0]:.0f}; lower {found['below'][0]:.0f}, higher {found['above'][0]:.0f}"
    holds = [clearly_worse("below"), clearly_worse("above")]
    answer = "yes" if all(holds) else "against higher only" if holds[1] else "no"
    if holds == [True, False]:
        answer = "against lower only"
    return ["5", "30 units: T = 2.5 to 4 best (mean errors)", "clearly", ours, answer]


# ------------------------------------------------------------------------------------------------------------
# Tables
# ------------------------------------------------------------------------------------------------------------


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], n_left: int = 1) -> str:
    rule = ["---"] * n_left + ["---:"] * (len(header) - n_left)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def class_list(classes: Sequence[int]) -> str:
    return " ".join(map(str, classes)) if len(classes) <= 5 else f"all but {class_list(all_but(*classes))}"


ROW_NAMES: dict[str, Callable[[Any], str]] = {
    "temperature": lambda t: f"T = {t:g}",
    "student_hidden": lambda sizes: f"{sizes[0]} units",
    "omitted_class": lambda classes: f"without {class_list(classes)}" if classes else "all classes",
    "hard_weight": lambda w: "hard labels" if w == 1 else "soft targets" if w == 0 else f"hard weight {w:g}",
    "transfer_fraction": lambda f: f"{100 * f:g} % of images",
}


def row_name(settings: Settings) -> str:
    return ", ".join(ROW_NAMES[key](value) for key, value in settings.items() if key in ROW_NAMES)


METRIC_COLUMNS = (
    ("seen classes, before", "before.other_accuracy"),
    ("unseen, before", "before.omitted_accuracy"),
    ("seen classes, after", "after.other_accuracy"),
    ("unseen, after", "after.omitted_accuracy"),
    ("all, after", "after.test_accuracy"),
)


def study_table(study: Study, runs: Sequence[Run]) -> str:
    """Accuracies in per cent, mean ± standard deviation over seeds, a row per point of the grid."""
    rows = []
    for settings in study.grid:
        mine = [run for run in runs if run.settings == settings]
        if mine:
            omitted = bool(mine[0].config.omitted_class)
            rows.append(
                [row_name(settings)]
                + [
                    mean_sd(mine, path, 100, 2) if omitted or "omitted" not in path else "-"
                    for _, path in METRIC_COLUMNS
                ]
            )
    return markdown(["%", *(name for name, _ in METRIC_COLUMNS)], rows)


def tables(runs: Sequence[Run]) -> dict[str, str]:
    """The Markdown table of every study that was run, by its name."""
    found = {}
    for name, study in STUDIES.items():
        mine = [run for run in runs if run.study == name]
        if not mine:
            continue
        if name == "paper":
            header = ["claim", "test errors of", "paper", "ours", "holds"]
            found[name] = markdown(header, claim_rows(runs), n_left=2)
        else:
            found[name] = study_table(study, mine)
    return found


# ------------------------------------------------------------------------------------------------------------
# Figures: one per study, mean and standard deviation over seeds
# ------------------------------------------------------------------------------------------------------------


def study_figure(study: Study, runs: Sequence[Run], title: str, width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(f"{study.question}  {title}", x=0.01, ha="left", fontweight="bold")
    config, n_seeds = runs[0].config, len({run.config.seed for run in runs})
    temperature = "" if len({run.config.temperature for run in runs}) > 1 else f"T = {config.temperature:g}, "
    origin = (
        f"{runs[0].record['data']['name']}, {temperature}{config.n_epochs_teacher} teacher epochs, "
        f"mean ± standard deviation over {n_seeds} seed{'s' if n_seeds > 1 else ''}"
    )
    figure.supxlabel(origin, x=0.99, ha="right", fontsize=9, color="#666666")
    return figure


def draw_curve(
    axes: Axes, xs: Sequence[float], groups: Sequence[Sequence[Run]], path: str, label: str, **style: Any
) -> None:
    """Mean and standard deviation of a metric against x, one group of runs (the seeds) per x."""
    means, sds = np.array([spread(group, path) for group in groups]).T
    axes.errorbar(xs, means, np.nan_to_num(sds), label=label, markersize=5, capsize=3, linewidth=1.5, **style)


UNSEEN_BEFORE = {"color": BEFORE, "marker": "o", "linestyle": "--"}
UNSEEN_AFTER = {"color": AFTER, "marker": "D", "linestyle": "-"}
SEEN = {"color": OTHERS, "marker": "s", "linestyle": "-"}


def log_ticks(axes: Axes, ticks: Sequence[float], text: Callable[[float], str] = "{:g}".format) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def draw_paper(study: Study, runs: Sequence[Run]) -> Figure:
    figure = study_figure(study, runs, "Test errors, the paper's and ours", 11, 6.2)
    axes = figure.subplots()
    for row, claim in enumerate(CLAIMS):
        mine = where(runs, **claim.settings)
        mean, sd = spread(mine, claim.path)
        axes.plot([claim.paper, mean], [row, row], color="#DDDDDD", linewidth=3, zorder=1)
        diamond = {
            "markersize": 9,
            "markerfacecolor": "white",
            "markeredgecolor": INK,
            "markeredgewidth": 1.6,
        }
        axes.plot(claim.paper, row, "D", label="the paper" if row == 0 else None, **diamond)
        dot = {"fmt": "o", "color": AFTER, "markersize": 8, "capsize": 4}
        axes.errorbar(mean, row, xerr=np.nan_to_num(sd), label="ours" if row == 0 else None, **dot)
        axes.annotate(
            f"{claim.paper:g} → {mean:.0f}",
            (max(claim.paper, mean + np.nan_to_num(sd)), row),
            xytext=(14, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
        )
    axes.set_yticks(range(len(CLAIMS)), [f"{claim.number}  {claim.text}" for claim in CLAIMS])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    log_ticks(axes, (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000), "{:,.0f}".format)
    axes.set_xlim(right=14_000)
    axes.set_xlabel("test errors of 10,000 (log scale; further left is better)")
    axes.grid(axis="x", color="#EEEEEE")
    axes.set_axisbelow(True)
    axes.legend(loc="upper right")
    return figure


def draw_temperature(study: Study, runs: Sequence[Run]) -> Figure:
    figure = study_figure(study, runs, "Errors with all classes; recovery of an unseen 3", 12, 7)
    grid = figure.subplots(2, len(EPOCHS_BY_UNITS), sharex=True)
    for column, units in zip(grid.T, EPOCHS_BY_UNITS, strict=True):
        mine = where(runs, student_hidden=(units, units))
        everything, without_3 = where(mine, omitted_class=()), where(mine, omitted_class=(3,))
        groups = [where(everything, temperature=t) for t in TEMPERATURES]
        draw_curve(column[0], TEMPERATURES, groups, TEST_ERRORS, "", color=INK, marker="o")
        column[0].set_title(f"student of 2 x {units} units")
        column[0].set_ylim(bottom=0)
        column[0].grid(axis="y", color="#DDDDDD", linewidth=0.8)
        groups = [where(without_3, temperature=t) for t in TEMPERATURES]
        for path, label, style in (
            ("before.omitted_accuracy", "3s, before the correction", UNSEEN_BEFORE),
            ("after.omitted_accuracy", "3s, after it", UNSEEN_AFTER),
            ("after.other_accuracy", "other classes, after it", SEEN),
        ):
            draw_curve(column[1], TEMPERATURES, groups, path, label, **style)
        visualize.percent_axis(column[1])
        column[1].set_xlabel("temperature T (log scale)")
        log_ticks(column[1], (1, 2, 4, 8, 20, 50))
    grid[0, 0].set_ylabel("test errors,\ntransfer set of all classes")
    grid[1, 0].set_ylabel("test accuracy,\ntransfer set without 3s")
    lowest = min(axes.get_ylim()[0] for axes in grid[1])
    for axes in grid[1]:
        axes.set_ylim(max(0, lowest), 1.01)
    grid[1, 0].legend(loc="lower right")
    return figure


def draw_omitted_class(study: Study, runs: Sequence[Run]) -> Figure:
    figure = study_figure(study, runs, "Accuracy on the class left out", 11, 4.8)
    axes = figure.subplots()
    groups = [where(runs, omitted_class=(c,)) for c in EVERY_CLASS]
    teacher = [
        statistics.mean(run.record["teacher"]["per_class_accuracy"][c] for run in group)
        for c, group in enumerate(groups)
    ]
    dash = {"color": TEACHER, "markersize": 26, "markeredgewidth": 3}
    axes.plot(EVERY_CLASS, teacher, "_", label="teacher, on that class", **dash)
    for path, label, style, shift in (
        ("before.omitted_accuracy", "student that never saw it", UNSEEN_BEFORE, -0.12),
        ("after.omitted_accuracy", "the same, bias corrected", UNSEEN_AFTER, 0.12),
    ):
        xs = [c + shift for c in EVERY_CLASS]
        draw_curve(axes, xs, groups, path, label, **{**style, "linestyle": "none"})
    axes.set_xticks(EVERY_CLASS)
    axes.set_xlabel("the class left out of the transfer set")
    axes.set_ylabel("test accuracy on that class")
    visualize.percent_axis(axes)
    axes.legend(loc="lower left")
    return figure


def draw_several_omitted(study: Study, runs: Sequence[Run]) -> Figure:
    figure = study_figure(study, runs, "One offset for each", 11, 5)
    axes = figure.subplots()
    for path, label, style in (
        ("before.omitted_accuracy", "classes never seen, before the correction", UNSEEN_BEFORE),
        ("after.omitted_accuracy", "classes never seen, after it", UNSEEN_AFTER),
        ("after.other_accuracy", "classes seen, after it", SEEN),
    ):
        means = []
        for n, choices in SEVERAL.items():
            groups = [where(runs, omitted_class=classes) for classes in choices]
            xs = n + 0.06 * (np.arange(len(choices)) - (len(choices) - 1) / 2)
            points = {"color": style["color"], "marker": style["marker"], "linestyle": "none", "alpha": 0.6}
            draw_curve(axes, xs, groups, path, "", **points)
            means.append(np.mean([spread(group, path)[0] for group in groups]))
        line = {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 2}
        axes.plot(list(SEVERAL), means, label=label, **line)
    axes.set_xticks(list(SEVERAL))
    axes.set_xlabel("number of classes left out (a point for each choice of classes, lines: their means)")
    axes.set_ylabel("test accuracy")
    visualize.percent_axis(axes)
    axes.legend(loc="lower left")
    return figure


def draw_student_size(study: Study, runs: Sequence[Run]) -> Figure:
    figure = study_figure(study, runs, "Two hidden layers of equal size, no 3 seen", 11, 5)
    axes = figure.subplots()
    groups = [where(runs, student_hidden=(n, n)) for n in SIZES]
    for path, label, style in (
        ("after.other_accuracy", "other classes, after the correction", SEEN),
        ("before.omitted_accuracy", "3s, before it", UNSEEN_BEFORE),
        ("after.omitted_accuracy", "3s, after it", UNSEEN_AFTER),
    ):
        draw_curve(axes, SIZES, groups, path, label, **style)
    log_ticks(axes, SIZES)
    axes.set_xlabel("units per hidden layer of the student (log scale)")
    axes.set_ylabel("test accuracy")
    visualize.percent_axis(axes)
    axes.set_ylim(0, 1.03)
    axes.legend(loc="lower right")
    return figure


def draw_hard_mix(study: Study, runs: Sequence[Run]) -> Figure:
    figure = study_figure(study, runs, "Hard labels of the nine classes seen, mixed in", 11, 4.8)
    left, right = figure.subplots(1, 2)
    groups = [where(runs, hard_weight=w) for w in WEIGHTS]
    draw_curve(left, WEIGHTS, groups, "before.omitted_accuracy", "before the correction", **UNSEEN_BEFORE)
    draw_curve(left, WEIGHTS, groups, "after.omitted_accuracy", "after it", **UNSEEN_AFTER)
    left.set_title("test accuracy on 3s, never seen")
    left.set_ylim(-0.03, 1.03)
    draw_curve(right, WEIGHTS, groups, "before.other_accuracy", "before the correction", **SEEN)
    draw_curve(
        right, WEIGHTS, groups, "after.other_accuracy", "after it", color=INK, marker="D", linestyle="-"
    )
    right.set_title("test accuracy on the nine classes seen")
    for axes in (left, right):
        axes.set_xlabel("weight of the hard labels (0: soft targets alone)")
        axes.legend(loc="lower left")
        visualize.percent_axis(axes)
    return figure


def draw_transfer_size(study: Study, runs: Sequence[Run]) -> Figure:
    figure = study_figure(study, runs, "As many steps, on fewer images", 11, 4.8)
    left, right = figure.subplots(1, 2)
    soft, hard = ([where(runs, transfer_fraction=f, hard_weight=w) for f in FRACTIONS] for w in (0.0, 1.0))
    xs = [100 * f for f in FRACTIONS]
    draw_curve(left, xs, soft, "before.omitted_accuracy", "before the correction", **UNSEEN_BEFORE)
    draw_curve(left, xs, soft, "after.omitted_accuracy", "after it", **UNSEEN_AFTER)
    left.set_title("soft targets: test accuracy on 3s, never seen")
    left.set_ylim(-0.03, 1.03)
    draw_curve(right, xs, soft, "before.other_accuracy", "soft targets", **SEEN)
    draw_curve(right, xs, hard, "before.other_accuracy", "hard labels", color=INK, marker="v", linestyle="--")
    right.set_title("test accuracy on the nine classes seen")
    for axes in (left, right):
        log_ticks(axes, xs, "{:g} %".format)
        axes.set_xlabel("share of the transfer set (100 %: 53,869 images; log scale)")
        axes.legend(loc="lower right")
        visualize.percent_axis(axes)
    return figure


DRAW: dict[str, Callable[[Study, Sequence[Run]], Figure]] = {
    "paper": draw_paper,
    "temperature": draw_temperature,
    "omitted-class": draw_omitted_class,
    "several-omitted": draw_several_omitted,
    "student-size": draw_student_size,
    "hard-mix": draw_hard_mix,
    "transfer-size": draw_transfer_size,
}


# ------------------------------------------------------------------------------------------------------------
# From the command line to results.json
# ------------------------------------------------------------------------------------------------------------


def plan(names: Sequence[str], given: Settings, n_seeds: int) -> dict[tuple[str, int], list[Config]]:
    """The configs of every point of every study, one per seed, by study and the point's place in its grid."""
    recipe = {"recipe": "fast", **{k: v for k, v in given.items() if k == "recipe"}}
    first_seed = given.get("seed", 0)
    planned = {}
    for name in names:
        study = STUDIES[name]
        for place, point in enumerate(study.grid):
            settings = {**core.RECIPES[recipe["recipe"]], **study.preset, **recipe, **given, **point}
            planned[name, place] = [
                Config(**{**settings, "seed": seed}) for seed in range(first_seed, first_seed + n_seeds)
            ]
    return planned


def carry_out(
    names: Sequence[str],
    given: Settings,
    n_seeds: int,
    data: Data,
    open_pool: Callable[[], Any],
    console: Console,
) -> tuple[list[Run], dict[Config, str]]:
    """Every run of these studies that succeeds, and the reason of every other one's failure."""
    planned = plan(names, given, n_seeds)
    study_of = {config: name for (name, _), configs in reversed(planned.items()) for config in configs}
    for config in study_of:
        core.check_omitted(data, config.omitted_class)

    def label(config: Config) -> str:
        place = next(p for (n, p), configs in planned.items() if n == study_of[config] and config in configs)
        point = row_name(STUDIES[study_of[config]].grid[place])
        return f"{study_of[config]}, {point}, seed {config.seed}"

    configs = list(dict.fromkeys(config for group in planned.values() for config in group))
    records, reasons = run_many.run_many(configs, data, open_pool, console, label)
    runs = [
        Run(name, STUDIES[name].grid[place], config, records[config])
        for (name, place), group in planned.items()
        for config in group
        if config in records
    ]
    return runs, reasons


def results(runs: Sequence[Run], reasons: dict[Config, str]) -> dict[str, Any]:
    """The content of results.json; the README documents its keys."""

    def without_matrix(metrics: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in metrics.items() if k != "confusion_matrix"}

    def plain(settings: Settings) -> Settings:
        return {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}

    entries = []
    for run in runs:
        student = run.record["student"]
        entries.append(
            {
                "study": run.study,
                "grid": run.settings,
                "flags": run_many.flags_of(run.config),
                "seed": run.config.seed,
                "teacher": without_matrix(run.record["teacher"]),
                "student": {part: without_matrix(student[part]) for part in student},
                "bias_correction": run.record["bias_correction"],
                "seconds": {k: run.record["wall_clock_seconds"][k] for k in ("teacher", "student")},
                "environment": run.record["environment"],
            }
        )
    return {
        "data": {key: runs[0].record["data"][key] for key in ("name", "sha256", "n_train", "n_test")},
        "runs": entries,
        "tables": tables(runs),
        "failed": [{"config": plain(asdict(c)), "reason": reason} for c, reason in reasons.items()],
    }


def main(argv: list[str] | None = None) -> None:
    parser = core.argument_parser("Reproduce the paper's claims and answer its open questions, over seeds.")
    parser.add_argument(
        "--study", nargs="+", choices=list(STUDIES), default=list(STUDIES), metavar="NAME",
        help=f"which studies: {', '.join(STUDIES)} (default: all)",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds per setting (default: 3)")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="processes that share the cores (default: one per core)"
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="send the runs to the Dask scheduler there, as tcp://HOST:PORT"
    )
    arguments = parser.parse_args(argv)
    for name in ("seeds", "jobs"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise UserError(f"--{name} must be 1 or more, not {value}")
    if arguments.jobs and arguments.scheduler:
        raise UserError(
            "--jobs and --scheduler exclude each other: a cluster's workers say how many they are"
        )
    given = core.given_settings(arguments)
    if given.pop("retrain", False):
        raise UserError("--retrain: a study shares its runs; to train all anew, name an empty --cache-dir")
    base, outdir = Config(**given), given.pop("outdir", None)
    console = Console(given.pop("quiet", False))
    names = [name for name in STUDIES if name in arguments.study]
    plan(names, given, arguments.seeds)  # wrong values are said before anything is loaded
    data = core.load_data(base, console)
    outdir = outdir or core.default_outdir(data) / "study"
    check_writable(outdir)
    if arguments.scheduler:
        open_pool = partial(run_many.dask_pool, arguments.scheduler)
    else:
        open_pool = partial(run_many.local_pool, arguments.jobs or core.Workers().n_threads)
    runs, reasons = carry_out(names, given, arguments.seeds, data, open_pool, console)
    if not runs:
        raise UserError(f"no run succeeded: {next(iter(reasons.values()))}")

    found = results(runs, reasons)
    with atomic_output(outdir / "results.json") as temporary:
        temporary.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    with rc_context(STYLE):
        for name in names:
            mine = [run for run in runs if run.study == name]
            if not mine:
                continue
            path = outdir / f"{name.replace('-', '_')}.png"
            with atomic_output(path) as temporary:
                DRAW[name](STUDIES[name], mine).savefig(temporary, dpi=110)
            console.line(f"wrote {path}")
    for name, text in found["tables"].items():
        console.always(f"\n{name}: {STUDIES[name].question}\n\n{text}")
    console.line(f"\nwrote {outdir / 'results.json'}")
    if data.is_rendered:
        console.warn(core.RENDERED_NOTICE)
    if reasons:
        raise UserError(
            f"{len(reasons)} runs failed (named above and in results.json); the others are stored"
        )


if __name__ == "__main__":
    run_script(main)
