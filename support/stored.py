"""Trainings that are finished are kept: nothing is trained twice, and nothing damaged is believed.

A stored run is one file: a line with the SHA-256 of its name and of what follows, then four arrays, byte
after byte. Nothing in it says how long they are: the training that asks for it knows, and any other length
is refused.
"""

from __future__ import annotations

from support.console import Console, UserError, clock, percent
from support.files import check_folder, read_sealed, write_sealed
from support.forecast import Forecast
from support.report import blas_name
from support.tiles import Workers, blas_kernel

import hashlib
import json
import math
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Found = TypeVar("Found")

SECONDS = np.dtype(np.float64)
LARGEST = 1e6  # of parameters and logits: some hundreds are seen
LONGEST = 1e8  # seconds of an epoch: three years
N_CHECKED = 200  # test images that a stored network is asked about again


@dataclass(frozen=True)
class TrainedRun:
    """A finished training: the network and what it was after each epoch. Never changed after that."""

    network: Any
    losses: np.ndarray  # (n_epochs,), float64, mean training loss
    seconds: np.ndarray  # (n_epochs,), float64, wall clock
    test_logits: np.ndarray  # (n_epochs, n_test, classes), float32
    reused: bool  # taken from the store, not trained now

    def history(self, measure: Callable[[np.ndarray], dict[str, Any]]) -> list[dict[str, Any]]:
        """One entry per epoch: mean training loss, seconds, and what `measure` says of the test logits."""
        kept = ("test_accuracy", "test_errors", "omitted_accuracy", "other_accuracy")
        entries = []
        for index, logits in enumerate(self.test_logits):
            metrics = measure(logits)
            loss, seconds = float(self.losses[index]), float(self.seconds[index])
            entries.append(
                {"epoch": index + 1, "loss": loss, "seconds": seconds} | {k: metrics[k] for k in kept}
            )
        return entries


class Watcher:
    """What a training tells while it runs; this one does not listen."""

    def step_done(self, epoch: int, share: float) -> None:
        """`share` of `epoch`, counted from 1, is done."""

    def epoch_done(self, epoch: int, mean_loss: float) -> None:
        """`epoch`, counted from 1, is over."""


