"""What studies measure besides a record, made up: by study, from a generator and the config of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from made_slopes import made_further as of_slope

from beyond.handwriting import WAYS
from beyond.settings import Config
from studies import prior
from studies.corruption import CONDITIONS, METRICS, NETWORKS, SHARES
from studies.corruption import WAYS as OF_SHARES

N_OMITTED = 30  # of 300 test images


def of_images(rng: np.random.Generator, config: Config) -> dict:
    kept = rng.integers(50, 300, 10).tolist()
    return {"before": int(rng.integers(1, 99)), "after": int(rng.integers(1, 99)), "kept": kept}


def of_prior(rng: np.random.Generator, config: Config) -> dict:
    if config.prior != "known":
        return {"ways": {}, "n_omitted": 0}
    ways = {
        name: {
            "share": None if name == prior.NONE else rng.uniform(0.01, 0.4), "offset": rng.uniform(-1, 5),
            "on_omitted": int(rng.integers(1, 30)), "on_others": int(rng.integers(1, 99)),
        }
        for name in (prior.NONE, *prior.WAYS) if name != prior.EM
    }  # fmt: skip
    return {"ways": ways, "n_omitted": N_OMITTED}


def read_elsewhere(rng: np.random.Generator, config: Config) -> dict:
    """What the study of handwriting measures besides, every accuracy another one."""
    names = ("teacher", *WAYS)

    def read() -> dict:
        parts = ("accuracy", "omitted_accuracy", "other_accuracy")
        return dict(zip(parts, rng.uniform(0.9, 1, 3).tolist(), strict=True))

    return {
        **{name: read() for name in names},
        "test": {name: read() for name in names},
        "per_class_accuracy": {name: rng.uniform(0.9, 1, 10).tolist() for name in ("teacher", "before")},
        "offsets": {way: rng.uniform(1, 2, len(config.omitted_class)).tolist() for way in WAYS},
        "n_images": {"all": 9298, "test": 2007},
        "class_shares": rng.dirichlet(np.ones(10)).tolist(),
    }


def of_corruption(rng: np.random.Generator, config: Config) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(NETWORKS)
    for name in NETWORKS if config.omitted_class else ("before",):
        metrics = SHARES if name in OF_SHARES else METRICS
        found[name] = {metric: rng.uniform(0, 1, len(CONDITIONS)).tolist() for metric in metrics}
    return found


def of_teachers(rng: np.random.Generator, config: Config) -> dict:
    return {"entropy": rng.uniform(0, 2.3), "spread": rng.uniform(0, 1)}


FURTHER: dict[str, Callable[[np.random.Generator, Config], dict]] = {
    "images": of_images, "prior": of_prior, "slope": of_slope, "handwriting": read_elsewhere,
    "corruption": of_corruption, "teachers": of_teachers,
}  # fmt: skip
