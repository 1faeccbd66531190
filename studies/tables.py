"""What the studies' Markdown tables share: a row per point, cells of means with their spread."""

from __future__ import annotations

from support.intervals import Interval
from support.report import markdown

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from studies.measured import mean_sd, over_seeds, paired_difference
from studies.paths import ALL_AFTER, SEEN_AFTER, SEEN_BEFORE, UNSEEN_AFTER, UNSEEN_BEFORE
from studies.study import Run, Runs, Settings, all_but, at

METRIC_COLUMNS = (
    ("seen classes, before", SEEN_BEFORE),
    ("unseen, before", UNSEEN_BEFORE),
    ("seen classes, after", SEEN_AFTER),
    ("unseen, after", UNSEEN_AFTER),
    ("all, after", ALL_AFTER),
)
Row = tuple[str, list[Run]]


def class_list(classes: Sequence[int]) -> str:
    return " ".join(map(str, classes)) if len(classes) <= 5 else f"all but {class_list(all_but(*classes))}"


def classes_seen(omitted: Sequence[int]) -> str:
    """What a student sees that never sees these classes."""
    return f"without {class_list(omitted)}" if omitted else "all classes"


def rows_of(runs: Runs, points: Mapping[str, Settings]) -> list[Row]:
    """Name and runs of every point of which there are runs."""
    return [(name, mine) for name, point in points.items() if (mine := at(runs, point))]


def metric_table(points: Mapping[str, Settings]) -> Callable[[Runs], str]:
    """Accuracies in per cent, mean ± standard deviation over seeds, a row per point of the grid."""

    def table(runs: Runs) -> str:
        rows = [
            [name, *(mean_sd(mine, path, 100, 2) for _, path in METRIC_COLUMNS)]
            for name, mine in rows_of(runs, points)
        ]
        return markdown(["%", *(name for name, _ in METRIC_COLUMNS)], rows)

    return table


def interval_cell(found: Interval, digits: int) -> str:
    """A mean with its 95 % interval; "-" where no run of this point succeeded."""
    return "-" if math.isnan(found.mean) else found.text(f".{digits}f")


def percent_cell(runs: Runs, path: str) -> str:
    """The mean of an accuracy with its 95 % interval, in per cent; "-" where no run succeeded."""
    return interval_cell(replace(over_seeds(runs, path, 100), least=0.0, most=100.0), 2)


def points_cell(first: Runs, second: Runs, path: str) -> str:
    """The paired difference of an accuracy, in points, with its interval; empty without a common seed."""
    return str(paired_difference(first, second, path, 100) or "")
