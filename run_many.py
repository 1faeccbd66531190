"""Many runs of the experiment, on the cores of this machine or on a Dask cluster; nothing is trained twice.

A run is one call of `work` in another process. It is handed the data and the teacher, if that is trained
already, and gives back what it measured and what it trained: workers need no file of the caller's. The
caller alone stores, beside the trainings of the other scripts, so that an interrupted batch goes on where it
stopped. Both kinds of worker are reached through the same interface, `concurrent.futures.Executor`.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import distillation_mnist_omitted_3 as core
import rendered_digits
import suite_io
from distillation_mnist_omitted_3 import Config, Data
from suite_io import Console, UserError, atomic_output, clock

Trained = dict[str, bytes]  # stored trainings by kind, "teacher" and "student"
Record = dict[str, Any]  # what one run measured: the keys of results.json that RECORDED names

RECORDED = ("teacher", "student", "bias_correction", "data", "environment", "wall_clock_seconds")
# A change to any of these changes what is measured on a finished training.
MEASURING_CODE = (
    core.add_offsets, core.omitted_probabilities, core.match_class_frequency, core.match_class_frequencies,
    core.correct_bias, core.margins, core.errors_by_offset, core.best_offset_on_test_set, core.evaluate,
    core.run_on, core.results,
)  # fmt: skip
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
UPLOADED = (suite_io, rendered_digits, core)  # and this module: what a cluster's workers import, in order
one_run_per_process = threading.Lock()  # a run sets its process's BLAS threads


# ------------------------------------------------------------------------------------------------------------
# One run, in a worker
# ------------------------------------------------------------------------------------------------------------


def work(
    config: Config, data: Data, trained: Trained, teacher: Trained, teacher_only: bool
) -> tuple[Record | None, Trained]:
    """Run `config`: its record (None for a teacher alone) and the trainings that were new.

    `trained` and `teacher` hold stored trainings, which the run then reuses.
    """
    with one_run_per_process, tempfile.TemporaryDirectory() as folder:
        config = replace(config, cache_dir=Path(folder), retrain=False)
        given = {**trained, **teacher}
        for kind, content in given.items():
            path = core.run_path(kind, config, data)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        record, console = None, Console(quiet=True)
        if teacher_only:
            with core.Workers() as workers:
                core.train_teacher(config, data, workers, console)
        else:
            found = core.results(core.run_on(data, config, console))
            record = {key: found[key] for key in RECORDED}
        paths = {kind: core.run_path(kind, config, data) for kind in ("teacher", "student")}
        return record, {k: p.read_bytes() for k, p in paths.items() if k not in given and p.exists()}


def identity(value: Any) -> Any:
    return value


# ------------------------------------------------------------------------------------------------------------
# Workers: processes of this machine, or a cluster
# ------------------------------------------------------------------------------------------------------------


@dataclass
class Pool:
    """An executor, and how to hand it a value that many runs share: `share` gives what stands for it."""

    executor: Executor
    share: Callable[[Any], Any]


@contextmanager
def local_pool(n_jobs: int) -> Iterator[Pool]:
    """`n_jobs` processes, each with an equal share of the threads that the BLAS would use here."""
    n_threads = max(1, core.Workers().n_threads // n_jobs)
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(n_threads)))  # the new processes inherit them
    executor = ProcessPoolExecutor(n_jobs, multiprocessing.get_context("spawn"), ignore_interrupt)
    try:
        yield Pool(executor, identity)
        executor.shutdown()
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def ignore_interrupt() -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the one that waits for the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def dask_pool(address: str) -> Iterator[Pool]:
    """The workers of the Dask cluster whose scheduler is at `address`. Raises UserError.

    A shared value is the result of a task, so that Dask moves it from worker to worker and makes it again
    when the worker that held it is gone.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError(
            "--scheduler needs the package distributed: pip install -r requirements-cluster.txt"
        ) from error
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(
            f"--scheduler {address}: no Dask scheduler answers there; start one with: dask scheduler"
        ) from error
    with client, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")  # once per shared value, as intended
        for path in (*(module.__file__ for module in UPLOADED), __file__):
            client.upload_file(path)
        yield Pool(client.get_executor(pure=False), lambda value: client.submit(identity, value, pure=False))


# ------------------------------------------------------------------------------------------------------------
# The store: trainings as the other scripts keep them, and records
# ------------------------------------------------------------------------------------------------------------


def record_path(config: Config, data: Data) -> Path:
    """Where the record of a run is kept: its name stands for the training and how it is measured."""
    determines = [core.run_key("student", config, data), core.run_key("teacher", config, data)]
    determines += [config.probe_size, [core.code_of(item) for item in MEASURING_CODE]]
    key = hashlib.sha256(json.dumps(determines).encode()).hexdigest()[:20]
    return config.cache_folder / "runs" / f"record-{key}.json"


