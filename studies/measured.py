"""What the runs of a study measured, by settings and seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from beyond.settings import EVERY_CLASS, Config

Settings = dict[str, Any]


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


def where(runs: Iterable[Run], **settings: Any) -> list[Run]:
    """The runs whose configs have these settings."""
    return [run for run in runs if all(getattr(run.config, k) == v for k, v in settings.items())]


def choices(runs: Iterable[Run], name: str) -> list[Any]:
    """The values of a setting that occur, in order."""
    return sorted({getattr(run.config, name) for run in runs})


def spread(runs: Sequence[Run], path: str) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of a metric over runs; NaN where there are too few values."""
    values = [value for run in runs if (value := run.value(path)) is not None]
    mean = statistics.mean(values) if values else math.nan
    return mean, statistics.stdev(values) if len(values) > 1 else math.nan


def mean_sd(runs: Sequence[Run], path: str, scale: float = 1.0, digits: int = 1) -> str:
    mean, sd = (scale * x for x in spread(runs, path))
    if math.isnan(mean):
        return "-"
    return f"{mean:.{digits}f}" if math.isnan(sd) else f"{mean:.{digits}f} ± {sd:.{digits}f}"


def seed_means(runs: Iterable[Run], path: str) -> dict[int, float]:
    """The mean of a metric over each seed's runs, by seed."""
    by_seed: dict[int, list[float]] = {}
    for run in runs:
        by_seed.setdefault(run.config.seed, []).append(run.value(path))
    return {seed: statistics.mean(values) for seed, values in by_seed.items()}
