"""Means over seeds with their 95 % intervals, and words that mean one thing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

LEVEL = 0.95


def t_probability(t: float, df: int) -> float:
    """The probability that |T| <= t for Student's T with a whole number `df` >= 1 of degrees of freedom.

    With theta = atan(t / sqrt(df)) it is a finite sum of powers of cos(theta): Abramowitz & Stegun (1964),
    26.7.3 for odd, 26.7.4 for even df.
    """
    theta = math.atan(t / math.sqrt(df))
    odd = df % 2
    term, total = (math.cos(theta) if odd else 1.0), 0.0
    for k in range(2 + odd, df + 1, 2):
        total += term
        term *= math.cos(theta) ** 2 * (k - 1) / k
    return 2 / math.pi * (theta + math.sin(theta) * total) if odd else math.sin(theta) * total


@cache
def t_quantile(df: int, level: float = LEVEL) -> float:
    """The t within which |T| lies with probability `level`, by bisection."""
    low, high = 0.0, 1.0
    while t_probability(high, df) < level:
        high *= 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_probability(middle, df) < level else (low, middle)
    return (low + high) / 2


@dataclass(frozen=True)
class Interval:
    """A mean, and the half width of its 95 % interval: NaN for a single value, which has none.

    `p`: the probability, two-sided, of a mean at least as far from 0 if there were no difference.
    `least`, `most`: what the mean cannot go beyond, as 0 errors; nor do the bounds of the interval.
    """

    mean: float
    half: float
    p: float = field(default=math.nan, compare=False)
    least: float = field(default=-math.inf, compare=False)
    most: float = field(default=math.inf, compare=False)

    @property
    def low(self) -> float:
        return max(self.mean - self.half, self.least)

    @property
    def high(self) -> float:
        return min(self.mean + self.half, self.most)

    def __str__(self) -> str:
        return self.text("+.1f")

    def text(self, form: str) -> str:
        """ "+1.2 (+0.9 to +1.5)", "+1.2" of one value; alike values have no spread to take bounds from."""
        if math.isnan(self.half):
            return f"{self.mean:{form}}"
        bounds = f"{self.low:{form}} to {self.high:{form}}" if self.half else "every seed"
        return f"{self.mean:{form}} ({bounds})"

    def plus_minus(self, digits: int) -> str:
        """ "+1.2 ± 0.3", "+1.2"."""
        half = "" if math.isnan(self.half) else f" ± {self.half:.{digits}f}"
        return f"{self.mean:+.{digits}f}{half}"


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % interval of what the values are drawn from, by Student's t; one value or more."""
    mean, n = statistics.mean(values), len(values)
    return by_t(mean, statistics.stdev(values) / math.sqrt(n), n - 1) if n > 1 else Interval(mean, math.nan)


def prediction(values: Sequence[float]) -> Interval:
    """Mean, and the 95 % interval for one further value, by Student's t; NaN where a single one is there."""
    mean, n = statistics.mean(values), len(values)
    error = statistics.stdev(values) * math.sqrt(1 + 1 / n) if n > 1 else math.nan
    return by_t(mean, error, n - 1) if n > 1 else Interval(mean, math.nan)


def by_t(mean: float, error: float, df: int) -> Interval:
    """The interval of a mean with this standard error, by Student's t with `df` degrees of freedom."""
    p = 1 - t_probability(abs(mean) / error, df) if error else float(mean == 0)
    return Interval(mean, t_quantile(df) * error, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm (1979): the p-values of several tests, each such that one below 5 % among all of them is as rare
    by chance as in a single test. The k-th smallest of n is multiplied by n - k + 1, and none falls below a
    smaller one.
    """
    found, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, (len(p_values) - rank) * p_values[place])
        found[place] = min(1.0, largest)
    return found


def mean_sd(values: Sequence[float], digits: int, sign: bool = False) -> str:
    """Mean and standard deviation (n - 1): "1.20 ± 0.30", "1.20" of one value, "-" of none."""
    if not values:
        return "-"
    mean = f"{statistics.mean(values):{'+' if sign else ''}.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def in_words(difference: Interval) -> str:
    """What an interval for a difference of errors says: whether it excludes 0, and on which side."""
    if math.isnan(difference.half):
        return "one seed, no interval"
    if difference.mean + difference.half < 0:
        return "fewer errors"
    return "more errors" if difference.mean - difference.half > 0 else "not told apart"
