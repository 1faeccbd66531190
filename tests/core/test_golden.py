"""The recipe "fast" and the committed explorer on the real files, where MNIST_DIR says.

A wire that is cut between settings and training leaves the small tests' networks learning, but not this well:
the bounds lie some four standard deviations beyond the five committed runs in viz/seeds/fast.
"""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path

import numpy as np
import pytest
from explorer_pages import COMMITTED, arrays_of, run_js

import distillation_mnist_omitted_3 as core
from beyond import pipeline
from beyond.settings import Config

ROOT = Path(__file__).resolve().parents[2]
FOLDER = os.environ.get("MNIST_DIR", "")


def committed(path: str) -> list[float]:
    """A value of results.json in each of the committed runs."""
    found = []
    for file in sorted((ROOT / "viz" / "seeds" / "fast").glob("*/results.json")):
        value = json.loads(file.read_text())
        for key in path.split("."):
            value = value[int(key)] if key.isdigit() else value[key]
        found.append(value)
    return found


needs_mnist = pytest.mark.skipif(
    not FOLDER, reason="MNIST_DIR does not name a folder with the four files of MNIST"
)


@needs_mnist
def test_the_explorer_s_student_on_1000_real_test_images():
    """What the committed page computes against the test logits of the training, which it holds, too."""
    given = {"dataset": "mnist", "data_dir": Path(FOLDER)}
    images = pipeline.load_data(Config(**given), core.Console(quiet=True)).test_images[:1000]
    code = "return given.map((image) => Array.from(logitsOf(page.networks[1], image)));"
    theirs = np.array(run_js(COMMITTED, code, (images.reshape(1000, -1) / 255).tolist()))
    trained = arrays_of(COMMITTED)["logits"].reshape(-1, 10)[:1000]
    assert (theirs.argmax(axis=1) == trained.argmax(axis=1)).all()
    assert np.abs(core.softmax(theirs) - core.softmax(trained)).max() < 0.01


@needs_mnist
def test_the_fast_recipe_on_the_real_files(tmp_path):
    given = {"recipe": "fast", "dataset": "mnist", "data_dir": Path(FOLDER), "cache_dir": tmp_path}
    experiment = pipeline.run(Config(**(given | {"outdir": tmp_path})))
    found = experiment.results()
    assert found["data"]["n_transfer"] == 53_869
    assert found["data"]["n_test_omitted"] == 1_010
    for path in (
        "teacher.test_errors", "student.before_correction.test_errors",
        "student.before_correction.omitted_errors", "student.after_correction.test_errors",
        "student.after_correction.omitted_errors", "bias_correction.offsets.0", "history.teacher.0.loss",
        "history.teacher.3.loss", "history.student.0.loss", "history.student.5.loss",
    ):  # fmt: skip
        values, value = committed(path), found
        for key in path.split("."):
            value = value[int(key)] if key.isdigit() else value[key]
        mean, sd = statistics.mean(values), statistics.stdev(values)
        assert abs(value - mean) < 4 * sd + 0.02 * abs(mean), (path, value, values)
