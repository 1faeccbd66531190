"""What the scripts refuse, and how they end, whatever happens to them."""

from __future__ import annotations

from support import files, report
from support.console import UserError
from support.settings import written_file

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scripts_run import MAIN, MAINS, ROOT, call, ended, quick, stable, surroundings, within

import make_distillation_mnist_omitted_3_gif as gif
from beyond import command, pipeline
from beyond.settings import Config

try:
    import pty
    import resource
except ImportError:  # Windows
    pty = resource = None
needs_posix = pytest.mark.skipif(
    resource is None, reason="needs POSIX: signals, pseudo-terminals, limits on file sizes"
)


def quoted(small_folder: Path) -> str:
    """The quick run as a shell would be told."""
    return shlex.join([sys.executable, str(ROOT / MAIN), *map(str, quick(small_folder))])


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        command, shell=True, cwd=cwd, env=surroundings(cwd), capture_output=True, text=True, timeout=60
    )


def started(small_folder: Path, cwd: Path, *more: object) -> subprocess.Popen:
    """A quick run with `more` flags, in the background."""
    return subprocess.Popen(
        [sys.executable, ROOT / MAIN, *map(str, quick(small_folder, *more))],
        cwd=cwd, env=surroundings(cwd), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for_line(process: subprocess.Popen, start: str) -> None:
    for line in process.stdout:
        if line.startswith(start):
            return
    pytest.fail(f"no line {start!r}: {process.stderr.read()}")


BAD = [
    (("--omitted-class", "10"), "--omitted-class"),
    (("--omitted-class", *"0123456789"), "--omitted-class"),
    (("--keep-class", "10"), "--keep-class"),
    (("--keep-class", "7", "--omitted-class", "3"), "--keep-class"),
    (("--temperature", "0"), "--temperature"),
    (("--temperature", "nan"), "--temperature"),
    (("--temperature", "warm"), "--temperature"),
    (("--n-epochs-teacher", "1" * 5000), "--n-epochs-teacher"),
    (("--student-hidden", "800", "-5"), "--student-hidden"),
    (("--outdir", ""), "--outdir"),
    (("--cache-dir", " "), "--cache-dir"),
    (("--data-dir", ""), "--data-dir"),
    (("--seed", "-1"), "--seed"),
    (("--lr-schedule", "cosine"), "--lr-schedule"),
    (("--temprature", "3"), "--temprature"),
    (("--dataset", "rendered", "--data-dir", "."), "--data-dir"),
    (("--data-dir", "."), "train-images-idx3-ubyte"),
    (("--data-dir", "nowhere"), "nowhere"),
    (("--dataset", "mnist", "--mirror", "http://127.0.0.1:9/"), "--data-dir"),
]


@pytest.mark.parametrize(("flags", "named"), BAD, ids=[" ".join(flags)[:60] for flags, _ in BAD])
def test_bad_input_gets_one_line_and_status_2(flags, named, tmp_path, monkeypatch, capsys):
    status, lines, out = ended(command.main, ("--outdir", "out", *flags), tmp_path, monkeypatch, capsys)
    lines = [line for line in lines if not line.startswith("warning: http")]
    assert status == 2
    assert len(lines) == 1
    assert "error" in lines[0]
    assert named in lines[0]
    assert out == ""
    assert not (tmp_path / "out").exists()


def test_bad_input_ends_the_process_so(tmp_path):
    result = call(MAIN, "--outdir", "out", "--temperature", "0", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "error: --temperature must be a finite number, at least 0.01, at most 10,000, not 0\n"
    )
    result = call(MAIN, "--temprature", "3", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"{MAIN}: error: unrecognized arguments: --temprature 3 (--help lists the flags)\n"
    )


@pytest.mark.parametrize(
    "flags",
    [
        ("--snapshot-every", "0"),
        *(("--fps", number) for number in ("0", "nan", "0.001", "1e9")),
        *(("--out", name) for name in (".", "file/x.gif", "", "/dev/null", "x" * 300)),
    ],
)
def test_bad_flags_of_the_animation(flags, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("kept")
    status, lines, out = ended(gif.main, flags, tmp_path, monkeypatch, capsys)
    assert status == 2
    assert len(lines) == 1
    assert out == ""
    assert flags[0] in lines[0] or flags[1].partition("/x")[0] in lines[0]


@needs_posix
@pytest.mark.parametrize("script", list(MAINS))
def test_an_output_that_cannot_be_written_is_noticed_before_any_training(
    script, small_folder, tmp_path, monkeypatch, capsys
):
    """Nor does a single run take the place of a study, or of what is no plain file."""
    (tmp_path / "file").write_text("kept")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "results.json").write_text('{"runs": []}')
    (tmp_path / "out" / "results.json").mkdir(parents=True)
    for outdir, said in (
        ("file", "cannot write file: a file stands where a folder is needed"),
        ("file/below", "cannot write file/below: a file stands where a folder is needed"),
        ("/proc/nowhere", "cannot write /proc/nowhere"),
        ("study", "study/results.json holds the runs of a study; move it away or name another --outdir"),
        ("out", "out/results.json is a folder; name a file, or another folder"),
    ):
        flags = quick(small_folder, "--outdir", outdir)
        status, lines, out = ended(MAINS[script], flags, tmp_path, monkeypatch, capsys)
        assert (status, len(lines)) == (2, 1)
        assert lines[0].startswith(f"error: {said}")
        assert "teacher" not in out
    assert (tmp_path / "file").read_text() == "kept"
    assert (tmp_path / "study" / "results.json").read_text() == '{"runs": []}'


@pytest.mark.parametrize(("suffix", "allowed"), [(".gif", True), ("", True), (".GIF", True), (".png", False)])
def test_a_file_is_not_called_by_another_format_s_name(suffix, allowed, capsys):
    given = written_file(".gif")
    if allowed:
        assert given(f"a/b{suffix}") == Path(f"a/b{suffix}")
        return
    with pytest.raises(argparse.ArgumentTypeError, match=r"a/b\.png is written as \.gif; call it b\.gif"):
        given(f"a/b{suffix}")


def limited_files(n_bytes: int):
    """For `preexec_fn`: no file may grow beyond this, which stands in for a full disk."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))

    return limit


@needs_posix
def test_a_full_disk_is_noticed_before_any_training_and_leaves_the_old_file(small_folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.json").write_text("old")
    result = call(MAIN, *quick(small_folder), cwd=tmp_path, preexec_fn=limited_files(2000))
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error: cannot write out: File too large")
    assert "teacher" not in result.stdout
    assert (tmp_path / "out" / "results.json").read_text() == "old"
    assert not [p for p in tmp_path.rglob(".*") if p.is_file()]


@needs_posix
def test_trainings_that_cannot_be_stored_are_used_all_the_same(small_folder, tmp_path):
    """The disk fills up during the run: no training fits, results.json just does."""
    limit = limited_files(70_000)  # more than the trial at the start, less than a training
    result = call(MAIN, *quick(small_folder), cwd=tmp_path, preexec_fn=limit)
    assert result.returncode == 0
    assert [line[-30:] for line in result.stderr.splitlines()] == [" (this training is not stored)"] * 2
    assert "student before the correction" in result.stdout
    expected = call(MAIN, *quick(small_folder, "--outdir", "free"), cwd=tmp_path)
    assert expected.returncode == 0
    assert stable(tmp_path / "out" / "results.json") == stable(tmp_path / "free" / "results.json")


def test_a_cache_that_cannot_be_written_is_said_at_the_start_and_done_without(small_folder, tmp_path):
    (tmp_path / "file").write_text("kept")
    result = call(MAIN, *quick(small_folder, "--cache-dir", "file/cache"), cwd=tmp_path)
    assert result.returncode == 0
    first, *later = result.stderr.splitlines()
    assert first.endswith("(finished trainings will not be stored)")
    assert len(later) == 2
    assert (tmp_path / "out" / "results.json").exists()


def test_the_table_is_printed_whatever_happens_to_the_file(small_folder, tmp_path, monkeypatch, capsys):
    def full(path: Path, content: object) -> None:
        raise UserError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(report, "write_json", full)
    with pytest.raises(UserError, match="No space left"):
        command.main([*map(str, quick(small_folder, "--outdir", tmp_path, "--cache-dir", tmp_path))])
    assert "student before the correction" in capsys.readouterr().out


@needs_posix
def test_a_pipe_is_never_replaced_by_an_animation(small_folder, tmp_path, monkeypatch, capsys):
    pipe = tmp_path / "pipe.gif"
    os.mkfifo(pipe)
    status, lines, out = ended(gif.main, quick(small_folder, "--out", pipe), tmp_path, monkeypatch, capsys)
    assert (status, len(lines)) == (2, 1)
    assert "teacher" not in out
    assert pipe.is_fifo()


@needs_posix
@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_with_one_line_and_no_half_written_file(number, status, word, small_folder, tmp_path):
    with started(small_folder, tmp_path, "--n-epochs-student", 100_000) as process:
        wait_for_line(process, "student")
        time.sleep(0.1)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == status
    assert errors == f"{word}; finished trainings are stored, no file is half-written\n"
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert [p.name.partition("-")[0] for p in files] == ["teacher"]  # finished, so kept
    again = call(MAIN, *quick(small_folder), cwd=tmp_path)
    assert re.search("^teacher: stored", again.stdout, re.M)


@needs_posix
def test_what_a_killed_process_left_is_swept_at_the_next_start(small_folder, tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    runs = tmp_path / "cache" / "hinton-mnist" / "runs"
    for folder in (runs, tmp_path / "out"):
        folder.mkdir(parents=True)
        for pid in (gone.pid, os.getpid()):
            (folder / f".{pid}-{files.HOST}-abc123.tmp.json").write_text("half")
        (folder / f".{gone.pid}-elsewhere-abc123.tmp.png").write_text("half")
        (folder / ".hidden.tmp").write_text("the user's own")
    result = call(MAIN, *quick(small_folder), cwd=tmp_path)
    assert result.returncode == 0
    for folder in (runs, tmp_path / "out"):
        left = sorted(p.name for p in folder.glob(".*"))
        assert left == sorted(
            [f".{gone.pid}-elsewhere-abc123.tmp.png", f".{os.getpid()}-{files.HOST}-abc123.tmp.json",
             ".hidden.tmp"]
        )  # fmt: skip
    yesterday = time.time() - 90_000
    os.utime(runs / f".{gone.pid}-elsewhere-abc123.tmp.png", (yesterday, yesterday))
    files.sweep(runs)
    assert not (runs / f".{gone.pid}-elsewhere-abc123.tmp.png").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("flags", [(), ("--help",), ("--quiet",)])
def test_a_full_standard_output_is_one_line_and_status_2(flags, small_folder, tmp_path):
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, ROOT / MAIN, *map(str, quick(small_folder, *flags))],
            cwd=tmp_path, env=surroundings(tmp_path), stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("error: cannot write to standard output: No space left on device")
    assert ("trainings" in result.stderr) == ("--help" not in flags)  # which speaks of none


@needs_posix
@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_do_no_harm(closing, small_folder, tmp_path):
    result = shell(f"{quoted(small_folder)} {closing}", tmp_path)
    assert result.returncode == 0
    assert "Traceback" not in result.stderr
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["data"]["n_train"] == 600


def test_an_encoding_without_the_characters_gets_stand_ins(small_folder, tmp_path):
    call(MAIN, *quick(small_folder), cwd=tmp_path)
    odd = tmp_path / "o\u00e9\u2713"
    ascii_only = surroundings(tmp_path) | {"PYTHONIOENCODING": "ascii"}
    result = subprocess.run(
        [sys.executable, ROOT / MAIN, *map(str, quick(small_folder, "--outdir", odd))],
        cwd=tmp_path, env=ascii_only, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "wrote " in result.stdout
    assert "o??" in result.stdout
    assert (odd / "results.json").exists()


@needs_posix
@pytest.mark.parametrize("script", list(MAINS))
def test_ctrl_c_while_importing_is_no_traceback(script, tmp_path):
    """NumPy is replaced by a module that interrupts its own import and takes every exception for its own."""
    interrupt = "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n"
    (tmp_path / "numpy.py").write_text(
        interrupt + "except BaseException as e:\n    raise ImportError from e\n"
    )
    result = subprocess.run(
        [sys.executable, ROOT / script], cwd=tmp_path, capture_output=True, text=True,
        env=surroundings(tmp_path) | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (130, "interrupted\n")


@needs_posix
def test_a_reader_that_goes_away_is_no_traceback(small_folder, tmp_path, monkeypatch):
    for _ in ("trained", "stored"):
        result = shell(f"{quoted(small_folder)} | head -1", tmp_path)
        assert result.stdout.startswith("data: ")
        assert result.stderr == ""
        command.main(within(tmp_path, monkeypatch, quick(small_folder)))


@needs_posix
def test_a_terminal_gets_a_live_progress_line_of_at_most_80_columns(small_folder, tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, ROOT / MAIN, *map(str, quick(small_folder, "--n-epochs-student", 100))],
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
    assert re.search(r"\rstudent \d+/100, \d+:\d\d left +\[#* *\] +\d+%", text)
    assert max(map(len, re.split(r"[\r\n]+", text))) <= 80


def test_no_home_directory_is_said_in_one_line(small_folder, tmp_path, monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(UserError, match="--cache-dir"):
        pipeline.run(Config(data_dir=small_folder, outdir=tmp_path))


@pytest.mark.parametrize("flag", ["--outdir", "--cache-dir", "--data-dir"])
def test_a_name_that_is_too_long_is_said_in_one_line(flag, small_folder, tmp_path, monkeypatch, capsys):
    flags = (*quick(small_folder), flag, "x" * 300)
    if flag == "--cache-dir":  # trainings are not stored then, and said so
        command.main(within(tmp_path, monkeypatch, flags))
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("warning: cannot write xxx")
        assert all("File name too long" in line for line in lines)
        return
    status, lines, _ = ended(command.main, flags, tmp_path, monkeypatch, capsys)
    assert status == 2
    assert len(lines) == 1
    assert "File name too long" in lines[0]