@dataclass(frozen=True)
class Training:
    """A training that may be stored: what determines its result, and what is kept and shown of it."""

    kind: str  # as "teacher"
    determinants: dict[str, Any]  # everything that decides its result
    network: Any  # with a flat vector `parameters`, which holds all that is stored of it
    n_epochs: int
    predict_test: Callable[[int], np.ndarray]  # logits (n, classes) of the first n test images
    output_shape: tuple[int, int]  # n_test, classes
    measure: Callable[[np.ndarray], dict[str, Any]]  # test logits to metrics, accuracies among them
    shown: dict[str, str]  # which of these the progress table shows, by heading
    called: str = ""  # what the table calls it, if not by its kind
    costs: tuple[float, ...] = ()  # of the epochs, in any unit, where they differ

    @property
    def name(self) -> str:
        return self.called or self.kind

    def done(self, epoch: int, share: float) -> float:
        """The share of the whole that is done with `share` of `epoch`, counted from 1."""
        costs = self.costs or (1.0,) * self.n_epochs
        return (sum(costs[: epoch - 1]) + share * costs[epoch - 1]) / sum(costs)

    @property
    def layout(self) -> list[tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of what is stored: parameters, losses, seconds, test logits."""
        dtype, epochs = self.network.parameters.dtype, (self.n_epochs,)
        logits = (self.n_epochs, *self.output_shape)
        return [(self.network.parameters.shape, dtype), (epochs, SECONDS), (epochs, SECONDS), (logits, dtype)]


@cache
def arithmetic() -> dict[str, str]:
    """What computes below this project: with another of these, the same code gives other bits."""
    rng = np.random.default_rng(0)
    drawn = (rng.random(9), rng.standard_normal(9, np.float32), rng.integers(0, 9, 9), rng.permutation(9))
    stream = hashlib.sha256(b"".join(values.tobytes() for values in drawn)).hexdigest()[:8]
    return {
        "NumPy": np.__version__, "BLAS": blas_name(), "kernel": blas_kernel() or platform.machine(),
        "random stream": stream,
    }  # fmt: skip


def key_of(determinants: dict[str, Any]) -> str:
    """A short digest of everything that determines a result, and of the arithmetic below it.

    Raises TypeError for what JSON cannot hold: two such values might look alike.
    """
    text = json.dumps([determinants, arithmetic()], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def digest_of_parameters(parameters: np.ndarray) -> str:
    """What tells a network from one that was trained alike and came out otherwise."""
    return hashlib.sha256(parameters.tobytes()).hexdigest()


def to_bytes(run: TrainedRun) -> bytes:
    arrays = (run.network.parameters, run.losses, run.seconds, run.test_logits)
    return b"".join(array.tobytes() for array in arrays)


def from_bytes(content: bytes, training: Training) -> TrainedRun:
    """The run in `content`, its parameters put into the training's network.

    Raises ValueError when the content has another length or holds what no training of ours ends with, as when
    the network does not give the logits that are stored with it. A seal tells accidents; this tells most of
    what is left, but nothing here keeps an author from writing what he likes.
    """
    sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in training.layout]
    starts = [0, *np.cumsum(sizes).tolist()]
    if len(content) != starts[-1]:
        raise ValueError("of another shape")
    arrays = [
        np.frombuffer(content[a:b], dtype).reshape(shape)
        for (a, b), (shape, dtype) in zip(pairwise(starts), training.layout, strict=True)
    ]
    parameters, losses, seconds, logits = arrays
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("damaged: it holds numbers that are not finite")
    are_times = seconds.min() >= 0 and seconds.max() < LONGEST
    if has_diverged(parameters, logits) or losses.min() < -1e-3 or not are_times:
        raise ValueError("damaged: it holds numbers that no training gives")
    start = training.network.parameters.copy()
    training.network.parameters[:] = parameters
    n, rounding = min(N_CHECKED, logits.shape[1]), 1e-3 * np.abs(logits[-1]).max()
    if np.abs(training.predict_test(n) - logits[-1, :n]).max() > rounding:
        training.network.parameters[:] = start  # from which it will be trained again
        raise ValueError("damaged: the network in it does not give the logits in it")
    return TrainedRun(training.network, losses, seconds, logits, reused=True)


def has_diverged(*arrays: np.ndarray) -> bool:
    """Whether a number is not finite, or larger than any that a training can be meant to reach."""
    return not all(np.abs(array).max(initial=0) < LARGEST for array in arrays)  # NaN is not smaller, either


@dataclass(frozen=True)
class Store:
    """The folder in which finished trainings are kept."""

    folder: Path

    def path(self, kind: str, determinants: dict[str, Any]) -> Path:
        return self.folder / f"{kind}-{key_of(determinants)}.run"

    def load(self, training: Training) -> TrainedRun:
        """The stored run. Raises FileNotFoundError, another OSError, or ValueError for a damaged one."""
        size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in training.layout)
        return from_bytes(read_sealed(self.path(training.kind, training.determinants), size), training)

    def keep(self, run: TrainedRun, training: Training) -> None:
        """Raises UserError when it cannot be written."""
        write_sealed(self.path(training.kind, training.determinants), to_bytes(run))


class Recorder(Watcher):
    """Measures a training after each epoch, keeps what it was, and shows it as a row."""

    def __init__(self, training: Training, console: Console, forecast: Forecast | None = None) -> None:
        self.training, self.console = training, console
        self.forecast = forecast or Forecast({training.kind: 1.0})  # of the whole command, or of this alone
        self.forecast.begin(training.kind)
        self.losses: list[float] = []
        self.seconds: list[float] = []
        self.test_logits: list[np.ndarray] = []
        self.started = time.perf_counter()
        console.row("", "epoch", "loss", *training.shown, "seconds", "left")

    def step_done(self, epoch: int, share: float) -> None:
        left = clock(self.forecast.left(self.training.done(epoch, share)))
        self.console.progress(f"{self.training.name} {epoch}/{self.training.n_epochs}, {left} left", share)

    def epoch_done(self, epoch: int, mean_loss: float) -> None:
        """Raises UserError when the training diverged."""
        training = self.training
        logits = training.predict_test(training.output_shape[0])
        if not np.isfinite(mean_loss) or has_diverged(training.network.parameters, logits):
            flag = "--learning-rate" + ("" if training.kind == "teacher" else f"-{training.kind}")
            raise UserError(f"the {training.kind}'s training diverged; try a smaller {flag}")
        now = time.perf_counter()
        self.test_logits.append(logits)
        self.losses.append(mean_loss)
        self.seconds.append(now - self.started - sum(self.seconds))
        metrics = training.measure(logits)
        left = self.forecast.left(training.done(epoch, 1.0))
        columns = [f"{epoch}/{training.n_epochs}", f"{mean_loss:.4g}"]
        columns += [percent(metrics[key]) for key in training.shown.values()]
        self.console.row(training.name, *columns, f"{self.seconds[-1]:.1f}", clock(left))

    def run(self) -> TrainedRun:
        self.forecast.end()
        losses, seconds = np.array(self.losses, SECONDS), np.array(self.seconds, SECONDS)
        return TrainedRun(self.training.network, losses, seconds, np.stack(self.test_logits), reused=False)


@dataclass(frozen=True)
class Session:
    """What every training of a process shares."""

    workers: Workers
    console: Console
    store: Store
    retrain: bool | None = False  # None: the command has no such flag
    forecast: Forecast | None = None  # of all its trainings; without it each is told of by itself

    def stored(self, training: Training) -> TrainedRun | None:
        """The stored run; None where there is none, it is damaged, or the user wants a new one."""
        if self.retrain:
            return None
        file = f"{training.kind} {self.store.path(training.kind, training.determinants)} is"
        run = found_or_none(lambda: self.store.load(training), file, "training it again", self.console)
        if run is None:
            return None
        self.skip(training.kind)
        hint = "" if self.retrain is None else " (--retrain trains it again)"
        self.console.line(f"{training.name}: stored training of {run.seconds.sum():.0f} s reused{hint}")
        return run

    def skip(self, phase: str) -> None:
        """Nothing need be done for it: see Forecast."""
        if self.forecast:
            self.forecast.skip(phase)

    def other_phase(self, phase: str) -> AbstractContextManager[None]:
        """What is done first in a training that has begun: see Forecast."""
        return self.forecast.interrupted_by(phase) if self.forecast else nullcontext()

    def recorder(self, training: Training) -> Recorder:
        """What watches a training that begins now, and shows it epoch by epoch."""
        return Recorder(training, self.console, self.forecast)

    def kept(self, recorder: Recorder) -> TrainedRun:
        """The run that was recorded, and stored; if it cannot be stored, it is given back all the same."""
        run = recorder.run()
        try:
            self.store.keep(run, recorder.training)
        except UserError as error:
            self.console.warn(f"warning: {error} (this training is not stored)")
        return run


def said(error: Exception) -> str:
    """What is wrong with a stored file: "damaged", or "damaged (no plain file)"."""
    text = error.strerror if isinstance(error, OSError) else str(error)
    return str(text) if str(text).startswith("damaged") else f"damaged ({text})"


def found_or_none(read: Callable[[], Found], what: str, then: str, console: Console) -> Found | None:
    """What `read` finds of "record PATH is"; None where there is none or, which is said, it is damaged."""
    try:
        return read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        console.warn(f"warning: the stored {what} {said(error)}; {then}")
        return None


@contextmanager
def open_session(cache_folder: Path, retrain: bool | None, console: Console) -> Iterator[Session]:
    """The cores, the console and the store below `cache_folder`; warns where nothing can be stored."""
    folder = cache_folder / "runs"
    try:
        check_folder(folder)
    except UserError as error:
        console.warn(f"warning: {error} (finished trainings will not be stored)")
    with Workers() as workers:
        yield Session(workers, console, Store(folder), retrain)
