"""How a script speaks and ends: lines that stay lines, terminals of any width, signals at the last moment."""

from __future__ import annotations

from support import files
from support.console import Console, OneLineParser, progress_line

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def run(program: str, **more: object) -> subprocess.CompletedProcess:
    words = [sys.executable, "-c", program]
    return subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, **more)


@given(st.floats(0, 1), st.integers(20, 200), st.text(st.characters(codec="ascii"), max_size=60))
def test_progress_fits_and_shows_the_share(share, width, label):
    line = progress_line(label, share, width)
    assert len(line) <= min(width, 70)
    bar = line[line.index("[", len(line) - len(line.split(" [")[-1]) - 2) + 1 : line.rindex("]")]
    assert bar.count("#") == round(share * len(bar))
    assert line.endswith(f"{share:4.0%}")


def test_in_a_wide_terminal_progress_is_as_it_was():
    assert progress_line("teacher 1/4", 0.5, 79) == f"{'teacher 1/4':<32} [{'#' * 15:<30}]  50%"


@pytest.mark.parametrize("columns", [30, 40, 80])
def test_no_line_of_progress_is_wider_than_the_terminal(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = Console()
    shown.live = True
    shown.progress("the teacher's answers, and many words more", 0.3)
    shown.line("done")
    written = capsys.readouterr().out.removesuffix("done\n")
    assert max(map(len, written.split("\r"))) <= columns - 1


def test_a_name_with_a_line_break_makes_no_second_line(tmp_path, capsys):
    Console().warn("warning: a\nb\x1b[2J: damaged")
    assert capsys.readouterr().err == "warning: a?b?[2J: damaged\n"
    Console().notice("two\nlines")
    assert capsys.readouterr().err == "two\nlines\n"
    program = "from support.console import *\ndef main(argv): raise UserError('a\\nb')\nrun_script(main)"
    result = run(program)
    assert (result.returncode, result.stderr) == (2, "error: a?b\n")
    with pytest.raises(SystemExit):
        OneLineParser(prog="x").parse_args(["--wrong\nflag"])
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_after_the_last_word_changes_nothing(number):
    """While the interpreter ends: here it takes a second for that."""
    program = (
        "import atexit, time\nfrom support.console import put, run_script\n"
        "atexit.register(time.sleep, 1)\nrun_script(lambda argv: put('wrote all\\n'))\n"
    )
    words = [sys.executable, "-c", program]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, env=ENVIRONMENT, **pipes) as process:
        assert process.stdout.readline() == "wrote all\n"
        time.sleep(0.3)
        process.send_signal(number)
        _, complaint = process.communicate(timeout=30)
    assert (process.returncode, complaint) == (0, "")


@pytest.mark.parametrize("name", ["foreign", "foreign.part"])
def test_ctrl_c_of_a_foreign_program_stays_its_own(name, tmp_path):
    """One that is started with -m and imports this project."""
    (tmp_path / "foreign").mkdir()
    look = "import signal, support\nprint(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    for file in ("__init__", "__main__", "part"):
        (tmp_path / "foreign" / f"{file}.py").write_text(look)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    words = [sys.executable, "-m", name]
    result = subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert set(result.stdout.split()) == {"True"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_who_trains_nothing_does_not_speak_of_trainings(tmp_path):
    run = [sys.executable, "-m", "seeds.summarise", "viz/seeds/fast"]
    with open("/dev/full", "w") as full:
        result = subprocess.run(run, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert result.returncode == 2
    assert result.stderr.startswith("error: cannot write to standard output: No space left")
    assert "trainings" not in result.stderr


def test_ctrl_c_while_ours_is_imported_is_met(tmp_path):
    (tmp_path / "numpy.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for words in (["-m", "studies"], ["-mcifar10.pictures"], ["distillation_mnist_omitted_3.py"]):
        result = subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
        )
        assert (result.returncode, result.stderr) == (130, "interrupted\n"), words


def test_no_process_is_asked_for_where_that_would_end_it(tmp_path, monkeypatch):
    ours = tmp_path / f".{2**22 + 1}-{files.HOST}-x.tmp"
    ours.write_text("")
    monkeypatch.setattr(files.os, "kill", None)
    monkeypatch.setattr(files, "CAN_ASK", False)
    files.sweep(tmp_path)
    assert ours.exists()  # it is young
    os.utime(ours, (0, 0))
    files.sweep(tmp_path)
    assert not ours.exists()


def test_make_golden_says_what_it_lacks_before_it_installs_anything(tmp_path):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    result = subprocess.run(["make", "golden"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "name the folder of the files: MNIST_DIR=FOLDER" in result.stdout
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("name", ["breakdown", "convolution", "plain_numpy"])
def test_a_part_of_the_benchmark_says_what_it_is(name, tmp_path):
    words = [sys.executable, ROOT / "benchmarks" / f"{name}.py", "--help"]
    result = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert "A part of the comparison: python3 benchmarks/compare.py" in result.stdout
