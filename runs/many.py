"""Many runs of the experiment, on the cores of this machine or on a Dask cluster; nothing is trained twice.

A run is one call of `work` in another process. It is handed the data and the teacher, if that is trained
already, and gives back what it measured and what it trained: workers read and write no file. The caller alone
stores, beside the trainings of the other scripts, so that an interrupted batch goes on where it stopped.
"""

from __future__ import annotations

from support.console import Console, UserError, clock
from support.data import Data
from support.stored import Session, key_of
from support.tiles import Workers

import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from beyond import pipeline
from beyond.settings import Config
from runs.cluster import PoolLostError
from runs.processes import Pool, given_here, outcomes, reason_of
from runs.records import IF_THERE, RECORDED, Further, MemoryStore, Record, Shelf, flags_of, made_with

Trained = dict[str, bytes]  # trainings by kind, "teacher" and "student"
one_run_per_process = threading.Lock()  # a run sets its process's BLAS threads


# ---- One run, in a worker ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What a worker is asked for."""

    config: Config
    teacher_only: bool
    made_with: dict[str, str]  # where it is asked for


def check_alike(asked: dict[str, str], here: dict[str, str]) -> None:
    """Raises UserError, naming both sides, where a worker would compute otherwise than is asked for."""
    differences = [f"{what} {here[what]}, not {asked[what]}" for what in asked if here[what] != asked[what]]
    if differences:
        raise UserError(
            f"a worker has {'; '.join(differences)}: its bits would not be those of this machine; "
            "give it the same (OPENBLAS_CORETYPE names a kernel), or restart it"
        )


def work(
    task: Task, data: Data, student: Trained, teacher: Trained, further: Sequence[Further] = ()
) -> tuple[Record | None, Trained]:
    """Do a task: its record (None for a teacher alone) and the trainings that were new.

    `student` and `teacher` hold trainings, which the run then reuses; `further` is measured besides. Raises
    UserError when the training diverges, or in a process that would get other bits than the one that asks,
    and stores them.
    """
    data, student, teacher = (given_here(value) for value in (data, student, teacher))
    check_alike(task.made_with, made_with())
    with one_run_per_process, Workers() as workers:
        given = {**student, **teacher}
        store, record = MemoryStore(given), None
        session = Session(workers, Console(quiet=True), store)
        if task.teacher_only:
            pipeline.train_teacher(task.config, data, session)
        else:
            experiment = pipeline.run_on_data(data, task.config, session)
            found = experiment.results()
            record = {key: found[key] for key in (*RECORDED, *IF_THERE) if key in found}
            if further:
                record["further"] = {f.study: f.measure(experiment, workers, f.images) for f in further}
        return record, {kind: content for kind, content in store.held.items() if kind not in given}


# ---- Many runs ---------------------------------------------------------------------------------------------


