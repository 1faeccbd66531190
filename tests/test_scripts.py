"""The three scripts as a user runs them: small runs, what they write, what they reuse, what they refuse."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import distillation_mnist_omitted_3 as core
from suite_io import Console, UserError

ROOT = Path(__file__).resolve().parent.parent
MAIN, PICTURES, GIF = (
    "distillation_mnist_omitted_3.py",
    "visualize_distillation_mnist_omitted_3.py",
    "make_distillation_mnist_omitted_3_gif.py",
)
SMALL = (
    "--n-epochs-teacher=3",
    "--n-epochs-student=4",
    "--teacher-hidden",
    "64",
    "--student-hidden",
    "48",
    "24",
)
PNGS = (
    "teacher_curves",
    "student_curves",
    "per_class_accuracy",
    "bias_correction",
    "dark_knowledge",
    "omitted_examples",
)


def call(script: str, *flags: object, cwd: Path, **more) -> subprocess.CompletedProcess:
    """Run a script in `cwd` with a cache of its own and no way to any mirror but those in `flags`."""
    return subprocess.run(
        [sys.executable, ROOT / script, *map(str, flags)],
        cwd=cwd,
        env={**os.environ, "XDG_CACHE_HOME": str(cwd / "cache"), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=120,
        **more,
    )


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    """A small run on rendered digits."""
    folder = tmp_path_factory.mktemp("rendered")
    flags = (*SMALL, "--dataset", "rendered", "--outdir", "out", "--learning-rate", "0.003")
    return folder, call(MAIN, *flags, cwd=folder)


@pytest.mark.parametrize("script", [MAIN, PICTURES, GIF])
def test_help_shows_every_flag_and_fits_80_columns(script, tmp_path):
    result = call(script, "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    for name in core.Config.__dataclass_fields__:
        assert core.flag_name(name) in result.stdout
    text = " ".join(result.stdout.split())
    assert "(default: 1200 1200)" in text
    assert "(default: 20.0)" in text
    assert ("--snapshot-every" in text) == (script == GIF)


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
        "config",
        "environment",
        "data",
        "teacher",
        "student",
        "bias_correction",
        "history",
        "reused",
        "wall_clock_seconds",
    }
    assert set(found["config"]) == set(core.Config.__dataclass_fields__)
    assert set(found["environment"]) == {"python", "numpy", "blas", "os", "cpu", "cores", "threads"}
    assert found["data"]["name"] == "rendered digits"
    assert (found["data"]["n_train"], found["data"]["n_test"]) == (20_000, 5_000)
    metrics = {
        "test_accuracy",
        "test_errors",
        "per_class_accuracy",
        "omitted_accuracy",
        "omitted_errors",
        "other_accuracy",
        "confusion_matrix",
    }
    assert set(found["student"]) == {"before_correction", "after_correction"}
    for part in (found["teacher"], *found["student"].values()):
        assert set(part) == metrics
        assert np.sum(part["confusion_matrix"]) == 5_000
        assert part["test_errors"] == 5_000 - np.trace(part["confusion_matrix"])
        assert part["test_accuracy"] == pytest.approx(1 - part["test_errors"] / 5_000)
    correction = found["bias_correction"]
    assert set(correction) == {
        "offsets",
        "reached",
        "target_frequencies",
        "mean_probabilities_before",
        "mean_probabilities_after",
        "probe_size",
        "best_on_test_set",
    }
    assert correction["mean_probabilities_after"] == pytest.approx(correction["target_frequencies"], abs=1e-4)
    assert (
        correction["best_on_test_set"]["test_errors"] <= found["student"]["after_correction"]["test_errors"]
    )
    assert [entry["epoch"] for entry in found["history"]["student"]] == [1, 2, 3, 4]
    assert len(found["history"]["teacher"]) == 3
    last = found["history"]["student"][-1]
    assert last["test_accuracy"] == found["student"]["before_correction"]["test_accuracy"]
    assert set(found["wall_clock_seconds"]) == {"data", "teacher", "student", "bias_correction", "total"}


def test_pictures_and_animation_reuse_the_stored_run(rendered):
    folder, _ = rendered
    flags = (*SMALL, "--dataset", "rendered", "--outdir", "out", "--learning-rate", "0.003")
    pictures = call(PICTURES, *flags, cwd=folder)
    assert pictures.returncode == 0, pictures.stderr
    assert pictures.stdout.count("reused") == 2
    for name in PNGS:
        with Image.open(folder / "out" / f"{name}.png") as image:
            assert image.width >= 1000
            assert 400 <= image.height <= 900
            assert len(image.convert("RGB").getcolors(2**20)) > 50  # something is drawn
    gif = call(GIF, *flags, "--snapshot-every", 2, "--fps", 4, "--out", "anim/x.gif", cwd=folder)
    assert gif.returncode == 0, gif.stderr
    assert gif.stdout.count("reused") == 2
    path = folder / "anim" / "x.gif"
    assert path.stat().st_size < 3e6
    with Image.open(path) as image:
        assert image.n_frames == 4  # epochs 1, 2, 4 and the corrected student
        durations = []
        for frame in range(4):
            image.seek(frame)
            durations.append(image.info["duration"])
        assert durations == [250, 250, 2500, 5000]
        assert image.info["loop"] == 0
        assert image.width >= 800
    assert not list(folder.rglob(".*tmp*"))
    without_out = call(GIF, *flags, "--snapshot-every", 4, cwd=folder)
    assert without_out.returncode == 0
    assert (folder / "out" / "distillation_mnist_omitted_3.gif").exists()


def stable(path: Path) -> dict:
    """results.json without what may differ from run to run: times, and whether a stored run was used."""
    found = json.loads(path.read_text())
    del found["wall_clock_seconds"], found["reused"], found["config"]
    for entry in found["history"]["teacher"] + found["history"]["student"]:
        del entry["seconds"]
    return found


def quick(small_folder: Path, *more: object) -> tuple:
    return (
        *("--data-dir", small_folder, "--n-epochs-teacher", 2, "--n-epochs-student", 2),
        *("--teacher-hidden", 40, "--student-hidden", 20, "--outdir", "out", *more),
    )


def test_the_same_command_gives_the_same_bits_and_another_seed_others(small_folder, tmp_path):
    for outdir, more in (("a", ()), ("b", ("--retrain",)), ("c", ()), ("d", ("--seed", 1))):
        result = call(MAIN, *quick(small_folder), "--outdir", outdir, *more, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert ("reused" in result.stdout) == (outdir == "c")
    a, b, c, d = (stable(tmp_path / name / "results.json") for name in "abcd")
    assert a == b == c
    assert a != d
    runs = sorted((tmp_path / "cache" / "hinton-mnist" / "runs").iterdir())
    assert len(runs) == 4  # two seeds, teacher and student each


def test_a_new_temperature_or_omitted_class_reuses_the_teacher(small_folder, tmp_path):
    call(MAIN, *quick(small_folder), cwd=tmp_path)
    for more in (
        ("--temperature", 5),
        ("--omitted-class", 8),
        ("--omitted-class", 3, 8),
        ("--n-epochs-student", 1),
        ("--hard-weight", 0.5),
        ("--transfer-fraction", 0.5),
    ):
        result = call(MAIN, *quick(small_folder, *more), cwd=tmp_path)
        assert re.search("^teacher: stored", result.stdout, re.M)
        assert not re.search("^student: stored", result.stdout, re.M)
    for more in (
        ("--jitter", 1),
        ("--batch-size", 64),
        ("--dropout", 0.1),
        ("--lr-schedule", "linear"),
        ("--hold-out", 50),
        ("--max-norm", 1.5),
    ):
        result = call(MAIN, *quick(small_folder, *more), cwd=tmp_path)
        assert "reused" not in result.stdout, more
    probe = call(MAIN, *quick(small_folder, "--probe-size", 100), cwd=tmp_path)
    assert probe.stdout.count("reused") == 2


@pytest.mark.parametrize("damage", [b"", b"no archive", None])
def test_a_damaged_stored_run_is_trained_again(damage, small_folder, tmp_path):
    call(MAIN, *quick(small_folder), cwd=tmp_path)
    before = stable(tmp_path / "out" / "results.json")
    for path in (tmp_path / "cache" / "hinton-mnist" / "runs").iterdir():
        path.write_bytes(path.read_bytes()[:-2000] if damage is None else damage)
    result = call(MAIN, *quick(small_folder), cwd=tmp_path)
    assert result.returncode == 0
    assert result.stderr.count("training it again") == 2
    assert "Traceback" not in result.stderr
    assert stable(tmp_path / "out" / "results.json") == before
    assert call(MAIN, *quick(small_folder), cwd=tmp_path).stdout.count("reused") == 2


def test_jitter_and_dropout_and_batches_of_their_own(small_folder, tmp_path):
    more = ("--jitter-student", 2, "--dropout-input", 0.1, "--dropout", 0.2, "--batch-size-student", 50)
    result = call(MAIN, *quick(small_folder, *more, "--learning-rate-student", 0.002), cwd=tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("flags", "omitted"),
    [(("--omitted-class", 5, 3), [3, 5]), (("--keep-class", 7, 8), [0, 1, 2, 3, 4, 5, 6, 9])],
)
def test_several_omitted_classes_in_results_pictures_and_animation(flags, omitted, small_folder, tmp_path):
    for script in (MAIN, PICTURES, GIF):
        result = call(script, *quick(small_folder, *flags), cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert "Warning" not in result.stderr
        assert max(map(len, result.stdout.splitlines())) <= 80
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["config"]["omitted_class"] == omitted
    correction = found["bias_correction"]
    assert len(correction["offsets"]) == len(omitted)
    assert correction["mean_probabilities_after"] == pytest.approx(correction["target_frequencies"], abs=1e-6)
    labels = core.data_from_idx(core.read_folder(small_folder)).train_labels
    assert found["data"]["n_transfer"] == (~np.isin(labels, omitted)).sum()
    assert all((tmp_path / "out" / f"{name}.png").exists() for name in PNGS)
    assert (tmp_path / "out" / "distillation_mnist_omitted_3.gif").exists()


def test_with_every_class_kept_there_is_nothing_to_correct(small_folder, tmp_path):
    flags = quick(small_folder, "--keep-class", *range(10), "--hard-weight", 1)
    result = call(MAIN, *flags, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["student"]["before_correction"] == found["student"]["after_correction"]
    assert found["student"]["after_correction"]["omitted_accuracy"] is None
    assert found["bias_correction"]["best_on_test_set"] is None
    for script in (PICTURES, GIF):
        result = call(script, *flags, cwd=tmp_path)
        assert result.returncode == 2
        assert "leave at least one class out" in result.stderr


def test_fashion_like_data_goes_into_a_folder_of_its_own(small_folder, tmp_path, monkeypatch):
    data = core.load_data(core.Config(data_dir=small_folder), Console())
    assert core.default_outdir(data) == ROOT / "viz" / "custom"


BAD = [
    (("--omitted-class", "10"), "--omitted-class"),
    (("--omitted-class", "-1"), "--omitted-class"),
    (("--omitted-class", *"0123456789"), "--omitted-class"),
    (("--keep-class", "10"), "--keep-class"),
    (("--keep-class", "7", "--omitted-class", "3"), "--keep-class"),
    (("--hard-weight", "1.1"), "--hard-weight"),
    (("--hard-weight", "nan"), "--hard-weight"),
    (("--transfer-fraction", "0"), "--transfer-fraction"),
    (("--max-norm", "0"), "--max-norm"),
    (("--temperature", "0"), "--temperature"),
    (("--temperature", "-2"), "--temperature"),
    (("--temperature", "nan"), "--temperature"),
    (("--temperature", "inf"), "--temperature"),
    (("--temperature", "warm"), "--temperature"),
    (("--n-epochs-teacher", "0"), "--n-epochs-teacher"),
    (("--n-epochs-student", "0"), "--n-epochs-student"),
    (("--teacher-hidden", "0"), "--teacher-hidden"),
    (("--student-hidden", "800", "-5"), "--student-hidden"),
    (("--batch-size", "0"), "--batch-size"),
    (("--learning-rate", "nan"), "--learning-rate"),
    (("--learning-rate-student", "0"), "--learning-rate-student"),
    (("--jitter", "28"), "--jitter"),
    (("--dropout", "1"), "--dropout"),
    (("--probe-size", "0"), "--probe-size"),
    (("--seed", "-1"), "--seed"),
    (("--lr-schedule", "cosine"), "--lr-schedule"),
    (("--dataset", "cifar"), "--dataset"),
    (("--recipe", "worst"), "--recipe"),
    (("--temprature", "3"), "--temprature"),
    (("--dataset", "rendered", "--data-dir", "."), "--data-dir"),
    (("--data-dir", "."), "train-images-idx3-ubyte"),
    (("--data-dir", "nowhere"), "nowhere"),
    (("--dataset", "mnist", "--mirror", "http://127.0.0.1:9/"), "--data-dir"),
]


@pytest.mark.parametrize(("flags", "named"), BAD, ids=[" ".join(flags) for flags, _ in BAD])
def test_bad_input_gets_one_line_and_status_2(flags, named, tmp_path):
    result = call(MAIN, "--outdir", "out", *flags, cwd=tmp_path)
    assert result.returncode == 2
    lines = [line for line in result.stderr.splitlines() if not line.startswith("warning: http")]
    assert len(lines) == 1
    assert "error" in lines[0]
    assert named in lines[0]
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "flags",
    [("--snapshot-every", "0"), ("--fps", "0"), ("--fps", "nan"), ("--out", "."), ("--out", "file/x.gif")],
)
def test_bad_flags_of_the_animation(flags, tmp_path):
    (tmp_path / "file").write_text("kept")
    result = call(GIF, *flags, cwd=tmp_path)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert flags[0] in result.stderr or "cannot write file" in result.stderr


@pytest.mark.parametrize("script", [MAIN, PICTURES, GIF])
def test_an_output_folder_that_cannot_be_is_noticed_before_any_training(script, small_folder, tmp_path):
    (tmp_path / "file").write_text("kept")
    for outdir in ("file", "file/below", "/proc/nowhere"):
        result = call(script, *quick(small_folder, "--outdir", outdir), cwd=tmp_path)
        assert result.returncode == 2
        assert len(result.stderr.splitlines()) == 1
        assert "cannot write" in result.stderr
        assert "teacher" not in result.stdout
    assert (tmp_path / "file").read_text() == "kept"


def test_a_full_disk_is_said_in_one_line_and_leaves_the_old_file(small_folder, tmp_path):
    """A limit on file sizes stands in for the disk: results.json fits no more, nor do the stored runs."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.json").write_text("old")

    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    result = call(MAIN, *quick(small_folder), cwd=tmp_path, preexec_fn=little_room)
    assert result.returncode == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert "results.json" in errors[0]
    assert "Traceback" not in result.stderr
    assert (tmp_path / "out" / "results.json").read_text() == "old"
    assert not [p for p in tmp_path.rglob(".*") if p.is_file()]


