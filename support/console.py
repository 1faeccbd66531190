"""A console for people and pipes, and how a script ends: one line for whatever goes wrong, and a status."""

from __future__ import annotations

import argparse
import os
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
        self._clear()
        print(printable(text), file=sys.stderr, flush=True)

    def progress(self, label: str, share: float) -> None:
        """Redraw the progress line, at most ten times a second."""
        now = time.monotonic()
        if self.live and now - self._last_progress >= 0.1:
            done = round(30 * share)
            put(f"\r{label:<32.32} [{'#' * done:<30}] {share:4.0%}")
            self._last_progress = now

    def _clear(self) -> None:
        if self.live:
            put("\r" + " " * 79 + "\r")


def percent(accuracy: float) -> str:
    return f"{100 * accuracy:5.2f}%"


def clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line instead of repeating the usage, and when its help cannot be shown."""

    def print_help(self, file: Any = None) -> None:
        put(self.format_help())

    def error(self, message: str) -> Any:
        self.exit(2, printable(f"{self.prog}: error: {message} (--help lists the flags)") + "\n")


def run_script(main: Callable[[list[str] | None], None]) -> None:
    """Call a script's `main`; turn what can go wrong into one line and a status.

    0: done; 1: the reader of the output has gone; 2: something that the user can mend; 130 and 143: Ctrl-C
    and SIGTERM, after which finished trainings are stored and no file is half-written.
    """
    _prepare_streams()
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main(None)
        _flush_or_end()
    except UserError as error:
        _end(f"error: {error}", 2)
    except OutputLostError as error:
        _end(f"error: cannot write to standard output: {error}; finished trainings are stored", 2)
    except MemoryError:
        _end("error: not enough memory; choose smaller layers or batches", 2)
    except KeyboardInterrupt:
        _end("interrupted; finished trainings are stored, no file is half-written", 130)
    except Terminated:
        _end("terminated; finished trainings are stored, no file is half-written", 143)
    except BrokenPipeError:
        _end("", 1)
    except SystemExit:  # of argparse, after --help or a wrong flag
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


def _terminate(number: int, frame: Any) -> None:
    raise Terminated


def _flush_or_end() -> None:
    try:
        sys.stdout.flush()
    except OSError as error:
        _end(f"error: cannot write to standard output: {error.strerror}", 2)


def _end(text: str, status: int) -> None:
    """Last words on standard error, and the exit; what standard output still holds back is dropped."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    live = sys.stdout.isatty()
    try:
        if live:
            print("\r" + " " * 79 + "\r", end="", flush=True)
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if text:
        try:
            print(printable(text), file=sys.stderr, flush=True)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    sys.exit(status)
