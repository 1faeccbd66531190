"""What the tests of this folder are given."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from made_studies import RESULTS
from shaken import shaken_runs
from small_studies import make, tiny_configs

from studies import results
from studies.questions import STUDIES, plan
from studies.study import Run

# what is shown


@pytest.fixture(scope="session")
def committed() -> list[Run]:
    return results.read(RESULTS)[1]


@pytest.fixture(scope="module")
def shaken(small_data, tmp_path_factory):
    """Makes runs of given studies out of one: as many as are asked for, each with accuracies of its own."""
    config = tiny_configs(tmp_path_factory.mktemp("cache"))[0]
    record = make([config], small_data)[0][config]
    counts = np.bincount(small_data.train_labels, minlength=10)

    def runs(names: list[str], given: dict | None = None, n_seeds: int = 3) -> list[Run]:
        found = []
        for (name, place), configs in plan(names, given or {}, n_seeds).items():
            for one in configs:
                new = copy.deepcopy(record)
                omitted, corrected = list(one.omitted_class), list(one.corrected_class)
                new["bias_correction"] |= {
                    "classes": corrected,
                    "offsets": [0.0] * len(corrected),
                    "target_frequencies": (counts[corrected] / counts.sum()).tolist(),
                }
                if one.is_drawn:
                    new["transfer_set"] = {"kind": one.transfer_set, "n_different": 7}
                if len(omitted) in (0, 10):
                    for part in (new["teacher"], *new["student"].values()):
                        part["other_accuracy" if omitted else "omitted_accuracy"] = None
                    new["bias_correction"] |= {"best_on_test_set": None, "calibration": None}
                found.append(Run(name, STUDIES[name].grid[place], one, new))
        return shaken_runs(found)

    return runs
