"""The four scripts as a user runs them: small runs, what they write, what they reuse, what they refuse."""

from __future__ import annotations

from support.settings import flag_name

import ctypes
import dataclasses
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scripts_run import EXPLORER, GIF, MAIN, MAINS, PICTURES, ROOT, call, ended, quick, stable, within
from small_pictures import plain_frame

import make_distillation_mnist_omitted_3_gif as gif
from beyond import command, pipeline
from beyond.settings import Config

PNGS = (
    "teacher_curves", "student_curves", "per_class_accuracy", "bias_correction", "dark_knowledge",
    "transfer_set", "omitted_examples", "imagined", "transformations",
)  # fmt: skip


@pytest.mark.parametrize("script", list(MAINS))
def test_help_shows_every_flag_and_fits_80_columns(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    status, _, shown = ended(MAINS[script], ("--help",), tmp_path, monkeypatch, capsys)
    assert status == 0
    assert max(map(len, shown.splitlines())) <= 80
    for name in Config.__dataclass_fields__:
        assert flag_name(name) in shown
    text = " ".join(shown.split())
    assert "(default: 1200 1200)" in text
    assert "(default: 20.0)" in text
    assert ("--snapshot-every" in text) == (script == GIF)
    assert ("(default: best)" in text) == ("--with-no-digit" in text) == (script == EXPLORER)
    if script == MAIN:
        process = call(script, "--help", cwd=tmp_path)
        assert (process.returncode, process.stdout.partition(" [flags]")[::2]) == (
            0, (f"usage: {MAIN}", shown.partition(" [flags]")[2])
        )  # fmt: skip


def test_a_rendered_run_tells_its_story(rendered):
    folder, result = rendered
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert max(map(len, result.stderr.splitlines())) <= 80
    assert "\r" not in result.stdout  # no progress line in a pipe
    assert len(re.findall(r"^teacher +\d+/3 ", result.stdout, re.M)) == 3
    assert len(re.findall(r"^student +\d+/4 ", result.stdout, re.M)) == 4
    assert result.stderr.count("NOT MNIST") == 2  # at the start and at the end
    found = json.loads((folder / "out" / "results.json").read_text())
    assert found["teacher"]["test_accuracy"] > 0.9
    before, after = (found["student"][k] for k in ("before_correction", "after_correction"))
    assert before["omitted_accuracy"] < before["other_accuracy"] - 0.03
    assert after["omitted_accuracy"] > before["omitted_accuracy"]


def test_results_json_has_the_documented_keys(rendered):
    folder, _ = rendered
    text = (folder / "out" / "results.json").read_text()
    found = json.loads(text)
    assert text == json.dumps(found, indent=2, sort_keys=True) + "\n"
    assert set(found) == {
        "config", "environment", "data", "teacher", "student", "bias_correction", "history", "reused",
        "wall_clock_seconds",
    }  # fmt: skip
    assert set(found["config"]) == set(Config.__dataclass_fields__)
    assert set(found["environment"]) == {"python", "numpy", "blas", "kernel", "os", "cpu", "cores", "threads"}
    assert found["data"]["name"] == "rendered digits"
    assert (found["data"]["n_train"], found["data"]["n_test"]) == (20_000, 5_000)
    metrics = {
        "test_accuracy", "test_errors", "per_class_accuracy", "omitted_accuracy", "omitted_errors",
        "other_accuracy", "confusion_matrix",
    }  # fmt: skip
    assert set(found["student"]) == {"before_correction", "after_correction"}
    for part in (found["teacher"], *found["student"].values()):
        assert set(part) == metrics
        assert np.sum(part["confusion_matrix"]) == 5_000
        assert part["test_errors"] == 5_000 - np.trace(part["confusion_matrix"])
        assert part["test_accuracy"] == pytest.approx(1 - part["test_errors"] / 5_000)
    correction = found["bias_correction"]
    assert set(correction) == {
        "calibration", "classes", "offsets", "reached", "target_frequencies", "mean_probabilities_before",
        "mean_probabilities_after", "probe_size", "best_on_test_set",
    }  # fmt: skip
    assert correction["mean_probabilities_after"] == pytest.approx(correction["target_frequencies"], abs=1e-4)
    assert (
        correction["best_on_test_set"]["test_errors"] <= found["student"]["after_correction"]["test_errors"]
    )
    assert [entry["epoch"] for entry in found["history"]["student"]] == [1, 2, 3, 4]
    assert len(found["history"]["teacher"]) == 3
    last = found["history"]["student"][-1]
    assert last["test_accuracy"] == found["student"]["before_correction"]["test_accuracy"]
    assert set(found["wall_clock_seconds"]) == {"data", "teacher", "student", "bias_correction", "total"}


def test_pictures_and_animation_reuse_the_stored_run(small_folder, tmp_path, monkeypatch):
    folder, flags = tmp_path, quick(small_folder, "--n-epochs-student", 3)
    command.main(within(folder, monkeypatch, (*flags, "--quiet")))
    pictures = call(PICTURES, *flags, cwd=folder)
    assert pictures.returncode == 0, pictures.stderr
    assert pictures.stdout.count("reused") == 2
    for name in PNGS:
        with Image.open(folder / "out" / f"{name}.png") as image:
            assert image.width >= 1000
            assert 400 <= image.height <= 1000
            assert len(image.convert("RGB").getcolors(2**20)) > 50  # something is drawn
    gif = call(GIF, *flags, "--snapshot-every", 3, "--fps", 4, "--out", "anim/x.gif", cwd=folder)
    assert gif.returncode == 0, gif.stderr
    assert gif.stdout.count("reused") == 3  # of the comparison on hard labels the teacher
    path = folder / "anim" / "x.gif"
    assert path.stat().st_size < 3e6
    with Image.open(path) as image:
        assert image.format == "GIF"
        assert image.n_frames == 3  # epochs 1, 3 and the corrected student
        durations = []
        for frame in range(3):
            image.seek(frame)
            durations.append(image.info["duration"])
        assert durations == [250, 2500, 5000]
        assert image.info["loop"] == 0
        assert image.width >= 800
    assert not list(folder.rglob(".*tmp*"))


def test_other_data_s_animation_goes_beside_their_results(small_folder, tmp_path, monkeypatch):
    """And MNIST's beside the scripts, where the README shows it, unless a folder is named."""
    frame = Image.new("P", (8, 8))
    monkeypatch.setattr(gif, "animation", lambda *_: ([frame, frame], [20, 20]))
    gif.main(within(tmp_path, monkeypatch, quick(small_folder)))
    with Image.open(tmp_path / "out" / gif.GIF_NAME) as image:
        assert image.size == (8, 8)
    (tmp_path / "beside").mkdir()
    monkeypatch.setattr(gif, "__file__", str(tmp_path / "beside" / "script.py"))
    small = {"n_epochs_teacher": 1, "n_epochs_student": 1, "teacher_hidden": (40,), "student_hidden": (20,)}
    shown = pipeline.run(Config(data_dir=small_folder, outdir=tmp_path, cache_dir=tmp_path, **small))
    mnist = dataclasses.replace(shown, data=dataclasses.replace(shown.data, name="MNIST"))
    monkeypatch.setattr(pipeline, "run", lambda *_: mnist)
    gif.main(within(tmp_path, monkeypatch, ("--data-dir", small_folder)))
    with Image.open(tmp_path / "beside" / gif.GIF_NAME) as image:
        assert image.size == (8, 8)


def test_the_same_command_gives_the_same_bits_and_another_seed_others(
    small_folder, tmp_path, monkeypatch, capsys
):
    for outdir, more in (("a", ()), ("b", ("--retrain",))):  # each in a process of its own
        result = call(MAIN, *quick(small_folder), "--outdir", outdir, *more, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert "reused" not in result.stdout
    for outdir, more in (("c", ()), ("d", ("--seed", 1))):
        command.main(within(tmp_path, monkeypatch, (*quick(small_folder), "--outdir", outdir, *more)))
        assert ("reused" in capsys.readouterr().out) == (outdir == "c")
    a, b, c, d = (stable(tmp_path / name / "results.json") for name in "abcd")
    assert a == b == c
    assert a != d
    runs = sorted((tmp_path / "cache" / "hinton-mnist" / "runs").iterdir())
    assert len(runs) == 4  # two seeds, teacher and student each


def test_a_new_temperature_reuses_the_teacher_and_another_jitter_nothing(
    small_folder, tmp_path, monkeypatch, capsys
):
    def shown(*more: object) -> str:
        command.main(within(tmp_path, monkeypatch, quick(small_folder, *more)))
        return capsys.readouterr().out

    shown()
    out = shown("--temperature", 5)
    assert re.search("^teacher: stored", out, re.M)
    assert not re.search("^student: stored", out, re.M)
    assert "reused" not in shown("--jitter", 1)
    assert shown("--probe-size", 100).count("reused") == 2


@pytest.mark.parametrize("kind", ["contours", "halves"])
def test_a_student_that_sees_no_digit_in_results_and_animation(
    kind, small_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(gif, "draw_frame", plain_frame)
    for main in (command.main, gif.main):
        main(within(tmp_path, monkeypatch, quick(small_folder, "--transfer-set", kind)))
    shown = capsys.readouterr()
    assert shown.err == ""
    assert max(map(len, shown.out.splitlines())) <= 80
    assert f"drawn images: {kind}" in shown.out
    assert "hard labels" not in shown.out  # there are none to compare with
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["config"]["omitted_class"] == found["bias_correction"]["classes"] == list(range(10))
    assert found["bias_correction"]["best_on_test_set"] is None
    assert found["transfer_set"]["kind"] == kind
    n_epochs = found["config"]["n_epochs_student"]
    assert found["data"]["n_transfer"] == found["transfer_set"]["n_different"] == 600 * n_epochs
    after = found["student"]["after_correction"]
    assert (after["other_accuracy"], after["omitted_accuracy"]) == (None, after["test_accuracy"])
    with Image.open(tmp_path / "out" / "distillation_mnist_omitted_3.gif") as image:
        assert image.n_frames == n_epochs + 1


@pytest.mark.parametrize(
    ("flags", "omitted"),
    [(("--omitted-class", 5, 3), [3, 5]), (("--keep-class", 7, 8), [0, 1, 2, 3, 4, 5, 6, 9])],
    ids=["two", "eight"],
)
def test_several_omitted_classes_in_results_and_animation(
    flags, omitted, small_folder, small_data, tmp_path, monkeypatch, capsys
):
    for main in (command.main, gif.main):
        main(within(tmp_path, monkeypatch, quick(small_folder, *flags, "--n-epochs-student", 1)))
    shown = capsys.readouterr()
    assert shown.err == ""
    assert max(map(len, shown.out.splitlines())) <= 80
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["config"]["omitted_class"] == omitted
    correction = found["bias_correction"]
    assert len(correction["offsets"]) == len(omitted)
    assert correction["mean_probabilities_after"] == pytest.approx(correction["target_frequencies"], abs=1e-6)
    labels = small_data.train_labels
    assert found["data"]["n_transfer"] == (~np.isin(labels, omitted)).sum()
    with Image.open(tmp_path / "out" / "distillation_mnist_omitted_3.gif") as image:
        assert image.n_frames == 2


def test_with_every_class_kept_there_is_nothing_to_correct(small_folder, tmp_path, monkeypatch, capsys):
    flags = quick(small_folder, "--keep-class", *range(10), "--hard-weight", 1)
    command.main(within(tmp_path, monkeypatch, flags))
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["student"]["before_correction"] == found["student"]["after_correction"]
    assert found["student"]["after_correction"]["omitted_accuracy"] is None
    assert found["bias_correction"]["best_on_test_set"] is None
    for name in (PICTURES, GIF, EXPLORER):
        capsys.readouterr()
        status, lines, out = ended(MAINS[name], flags, tmp_path, monkeypatch, capsys)
        assert (status, out) == (2, "")
        assert lines == [
            "error: these pictures show what the student never saw; leave at least one class out"
        ]


needs_openblas = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(np._core._multiarray_umath.__file__), "scipy_openblas_get_num_threads64_"),
    reason="needs NumPy with OpenBLAS, whose threads can be asked for",
)


@needs_openblas
def test_importing_changes_nothing_in_the_process(tmp_path):
    program = (
        "import os, threading, numpy as np\n"
        "random = np.random.get_state\n"
        "state = lambda: (dict(os.environ), threading.active_count(), str(random()), np.geterr())\n"
        "before = state()\n"
        "import distillation_mnist_omitted_3 as core\n"
        "n_threads = min(int(os.environ['OPENBLAS_NUM_THREADS']), len(os.sched_getaffinity(0)))\n"
        "assert core.Workers().n_threads == n_threads\n"
        "assert state() == before\n"
    )
    for n_threads in ("1", "2"):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": n_threads, "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-c", program]
        result = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []  # nor is anything trained
