"""Runs of the studies with every value drawn anew, so that no two are alike."""

from __future__ import annotations

import copy

import numpy as np
from made_further import FURTHER

from studies.study import Run


def shaken_runs(runs: list[Run], seed: int = 0) -> list[Run]:
    """Copies of runs; what was not measured is not measured in them either."""
    rng, found = np.random.default_rng(seed), []
    for run in runs:
        record = copy.deepcopy(run.record)
        correction = record["bias_correction"]
        best = correction.get("best_on_test_set") or {}
        for part in (record["teacher"], *record["student"].values(), best):
            for key, value in part.items():
                if key.endswith("errors"):
                    part[key] = int(rng.integers(50, 300))
                elif key.endswith("_accuracy") and isinstance(value, float):
                    part[key] = float(rng.uniform(0.5, 0.99))
                elif key == "per_class_accuracy":
                    part[key] = rng.uniform(0.5, 1, 10).tolist()
        correction["offsets"] = rng.uniform(1, 2, len(correction["offsets"])).tolist()
        if run.config.prior == "em":
            correction["target_frequencies"] = rng.uniform(0.01, 0.4, 1).tolist()
        for at in correction.get("calibration") or ():
            on, off, share = rng.uniform(0.9, 1), rng.uniform(0, 0.01), 0.2 + 0.01 * run.config.seed
            at |= {"offset": rng.uniform(0, 3), "on_omitted": on, "on_others": off}
            at["on_all"] = share * on + (1 - share) * off
        if "transfer_set" in record:
            record["transfer_set"] |= {
                "teacher_mean_probabilities": rng.dirichlet(np.ones(10)).tolist(),
                "teacher_mean_largest": rng.random(),
                "nearest_digit_cosine": rng.random(),
            }
        if run.study in FURTHER:
            record["further"] = FURTHER[run.study](rng, run.config)
        found.append(Run(run.study, run.settings, run.config, record))
    return found
