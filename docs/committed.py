"""The committed runs, read once, as the pages need them."""

from __future__ import annotations

from support.report import Results

import statistics
from functools import cache
from pathlib import Path
from typing import Any

from cifar10 import gain
from runs.folders import load, load_trials, value
from studies import results
from studies.questions import STUDIES
from studies.study import Run, at

ROOT = Path(__file__).resolve().parent.parent
STUDY = ROOT / "viz" / "study"
RECIPES_OF_TABLES = ("described", "linear", "fast", "middle", "best")  # of students that see nine digits


@cache
def seed_runs(name: str) -> list[Results]:
    return load(ROOT / "viz" / "seeds" / name)


@cache
def usps_runs() -> list[Results]:
    """USPS as somebody's own data, through the converter and --data-dir."""
    return load(ROOT / "viz" / "usps")


@cache
def cifar10_runs(name: str) -> list[Results]:
    return load(ROOT / "viz" / "cifar10" / name)


@cache
def gain_results() -> Results:
    return gain.read(ROOT / "viz" / "cifar10" / "gain" / "results.json")


@cache
def cifar10_trials() -> list[Results]:
    return load_trials(ROOT / "viz" / "cifar10" / "trials")


def pictured() -> Results:
    """The run that the pictures show; `make run` overwrites viz/results.json, but not this copy."""
    return seed_runs("described")[0]


@cache
def study_runs() -> list[Run]:
    return results.read(STUDY / "results.json")[1]


def point(study: str, name: str) -> list[Run]:
    """The runs of one point of a study, one of each seed. Raises KeyError where there is no such point."""
    return at([run for run in study_runs() if run.study == study], STUDIES[study].points[name])


def every_run() -> list[Results]:
    """Those behind the table of results.md."""
    return [run for name in RECIPES_OF_TABLES for run in seed_runs(name)]


def value_mean(runs: Any, path: str) -> float:
    """The mean of a metric over single runs or runs of a study."""
    return statistics.mean(run.value(path) if isinstance(run, Run) else value(run, path) for run in runs)
