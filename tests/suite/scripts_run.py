"""What the tests beside this file share."""

from __future__ import annotations

from support.console import run_script

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import make_distillation_mnist_omitted_3_explorer as explorer
import make_distillation_mnist_omitted_3_gif as gif
import visualize_distillation_mnist_omitted_3 as visualize
from beyond import command

ROOT = Path(__file__).resolve().parents[2]
MAIN, PICTURES, GIF = (
    "distillation_mnist_omitted_3.py",
    "visualize_distillation_mnist_omitted_3.py",
    "make_distillation_mnist_omitted_3_gif.py",
)
EXPLORER = "make_distillation_mnist_omitted_3_explorer.py"
MAINS = {MAIN: command.main, PICTURES: visualize.main, GIF: gif.main, EXPLORER: explorer.main}
SMALL = (
    "--n-epochs-teacher=3", "--n-epochs-student=4", "--teacher-hidden", "64", "--student-hidden", "48", "24"
)  # fmt: skip


def surroundings(folder: Path) -> dict[str, str]:
    """An environment with a cache of its own."""
    return {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "80"}


def call(script: str, *flags: object, cwd: Path, **more) -> subprocess.CompletedProcess:
    """Run a script in `cwd` with a cache of its own and no way to any mirror but those in `flags`."""
    return subprocess.run(
        [sys.executable, ROOT / script, *map(str, flags)],
        cwd=cwd,
        env=surroundings(cwd),
        capture_output=True,
        text=True,
        timeout=120,
        **more,
    )


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


def within(folder: Path, monkeypatch, flags: tuple) -> list[str]:
    """The flags as words, for a script that is called in `folder` with a cache of its own."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    return [str(flag) for flag in flags]


def ended(main, flags: tuple, folder: Path, monkeypatch, capsys) -> tuple[int, list[str], str]:
    """Status, lines on standard error and standard output of a script that ends in this process."""
    words, handler = within(folder, monkeypatch, flags), signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as end:
            run_script(lambda _: main(words))
    finally:
        signal.signal(signal.SIGTERM, handler)
    shown = capsys.readouterr()
    return end.value.code, shown.err.splitlines(), shown.out
