"""What the tests of this folder are given."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from made_breaks import MADE
from made_studies import RESULTS
from small_studies import make, tiny_configs

from studies import results
from studies.questions import STUDIES, plan
from studies.study import Run

# what is shown


@pytest.fixture(scope="module")
def committed() -> list[Run]:
    return results.read(RESULTS)[1]


@pytest.fixture(scope="module")
def shaken(small_data, tmp_path_factory):
    """Makes runs of given studies out of one: as many as are asked for, each with accuracies of its own."""
    config = tiny_configs(tmp_path_factory.mktemp("cache"))[0]
    record = make([config], small_data)[0][config]
    counts = np.bincount(small_data.train_labels, minlength=10)

    def runs(names: list[str], given: dict | None = None, n_seeds: int = 3) -> list[Run]:
        rng, found = np.random.default_rng(0), []
        for (name, place), configs in plan(names, given or {}, n_seeds).items():
            for one in configs:
                new = copy.deepcopy(record)
                omitted, corrected = list(one.omitted_class), list(one.corrected_class)
                new["bias_correction"] |= {
                    "classes": corrected,
                    "offsets": rng.uniform(1, 2, len(corrected)).tolist(),
                    "target_frequencies": (counts[corrected] / counts.sum()).tolist(),
                }
                if one.prior == "em":
                    new["bias_correction"]["target_frequencies"] = rng.uniform(0.01, 0.4, 1).tolist()
                if one.is_drawn:
                    answers = {"teacher_mean_probabilities": rng.dirichlet(np.ones(10)).tolist()}
                    shares = {"teacher_mean_largest": rng.random(), "nearest_digit_cosine": rng.random()}
                    new["transfer_set"] = {"kind": one.transfer_set, "n_different": 7, **answers, **shares}
                parts = [new["teacher"], *new["student"].values(), new["bias_correction"]["best_on_test_set"]]
                for part in parts:
                    for key in part:
                        if key.endswith("errors"):
                            part[key] = int(rng.integers(50, 300))
                        elif key == "per_class_accuracy":
                            part[key] = rng.uniform(0.5, 1, 10).tolist()
                        elif key.endswith("_accuracy"):
                            part[key] = float(rng.uniform(0.5, 1))
                if len(omitted) in (0, 10):
                    for part in parts[:-1]:
                        part["other_accuracy" if omitted else "omitted_accuracy"] = None
                    new["bias_correction"] |= {"best_on_test_set": None, "calibration": None}
                for n, at_offset in enumerate(new["bias_correction"]["calibration"] or ()):
                    on, off = rng.uniform(0.9, 1), rng.uniform(0, 0.01)
                    new["share"] = 0.2 + 0.01 * one.seed  # of test images that are 3s
                    both = new["share"] * on + (1 - new["share"]) * off
                    at_offset |= {"offset": float(n), "on_omitted": on, "on_others": off, "on_all": both}
                if name in MADE:
                    new["further"] = MADE[name](rng, one)
                found.append(Run(name, STUDIES[name].grid[place], one, new))
        return found

    return runs
