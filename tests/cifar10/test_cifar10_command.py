"""The CIFAR-10 experiment from its command line: bad input, pictures, and what is deployed."""

from __future__ import annotations

from support.console import UserError
from support.data import Data
from support.report import summary
from support.settings import flag_name

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_cifar10 import small_data, write_batches
from small_run import ROOT, SMALL, predict_all, trained

import distillation_mnist_omitted_3 as core
from cifar10 import __main__ as command_line
from cifar10 import deployed, pictures
from cifar10.data import CLASSES
from cifar10.experiment import run
from cifar10.settings import Config

SMALL_FLAGS = [
    str(word)
    for name, value in SMALL.items()
    for word in ("--" + name.replace("_", "-"), *(value if isinstance(value, tuple) else (value,)))
]


# ---- Bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"teacher_channels": (2**63,)}, "--teacher-channels must be numbers up to 10,000"),
        ({"student_channels": ("9" * 5000,)}, "--student-channels"),
        ({"teacher_channels": (10_001,)}, "--teacher-channels"),
        ({"teacher_channels": (0,)}, "--teacher-channels"),
        ({"teacher_channels": (True,)}, "--teacher-channels"),
        ({"teacher_channels": (8.5,)}, "--teacher-channels"),
        ({"teacher_channels": ()}, "--teacher-channels"),
        ({"teacher_channels": 8}, "--teacher-channels"),
        ({"teacher_channels": ("M", "8")}, "--teacher-channels"),
        ({"student_channels": ("8", "M", "M")}, "--student-channels"),
        ({"student_channels": ("8", "M") * 5}, "at most 4 M"),
        ({"sides": (16,)}, "--sides must be multiples of 8 with .*, at most 32, the last 32, not 16"),
        ({"sides": (20, 32)}, "--sides must be multiples of 8"),
        ({"sides": (24, 32), "teacher_channels": ("4", "M") * 4}, "--sides must be multiples of 16"),
        ({"sides_student": (27, 32), "student_channels": (4,)}, "--sides-student must be multiples of 2"),
        ({"sides_student": ()}, "--sides-student must .* not nothing"),
        ({"sides_student": (0, 32)}, "--sides-student must be multiples of 8 .* not 0 32"),
        ({"sides": (40, 32)}, "--sides must be multiples of 8 .* not 40 32"),
        ({"sides": (16.5, 32)}, "--sides must be whole numbers, not 16.5 32"),
        ({"sides": [24, 32]}, "--sides must be whole numbers"),
        ({"omitted_class": ("tiger",)}, "--omitted-class: no class 'tiger'"),
        ({"omitted_class": (10,)}, "--omitted-class"),
        ({"omitted_class": (3.0,)}, "--omitted-class"),
        ({"omitted_class": (True,)}, "--omitted-class"),
        ({"omitted_class": 3}, "--omitted-class"),
        ({"omitted_class": tuple(range(10))}, "--omitted-class must be fewer"),
        ({"dataset": "rendered", "data_dir": Path()}, "--data-dir and --dataset rendered"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(given, said):
    with pytest.raises(UserError, match=said) as caught:
        Config(**given)
    assert len(str(caught.value).splitlines()) == 1


def test_the_limits_themselves_are_taken():
    config = Config(
        teacher_channels=("1", "M") * 4, student_channels=(10_000,), omitted_class=tuple(range(9)),
        sides=(16, 32), sides_student=(2, 30, 32),
    )  # fmt: skip
    assert config.student_channels == ("10000",)


def test_channels_and_classes_in_python_as_one_would_write_them():
    config = Config(
        teacher_channels=(32, "M", 64), student_channels=[16, "M"], omitted_class=("truck", "cat", 0)
    )
    assert config.teacher_channels == ("32", "M", "64")
    assert config.student_channels == ("16", "M")
    assert config.omitted_class == (0, 3, 9)
    assert config == Config(
        teacher_channels=("32", "M", "64"), student_channels=("16", "M"), omitted_class=(9, 3, 0, 0)
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--teacher-channels", 2**63), "--teacher-channels"),
        (("--student-channels", "many"), "--student-channels"),
        (("--omitted-class", "tiger"), "no class 'tiger'; there are airplane"),
        (("--omitted-class", "-1"), "--omitted-class"),
        (("--sides", "16", "24"), "--sides must be"),
        (("--optimiser", "adam"), "invalid choice: 'adam'"),
        (("--batch-size", "1"), "--batch-size"),
        (("--data-dir", "nowhere"), "nowhere"),
        (("--data-dir", ""), "--data-dir"),
    ],
)
def test_bad_flags_get_one_line(flags, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UserError, SystemExit)) as caught:
        command_line.main(["--outdir", "out", "--cache-dir", "cache", *map(str, flags)])
    lines = (capsys.readouterr().err or str(caught.value)).splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert "__main__" not in lines[0]
    assert getattr(caught.value, "code", 2) == 2
    assert not any(tmp_path.iterdir())


