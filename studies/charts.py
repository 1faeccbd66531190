"""What the studies' pictures share: a figure with its origin, curves, rows of dots, scales."""

from __future__ import annotations

from support.charts import FAINT, light_grid, titled_figure
from support.report import class_name

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from studies.looks import MEAN_SD
from studies.measured import spread
from studies.study import Runs, choices
from studies.tables import Row


def unseen(runs: Runs) -> str:
    """What the students of these runs never saw: "3s", "classes 3, 5", "the 8 classes left out"."""
    omitted = runs[0].config.omitted_class
    if len(omitted) == 1:
        return f"{omitted[0]}s"
    return class_name(omitted) if len(omitted) <= 3 else f"the {len(omitted)} classes left out"


def study_figure(runs: Runs, title: str, size: tuple[float, float], bars: str = MEAN_SD) -> Figure:
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


def draw_curve(axes: Axes, xs: Sequence[float], groups: Sequence[Runs], path: str, **style: Any) -> None:
    """Mean and standard deviation of a metric against x, one group of runs (the seeds) per x."""
    means, sds = np.array([spread(group, path) for group in groups]).T
    axes.errorbar(xs, means, np.nan_to_num(sds), **{"markersize": 5, "capsize": 3, "linewidth": 1.5, **style})


def legend_below(axes: Axes, n_columns: int, down: float = -0.2, middle: float = 0.5) -> None:
    """A legend under the axes, where it hides no point."""
    axes.legend(loc="upper center", bbox_to_anchor=(middle, down), ncols=n_columns, borderaxespad=0)


def above_a_legend(figure: Figure, height: float = 0.16) -> tuple[SubFigure, SubFigure]:
    """Room for what is drawn and, under it, for a legend of all of it, whose share of that is `height`."""
    upper, lower, _ = figure.subfigures(3, 1, height_ratios=(1, height, 0.05))  # the last for the origin
    return upper, lower


def per_cent(value: float, _: object = None) -> str:
    return f"{value:g} %"


def percent_x(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(FuncFormatter(per_cent))
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
