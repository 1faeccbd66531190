"""What the studies' Markdown tables share: a row per point, cells of means with their spread."""

from __future__ import annotations

from support.intervals import Interval, bounds
from support.report import markdown

import math
from collections.abc import Mapping, Sequence

from studies.study import (
    ALL_AFTER,
    SEEN_AFTER,
    SEEN_BEFORE,
    UNSEEN_AFTER,
    UNSEEN_BEFORE,
    Run,
    Runs,
    Settings,
    all_but,
    at,
    mean_sd,
    over_seeds,
    paired_difference,
)

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


def metric_table(runs: Runs, points: Mapping[str, Settings]) -> str:
    """Accuracies in per cent, mean ± standard deviation over seeds, a row per point of the grid."""
    rows = [
        [name, *(mean_sd(mine, path, 100, 2) for _, path in METRIC_COLUMNS)]
        for name, mine in rows_of(runs, points)
    ]
    return markdown(["%", *(name for name, _ in METRIC_COLUMNS)], rows)


def interval_cell(found: Interval, digits: int, most: float = math.inf) -> str:
    """ "96.24 (95.10 to 97.38)"; "-" where no run of this point succeeded; "0 in all runs".

    Nothing lies below 0 or above `most`: a bound that would is that, and "clipped".
    """
    if math.isnan(found.mean):
        return "-"
    if math.isnan(found.half):
        return f"{found.mean:.{digits}f}"
    if found.half == 0:
        return f"{found.mean:.{digits if found.mean else 0}f} in all runs"
    low, high = found.mean - found.half, found.mean + found.half
    ends = (f"{end:.{digits}f}" for end in (max(low, 0.0), min(high, most)))
    return f"{found.mean:.{digits}f} ({bounds(*ends, cut_low=low < 0, cut_high=high > most)})"


def percent_cell(runs: Runs, path: str) -> str:
    """The mean of an accuracy with its 95 % interval, in per cent."""
    return interval_cell(over_seeds(runs, path, 100), 2, most=100)


def points_cell(first: Runs, second: Runs, path: str) -> str:
    """The paired difference of an accuracy, in points, with its interval; empty without a common seed."""
    return str(paired_difference(first, second, path, 100) or "")
