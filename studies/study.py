"""What a study is, the runs that it shows, and how a grid becomes configs."""

from __future__ import annotations

from support.checks import Check
from support.console import Console

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from beyond.settings import EVERY_CLASS, Config
from runs.folders import value
from runs.records import Further

Settings = dict[str, Any]
WHOLE_PROBE: Settings = {"probe_size": 60_000}


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
        """A metric by its path; see runs.folders.value."""
        return value(self.record, path)

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
