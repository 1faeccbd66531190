"""The steps of a training: how far each goes, and its batch, written while the network is still busy."""

from __future__ import annotations

from support.transformations import Limits, Transformer

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def learning_rate_at(step: int, n_steps: int, peak: float, schedule: str) -> float:
    """Step size at step 0 .. n_steps - 1. "linear" rises over the first 5 % of the steps, then falls to 0."""
    if schedule == "constant":
        return peak
    warm_up = max(1, round(0.05 * n_steps))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * (n_steps - step) / max(1, n_steps - warm_up)


def shuffled(indices: np.ndarray, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of `indices`, epoch after epoch in another order."""
    while True:
        order = rng.permutation(indices)
        yield from (order[first : first + batch_size] for first in range(0, len(order), batch_size))


class Feed:
    """The batches of a lesson, epoch after epoch, each image another way each time.

    There are two input buffers: while the network works on one, the next batch is written into the other.
    """

    def __init__(
        self, lesson: Any, activations: list[np.ndarray], limits: Limits, rng: np.random.Generator
    ) -> None:
        """`lesson` has `indices` (n,) and `of_epoch`; `activations` are a network's buffers, inputs first."""
        self.lesson, self.buffers = lesson, activations
        self.spare_inputs = np.ones_like(activations[0])
        self.batch_size = activations[0].shape[1]
        self.n_batches = math.ceil(len(lesson.indices) / self.batch_size)  # of an epoch
        self.n_written = 0
        self.transformer = Transformer(limits, rng, limits.background)
        self.order = shuffled(lesson.indices, self.batch_size, rng)
        for call in self.writing_next():
            call()

    def take(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """The indices of the batch that was written last, and the buffers with its images as inputs."""
        batch = self.coming
        self.buffers[0], self.spare_inputs = self.spare_inputs, self.buffers[0]
        return batch, [buffer[:, : len(batch)] for buffer in self.buffers]

    def writing_next(self) -> list[Callable[[], None]]:
        """Calls that write the next batch; what is random about it is drawn now."""
        epoch, place = divmod(self.n_written, self.n_batches)
        if place == 0:
            self.images = self.lesson.of_epoch(epoch + 1)
        self.n_written += 1
        self.coming = next(self.order)
        inputs = self.spare_inputs[:-1, : len(self.coming)]
        return self.transformer.calls(inputs, self.images[self.coming])
