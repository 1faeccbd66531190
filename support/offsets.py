"""Offsets of output biases: what a common one does to the errors, and one for each of several classes.

For one omitted class the core's binary search is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def frequencies(labels: np.ndarray, classes: Sequence[int]) -> list[float]:
    """The share of each of `classes` among `labels`."""
    return [float((labels == c).mean()) for c in classes]


def add_offsets(logits: np.ndarray, omitted_class: Sequence[int], offsets: Sequence[float]) -> np.ndarray:
    """A copy of `logits` (..., classes) with one offset added to each omitted class."""
    corrected = logits.copy()
    corrected[..., list(omitted_class)] += np.asarray(offsets, logits.dtype)
    return corrected


def match_class_frequencies(
    logits: np.ndarray,
    omitted_class: Sequence[int],
    targets: Sequence[float],
    log_softmax: Callable[[np.ndarray], np.ndarray],
    max_offset: float,
) -> np.ndarray | None:
    """The offsets b (omitted,) at which every omitted class's mean probability equals its target, at once.

    They minimise F(b) = mean_n log sum_j exp(z_nj + b_j) - sum_j t_j b_j, with b_j = 0 for the other classes:
    its gradient is mean probability - target, its Hessian mean (diag(p) - p p^T), positive definite as long
    as some class is not omitted. If all targets are positive and add up to less than 1, F grows without bound
    in every direction, so that the minimum exists and is the only one; Newton's method with a bounded step,
    halved until F falls (Armijo), then gets there from anywhere. What is returned meets every target to 1e-9.

    When every class is omitted, targets add up to 1 and a constant in all offsets changes nothing: the first
    is held at 0 while the others are found, and in the end they are moved to a mean of 0, where they are held
    to the bound.

    `logits` (n, classes). None when the targets are no such frequencies, or no offsets within `max_offset`
    reach them.
    """
    if len(omitted_class) == logits.shape[1]:
        # two that are within the bound of the mean are within twice of it of each other
        others = match_class_frequencies(logits, omitted_class[1:], targets[1:], log_softmax, 2 * max_offset)
        if others is None:
            return None
        found = np.concatenate(([0.0], others)) - others.sum() / logits.shape[1]
        return found if np.abs(found).max() <= max_offset else None
    target, omitted = np.asarray(targets, np.float64), list(omitted_class)
    if not ((target > 0).all() and target.sum() < 1):
        return None
    logits = logits.astype(np.float64)

    def with_offsets(b: np.ndarray) -> tuple[float, np.ndarray]:
        """F(b), and the omitted classes' probabilities (n, omitted)."""
        z = add_offsets(logits, omitted, b)
        log_p = log_softmax(z)
        largest = np.arange(len(z)), z.argmax(axis=1)  # log sum exp z = z_j - log p_j, whatever j is
        return float((z[largest] - log_p[largest]).mean() - target @ b), np.exp(log_p[:, omitted])

    offsets = np.zeros(len(target))
    for _ in range(1000):  # it takes some ten
        here, p = with_offsets(offsets)
        gradient = p.mean(axis=0) - target
        if np.abs(gradient).max() <= 1e-9:
            return offsets
        if np.abs(offsets).max() > max_offset:
            return None
        hessian = np.diag(p.mean(axis=0) + 1e-12) - p.T @ p / len(p)  # 1e-12: a p may underflow to zero
        step = -np.linalg.solve(hessian, gradient)
        step *= min(1.0, 5.0 / np.abs(step).max())
        rounding = 1e-13 * (1 + abs(here))
        while with_offsets(offsets + step)[0] > here + 1e-4 * float(gradient @ step) + rounding:
            step /= 2
        offsets = offsets + step
    return None


