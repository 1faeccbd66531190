"""Corrections of the logit of one class that was never seen: an offset, a factor, both; and what any of them
trades between seen and unseen classes.

A logit is meant less the mean of its image's: a constant in all ten changes no probability, but it would
change what a factor does.
"""

from __future__ import annotations

from support.offsets import add_offsets

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MAX_FACTOR, MAX_SHIFT = 10.0, 50.0  # no sane logit needs more


def centred(logits: np.ndarray) -> np.ndarray:
    """Logits (n, classes) less their image's mean, in double precision: the softmax stays the same."""
    logits = logits.astype(np.float64)
    return logits - logits.mean(axis=1, keepdims=True)


def corrected(logits: np.ndarray, omitted_class: int, factor: float, offset: float) -> np.ndarray:
    """Centred logits (n, classes) of which the omitted class's becomes factor * logit + offset."""
    found = centred(logits)
    found[:, omitted_class] *= factor
    return add_offsets(found, [omitted_class], [offset])


def crossing(function: Callable[[float], float], low: float, high: float, target: float) -> float | None:
    """Where a rising function takes the value `target`, to 1e-9, by bisection; None outside of the bounds."""
    if not function(low) <= target <= function(high):
        return None
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < target else (low, middle)
    return (low + high) / 2


@dataclass(frozen=True)
class OneAgainstAll:
    """The omitted class's centred logit (n,), and the log sum exp (n,) of all others'."""

    mine: np.ndarray
    others: np.ndarray

    @classmethod
    def of(cls, logits: np.ndarray, omitted_class: int) -> OneAgainstAll:
        """Of logits (n, classes)."""
        z = centred(logits)
        return cls(z[:, omitted_class], np.logaddexp.reduce(np.delete(z, omitted_class, axis=1), axis=1))

    def mean_probability(self, factor: float = 1.0, offset: float = 0.0) -> float:
        """Of the omitted class at T = 1: 1 / (1 + exp(others - mine)), the mean over images."""
        return float(np.exp(-np.logaddexp(0, self.others - factor * self.mine - offset)).mean())

    def offset_for(self, target: float, factor: float = 1.0) -> float | None:
        """The offset that brings the mean probability to `target`, where the factor is given."""
        return crossing(lambda b: self.mean_probability(factor, b), -MAX_SHIFT, MAX_SHIFT, target)

    def factor_for(self, target: float) -> float | None:
        """The one factor that does it without an offset.

        The probability rises with the factor where the logit is positive, and where it is negative there is
        none to speak of.
        """
        return crossing(self.mean_probability, 0.0, MAX_FACTOR, target)


def factor_and_offset(probe: OneAgainstAll, target: float, pivot: float) -> tuple[float, float] | None:
    """The factor by which the probe's mean probability is `target`, where it turns the logit about `pivot`.

    Logits of that height, the mean of the images that the student learned from, stay as they are: what the
    factor takes from them the offset gives back. None where there is no such pair.
    """
    factor = crossing(lambda f: probe.mean_probability(f, (1 - f) * pivot), 0.0, MAX_FACTOR, target)
    return None if factor is None else (factor, (1 - factor) * pivot)


def adjusted_prior(learned: float, target: float) -> float:
    """Menon et al. (2021), "Long-tail learning via logit adjustment", equation 9 with tau = 1, as an offset.

    f_y - log pi_y + log pi'_y for the omitted class alone: `learned` is how often it occurred where the
    student learned, here as its soft targets had it (a share of 0 has no logarithm), `target` how often it
    does occur. What the other classes gain in common moves them all alike, and is taken off here.
    """
    return float(np.log(target / (1 - target)) - np.log(learned / (1 - learned)))


def counts(logits: np.ndarray, labels: np.ndarray, omitted_class: int) -> tuple[int, int, int]:
    """Errors in all, those on images of the omitted class, and other images that are taken for it."""
    predicted, mine = logits.argmax(axis=1), labels == omitted_class
    wrong = predicted != labels
    false = (predicted == omitted_class) & ~mine
    return int(wrong.sum()), int((wrong & mine).sum()), int(false.sum())


def seen_unseen_curve(
    logits: np.ndarray, labels: np.ndarray, omitted_class: int
) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies in [0, 1] on unseen and on seen classes at every offset that matters, from -inf to +inf.

    Calibrated stacking, Chao et al. (2016), "An empirical study and analysis of generalized zero-shot
    learning", equation 3: a constant is taken from the seen classes' scores, which is an offset of the unseen
    one's. An image of the unseen class is right as soon as the offset passes its margin; one of another class
    is right before that, if the largest of the seen logits is its own.
    """
    seen = np.delete(np.arange(logits.shape[1]), omitted_class)
    margin = logits[:, seen].max(axis=1) - logits[:, omitted_class]
    mine = labels == omitted_class
    right = ~mine & (seen[logits[:, seen].argmax(axis=1)] == labels)
    edges = np.unique(margin)
    unseen_accuracy = np.searchsorted(np.sort(margin[mine]), edges, "right") / mine.sum()
    seen_accuracy = (right.sum() - np.searchsorted(np.sort(margin[right]), edges, "right")) / (~mine).sum()
    start = right.sum() / (~mine).sum()
    return np.concatenate(([0.0], unseen_accuracy)), np.concatenate(([start], seen_accuracy))


def area_under(unseen: np.ndarray, seen: np.ndarray) -> float:
    """The area under the curve, AUSUC in Chao et al. (2016), by trapezoids: 1 is perfect."""
    return float(((seen[1:] + seen[:-1]) / 2 * np.diff(unseen)).sum())
