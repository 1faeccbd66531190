"""What runs measured, over seeds and in words."""

from __future__ import annotations

from support import intervals
from support.intervals import Interval, interval

import math
import statistics
from collections.abc import Iterable

from studies.study import Run, Runs


def spread(runs: Runs, path: str) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of a metric over runs; NaN where there are too few values."""
    values = [value for run in runs if (value := run.value(path)) is not None]
    mean = statistics.mean(values) if values else math.nan
    return mean, statistics.stdev(values) if len(values) > 1 else math.nan


def seed_means(runs: Iterable[Run], path: str) -> dict[int, float]:
    """The mean of a metric over each seed's runs, by seed."""
    by_seed: dict[int, list[float]] = {}
    for run in runs:
        by_seed.setdefault(run.config.seed, []).append(run.value(path))
    return {seed: statistics.mean(values) for seed, values in by_seed.items()}


def over_seeds(runs: Runs, path: str, scale: float = 1.0) -> Interval:
    """Mean and 95 % interval of a metric over seeds; NaN without runs."""
    values = [scale * value for value in seed_means(runs, path).values()]
    return interval(values) if values else Interval(math.nan, math.nan)


def paired_difference(first: Runs, second: Runs, path: str, scale: float = 1.0) -> Interval | None:
    """A metric of `first` less that of `second`, paired by the seeds that both have; None without any."""
    ours, theirs = seed_means(first, path), seed_means(second, path)
    shared = [seed for seed in ours if seed in theirs]
    return interval([scale * (ours[seed] - theirs[seed]) for seed in shared]) if shared else None


def mean(runs: Runs, path: str) -> float:
    """Of a metric over runs. Raises ValueError where there are none."""
    if not runs:
        raise ValueError(f"no run of which to take {path}")
    return statistics.mean(run.value(path) for run in runs)


def percent(runs: Runs, path: str, digits: int = 0) -> str:
    """The mean of an accuracy in per cent, without the sign."""
    return f"{100 * mean(runs, path):.{digits}f}"


def count(runs: Runs, path: str, digits: int = 0) -> str:
    """The mean of a number of errors."""
    return f"{mean(runs, path):,.{digits}f}"


def mean_sd(runs: Runs, path: str, scale: float = 1.0, digits: int = 1) -> str:
    """ "164.3 ± 4.7", "164.3" of one run, "-" where nothing was measured."""
    values = [scale * value for run in runs if (value := run.value(path)) is not None]
    return intervals.mean_sd(values, digits)


def between(runs_of_each: Iterable[Runs], path: str, digits: int = 0) -> str:
    """ "95 to 96": the smallest and the largest mean of an accuracy, in per cent."""
    found = sorted(100 * mean(runs, path) for runs in runs_of_each)
    return f"{found[0]:.{digits}f} to {found[-1]:.{digits}f}"


def holds(what_is_said: str, is_so: bool) -> str:
    """The words, if the runs bear them out. Raises ValueError if they do not."""
    if not is_so:
        raise ValueError(f"the runs no longer say: {what_is_said}")
    return what_is_said