def test_ctrl_c_ends_with_one_line_status_130_and_no_half_written_file(small_folder, tmp_path):
    flags = quick(small_folder, "--n-epochs-student", 100_000)
    process = subprocess.Popen(
        [sys.executable, ROOT / MAIN, *map(str, flags)],
        cwd=tmp_path,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("student"):
            break
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert len(errors.splitlines()) == 1
    assert not (tmp_path / "out" / "results.json").exists()
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert [p.name.partition("-")[0] for p in files] == ["teacher"]  # finished, so kept
    again = call(MAIN, *quick(small_folder), cwd=tmp_path)
    assert re.search("^teacher: stored", again.stdout, re.M)


def test_a_reader_that_goes_away_is_no_traceback(small_folder, tmp_path):
    command = f"{sys.executable} {ROOT / MAIN} {' '.join(map(str, quick(small_folder)))} | head -1"
    result = subprocess.run(
        command,
        shell=True,
        cwd=tmp_path,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in result.stderr
    assert "Exception" not in result.stderr


def test_a_training_that_diverges_is_said_in_one_line(small_folder, tmp_path):
    result = call(MAIN, *quick(small_folder, "--learning-rate", "1e30"), cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "error: the teacher's training diverged; try a smaller --learning-rate"
    ]
    assert not (tmp_path / "out" / "results.json").exists()
    assert not list(tmp_path.rglob("*.npz"))


def test_quiet_prints_the_table_only(small_folder, tmp_path):
    result = call(MAIN, *quick(small_folder, "--quiet"), cwd=tmp_path)
    assert result.returncode == 0
    assert result.stderr == ""
    assert len(result.stdout.splitlines()) <= 7
    assert "student before" in result.stdout


def test_importing_changes_nothing_in_the_process(tmp_path):
    program = (
        "import os, threading, numpy as np\n"
        "random = np.random.get_state\n"
        "state = lambda: (dict(os.environ), threading.active_count(), str(random()), np.geterr())\n"
        "before = state()\n"
        "import distillation_mnist_omitted_3 as core\n"
        "assert core.Workers()._blas_threads == int(os.environ['OPENBLAS_NUM_THREADS'])\n"
        "assert state() == before\n"
    )
    for n_threads in ("1", "2"):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": n_threads, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=environment)


def test_a_recipe_sets_flags_and_explicit_flags_win(monkeypatch):
    monkeypatch.setitem(core.RECIPES, "fast", {"batch_size": 512, "lr_schedule": "linear"})
    parse = core.argument_parser("").parse_args
    assert core.config_from(parse([])) == core.Config()
    config = core.config_from(parse(["--recipe", "fast", "--batch-size", "64"]))
    assert (config.batch_size, config.lr_schedule, config.recipe) == (64, "linear", "fast")


def test_a_terminal_gets_a_live_progress_line_of_at_most_80_columns(small_folder, tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, ROOT / MAIN, *map(str, quick(small_folder, "--n-epochs-student", 400))],
        cwd=tmp_path,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    shown = bytearray()
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    process.stderr.close()
    assert process.wait(60) == 0
    text = shown.decode()
    assert re.search(r"\rstudent \d+/400 +\[#* *\] +\d+%", text)
    assert max(map(len, re.split(r"[\r\n]+", text))) <= 80


def test_no_home_directory_is_said_in_one_line(small_folder, tmp_path, monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(UserError, match="--cache-dir"):
        core.run(core.Config(data_dir=small_folder, outdir=tmp_path))
    assert core.Config(cache_dir=tmp_path).cache_folder == tmp_path
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert core.Config().cache_folder == Path("/somewhere/hinton-mnist")
