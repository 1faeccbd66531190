"""What a study measures of a run's networks besides: measured once, kept, and read back with care."""

from __future__ import annotations

from support.checks import number
from support.console import Console, UserError
from support.data import Data

import argparse
import pickle
from dataclasses import replace

import numpy as np
import pytest
from small_studies import measured, thread_pool, tiny_configs, trained_when

from beyond.settings import Config
from beyond.slopes import measured_slopes
from runs.many import run_many
from runs.processes import local_pool
from runs.records import Further
from studies import __main__ as command
from studies import results
from studies.questions import STUDIES
from studies.study import Run

N_MEASURED = []  # a value for each time


def brightness(experiment, workers, images) -> dict:
    """Of the images given, or of the test images; and the student's mean logit for what it never saw."""
    N_MEASURED.append(0)
    shown = images.test_images if images else experiment.data.test_images
    omitted = list(experiment.config.omitted_class)
    return {"brightness": float(shown.mean()), "logit": float(experiment.student_logits[:, omitted].mean())}


def twice(experiment, workers, images) -> dict:
    return {"logit": 2 * brightness(experiment, workers, images)["logit"]}


@pytest.fixture
def dark(small_data) -> Data:
    return replace(small_data, name="dark", test_images=small_data.test_images // 2, sha256={"all": "dark"})


def many(configs, data, further, open_pool=thread_pool):
    records, reasons = run_many(configs, data, open_pool, Console(quiet=True), further=further)
    assert not reasons
    return records


def test_more_is_measured_of_each_run_that_asks_for_it(small_data, dark, tmp_path):
    configs = tiny_configs(tmp_path)
    asked = {configs[0]: (Further("slope", brightness, dark), Further("prior", twice))}
    records = many(configs, small_data, lambda c: asked.get(c, ()), lambda data: local_pool(1, data))
    assert {c for c in configs if "further" in records[c]} == {configs[0]}
    found = records[configs[0]]["further"]
    assert found["slope"]["brightness"] == pytest.approx((small_data.test_images // 2).mean())
    assert found["prior"]["logit"] == 2 * found["slope"]["logit"] != 0
    assert results.of_study(records[configs[0]], "slope")["further"] == found["slope"]
    assert "further" not in results.of_study(records[configs[0]], "images")
    assert "further" not in results.of_study(records[configs[1]], "slope")
    entries = [
        results.entry(Run(name, {}, configs[0], results.of_study(records[configs[0]], name)))
        for name in ("slope", "images")
    ]
    assert entries[0]["further"] == found["slope"]
    assert "further" not in entries[1]


def test_what_was_measured_is_kept_and_other_code_or_images_measure_again(small_data, dark, tmp_path):
    config = tiny_configs(tmp_path)[0]

    def record(*further):
        before = len(N_MEASURED)
        found = many([config], small_data, lambda c: further)[config]
        return found, len(N_MEASURED) - before

    first, n_first = record(Further("slope", brightness))
    again, n_again = record(Further("slope", brightness))
    assert (n_first, n_again) == (1, 0)
    assert again == first
    others = [record(Further("slope", twice)), record(Further("slope", brightness, dark)), record()]
    assert [n for _, n in others] == [1, 1, 0]
    for found, _ in others:  # and nothing was trained again
        assert trained_when(found) == trained_when(first)
        assert measured(found) | {"further": 0} == measured(first) | {"further": 0}


@pytest.fixture
def measuring(monkeypatch):
    """The study "prior" as one that measures more."""
    study = replace(
        STUDIES["prior"],
        further=lambda *_: Further("prior", twice),
        further_holds={"logit": number(-100, 100)},
    )
    monkeypatch.setitem(STUDIES, "prior", study)
    return study


@pytest.mark.parametrize("wrong", [None, {}, {"logit": "high"}, {"logit": 101}, [1]])
def test_results_hold_what_was_measured_besides_and_are_read_with_care(measuring, committed, wrong):
    runs = [r for r in committed if r.study == "prior"][:6]
    kept = ("study", "grid", "flags", "seed", "teacher", "student", "bias_correction")
    entries = [{k: r.record[k] for k in kept} | {"further": {"logit": 1.5}} for r in runs]
    found = {"data": runs[0].record["data"], "runs": entries}
    assert [run.value("further.logit") for run in results.runs_of(found)] == [1.5] * 6
    found["runs"][4] = found["runs"][4] | {"further": wrong}
    with pytest.raises(ValueError, match=r"run 4: .*(further|logit)"):
        results.runs_of(found)


def test_a_study_that_cannot_be_measured_is_left_out(measuring, monkeypatch, capsys):
    def nowhere(arguments, config, console):
        raise UserError("its images are nowhere")

    monkeypatch.setitem(STUDIES, "images", replace(STUDIES["images"], further=nowhere))
    names = ["images", "prior", "paper"]
    found = command.further_of(names, argparse.Namespace(), None, Console())
    assert list(found) == ["prior"]
    assert names == ["prior", "paper"]
    assert "images is left out: its images are nowhere" in capsys.readouterr().err
    with pytest.raises(UserError, match="nowhere"):
        command.further_of(["images"], argparse.Namespace(), None, Console())


def test_seeds_may_lie_apart(monkeypatch):
    monkeypatch.setitem(STUDIES, "prior", replace(STUDIES["prior"], apart=10))
    planned = command.plan(["prior", "paper"], {"seed": 3}, 3)
    seeds = {name: {tuple(c.seed for c in group) for (n, _), group in planned.items() if n == name}
             for name in ("prior", "paper")}  # fmt: skip
    assert seeds == {"prior": {(3, 13, 23)}, "paper": {(3, 4, 5)}}
    assert np.all(np.diff([c.seed for c in planned["prior", 0]]) == 10)


def test_a_key_is_the_same_before_and_after_a_config_was_sent_to_a_worker(monkeypatch):
    """Pickling notes something in the class of what it pickles."""
    if "__slotnames__" in vars(Config):
        monkeypatch.delattr(Config, "__slotnames__")
    before = Further("slope", measured_slopes).key()
    pickle.dumps(Config())
    assert "__slotnames__" in vars(Config)
    assert Further("slope", measured_slopes).key() == before
