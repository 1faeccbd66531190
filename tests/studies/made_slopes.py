"""What the study of slopes measures of a run, drawn at random, so that no two values are alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from beyond.settings import Config
from beyond.slopes import FACTORS, GRIDS, OFFSETS, PERHAPS, SHOWN, is_the_recipe

KEYS = ("ratio", "slope", "bias", "slope_on_others")
LINEAR = ("pixels", "random", "teacher")


def along(rng: np.random.Generator, n: int) -> list[list[int]]:
    """Errors that fall and rise again, on the class left out fewer and fewer, false ones more and more."""
    missed, false = (np.sort(rng.choice(100, n, replace=False)) for _ in range(2))
    return [(100 + missed[::-1] + false).tolist(), missed[::-1].tolist(), false.tolist()]


def made_further(rng: np.random.Generator, config: Config) -> dict[str, Any]:
    omitted = config.omitted_class or (3,)
    found: dict[str, Any] = dict.fromkeys(PERHAPS)
    found["unseen"] = {key: rng.uniform(0.6, 0.95, len(omitted)).tolist() for key in KEYS}
    found["seen"] = None if len(omitted) == 10 else {
        key: rng.uniform(0.96, 1.04) for key in (*KEYS, "lowest_ratio", "highest_ratio")
    }  # fmt: skip
    found["ratio_on_training"] = rng.uniform(0.7, 0.9, len(omitted)).tolist()
    if len(omitted) > 1:
        return found
    names = ("none", "offset", "transfer", "prior", "factor", "both", "glued")
    found |= {
        "at_same_height": rng.uniform(0.7, 1, 2).tolist(),
        "corrections": {
            name: {"factor": rng.uniform(1.1, 1.3), "offset": rng.uniform(1, 2),
                   "counts": rng.integers(1, 300, 3).tolist()} for name in names
        },
        "best_offset_on_training": rng.uniform(0.5, 2),
        "area": {name: rng.uniform(0.9, 1) for name in ("student", "factor", "teacher")},
    }  # fmt: skip
    if is_the_recipe(config):
        linear = {name: {key: rng.uniform(0.1, 0.9) for key in ("ratio", "residual")} for name in LINEAR}
        found["predictors"] = {"linear": linear, "nearest": rng.uniform(4, 8)}
        found["by_factor"], found["by_offset"] = along(rng, len(FACTORS)), along(rng, len(OFFSETS))
        if omitted == (SHOWN[1],):
            found["at_best"] = {name: rng.integers(1, 300, 3).tolist() for name in GRIDS}
        if (config.seed, *omitted, config.student_hidden) == SHOWN:
            parts = rng.uniform(8, 20, 150), rng.uniform(-9, 8, 300)
            found["points"] = [[t.tolist(), (0.8 * t + rng.normal(0, 0.5, len(t))).tolist()] for t in parts]
    return found
