"""What the scripts share that has nothing to do with distillation: a console, whole files, exit statuses.

Errors that the user can mend are `UserError`s; `run_script` turns them into one line and exit status 2. Files
are written under a temporary name and renamed, so that none is ever half-written.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


class UserError(Exception):
    """Something that the user can mend; its one-line message says what is wrong and what to do."""


class Console:
    """Lines on standard output, a live progress line on a terminal only, warnings on standard error."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.live = sys.stdout.isatty() and not quiet
        self._last_progress = 0.0

    def line(self, text: str = "") -> None:
        if not self.quiet:
            self.always(text)

    def row(self, name: str, *columns: str) -> None:
        self.line(f"{name:<7}" + "".join(f"{column:>10}" for column in columns))

    def always(self, text: str) -> None:
        self._clear()
        print(text, flush=True)

    def warn(self, text: str) -> None:
        self._clear()
        print(text, file=sys.stderr, flush=True)

    def progress(self, label: str, share: float) -> None:
        """Redraw the progress line, at most ten times a second."""
        now = time.monotonic()
        if self.live and now - self._last_progress >= 0.1:
            done = round(30 * share)
            print(f"\r{label:<32.32} [{'#' * done:<30}] {share:4.0%}", end="", flush=True)
            self._last_progress = now

    def _clear(self) -> None:
        if self.live:
            print("\r" + " " * 79 + "\r", end="", flush=True)


@contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` at the end, remove it after an error.

    Raises UserError when the folder cannot be made or the file not written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp" + path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes private files; results are for everyone
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror or error}; choose another place or make room")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_writable(folder: Path) -> None:
    """Make `folder` and try a file in it, before minutes of work depend on it. Raises UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error) from error


def percent(accuracy: float) -> str:
    return f"{100 * accuracy:5.2f}%"


def clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


def blas_name() -> str:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"


def environment(n_threads: int) -> dict[str, Any]:
    """What the run was made with and on."""
    cpu = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas_name(),
        "os": platform.platform(),
        "cpu": cpu or platform.machine(),
        "cores": os.cpu_count(),
        "threads": n_threads,
    }


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line instead of repeating the usage."""

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: error: {message} (--help lists the flags)\n")


def run_script(main: Callable[[list[str] | None], None]) -> None:
    """Call a script's `main`; turn what can go wrong into one line and a status: 2, or 130 for Ctrl-C."""
    warnings.simplefilter(
        "ignore", RuntimeWarning
    )  # an overflow ends as a training that diverged, in one line
    try:
        main(None)
    except UserError as error:
        sys.exit(_last_words(f"error: {error}", 2))
    except MemoryError:
        sys.exit(_last_words("error: not enough memory; choose smaller layers or batches", 2))
    except KeyboardInterrupt:
        sys.exit(_last_words("interrupted; finished trainings are stored, no file is half-written", 130))
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _last_words(text: str, status: int) -> int:
    if sys.stdout.isatty():
        print("\r" + " " * 79 + "\r", end="", flush=True)
    print(text, file=sys.stderr, flush=True)
    return status
