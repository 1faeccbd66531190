"""Errors against seconds: what each recipe costs and what it gives, beside the paper's figures."""

from __future__ import annotations

from support.charts import AFTER, BEFORE, INK, SMALL, TEACHER, light_grid, log_ticks, titled_figure
from support.report import Results

import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from runs.folders import value

PAPER = (
    (206, "206  the paper's student without 3s"),
    (109, "109  the same, bias chosen on the test set"),
    (74, "74  the paper's student of all digits"),
    (67, "67  the paper's teacher"),
)
CURVES = (
    ("teacher", "teacher, has seen every digit", {"color": TEACHER, "marker": "s"}),
    ("student.before_correction", "student that never saw a 3", {"color": BEFORE, "marker": "o"}),
    (
        "student.after_correction",
        "the same, bias corrected without test labels",
        {"color": AFTER, "marker": "D"},
    ),
)
TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def draw_frontier(groups: Mapping[str, Sequence[Results]]) -> Figure:
    """A point per recipe and network, mean and standard deviation over seeds, of runs without 3s on MNIST."""
    seconds = {
        name: statistics.mean(run["wall_clock_seconds"]["total"] for run in runs)
        for name, runs in groups.items()
    }
    names = sorted(groups, key=seconds.__getitem__)
    xs = [seconds[name] for name in names]
    seeds = {len(runs) for runs in groups.values()}
    over = f"{seeds.pop()} seeds" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)} seeds"
    data, threads = groups[names[0]][0]["data"]["name"], groups[names[0]][0]["environment"]["threads"]
    origin = f"{data}, {threads} threads, mean ± standard deviation over {over}"
    title = "What more training buys: errors on 10,000 test images against seconds"
    figure = titled_figure(title, origin, 11, 6)
    axes = figure.subplots()
    highest = dict.fromkeys(names, 0.0)
    for place, (path, label, style) in enumerate(CURVES):
        errors = [[value(run, f"{path}.test_errors") for run in groups[name]] for name in names]
        means = [statistics.mean(values) for values in errors]
        spread = [statistics.stdev(values) if len(values) > 1 else 0 for values in errors]
        shifted = np.array(xs) * 1.012 ** (place - 1)  # side by side, so that no bar hides another
        axes.errorbar(shifted, means, spread, label=label, markersize=6, capsize=3, linestyle="none", **style)
        for name, mean, sd in zip(names, means, spread, strict=True):
            highest[name] = max(highest[name], mean + sd)
    lowest = min(value(run, "teacher.test_errors") for runs in groups.values() for run in runs)
    axes.set_yscale("log")
    axes.set_ylim(0.85 * min(lowest, 67), 1.35 * max(*highest.values(), 206))
    for errors, label in PAPER:
        axes.axhline(errors, color=INK, linestyle=":", linewidth=1)
        axes.annotate(label, (0.995, errors), xycoords=("axes fraction", "data"), xytext=(0, 2),
                      textcoords="offset points", ha="right", va="bottom", fontsize=SMALL, color=INK)  # fmt: skip
    for name, x in zip(names, xs, strict=True):
        axes.annotate(name, (x, highest[name]), xytext=(0, 6), textcoords="offset points", ha="center",
                      fontweight="bold", bbox={"color": "white", "pad": 1})  # fmt: skip
    log_ticks(axes, [t for t in TICKS if 0.5 * xs[0] <= t <= 3 * xs[-1]], "{:g} s".format)
    axes.set_xlim(0.7 * xs[0], 2.6 * xs[-1])
    axes.set_xlabel("seconds of a whole run, from start to end (log scale)")
    axes.set_ylabel("test errors (log scale)")
    axes.yaxis.set_major_locator(FixedLocator([40, 50, 60, 70, 80, 100, 120, 150, 200]))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_locator(NullLocator())
    light_grid(axes)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    return figure