def load_record(path: Path) -> Record | None:
    """The record at `path`; None when there is none, or a damaged one."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and set(record) == set(RECORDED) else None


def stored(kind: str, config: Config, data: Data) -> Trained:
    """The stored training of one kind; empty when there is none that can be read."""
    path = core.run_path(kind, config, data)
    settings = config.teacher_training if kind == "teacher" else config.student_training
    network = core.MLP(settings.sizes, np.random.default_rng(0))
    try:
        core.load_run(path, network, settings.n_epochs, len(data.test_labels))
        return {kind: path.read_bytes()}
    except (OSError, ValueError):
        return {}


def store(path: Path, content: bytes) -> None:
    with atomic_output(path) as temporary:
        temporary.write_bytes(content)


# ------------------------------------------------------------------------------------------------------------
# Many runs
# ------------------------------------------------------------------------------------------------------------


def flags_of(config: Config) -> str:
    """The flags with which distillation_mnist_omitted_3.py would make this run."""
    words = []
    plain = Config(recipe=config.recipe, **core.RECIPES[config.recipe])
    for item in fields(Config):
        value = getattr(config, item.name)
        if item.name in ("outdir", "cache_dir", "data_dir", "dataset", "mirror", "quiet", "retrain"):
            continue
        if item.name in ("recipe", "seed") or value != getattr(plain, item.name):
            if item.name == "omitted_class" and len(value) not in range(1, 6):
                words += ["--keep-class", *(str(c) for c in range(core.N_CLASSES) if c not in value)]
            else:
                words += [
                    core.flag_name(item.name),
                    *map(str, value if isinstance(value, tuple) else [value]),
                ]
    return " ".join(words)


def cost(config: Config, data: Data, teacher_only: bool) -> float:
    """What a training takes, in arbitrary units: per image its weights, and 100,000 for all else."""
    training = config.teacher_training if teacher_only else config.student_training
    n_parameters = sum((a + 1) * b for a, b in pairwise(training.sizes))
    omitted = [] if teacher_only else config.omitted_class
    n_images = (~np.isin(data.train_labels, omitted)).sum()
    return float(training.n_epochs * n_images * (n_parameters + 100_000))


class Progress:
    """One line for each run that ends and, on a terminal, a live one: how much is done, the time left."""

    def __init__(self, n_runs: int, total_cost: float, console: Console) -> None:
        self.n_runs, self.total_cost, self.console = n_runs, total_cost, console
        self.n_done, self.n_failed, self.done_cost = 0, 0, 0.0
        self.started = time.monotonic()

    def left(self) -> str:
        """The time left as a clock, as far as it can be told."""
        if not self.done_cost:
            return "?"
        elapsed = time.monotonic() - self.started
        return clock(elapsed * (self.total_cost / self.done_cost - 1))

    def row(self, done: str, left: str, errors: str, run: str) -> None:
        self.console.line(f"{done:>7}  {left:>6}  {errors:>6}  {run}")

    def succeeded(self, run: str, errors: str, run_cost: float) -> None:
        self.n_done, self.done_cost = self.n_done + 1, self.done_cost + run_cost
        self.row(f"{self.n_done}/{self.n_runs}", self.left(), errors, run)
        self.live()

    def failed(self, what: str, n_runs: int, run_cost: float) -> None:
        self.n_done, self.done_cost = self.n_done + n_runs, self.done_cost + run_cost
        self.n_failed += n_runs
        self.console.warn(f"{self.n_done}/{self.n_runs} failed: {what}")
        self.live()

    def live(self) -> None:
        failed = f", {self.n_failed} failed" if self.n_failed else ""
        label = f"{self.n_done}/{self.n_runs}, {self.left()} left{failed}"
        self.console.progress(label, self.done_cost / self.total_cost if self.total_cost else 1.0)


class Batch:
    """Runs that are made together: first the teachers that are missing, then every student that needs one."""

    def __init__(
        self, configs: Sequence[Config], data: Data, console: Console, name: Callable[[Config], str]
    ) -> None:
        self.data, self.console, self.name = data, console, name
        self.records: dict[Config, Record] = {}  # of the runs that succeeded
        self.reasons: dict[Config, str] = {}  # why the others failed
        for config in configs:
            if (record := load_record(record_path(config, data))) is not None:
                self.records[config] = record
        self.missing = [config for config in configs if config not in self.records]
        self.teacher_key = {config: core.run_key("teacher", config, data) for config in self.missing}
        # by its key, each teacher once: a config that has it, and its training where there is one
        self.teacher_config = {self.teacher_key[config]: config for config in reversed(self.missing)}
        self.teachers = {k: stored("teacher", config, data) for k, config in self.teacher_config.items()}
        untrained = [config for key, config in self.teacher_config.items() if not self.teachers[key]]
        total = sum(cost(c, data, False) for c in self.missing) + sum(cost(c, data, True) for c in untrained)
        self.progress = Progress(len(self.missing) + len(untrained), total, console)

    def waiting(self, key: str | None = None) -> list[Config]:
        """The runs that have neither succeeded nor failed; with `key`, those of that teacher."""
        return [
            config
            for config in self.missing
            if config not in self.records
            and config not in self.reasons
            and key in (None, self.teacher_key[config])
        ]

    def make(self, pool: Pool) -> None:
        """Make the runs that are waiting. Raises BrokenExecutor when a process of the pool dies."""
        self.pool, self.shared_data = pool, pool.share(self.data)
        self.shared_teachers: dict[str, Any] = {}
        self.running: dict[Future, tuple[Config, bool]] = {}
        for key, config in self.teacher_config.items():
            if not self.teachers[key] and self.waiting(key):
                self.submit(config, teacher_only=True)
        for config in self.waiting():  # in the order in which they were asked for
            if self.teachers[self.teacher_key[config]]:
                self.submit(config, teacher_only=False)
        self.progress.live()
        while self.running:
            done, _ = wait(self.running, timeout=1.0, return_when=FIRST_COMPLETED)
            broken = None
            for future in done:
                config, teacher_only = self.running.pop(future)
                try:
                    record, trained = future.result()
                except BrokenExecutor as error:
                    broken = error  # but what else is done is kept
                except Exception as error:  # whatever it is, the others go on
                    self.failed(config, teacher_only, error)
                else:
                    self.succeeded(config, teacher_only, record, trained)
            if broken:
                raise broken
            self.progress.live()

    def submit(self, config: Config, teacher_only: bool) -> None:
        trained, teacher = {}, {}
        if not teacher_only:
            key, trained = self.teacher_key[config], stored("student", config, self.data)
            if key not in self.shared_teachers:
                self.shared_teachers[key] = self.pool.share(self.teachers[key])
            teacher = self.shared_teachers[key]
        future = self.pool.executor.submit(work, config, self.shared_data, trained, teacher, teacher_only)
        self.running[future] = config, teacher_only

    def succeeded(self, config: Config, teacher_only: bool, record: Record | None, trained: Trained) -> None:
        """Store what came back and, after a teacher, send its students."""
        for kind, content in trained.items():
            store(core.run_path(kind, config, self.data), content)
        if teacher_only:
            key = self.teacher_key[config]
            self.teachers[key] = trained
            for student in self.waiting(key):
                self.submit(student, teacher_only=False)
            run, errors = f"teacher of seed {config.seed}", ""
        else:
            text = json.dumps(record)
            store(record_path(config, self.data), text.encode())
            record = self.records[config] = json.loads(text)  # as a later run will find it
            run, errors = self.name(config), str(record["student"]["after_correction"]["test_errors"])
        self.progress.succeeded(run, errors, cost(config, self.data, teacher_only))

    def failed(self, config: Config, teacher_only: bool, error: Exception) -> None:
        """Say which run failed and why; with a teacher, all of its students fail."""
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        students = self.waiting(self.teacher_key[config]) if teacher_only else [config]
        self.reasons.update(dict.fromkeys(students, reason))
        what = f"teacher of {len(students)} runs, as of " if teacher_only else ""
        lost = sum(cost(student, self.data, False) for student in students)
        self.progress.failed(f"{what}{flags_of(config)}: {reason}", len(students) + teacher_only, lost)


def run_many(
    configs: Sequence[Config],
    data: Data,
    open_pool: Callable[[], AbstractContextManager[Pool]],
    console: Console,
    name: Callable[[Config], str] = flags_of,
) -> tuple[dict[Config, Record], dict[Config, str]]:
    """The record of every config whose run succeeds, and the reason of every other one's failure.

    What is stored is not made again; what is trained is stored at once; a run that fails fails alone. When a
    process of the pool dies, what it and the others had not finished goes to a new pool, as long as each pool
    finishes something. `name` says what a run is called while it is reported.
    """
    batch = Batch(configs, data, console, name)
    if batch.missing:
        batch.progress.row("done", "left", "errors", "run")
    n_done = -1
    while batch.waiting() and batch.progress.n_done > n_done:
        n_done = batch.progress.n_done
        try:
            with open_pool() as pool:
                batch.make(pool)
        except BrokenExecutor:
            console.warn("warning: a worker process died (out of memory?); what is stored is not lost")
    for config in batch.waiting():
        batch.reasons[config] = "its worker process died (out of memory?); try fewer --jobs"
    return batch.records, batch.reasons