def test_a_single_image_to_learn_from_is_refused(data, tmp_path):
    labels = np.array([3] * 65 + [1], np.uint8)
    one = Data(data.name, data.train_images, labels, data.test_images, data.test_labels, {})
    with pytest.raises(UserError, match="too few images for the student: 1; omit fewer classes"):
        trained(one, tmp_path, transfer_fraction=1.0)
    assert not any((tmp_path / "runs").iterdir())  # nothing was trained before


@pytest.mark.parametrize(
    ("fraction", "kind"), [("label_fraction", "teacher"), ("transfer_fraction", "student")]
)
def test_too_small_a_part_is_refused(fraction, kind, data, tmp_path):
    with pytest.raises(UserError, match=f"too few images for the {kind}: [01];"):
        trained(data, tmp_path, **{fraction: 0.001})


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("teacher", {"learning_rate": 1e20}),
        ("teacher", {"learning_rate": 1e38, "optimiser": "muon"}),
        ("student", {"learning_rate_student": 1e20}),
        ("student", {"learning_rate_student": 1e38, "optimiser_student": "muon"}),
        ("baseline", {"learning_rate_baseline": 1e20}),
    ],
)
def test_a_training_that_diverges_ends_in_one_line(kind, changed, data, tmp_path, capsys):
    """It names the step size of that training; and in no warning, which would be an error here."""
    flag = flag_name(next(iter(changed)))
    with pytest.raises(UserError, match=f"the {kind}'s training diverged; try a smaller {flag}$"):
        trained(data, tmp_path, **changed)
    assert capsys.readouterr().err == ""


# ---- The command line --------------------------------------------------------------------------------------


