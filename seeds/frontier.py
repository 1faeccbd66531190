"""Errors against seconds: what each recipe costs and what it gives, beside the paper's figures."""

from __future__ import annotations

from support.charts import AFTER, BEFORE, FAINT, INK, SMALL, TEACHER, light_grid, log_ticks, titled_figure
from support.report import Results
from support.settings import N_CLASSES

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from runs.folders import omitted_by, value

PAPER = (
    (206, "206  student without 3s"),
    (109, "109  the same, bias chosen\non the test set"),
    (74, "74  student of all digits"),
    (67, "67  teacher"),
)
# (path of the errors, in the legend, the seconds after which that network is there, look)
CURVES = (
    ("teacher", "teacher, has seen every digit", ("data", "teacher"), {"color": TEACHER, "marker": "s"}),
    ("before", "student that never saw a 3", ("total",), {"color": BEFORE, "marker": "o"}),
    ("after", "the same, bias corrected without test labels", ("total",),
     {"color": AFTER, "marker": "D"}),
)  # fmt: skip
TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def draw_frontier(groups: Mapping[str, Sequence[Results]]) -> Figure:
    """A point per recipe and network, mean and standard deviation over seeds, of runs on MNIST.

    A network stands at the seconds after which it is there: the teacher at those of its own training, the
    student at those of the whole run.
    """
    seeds = {len(runs) for runs in groups.values()}
    over = f"{seeds.pop()} seeds" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)} seeds"
    first = next(iter(groups.values()))[0]
    data, threads = first["data"]["name"], first["environment"]["threads"]
    origin = f"{data}, {threads} threads, mean ± standard deviation over {over}"
    title = "What does a recipe cost, and how often does it err? On 10,000 test images"
    figure = titled_figure(title, origin, 12, 6)
    axes = figure.subplots()
    names, xs, highest, lowest = list(groups), {}, 206.0, 67.0
    for path, label, parts, style in CURVES:
        errors = [[value(run, f"{path}.test_errors") for run in groups[name]] for name in names]
        means = [statistics.mean(values) for values in errors]
        spread = [statistics.stdev(values) if len(values) > 1 else 0 for values in errors]
        seconds = [
            statistics.mean(sum(run["wall_clock_seconds"][part] for part in parts) for run in groups[name])
            for name in names
        ]
        # before and after side by side, so that no bar hides another
        shifted = [x * (0.985 if "before" in path else 1.015 if "after" in path else 1) for x in seconds]
        axes.errorbar(shifted, means, spread, label=label, markersize=6, capsize=3, linestyle="none", **style)
        for name, x, mean, sd in zip(names, shifted, means, spread, strict=True):
            xs.setdefault(name, []).append((x, mean))
            highest, lowest = max(highest, mean + sd), min(lowest, mean - sd)
    log_ticks(axes, (40, 50, 60, 70, 80, 100, 120, 150, 200), of="y")
    axes.set_ylim(0.9 * lowest, 1.1 * highest)
    for errors, label in PAPER:
        axes.axhline(errors, color=INK, linestyle=":", linewidth=1, zorder=1)
        axes.annotate(label, (1.01, errors), xycoords=("axes fraction", "data"), va="center", fontsize=SMALL,
                      color=INK)  # fmt: skip
    axes.annotate("The paper's errors:", (1.01, 1), xycoords="axes fraction", va="top", fontsize=SMALL)
    for name, points in xs.items():
        axes.plot(*zip(points[0], points[-1], strict=True), color=FAINT, linewidth=2, zorder=0)
        sees = "\n(saw no digit)" if len(omitted_by(groups[name])) == N_CLASSES else ""
        axes.annotate(f"{name}{sees}", points[-1], xytext=(9, 0), textcoords="offset points", va="center",
                      fontweight="bold", bbox={"color": "white", "pad": 0.5})  # fmt: skip
    every = [x for points in xs.values() for x, _ in points]
    log_ticks(axes, [t for t in TICKS if 0.5 * min(every) <= t <= 3 * max(every)], "{:g} s".format)
    axes.set_xlim(0.8 * min(every), 2 * max(every))
    axes.set_xlabel("seconds: a teacher's training; a student's, with that of its teacher (log scale)")
    axes.set_ylabel("test errors (log scale)")
    light_grid(axes, "x")
    axes.legend(loc="upper center", bbox_to_anchor=(0.6, -0.14), ncols=3)
    return figure
