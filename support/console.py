"""A console for people and pipes, and how a script ends: one line for whatever goes wrong, and a status."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from typing import Any


class UserError(Exception):
    """Something that the user can mend; its one-line message says what is wrong and what to do."""


class OutputLostError(Exception):
    """Standard output takes no more: its disk is full or it was closed."""


class Terminated(BaseException):
    """The process was asked to end (SIGTERM); not an Exception, so that nothing takes it for a failed run."""


def printable(text: str) -> str:
    """`text` with a ? for every control character: what a server sends must not steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def one_line(text: str) -> str:
    """The same, and of a line break in it as well, as a name may hold one."""
    return printable(text.replace("\n", "?"))


def put(text: str) -> None:
    """`text` on standard output, at once. Raises BrokenPipeError or OutputLostError."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputLostError(error.strerror or str(error)) from error


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
        put(text + "\n")

    def warn(self, text: str) -> None:
        self.notice(one_line(text))

    def notice(self, text: str) -> None:
        """A warning of several lines."""
        self._clear()
        print(printable(text), file=sys.stderr, flush=True)

    def progress(self, label: str, share: float) -> None:
        """Redraw the progress line, at most ten times a second."""
        now = time.monotonic()
        if self.live and now - self._last_progress >= 0.1:
            self._last_progress = now
            put("\r" + progress_line(label, share, terminal_width()))

    def _clear(self) -> None:
        if self.live:
            put(blank_line())


def terminal_width() -> int:
    """Columns that can be written without a break: one fewer than there are, and 79 at most."""
    return min(79, max(20, shutil.get_terminal_size().columns - 1))


def progress_line(label: str, share: float, width: int) -> str:
    """At most 70 columns, and no more than `width`: in a narrow terminal label and bar share them."""
    for_bar = min(30, (width - 8) // 2)
    for_label = min(32, width - 8 - for_bar)
    done = round(for_bar * share)
    return f"{label:<{for_label}.{for_label}} [{'#' * done:<{for_bar}}] {share:4.0%}"


def blank_line() -> str:
    return "\r" + " " * terminal_width() + "\r"


def percent(accuracy: float) -> str:
    return f"{100 * accuracy:5.2f}%"


def clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line instead of repeating the usage, and when its help cannot be shown."""

    def print_help(self, file: Any = None) -> None:
        try:
            put(self.format_help())
        except OutputLostError as error:
            self.exit(2, f"error: cannot write to standard output: {error}\n")

    def error(self, message: str) -> Any:
        self.exit(2, one_line(f"{self.prog}: error: {message} (--help lists the flags)") + "\n")


def run_script(main: Callable[[list[str] | None], None], trains: bool = True) -> None:
    """Call a script's `main`; turn what can go wrong into one line and a status.

    0: done; 1: the reader of the output has gone; 2: something that the user can mend; 130 and 143: Ctrl-C
    and SIGTERM, after which finished trainings are stored and no file is half-written.
    """
    kept = "; finished trainings are stored" if trains else ""
    _prepare_streams()
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main(None)
        _leave_signals()  # all is done and written: nothing is left to be interrupted
        _flush_or_end()
    except UserError as error:
        _end(f"error: {error}", 2)
    except OutputLostError as error:
        _end(f"error: cannot write to standard output: {error}{kept}", 2)
    except MemoryError:
        _end("error: not enough memory; choose smaller layers or batches", 2)
    except KeyboardInterrupt:
        _end(f"interrupted{kept}, no file is half-written", 130)
    except Terminated:
        _end(f"terminated{kept}, no file is half-written", 143)
    except BrokenPipeError:
        _end("", 1)
    except SystemExit:  # of argparse, after --help or a wrong flag
        _leave_signals()
        _flush_or_end()
        raise


def _prepare_streams() -> None:
    """Give closed streams a place to go, and characters that an encoding lacks a stand-in."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _leave_signals() -> None:
    """From here on the process ends by itself; a signal would only tear its last words."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _terminate(number: int, frame: Any) -> None:
    raise Terminated


def _flush_or_end() -> None:
    try:
        sys.stdout.flush()
    except OSError as error:
        _end(f"error: cannot write to standard output: {error.strerror}", 2)


def _end(text: str, status: int) -> None:
    """Last words on standard error, and the exit; what standard output still holds back is dropped."""
    _leave_signals()
    live = sys.stdout.isatty()
    try:
        if live:
            print(blank_line(), end="", flush=True)
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if text:
        try:
            print(one_line(text), file=sys.stderr, flush=True)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    sys.exit(status)
