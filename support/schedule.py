"""How a training goes through its steps: in which order, and how far each goes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def shuffled(indices: np.ndarray, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of `indices`, epoch after epoch in another order."""
    while True:
        order = rng.permutation(indices)
        yield from (order[first : first + batch_size] for first in range(0, len(order), batch_size))


def learning_rate_at(step: int, n_steps: int, peak: float, schedule: str) -> float:
    """Step size at step 0 .. n_steps - 1. "linear" rises over the first 5 % of the steps, then falls to 0."""
    if schedule == "constant":
        return peak
    warm_up = max(1, round(0.05 * n_steps))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * (n_steps - step) / max(1, n_steps - warm_up)
