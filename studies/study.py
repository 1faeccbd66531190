"""What a study is, the runs that it shows, and how a grid becomes configs."""

from __future__ import annotations

from support import intervals
from support.checks import Check
from support.console import Console
from support.intervals import Interval, interval

import argparse
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from beyond.settings import EVERY_CLASS, Config
from runs.records import Further

Settings = dict[str, Any]
WHOLE_PROBE: Settings = {"probe_size": 60_000}
# Paths of metrics in a run's record; see Run.value.
UNSEEN_BEFORE, UNSEEN_AFTER = "before.omitted_accuracy", "after.omitted_accuracy"
SEEN_BEFORE, SEEN_AFTER = "before.other_accuracy", "after.other_accuracy"
ALL_BEFORE, ALL_AFTER = "before.test_accuracy", "after.test_accuracy"
ERRORS_BEFORE, ERRORS_AFTER = "before.test_errors", "after.test_errors"
TEACHER, TEACHER_ERRORS = "teacher.test_accuracy", "teacher.test_errors"
BEST = "bias_correction.best_on_test_set"


def all_but(*kept: int) -> tuple[int, ...]:
    return tuple(c for c in EVERY_CLASS if c not in kept)


@dataclass(frozen=True)
class Run:
    """One run of a study and what it measured."""

    study: str
    settings: Settings  # of the grid
    config: Config
    record: dict[str, Any]  # an entry of results.json, and `data`

    def value(self, path: str) -> Any:
        """A metric by its path in results.json, as "teacher.test_errors"; "before" and "after" are short."""
        short = {"before": "student.before_correction", "after": "student.after_correction"}
        head, _, tail = path.partition(".")
        found: Any = self.record
        for key in f"{short.get(head, head)}.{tail}".split("."):
            found = found[int(key)] if isinstance(found, list) else found[key]
        return found

    @property
    def n_transfer(self) -> int:
        """The training images of all classes that the student may see."""
        omitted = sum(self.value("bias_correction.target_frequencies"))
        return round(self.value("data.n_train") * (1 - omitted))


Runs = Sequence[Run]


@dataclass(frozen=True)
class Study:
    """A question and what answers it: a grid, and what is made of its runs."""

    name: str
    question: str
    points: Mapping[str, Settings]  # the grid, by what each point is called
    table: Callable[[Runs], str]  # in Markdown
    draw: Callable[[str, Runs], Figure]  # by question and runs
    words: Callable[[Runs], str]  # the page's prose, its figures taken from the runs; {table} stands for that
    caption: str  # of its picture
    preset: Settings = field(default_factory=dict)  # which flags override; the grid wins over both
    beside: Sequence[str] = ()  # other studies whose runs stand in its table and picture, too
    n_seeds: int = 3  # of the committed runs
    seeds_of: Mapping[str, int] = field(default_factory=dict)  # by point, where they are more or fewer
    # From one seed to the next: ten where the student of one seed shall not start as the teacher of the next.
    apart: int = 1
    # What is measured of the networks besides, and what that must hold. Raises UserError where it cannot be.
    further: Callable[[argparse.Namespace, Config, Console], Further] | None = None
    further_holds: Mapping[str, Check] = field(default_factory=dict)

    @property
    def grid(self) -> list[Settings]:
        return list(self.points.values())

    @property
    def picture(self) -> str:
        """The name of its picture's file."""
        return f"{self.name.replace('-', '_')}.png"

    def shown(self, runs: Runs) -> list[Run]:
        """The runs that its table and picture show."""
        return [run for run in runs if run.study in (self.name, *self.beside)]

    def command(self) -> str:
        """How its committed runs are made again."""
        return f"```\npython3 -m studies --study {self.name}\n```"


# ---- Which runs --------------------------------------------------------------------------------------------


def at(runs: Iterable[Run], point: Settings) -> list[Run]:
    """The runs of one point of a grid."""
    return [run for run in runs if run.settings == point]


def where(runs: Iterable[Run], **settings: Any) -> list[Run]:
    """The runs whose configs have these settings."""
    return [run for run in runs if all(getattr(run.config, k) == v for k, v in settings.items())]


def choices(runs: Iterable[Run], name: str) -> list[Any]:
    """The values of a setting that occur, in order."""
    return sorted({getattr(run.config, name) for run in runs})


# ---- What they measured, over seeds ------------------------------------------------------------------------


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


# ---- In words ----------------------------------------------------------------------------------------------


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