def cost(config: Config, data: Data, teacher_only: bool) -> float:
    """What a training takes, in arbitrary units: per image its weights, and 100,000 for all else."""
    training = config.training("teacher" if teacher_only else "student")
    n_parameters = sum((a + 1) * b for a, b in pairwise(training.sizes))
    omitted = [] if teacher_only or config.is_drawn else config.omitted_class
    n_images = (~np.isin(data.train_labels, omitted)).sum()
    if config.is_drawn and not teacher_only:  # the teacher looks at each image, too, a third of the work
        n_parameters += sum((a + 1) * b for a, b in pairwise(config.training("teacher").sizes)) / 3
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
        self, configs: Sequence[Config], data: Data, console: Console, name: Callable[[Config], str],
        further: Callable[[Config], tuple[Further, ...]],
    ) -> None:  # fmt: skip
        self.data, self.console, self.name, self.further = data, console, name, further
        self.shelf = Shelf(configs[0].cache_folder, data, console)
        self.records: dict[Config, Record] = {}  # of the runs that succeeded
        self.reasons: dict[Config, str] = {}  # why the others failed
        for config in configs:
            if (record := self.shelf.record(config, further(config))) is not None:
                self.records[config] = record
        self.missing = [config for config in configs if config not in self.records]
        self.teacher_key = {c: key_of(pipeline.determinants("teacher", c, data)) for c in self.missing}
        # by its key, each teacher once: a config that has it, and its training where there is one
        self.teacher_config = {self.teacher_key[config]: config for config in reversed(self.missing)}
        self.teachers: dict[str, bytes | None] = {
            key: self.shelf.training("teacher", config) for key, config in self.teacher_config.items()
        }
        # Runs that differ in what they measure alone share a student, which the first of them trains.
        self.student_key = {c: key_of(pipeline.determinants("student", c, data)) for c in self.missing}
        self.trainer = {self.student_key[config]: config for config in reversed(self.missing)}
        self.students: dict[str, bytes] = {}  # by that key, those that were trained now
        untrained = [config for key, config in self.teacher_config.items() if self.teachers[key] is None]
        total = sum(self.cost(c, False) for c in self.missing) + sum(self.cost(c, True) for c in untrained)
        self.progress = Progress(len(self.missing) + len(untrained), total, console)
        self.made_with = made_with()

    def cost(self, config: Config, teacher_only: bool) -> float:
        """Of a run; one that finds its student trained takes next to nothing."""
        shares = not teacher_only and self.trainer[self.student_key[config]] != config
        return 0.0 if shares else cost(config, self.data, teacher_only)

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
        """Make the runs that are waiting. Raises BrokenExecutor or CancelledError when the pool is lost."""
        self.pool = pool
        self.shared_teachers: dict[str, Any] = {}
        self.shared_further: dict[tuple[str, ...], Any] = {(): ()}  # by their studies
        self.running: dict[Future, tuple[Config, bool]] = {}
        for key, config in self.teacher_config.items():
            if self.teachers[key] is None and self.waiting(key):
                self.submit(config, teacher_only=True)
        self.submit_students()
        for (config, teacher_only), result, error in outcomes(pool, self.running, self.progress.live):
            if error is not None:
                self.failed(config, teacher_only, error)
            else:
                self.succeeded(config, teacher_only, *result)

    def submit_students(self) -> None:
        """Submit, in the order asked for, what can begin: runs of one student wait for its training."""
        under_way = {config for config, teacher_only in self.running.values() if not teacher_only}
        in_training = {self.student_key[c] for c in under_way} - self.students.keys()
        for config in self.waiting():
            key = self.student_key[config]
            if self.teachers[self.teacher_key[config]] is None or config in under_way or key in in_training:
                continue
            self.submit(config, teacher_only=False)
            if key not in self.students:
                in_training.add(key)

    def submit(self, config: Config, teacher_only: bool) -> None:
        student: Trained = {}
        teacher: Any = {}
        if not teacher_only:
            key, content = self.teacher_key[config], self.students.get(self.student_key[config])
            if content is None:
                content = self.shelf.training("student", config, self.teachers[key])
            if content is not None:
                student = {"student": content}
                self.students[self.student_key[config]] = content
            if key not in self.shared_teachers:
                self.shared_teachers[key] = self.pool.share({"teacher": self.teachers[key]})
            teacher = self.shared_teachers[key]
        further = () if teacher_only else self.further(config)
        studies = tuple(one.study for one in further)
        if studies not in self.shared_further:
            self.shared_further[studies] = self.pool.share(further)
        task = Task(config, teacher_only, self.made_with)
        future = self.pool.executor.submit(
            work, task, self.pool.shared, student, teacher, self.shared_further[studies]
        )
        self.running[future] = config, teacher_only

    def succeeded(self, config: Config, teacher_only: bool, record: Record | None, trained: Trained) -> None:
        """Store what came back and send the runs that waited for it."""
        key = self.teacher_key[config]
        for kind, content in trained.items():
            self.shelf.keep_training(kind, config, content, self.teachers[key])
        if teacher_only:
            self.teachers[key] = trained["teacher"]
            run, errors = f"teacher of seed {config.seed}", ""
        else:
            if "student" in trained:
                self.students[self.student_key[config]] = trained["student"]
            record = self.records[config] = json.loads(json.dumps(record))  # as a later run will find it
            self.shelf.keep_record(config, record, self.further(config))
            run, errors = self.name(config), str(record["student"]["after_correction"]["test_errors"])
        self.submit_students()
        self.progress.succeeded(run, errors, self.cost(config, teacher_only))

    def failed(self, config: Config, teacher_only: bool, error: Exception) -> None:
        """Say which run failed and why; with a teacher, all of its students fail."""
        reason = reason_of(error)
        students = self.waiting(self.teacher_key[config]) if teacher_only else [config]
        self.reasons.update(dict.fromkeys(students, reason))
        what = f"teacher of {len(students)} runs, as of " if teacher_only else ""
        lost = sum(self.cost(student, False) for student in students)
        lost += self.cost(config, True) if teacher_only else 0
        self.submit_students()  # who waited for the student of this one
        self.progress.failed(f"{what}{flags_of(config)}: {reason}", len(students) + teacher_only, lost)

    def give_up(self, reason: str) -> None:
        """Fail all runs that are waiting, in one line."""
        if waiting := self.waiting():
            self.console.warn(f"warning: {reason}; {len(waiting)} runs are not made, what finished is kept")
            self.reasons.update(dict.fromkeys(waiting, reason))


def run_many(
    configs: Sequence[Config],
    data: Data,
    open_pool: Callable[[Data], AbstractContextManager[Pool]],
    console: Console,
    name: Callable[[Config], str] = flags_of,
    further: Callable[[Config], tuple[Further, ...]] = lambda config: (),
) -> tuple[dict[Config, Record], dict[Config, str]]:
    """The record of every config whose run succeeds, and the reason of every other one's failure.

    What is stored is not made again; what is trained is stored at once; a run that fails fails alone. When a
    process of the pool dies, what it and the others had not finished goes to a new pool, as long as each pool
    finishes something; when a cluster is lost, the rest is given up. `name` says what a run is called while
    it is reported, `further` what is measured of it besides.
    """
    batch = Batch(configs, data, console, name, further)
    if batch.missing:
        batch.progress.row("done", "left", "errors", "run")
    n_done = -1
    while batch.waiting() and batch.progress.n_done > n_done:
        n_done = batch.progress.n_done
        try:
            with open_pool(data) as pool:
                batch.make(pool)
        except BrokenExecutor:
            console.warn("warning: a worker process died (out of memory?); what is stored is not lost")
        except PoolLostError as error:
            batch.give_up(str(error))
    batch.give_up("a worker process died (out of memory?); try fewer --jobs")
    return batch.records, batch.reasons
