"""How long a command of several trainings still takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Forecast:
    """The time left of a command, by what its phases cost, in any unit, and how fast they went so far."""

    def __init__(self, costs: Mapping[str, float]) -> None:
        self.cost_of, self.costs = dict(costs), dict(costs)  # of all phases; of those that have not ended
        self.ended_cost = self.ended_seconds = 0.0
        self.phase, self.started = "", 0.0

    def skip(self, phase: str) -> None:
        """It need not be done, as far as one can tell: it is stored."""
        self.costs.pop(phase, None)

    def begin(self, phase: str) -> None:
        self.costs[phase] = self.cost_of[phase]
        self.phase, self.started = phase, time.perf_counter()

    def end(self) -> None:
        self.ended_cost += self.costs.pop(self.phase)
        self.ended_seconds += time.perf_counter() - self.started

    @contextmanager
    def interrupted_by(self, phase: str) -> Iterator[None]:
        """Another phase at the very beginning of the present one, which begins again after it."""
        present = self.phase
        self.begin(phase)
        yield
        self.end()
        self.begin(present)

    def left(self, share: float) -> float:
        """Seconds, once `share`, more than 0, of the present phase is done."""
        done = share * self.costs[self.phase]
        seconds = self.ended_seconds + time.perf_counter() - self.started
        return seconds / (self.ended_cost + done) * (sum(self.costs.values()) - done)
