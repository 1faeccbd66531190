"""What studies measure besides a record, made up: by study, from a generator and the config of a run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from made_slopes import made_further as of_slope

from beyond.settings import Config
from studies import prior

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


FURTHER: dict[str, Callable[[np.random.Generator, Config], dict]] = {
    "images": of_images, "prior": of_prior, "slope": of_slope,
}  # fmt: skip
