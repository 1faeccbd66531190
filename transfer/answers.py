"""What the student is told: the teacher's answers, a part of them, or outputs that mean nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from transfer.settings import TransferSettings


def told(logits: np.ndarray, labels: np.ndarray, config: TransferSettings) -> np.ndarray:
    """What of the teacher's logits (n, outputs) on the training images its student is told."""
    if config.teacher_answers == "whole":
        return logits
    rng = np.random.default_rng(config.seed + 73)
    return altered(logits, labels, config.omitted_class, config.teacher_answers, rng)


def altered(
    logits: np.ndarray, labels: np.ndarray, classes: Sequence[int], how: str, rng: np.random.Generator
) -> np.ndarray:
    """The teacher's logits (n, outputs) with those of `classes` made to say less; see TransferSettings.

    `labels` (n,) are used to take means and to shuffle within classes: this is a control, no way to learn.
    """
    found, mine = logits.copy(), list(classes)
    if how == "mean":
        found[:, mine] = logits[:, mine].mean(axis=0)
    others = [c for c in range(logits.shape[1]) if c not in classes]
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if how == "class-mean":
            found[np.ix_(rows, mine)] = logits[np.ix_(rows, mine)].mean(axis=0)
        elif how == "shuffled":
            found[np.ix_(rows, mine)] = logits[np.ix_(rng.permutation(rows), mine)]
        elif how == "alone":
            found[np.ix_(rows, others)] = logits[np.ix_(rows, others)].mean(axis=0)
    return found


def of_outputs(part: slice, loss: Callable) -> Callable:
    """`loss`, whose gradient is by the outputs of `part` alone, by all outputs: nothing trains the others."""

    def padded(logits: np.ndarray, batch: np.ndarray, inputs: np.ndarray) -> tuple[float, np.ndarray]:
        gradient = np.zeros_like(logits)
        value, gradient[:, part] = loss(logits, batch, inputs)
        return value, gradient

    return padded
