"""What the studies of worse images and of other teachers measure of a run, drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np

from beyond.settings import Config
from studies.corruption import CONDITIONS, METRICS, NETWORKS, SHARES


def of_corruption(rng: np.random.Generator, config: Config) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(NETWORKS)
    for name in NETWORKS if config.omitted_class else ("before",):
        metrics = SHARES if name == "anew" else METRICS
        found[name] = {metric: rng.uniform(0, 1, len(CONDITIONS)).tolist() for metric in metrics}
    return found


def of_teachers(rng: np.random.Generator, config: Config) -> dict[str, Any]:
    return {"entropy": rng.uniform(2, 2.3), "spread": rng.uniform(0, 0.2)}


MADE = {"corruption": of_corruption, "teachers": of_teachers}
