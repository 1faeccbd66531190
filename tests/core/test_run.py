"""Section 3 by the core alone: it gives what the whole pipeline gives, which finds it again."""

from __future__ import annotations

from support.console import Console, UserError
from support.download import DownloadError
from support.stored import open_session

import dataclasses

import numpy as np
import pytest

import distillation_mnist_omitted_3 as core
from beyond import pipeline
from beyond.settings import Config

SMALL = {
    "n_epochs_teacher": 2, "n_epochs_student": 2, "teacher_hidden": (24,), "student_hidden": (16, 12),
    "batch_size": 50, "learning_rate": 2e-3, "probe_size": 300,
}  # fmt: skip
VARIANTS = [
    {},
    {"omitted_class": (3, 8), "seed": 4},
    {"hard_weight": 0.25},
    {"hard_weight": 1.0, "jitter": 0},
]


@pytest.mark.parametrize("more", VARIANTS)
def test_the_core_s_run_is_the_pipeline_s_and_both_share_what_is_stored(more, small_folder, tmp_path):
    places = {"data_dir": small_folder, "cache_dir": tmp_path / "core"}
    alone = core.run(core.Config(**SMALL, **more, **places))
    places["outdir"] = tmp_path
    anew = pipeline.run(Config(**SMALL, **more, **places | {"cache_dir": tmp_path / "pipeline"}))
    again = pipeline.run(Config(**SMALL, **more, **places))
    for kind in ("teacher", "student"):
        assert not alone.runs[kind].reused
        assert not anew.runs[kind].reused
        assert again.runs[kind].reused
        for other in (anew, again):
            ours, theirs = alone.runs[kind], other.runs[kind]
            np.testing.assert_array_equal(ours.network.parameters, theirs.network.parameters)
            np.testing.assert_array_equal(ours.test_logits, theirs.test_logits)
            assert ours.losses.tolist() == theirs.losses.tolist()
    assert alone.correction == anew.correction
    assert alone.metrics() == anew.metrics()
    np.testing.assert_array_equal(alone.probe_logits, anew.probe_logits)
    np.testing.assert_array_equal(alone.lesson.indices, anew.lesson.indices)
    assert alone.n_threads == anew.n_threads
    assert alone.results()["student"] == anew.results()["student"]
    assert alone.results()["data"] == anew.results()["data"]


def test_what_is_trained_anew_is_shown_and_what_is_stored_said(small_folder, tmp_path, capsys):
    config = core.Config(**SMALL, data_dir=small_folder, cache_dir=tmp_path, omitted_class=(5,))
    core.run(config)
    assert capsys.readouterr().out == ""  # quiet, unless a console is given
    core.run(config, Console())
    assert "student: stored training" in capsys.readouterr().out
    anew = core.Config(**SMALL, data_dir=small_folder, cache_dir=tmp_path, omitted_class=(5,), retrain=True)
    again = core.run(anew, Console())
    shown = capsys.readouterr().out
    rows = [line.split() for line in shown.splitlines()]
    assert ["epoch", "loss", "test", "seconds", "left"] in rows  # of the teacher, which sees every class
    assert ["epoch", "loss", "test", "5s", "others", "seconds", "left"] in rows
    assert not again.student.reused


def test_an_offset_out_of_reach_is_said(small_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(core, "MAX_OFFSET", 1e-6)
    found = core.run(core.Config(**SMALL, data_dir=small_folder, cache_dir=tmp_path), Console())
    assert not found.correction.reached
    assert (
        "warning: no offset within +-1e-06 brings the mean probability of class 3" in capsys.readouterr().err
    )


def test_who_sees_which_classes():
    config = core.Config(omitted_class=(2, 7))
    assert (config.unseen("teacher"), config.unseen("student")) == ((), (2, 7))
    wider = Config(omitted_class=(2, 7), teacher_omitted_class=(4,))
    assert (wider.unseen("teacher"), wider.unseen("student")) == ((4,), (2, 7))


def test_data_come_from_a_folder_the_cache_or_a_mirror(
    small_folder, small_data, small_is_mnist, mirror, tmp_path
):
    console = Console(quiet=True)
    whole = core.load_data(core.Config(data_dir=small_folder), console)
    assert whole.digest == small_data.digest
    held = core.load_data(core.Config(data_dir=small_folder, hold_out=50), console)
    np.testing.assert_array_equal(held.test_images, small_data.train_images[-50:])
    assert len(held.train_labels) == len(small_data.train_labels) - 50
    config = core.Config(cache_dir=tmp_path, mirror=(mirror.url(),))
    assert core.load_data(config, console).digest == small_data.digest
    n_asked = len(mirror.requests)
    assert n_asked == 4
    assert core.load_data(config, console).digest == small_data.digest  # from the cache
    assert len(mirror.requests) == n_asked
    with pytest.raises(DownloadError):
        core.load_data(core.Config(cache_dir=tmp_path / "empty", mirror=(mirror.url("403"),)), console)


def test_the_known_mirrors_are_asked_where_none_is_named(tmp_path, monkeypatch):
    asked = []

    def read_cache(folder, mirrors, console):
        asked.append((folder, tuple(mirrors), console))
        raise DownloadError("enough")

    monkeypatch.setattr(core, "read_cache", read_cache)
    console = Console(quiet=True)
    with pytest.raises(DownloadError, match="enough"):
        core.load_data(core.Config(cache_dir=tmp_path), console)
    assert asked == [(tmp_path, core.MIRRORS, console)]


def test_a_class_without_images_and_a_missing_network_are_said_in_one_line(small_data, tmp_path, mirror):
    seen = small_data.train_labels != 3
    without = dataclasses.replace(
        small_data, train_images=small_data.train_images[seen], train_labels=small_data.train_labels[seen]
    )
    with (
        open_session(tmp_path, False, Console(quiet=True)) as session,
        pytest.raises(UserError, match="--omitted-class 3: the training set has no image of it"),
    ):
        core.run_on_data(without, core.Config(**SMALL), session)
    with pytest.raises(UserError, match=r"^no mirror gave train-images-idx3-ubyte\.gz; run with a network"):
        core.run(core.Config(cache_dir=tmp_path, mirror=(mirror.url("403"),)))