def call(*flags: object, cwd: Path, module: str = "cifar10") -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, flags)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cwd / "cache"), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_small_run_its_results_its_pictures_and_an_identical_second_one(tmp_path):
    """As a user calls it; the defaults of --cache-dir, the names of the files, --retrain, --quiet."""
    folder = write_batches(tmp_path / "data", 130, 50)
    flags = [*SMALL_FLAGS, "--data-dir", folder]
    first = call(*flags, "--outdir", "a", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert max(map(len, first.stdout.splitlines())) <= 80
    found = json.loads((tmp_path / "a" / "results.json").read_text())
    assert found["config"]["omitted_class"] == [3]
    assert found["config"]["data_dir"] == str(folder)
    assert found["data"]["n_transfer"] == 71
    stored = sorted((tmp_path / "cache" / "hinton-cifar10" / "runs").iterdir())
    assert [path.name.partition("-")[0] for path in stored] == ["answers", "baseline", "student", "teacher"]
    drawn = call(*flags, "--outdir", "a", cwd=tmp_path, module="cifar10.pictures")
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout.count("reused") == 3
    pngs = {path.stem for path in (tmp_path / "a").glob("*.png")}
    assert pngs == {"curves", "soft_targets", "compression", "unseen_class"}
    again = call(*flags, "--outdir", "b", "--retrain", "--quiet", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "student after it" in again.stdout
    assert "epoch" not in again.stdout
    other = json.loads((tmp_path / "b" / "results.json").read_text())
    assert not any(other["reused"].values())
    for key in ("data", "teacher", "student", "baseline", "bias_correction"):
        assert other[key] == found[key]
    assert [e["loss"] for e in other["history"]["student"]] == [
        e["loss"] for e in found["history"]["student"]
    ]


def test_a_class_may_be_named_and_classes_kept(data, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(command_line, "run", lambda config, console: asked.append(config) or stop())

    def stop() -> None:
        raise UserError("enough")

    for flags in (["cat"], ["3"], ["3", "cat"]):
        with pytest.raises(UserError, match="enough"):
            command_line.main(["--omitted-class", *flags])
    with pytest.raises(UserError, match="enough"):
        command_line.main(["--keep-class", "truck", "0", "bird"])
    assert [config.omitted_class for config in asked] == [(3,), (3,), (3,), (1, 3, 4, 5, 6, 7, 8)]


def test_help_says_how_it_is_called(capsys):
    with pytest.raises(SystemExit):
        command_line.main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "usage: python3 -m cifar10 [flags]" in shown


def test_drawn_shapes_end_in_a_notice_and_a_folder_of_their_own(tmp_path, monkeypatch, capsys):
    drawn = tuple(part[:60] for part in vars_of(small_data())[:4])
    folder = write_batches(tmp_path / "data", 130, 50)
    monkeypatch.setattr("synthetic.shapes.render_dataset", lambda: drawn)
    monkeypatch.setattr("cifar10.experiment.VIZ", tmp_path / "viz")
    flags = [*SMALL_FLAGS, "--n-epochs-teacher", "1", "--n-epochs-student", "1", "--dataset", "rendered"]
    command_line.main([*flags, "--cache-dir", str(tmp_path / "cache")])
    assert capsys.readouterr().err.count("NOT CIFAR-10") == 2  # at the start and at the end
    found = json.loads((tmp_path / "viz" / "rendered" / "cifar10" / "results.json").read_text())
    assert found["data"]["name"] == "rendered shapes"
    real = run(Config(**SMALL, data_dir=folder, cache_dir=tmp_path / "cache"))
    assert real.outdir == tmp_path / "viz" / "cifar10"


def test_an_output_that_cannot_be_written_is_said_before_anything_is_trained(tmp_path):
    config = Config(
        **SMALL, data_dir=write_batches(tmp_path / "data"), outdir=tmp_path / "file", cache_dir=tmp_path
    )
    config.outdir.write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        run(config)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("omitted", [(3,), (0, 7), ()])
def test_the_final_table_fits_80_columns(omitted, data, tmp_path):
    whole = Data("CIFAR-10 variant, last 500 held out", *vars_of(data))
    found = trained(whole, tmp_path, omitted_class=omitted).results()
    for sizes in found["networks"].values():
        sizes |= {"parameters": 12_345_678, "multiply_adds": 1_234_567_890}
    found["wall_clock_seconds"] = {**dict.fromkeys(found["wall_clock_seconds"], 1234.5), "data": 9.8}
    lines = summary(found, "unseen").splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.partition("  ")[0] for line in lines if "1,234,567,890" in line]
    after = [f"student after it ({found['bias_correction']['offsets'][0]:+.3f})"] if len(omitted) == 1 else []
    after = ["student before the correction", *(after or ["student after it"])]
    rows_of_student = after if omitted else ["student, soft targets alone"]
    assert rows == ["teacher", *rows_of_student, "the same student, hard labels"]
    named = summary(found, "unseen", CLASSES)
    assert ("class cat on the probe" in named) == (omitted == (3,))
    assert ("class airplane offset" in named) == (omitted == (0, 7))
    assert max(map(len, summary(found, "unseen", ["automobile"] * 10).splitlines())) <= 80


def vars_of(data: Data) -> tuple:
    return data.train_images, data.train_labels, data.test_images, data.test_labels, data.sha256


# ---- Pictures ----------------------------------------------------------------------------------------------


def test_legends_hide_neither_points_nor_titles(small):
    figure = pictures.curves(small)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [label for _, label, _, _ in pictures.SERIES]
    others = [figure._suptitle, figure._supxlabel, *figure.axes]
    assert not any(legend.get_window_extent().overlaps(one.get_window_extent()) for one in others)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert all(low < y < high for line in axes.lines for y in line.get_ydata())


def test_legends_hide_no_bar_and_no_figure_of_compression(small):
    figure = pictures.compression(small)
    figure.draw_without_rendering()
    for axes in figure.axes:
        box = axes.get_legend().get_window_extent()
        for one in (*axes.patches, *axes.texts):
            assert not box.overlaps(one.get_window_extent())
        texts = [text.get_window_extent() for text in axes.texts]
        assert not any(a.overlaps(b) for i, a in enumerate(texts) for b in texts[:i])


def answering(data: Data, logits: np.ndarray) -> SimpleNamespace:
    """What the pictures of soft targets look at, with a teacher that answers `logits`."""
    return SimpleNamespace(
        data=data, config=Config(temperature=5.0), teacher=SimpleNamespace(test_logits=[logits])
    )


def test_soft_targets_are_those_of_the_teacher(data):
    """Of a teacher that knows all but the ships: right images, with a second class of about 0.2."""
    n = len(data.test_labels)
    second = np.random.default_rng(0).uniform(0.01, 0.45, n)
    answers = np.full((n, 10), 1e-9)
    answers[range(n), data.test_labels] = 1 - second
    answers[range(n), (data.test_labels + 1) % 10] = second
    answers[data.test_labels == 8] = np.eye(10)[1] + 1e-9
    experiment = answering(data, np.log(answers).astype(np.float32))
    chosen = pictures.telling_images(experiment)
    assert [data.test_labels[index] for index in chosen] == [3, 5, 9, 4, 0]
    for index in chosen:
        of_class = second[data.test_labels == data.test_labels[index]]
        assert abs(second[index] - 0.2) == abs(of_class - 0.2).min()
    figure = pictures.soft_targets(experiment)
    logits = np.log(answers)[chosen]
    heights = [[bar.get_height() for bar in axes.patches] for axes in figure.axes if axes.patches]
    rows = (np.eye(10)[data.test_labels[chosen]], core.softmax(logits), core.softmax(logits, 5.0))
    np.testing.assert_allclose(heights, np.concatenate(rows), rtol=1e-5)


def test_a_teacher_that_knows_no_example_has_no_picture_of_soft_targets(data):
    experiment = answering(data, np.eye(10)[(data.test_labels + 1) % 10])
    assert pictures.telling_images(experiment) == []
    assert pictures.pictures_of(experiment) == [pictures.curves, pictures.compression]


def test_compression_answers_three_questions(small):
    found = small.results()
    networks = found["networks"]
    accuracy = {
        "teacher": found["teacher"]["test_accuracy"],
        "student": found["student"]["before_correction"]["test_accuracy"],
        "baseline": found["baseline"]["test_accuracy"],
    }
    wrong, size, speed = (
        [[bar.get_height() for bar in bars] for bars in axes.containers if hasattr(bars, "patches")]
        for axes in pictures.compression(small).axes
    )
    assert all(axes.get_ylim()[0] == 0 for axes in pictures.compression(small).axes)  # bars start at zero
    three, two = ("teacher", "student", "baseline"), ("teacher", "student")
    assert wrong == [
        pytest.approx([100 - 100 * accuracy[kind] for kind in three]),
        pytest.approx([100 - 100 * networks[kind]["test_accuracy_8_bits"] for kind in three]),
    ]
    assert size == [
        pytest.approx([networks[kind][key] / 1000 for kind in two]) for key in ("bytes", "bytes_8_bits")
    ]
    assert speed == [
        pytest.approx([networks[kind][key] for kind in two])
        for key in ("milliseconds_alone", "milliseconds_per_image")
    ]


def test_a_picture_says_of_which_run_it_is(small, data):
    origin = pictures.curves(small)._supxlabel.get_text()
    assert origin == ("CIFAR-10 variant, temperature 5, seed 4, without cat, 70 % labelled, 60 % seen")
    experiment = answering(data, np.eye(10)[data.test_labels])
    assert (
        pictures.soft_targets(experiment)._supxlabel.get_text() == "CIFAR-10 variant, temperature 5, seed 0"
    )


# ---- What is deployed --------------------------------------------------------------------------------------


def test_times_are_milliseconds_of_the_fastest_round(monkeypatch):
    """By a clock that says how long each pass takes: 3, 2 and 4 s for 8 images, then image by image."""
    passes = [3.0, 2.0, 4.0, *(1.0, 9.0, 2.0), *(5.0, 5.0, 5.0), *(4.0, 3.0, 1.0)]
    images, asked = np.zeros((8, 3, 32, 32), np.uint8), []
    clock = iter([t for start, taken in enumerate(passes) for t in (100 * start, 100 * start + taken)])
    monkeypatch.setattr(deployed.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(deployed, "predict", lambda network, x, workers: asked.append(len(x)))
    for name in ("N_ALONE", "N_ROUNDS"):
        monkeypatch.setattr(deployed, name, 3)
    assert deployed.milliseconds_per_image(None, images, None) == 1000 * 2 / 8
    assert deployed.milliseconds_alone(None, images, None) == 2000
    assert asked == [8] * 3 + [1] * 9


def test_in_8_bits_every_output_has_whole_numbers_times_one_scale(small):
    network = small.teacher.network
    before = network.parameters.copy()
    rounded = deployed.in_8_bits(network)
    np.testing.assert_array_equal(network.parameters, before)
    rows = [
        (old.kernels.transpose(1, 0, 2, 3).reshape(old.n_to, -1), new.kernels.transpose(1, 0, 2, 3))
        for old, new in zip(network.blocks, rounded.blocks, strict=True)
    ]
    rows.append((network.linear[:, :-1], rounded.linear[:, :-1]))
    for old, new in rows:
        for one, other in zip(old, new.reshape(len(old), -1), strict=True):
            scale = abs(one).max() / 127
            whole = other / scale
            np.testing.assert_allclose(whole, np.rint(whole), atol=1e-3)
            assert abs(np.rint(whole)).max() == 127
            assert abs(other - one).max() <= 0.501 * scale
            assert len(np.unique(np.rint(whole))) > 3
    for old, new in zip(network.blocks, rounded.blocks, strict=True):
        for name in ("scale", "shift", "running_mean", "running_variance"):
            np.testing.assert_array_equal(getattr(old, name), getattr(new, name))
    np.testing.assert_array_equal(rounded.linear[:, -1], network.linear[:, -1])
    np.testing.assert_array_equal(rounded.whitening.kernels, network.whitening.kernels)


def test_an_output_without_weights_stays_without():
    assert not deployed.nearest(np.zeros((2, 3), np.float32), axes=(1,)).any()


def test_bytes_by_hand(small):
    """5 M 4: kernels 24 to 5 and 5 to 4, a factor and a constant for each of nine channels, 4 to 10."""
    found = deployed.bytes_of(small.teacher.network)
    weights = 9 * (24 * 5 + 5 * 4) + 4 * 10
    assert found == {
        "bytes": 4 * (weights + 2 * 9 + 10 + 144),
        "bytes_8_bits": weights + 4 * (2 * 9 + 10 + 10 + 144),
    }


def test_the_accuracy_in_8_bits_is_that_of_the_rounded_network(small, data):
    logits = predict_all(deployed.in_8_bits(small.student.network), data)
    right = (logits.argmax(axis=1) == data.test_labels).mean()
    assert small.results()["networks"]["student"]["test_accuracy_8_bits"] == pytest.approx(right)
