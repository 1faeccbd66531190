"""The main script in this process: what it prints, line by line, and what it writes."""

from __future__ import annotations

from support.console import Console, UserError
from support.data import VIZ, digests
from support.experiment import refuse_study
from support.report import warn_if_unreached
from support.settings import flag_name

import json
import re

import numpy as np
import pytest

import distillation_mnist_omitted_3 as core
from beyond import command, pipeline
from beyond.data import RENDERED_NOTICE, rendered_data
from beyond.settings import GROUPS, Config
from synthetic import digits

SMALL = (
    *("--n-epochs-teacher", "2", "--n-epochs-student", "1"),
    *("--teacher-hidden", "16", "--student-hidden", "8"),
)


def run_main(*flags: object) -> None:
    command.main([*SMALL, *map(str, flags)])


def test_what_a_run_prints_and_writes(small_folder, tmp_path, capsys):
    folders = ("--data-dir", small_folder, "--cache-dir", tmp_path, "--outdir", tmp_path / "out")
    run_main(*folders, "--omitted-class", 5)
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    number = r" +\d+\.\d\d%"
    expected = [
        r"data: custom IDX files, 600 training and 300 test images",
        r" {7}     epoch      loss      test   seconds      left",
        rf"teacher       1/2 +[\d.]+{number} +\d+\.\d +0:\d\d",
        rf"teacher       2/2 +[\d.]+{number} +\d+\.\d +0:00",
        r" {7}     epoch      loss      test        5s    others   seconds      left",
        rf"student       1/1 +[\d.]+{number}{number}{number} +\d+\.\d +0:00",
        r"",
        r"custom IDX files +overall +of 5s  errors  on 5s",
        rf"teacher{number}{number} +\d+ +\d+",
        rf"student before the correction{number}{number} +\d+ +\d+",
        rf"student after it \([+-]\d\.\d{{3}}\) +{number}{number} +\d+ +\d+",
        r"class 5 on the probe: mean probability 0\.\d{4} -> 0\.\d{4}, target 0\.\d{4}",
        r"best offset by test labels, for comparison: [+-]\d\.\d{3}, \d+ errors, \d+ on 5s",
        r"seconds: data [\d.]+, teacher [\d.]+, student [\d.]+, bias correction [\d.]+, total [\d.]+",
        rf"wrote {re.escape(str(tmp_path))}/out/results\.json",
    ]
    assert len(lines) == len(expected)
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), (line, pattern)
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["config"]["omitted_class"] == [5]
    for line, part in ((8, found["teacher"]), (9, found["student"]["before_correction"])):
        assert lines[line].split()[-1] == str(part["omitted_errors"])
        assert lines[line].split()[-2] == str(part["test_errors"])
        assert lines[line].split()[-4] == f"{100 * part['test_accuracy']:.2f}%"
        assert lines[line].split()[-3] == f"{100 * part['omitted_accuracy']:.2f}%"
    target = found["bias_correction"]["target_frequencies"][0]
    assert lines[11].endswith(f" {target:.4f}, target {target:.4f}")

    run_main(*folders, "--omitted-class", 5, "--quiet")
    quiet = capsys.readouterr()
    assert quiet.err == ""
    assert quiet.out.splitlines()[:-1] == lines[7:13]  # the times differ
    again = json.loads((tmp_path / "out" / "results.json").read_text())
    assert again["reused"] == {"teacher": True, "student": True}
    run_main(*folders, "--omitted-class", 5, "--retrain")
    assert "reused" not in capsys.readouterr().out
    same = {"n_epochs_teacher": 2, "n_epochs_student": 1, "teacher_hidden": (16,), "student_hidden": (8,)}
    same |= {"data_dir": small_folder, "cache_dir": tmp_path, "outdir": tmp_path, "omitted_class": (5,)}
    assert not pipeline.run(Config(**same, retrain=True)).teacher.reused
    assert capsys.readouterr().out == ""  # from Python, nothing is printed unless a console is given


def test_several_and_no_omitted_classes_have_tables_of_their_own(small_folder, tmp_path, capsys):
    folders = ("--data-dir", small_folder, "--cache-dir", tmp_path, "--outdir", tmp_path)
    run_main(*folders, "--omitted-class", 3, 8)
    out = capsys.readouterr().out
    assert re.search(r"^custom IDX files +overall  of omitted  errors  on omitted$", out, re.M)
    offsets = re.findall(r"^class [38] offset [+-]\d\.\d{3}, probability .* -> .*, target ", out, re.M)
    assert len(offsets) == 2
    assert re.search(r"^student after it  ", out, re.M)
    assert re.search(r"^best common offset by test labels.* \d+ errors$", out, re.M)
    run_main(*folders, "--keep-class", *range(10))
    out = capsys.readouterr().out
    assert re.search(r"^custom IDX files +overall  errors$", out, re.M)
    assert re.search(r"^student +\d+\.\d\d% +\d+$", out, re.M)
    assert "offset" not in out