def em_frequencies(
    log_probabilities: np.ndarray, frequencies_in_training: np.ndarray, n_steps: int = 10_000
) -> np.ndarray:
    """How often each class occurs among images of which no label is known: Saerens, Latinne & Decaestecker
    (2002), "Adjusting the outputs of a classifier to new a priori probabilities", equation 2.9.

    `log_probabilities` (n, classes) are a classifier's at T = 1, `frequencies_in_training` (classes,) those
    of the classes where it learned, positive. From these on, each step weighs the probabilities by the ratio
    of new to old frequencies, and takes their mean as the next ones: expectation maximisation, which raises
    the likelihood until it is at its one maximum (it is concave). Ends when no frequency moves by more than
    1e-9, or after `n_steps`.
    """
    probabilities = np.exp(log_probabilities - log_probabilities.max(axis=1, keepdims=True), dtype=np.float64)
    likelihoods = probabilities / frequencies_in_training  # p(c | x) / p(c), up to a factor for each x
    found = np.asarray(frequencies_in_training, np.float64)
    for _ in range(n_steps):
        weighted = likelihoods * found
        before, found = found, (weighted / weighted.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(found - before).max() <= 1e-9:
            break
    return found


def margins(logits: np.ndarray, omitted_class: Sequence[int]) -> np.ndarray:
    """The common offset (n,) of the omitted classes from which on one of them is predicted."""
    is_omitted = np.isin(np.arange(logits.shape[1]), omitted_class)
    return logits[:, ~is_omitted].max(axis=1) - logits[:, is_omitted].max(axis=1)


def probability_of_omitted(logits: np.ndarray, omitted_class: Sequence[int], offset: float) -> np.ndarray:
    """The probability (n,), at T = 1, of all omitted classes together when each gets the same offset.

    With A and B the log sum exp of the others' logits and of theirs it is 1 / (1 + exp(A - B - offset)).
    """
    omitted = np.isin(np.arange(logits.shape[1]), omitted_class)
    others, theirs = (
        np.logaddexp.reduce(logits[:, part].astype(np.float64), axis=1) for part in (~omitted, omitted)
    )
    return np.exp(-np.logaddexp(0, others - theirs - offset))


def mean_probabilities(
    logits: np.ndarray, labels: np.ndarray, omitted_class: Sequence[int], offset: float
) -> dict[str, float]:
    """That probability's mean on images of the omitted classes, on those of all others, and on all."""
    p, mine = probability_of_omitted(logits, omitted_class, offset), np.isin(labels, omitted_class)
    parts = {"on_omitted": p[mine], "on_others": p[~mine], "on_all": p}
    return {name: float(part.mean()) for name, part in parts.items()}


def errors_by_offset(
    logits: np.ndarray, labels: np.ndarray, omitted_class: Sequence[int], offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Errors in all, and on omitted classes, when all of these get the same offset: for each of `offsets`.

    An image goes to the largest omitted logit as soon as the offset passes its margin, before that to the
    largest of the others; so it is counted by where its margin lies.
    """
    classes, margin = np.arange(logits.shape[1]), margins(logits, omitted_class)
    omitted = np.isin(classes, omitted_class)
    guesses = [classes[part][logits[:, part].argmax(axis=1)] for part in (omitted, ~omitted)]
    right_above, right_below = (np.sort(margin[guess == labels]) for guess in guesses)
    n_right_above = np.searchsorted(right_above, offsets)
    n_right_below = len(right_below) - np.searchsorted(right_below, offsets)
    n_omitted = int(np.isin(labels, omitted_class).sum())
    return len(labels) - n_right_above - n_right_below, n_omitted - n_right_above


def best_offset_on_test_set(
    logits: np.ndarray, labels: np.ndarray, omitted_class: Sequence[int]
) -> dict[str, Any] | None:
    """The common offset with the fewest test errors: how the paper chose its 3.5 and its 7.6 (section 3).

    Uses test labels, so it is reported for comparison and never applied. None when no class is omitted, or
    every one.
    """
    if len(omitted_class) in (0, logits.shape[1]):
        return None
    edges = np.sort(margins(logits, omitted_class).astype(np.float64))
    edges = np.concatenate(([edges[0] - 1], edges, [edges[-1] + 1]))
    offsets = (edges[1:] + edges[:-1]) / 2  # the errors change at the margins only
    errors, omitted_errors = errors_by_offset(logits, labels, omitted_class, offsets)
    best = int(errors.argmin())
    return {
        "offset": float(offsets[best]),
        "test_errors": int(errors[best]),
        "omitted_errors": int(omitted_errors[best]),
    }
