"""Small studies for the tests: four runs in a second, in this process or from the command line."""

from __future__ import annotations

from support.console import Console

import copy
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beyond.settings import Config
from runs import many
from runs.processes import Pool

ROOT = Path(__file__).resolve().parent.parent
NESTED = "[" * 100_000 + "]" * 100_000
TINY = ("--n-epochs-teacher", 1, "--n-epochs-student", 1, "--teacher-hidden", 20, "--student-hidden", 10)


def command(*flags: object) -> list[str]:
    return [sys.executable, "-m", "studies", *map(str, flags)]


def surroundings(folder: Path) -> dict[str, str]:
    """Environment in which a command finds the project from any folder, and keeps everything in this one."""
    (folder / "tmp").mkdir(exist_ok=True)
    ours = {"XDG_CACHE_HOME": folder / "cache", "TMPDIR": folder / "tmp", "PYTHONPATH": ROOT, "COLUMNS": 80}
    return {**os.environ, **{name: str(value) for name, value in ours.items()}}


def call(*flags: object, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*flags), cwd=cwd, env=surroundings(cwd), capture_output=True, text=True, timeout=240
    )


def tiny_configs(cache: Path, **more) -> list[Config]:
    """Four runs of two teachers."""
    settings = {"n_epochs_teacher": 1, "n_epochs_student": 1, "cache_dir": cache}
    settings |= {"teacher_hidden": (20,), "student_hidden": (10,), **more}
    return [Config(seed=seed, omitted_class=(c,), **settings) for seed in (0, 1) for c in (3, 7)]


@contextmanager
def thread_pool(*arguments):
    """A pool in this process: the same interface, no spawning. The last argument is what the runs share."""
    with ThreadPoolExecutor(1) as executor:
        yield Pool(executor, arguments[-1])


def make(configs, data, open_pool=thread_pool, quiet: bool = True):
    return many.run_many(configs, data, open_pool, Console(quiet=quiet))


def changed(found: dict, path: str, *value: Any) -> dict:
    """A copy in which the value at this path is another; no value: the key is missing."""
    found = part = copy.deepcopy(found)
    *way, last = path.split(".")
    for key in way:
        part = part[key]
    if value:
        part[last] = value[0]
    else:
        del part[last]
    return found


def measured(record: dict) -> dict:
    """What a record says of the networks, apart from when and where they were trained."""
    return {k: v for k, v in record.items() if k not in ("wall_clock_seconds", "environment")}


def trained_when(record: dict) -> tuple[float, float]:
    """The seconds of both trainings, to the last digit: they tell one training from any other."""
    return tuple(record["wall_clock_seconds"][kind] for kind in ("teacher", "student"))


def finished(output: str) -> list[str]:
    """The lines of finished students: how many are done, the time left, errors, the run."""
    return re.findall(r"^ *\d+/\d+ +[\d:]+ +\d+ +\S.*seed \d$", output, re.M)


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