def test_drawn_digits_are_announced_at_the_start_and_at_the_end(small_is_drawn, tmp_path, capsys):
    run_main("--dataset", "rendered", "--cache-dir", tmp_path, "--outdir", tmp_path)
    shown = capsys.readouterr()
    assert shown.out.startswith("drawing 25,000 digits ...\ndata: rendered digits, 600 training and 300 test")
    box = RENDERED_NOTICE.splitlines()
    assert shown.err.splitlines() == box * 2
    assert {len(line) for line in box} == {80}
    assert "NOT MNIST. These figures are of digits that this project drew by itself." in box[1]
    assert all(name in RENDERED_NOTICE for name in core.MNIST_SHA256)


def test_drawn_digits_are_the_drawn_digits(monkeypatch):
    arrays = digits.render_dataset(60, 30)
    monkeypatch.setattr(digits, "render_dataset", lambda: arrays)
    data = rendered_data(Console(quiet=True))
    for mine, theirs in zip(
        (data.train_images, data.train_labels, data.test_images, data.test_labels), arrays, strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    assert data.sha256 == digests(
        {name: a.tobytes() for name, a in zip(core.MNIST_SHA256, arrays, strict=True)}
    )


def test_a_recipe_is_its_flags_and_flags_given_win():
    fast = Config(**{"recipe": "fast", "batch_size": 64})
    given = (fast.n_epochs_teacher, fast.batch_size, fast.lr_schedule, fast.recipe)
    assert given == (4, 64, "linear", "fast")
    with pytest.raises(
        UserError, match="--recipe must be one of described, fast, best, middle, no-digit, not worst"
    ):
        Config(recipe="worst")
    with pytest.raises(TypeError, match="there is no setting speed"):
        Config(speed=3)


def test_a_frequency_that_no_offset_reaches_is_said_and_the_bias_left_alone(capsys):
    logits = np.zeros((50, 10), np.float32)
    logits[:, 3] = -1e4
    found = core.correct_bias(logits, (3,), [0.1])
    warn_if_unreached(found, core.MAX_OFFSET, Console())
    assert (found.reached, found.offsets) == (False, (0.0,))
    assert found.mean_probabilities_after == found.mean_probabilities_before
    assert capsys.readouterr().err == (
        "warning: no offset within +-50 brings the mean probability of class 3 to its target; "
        "the bias is left as it is\n"
    )
    found = core.correct_bias(logits[:, ::-1], (3,), [0.1])
    warn_if_unreached(found, core.MAX_OFFSET, Console())
    assert found.reached
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"runs": []}', "holds the runs of a study"),
        (b'\xef\xbb\xbf{"runs": []}', "holds the runs of a study"),  # saved by an editor
        (b'{"runs": [], "data"', "is no results.json of ours (Expecting"),
        (b"[" * 100_000 + b"]" * 100_000, "is no results.json of ours (nested too deeply"),
        (b"", "is no results.json of ours (Expecting"),
        (b"\xff\xfe\0", "is no results.json of ours ("),
        (b"[1]", "holds something else"),
        (b'{"config": {}}', "holds something else"),
        (b'{"teacher": NaN}', "is no results.json of ours (it holds NaN"),
    ],
)
def test_what_no_single_run_wrote_is_not_replaced_by_one(content, said, small_folder, tmp_path):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as refusal:
        run_main("--data-dir", small_folder, "--cache-dir", tmp_path / "cache", "--outdir", tmp_path)
    assert str(refusal.value).startswith(f"{path} {said}")
    assert str(refusal.value).endswith("name another --outdir")
    assert str(refusal.value).isprintable()
    assert path.read_bytes() == content
    assert not (tmp_path / "cache").exists()  # nothing was trained


@pytest.mark.parametrize("seeds", ["seeds/described", "seeds/no-digit", "cifar10/seeds", "cifar10/trials"])
def test_what_single_runs_wrote_can_be_replaced(seeds):
    paths = sorted((VIZ / seeds).glob("*/results.json"))
    assert paths
    for path in paths:
        refuse_study(path)


def test_help_begins_with_what_a_reader_changes_first_and_names_every_flag_once(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    shown = capsys.readouterr().out
    description = "[flags] Distil MNIST into a student that never sees one of the digits. options:"
    assert description in " ".join(shown.split())
    flags = re.findall(r"^  (--[a-z-]+)", shown, re.M)
    assert flags[:4] == ["--seed", "--temperature", "--n-epochs-teacher", "--n-epochs-student"]
    assert flags[4:6] == ["--omitted-class", "--keep-class"]
    assert sorted(flags) == sorted([*map(flag_name, Config.__dataclass_fields__), "--keep-class"])
    titles = re.findall(r"^([a-z][^:\n]*):$", shown, re.M)
    assert titles == ["options", *GROUPS]
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(Config.__dataclass_fields__)
