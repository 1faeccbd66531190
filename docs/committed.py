"""The committed runs, read once, as the pages need them."""

from __future__ import annotations

from support.report import Results

import json
import statistics
from functools import cache
from pathlib import Path
from typing import Any

from cifar10 import gain
from runs.folders import load, load_trials, value
from studies import results
from studies.questions import STUDIES
from studies.slope import USUAL
from studies.study import Run, at

ROOT = Path(__file__).resolve().parent.parent
STUDY = ROOT / "viz" / "study"
SOFT_TARGETS, SPEED = (ROOT / "viz" / name for name in ("soft_targets.json", "speed.json"))
RECIPES_OF_TABLES = ("described", "linear", "fast", "middle", "best")  # of students that see nine digits


@cache
def seed_runs(name: str) -> list[Results]:
    return load(ROOT / "viz" / "seeds" / name)


@cache
def usps_runs() -> list[Results]:
    """USPS as somebody's own data, through the converter and --data-dir."""
    return load(ROOT / "viz" / "usps")


@cache
def soft_targets(temperature: str) -> dict[str, float]:
    """Medians of the described teacher's soft targets for 3 at "T = 1" or "T = 20", by digit."""
    return json.loads(SOFT_TARGETS.read_text("utf-8"))["medians"][temperature]


@cache
def speed() -> Results:
    """What benchmarks/compare.py measured."""
    return json.loads(SPEED.read_text("utf-8"))


@cache
def cifar10_runs(name: str) -> list[Results]:
    return load(ROOT / "viz" / "cifar10" / name)


@cache
def gain_results() -> Results:
    return gain.read(ROOT / "viz" / "cifar10" / "gain" / "results.json")


@cache
def trials_in(folder: str) -> list[Results]:
    """What was tried on held-out training images, by its folder in viz/."""
    return load_trials(ROOT / "viz" / folder)


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


def mean(runs: Any, path: str) -> float:
    """Of a metric, over single runs or runs of a study."""
    return statistics.mean(run.value(path) if isinstance(run, Run) else value(run, path) for run in runs)


def count(runs: Any, path: str) -> str:
    return f"{mean(runs, path):,.0f}"


def percent(runs: Any, path: str, digits: int = 0) -> str:
    return f"{100 * mean(runs, path):.{digits}f}"


def slope_ratios() -> list[str]:
    """Of the recipe's student: parts of its teacher's logit, on 3s, and on the classes that it saw."""
    runs = point("slope", USUAL)
    return [f"{mean(runs, path):.3f}" for path in ("further.unseen.ratio.0", "further.seen.ratio")]
