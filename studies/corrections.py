"""Corrections of a class never seen: set by a run itself, or by runs that left other classes out."""

from __future__ import annotations

from support.intervals import Interval, interval

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from beyond.slopes import FACTORS, OFFSETS
from studies.study import Run, Runs, Settings, at

SMALL: Settings = {"student_hidden": (200, 200)}  # a fifth of the recipe's time, so that there may be many
FOLDS = ((0, 1, 2, 3), (3, 4, 5, 6), (3, 7, 8, 9))  # every other class is left out once beside 3
MARGIN = 2.0  # errors, declared before looking: what a correction without a 3 may make more than the offset
CLASSES: dict[str, Settings] = {f"small, without {c}": {"omitted_class": (c,)} | SMALL for c in range(10)}
FOLDED: dict[str, Settings] = {
    f"{size}without {' '.join(map(str, fold))}": {"omitted_class": fold} | more
    for size, more in (("", {}), ("small, ", SMALL))
    for fold in FOLDS
}


@dataclass(frozen=True)
class Corrected:
    """One correction of one run: test errors in all, on the class left out, and others taken for it."""

    factor: float
    offset: float
    counts: Sequence[float]


def of_run(name: str) -> Callable[[Run, Runs], Corrected | None]:
    """A correction that the run set by itself."""

    def found(run: Run, runs: Runs) -> Corrected | None:
        one = (run.value("further.corrections") or {}).get(name)
        return one and Corrected(**one)

    return found


def between_counted(run: Run, what: str, at_value: float) -> Sequence[float] | None:
    """The counts at a factor or an offset, linear between those at which they were taken; None outside."""
    xs = {"by_factor": FACTORS, "by_offset": OFFSETS}[what]
    if run.value(f"further.{what}") is None or not xs[0] <= at_value <= xs[-1]:
        return None
    return [float(np.interp(at_value, xs, ys)) for ys in run.value(f"further.{what}")]


def beside(run: Run, runs: Runs, points: Iterable[Settings]) -> list[Run]:
    """The runs of these points that share a run's seed and its student's size, but not what it left out."""
    return [
        one
        for one in runs
        if one.settings in points
        and one.settings != run.settings
        and (one.config.seed, one.config.student_hidden) == (run.config.seed, run.config.student_hidden)
    ]


def factor_of_others(run: Run, runs: Runs) -> Corrected | None:
    """One over the mean ratio of the nine other classes, each on training images, when it was left out."""
    ratios = [one.value("further.ratio_on_training.0") for one in beside(run, runs, CLASSES.values())]
    return with_factor(run, ratios) if len(ratios) == 9 else None


def factor_without_it(run: Run, runs: Runs) -> Corrected | None:
    """The same from students that never saw the 3 either: three others at a time are left out beside it."""
    mine = beside(run, runs, FOLDED.values())
    if run.config.omitted_class != (3,) or len(mine) < len(FOLDS):
        return None
    ratios = [
        value
        for one in mine
        for c, value in zip(one.config.omitted_class, one.value("further.ratio_on_training"), strict=True)
        if c != 3
    ]
    return with_factor(run, ratios)


def with_factor(run: Run, ratios: Sequence[float]) -> Corrected | None:
    factor = 1 / statistics.mean(ratios)
    found = between_counted(run, "by_factor", factor)
    return found and Corrected(factor, 0.0, found)


def offset_of_others(run: Run, runs: Runs) -> Corrected | None:
    """Calibrated stacking (Chao et al. 2016): the mean of the offsets that were best for the nine others.

    Each is best on training images, by their labels, for the student that never saw that class.
    """
    mine = beside(run, runs, CLASSES.values())
    best = [one.value("further.best_offset_on_training") for one in mine]
    offset = statistics.mean(best) if len(best) == 9 else -1.0
    found = between_counted(run, "by_offset", offset)
    return found and Corrected(1.0, offset, found)


IT, NO_IMAGE = "unlabelled images of all classes", "no image of it"
CORRECTIONS: dict[str, tuple[str, Callable[[Run, Runs], Corrected | None]]] = {
    "none": ("nothing", of_run("none")),
    "offset, by frequencies (the paper)": (IT, of_run("offset")),
    "factor, by frequencies": (IT, of_run("factor")),
    "factor and offset": (IT, of_run("both")),
    "offset, from the transfer set": (NO_IMAGE, of_run("transfer")),
    "offset, logit adjustment": (NO_IMAGE, of_run("prior")),
    "offset, calibrated stacking": ("nine other students", offset_of_others),
    "factor, from glued halves": ("images that it saw", of_run("glued")),
    "factor of nine other classes": ("nine other students", factor_of_others),
    "factor of others, without any 3": ("three other students, no image of it", factor_without_it),
}
THE_OFFSET = "offset, by frequencies (the paper)"
WITHOUT_ANY, GLUED = "factor of others, without any 3", "factor, from glued halves"


def differences(name: str, runs: Runs, points: Sequence[Settings]) -> list[float]:
    """A correction's test errors less the offset's, by seed: the mean over these points."""
    by_seed: dict[int, list[float]] = {}
    for run in (run for point in points for run in at(runs, point)):
        ours, usual = (CORRECTIONS[one][1](run, runs) for one in (name, THE_OFFSET))
        if ours and usual:
            by_seed.setdefault(run.config.seed, []).append(ours.counts[0] - usual.counts[0])
    return [statistics.mean(found) for found in by_seed.values() if len(found) == len(points)]


def less_the_offset(name: str, runs: Runs, points: Sequence[Settings]) -> Interval | None:
    found = differences(name, runs, points)
    return interval(found) if found else None
