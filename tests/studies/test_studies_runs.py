"""Many runs: nothing trained twice, nothing damaged believed, nothing lost when something dies."""

from __future__ import annotations

from support import stored
from support.console import Console, UserError
from support.files import read_sealed, write_sealed
from support.stored import open_session

import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import time
import zipfile
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from small_studies import NESTED, changed, make, measured, thread_pool, tiny_configs, trained_when, until

from beyond import pipeline
from runs import cluster, records
from runs.cluster import PoolLostError
from runs.many import Task, work
from runs.processes import Pool, given_here, local_pool
from runs.records import Shelf


def test_many_runs_are_the_single_runs_bit_for_bit(small_data, small_folder, tmp_path):
    before = dict(os.environ)
    configs = tiny_configs(tmp_path / "many")
    found, reasons = make(configs, small_data, lambda data: local_pool(2, data))
    assert dict(os.environ) == before
    assert not reasons
    assert set(found) == set(configs)
    for config in configs:
        alone = replace(config, cache_dir=tmp_path / "alone", data_dir=small_folder, outdir=tmp_path)
        expected = json.loads(json.dumps(pipeline.run(alone).results()))
        for key in ("teacher", "student", "bias_correction", "data"):
            assert found[config][key] == expected[key]


def test_nothing_is_trained_twice(small_data, tmp_path):
    configs = tiny_configs(tmp_path)
    first, _ = make(configs[:2], small_data)
    both, _ = make(configs, small_data)
    assert {c: both[c] for c in configs[:2]} == first
    teachers = [trained_when(both[config])[0] for config in configs]
    assert teachers[0] == teachers[1] != teachers[2] == teachers[3]  # one of each seed
    # the main script finds the same trainings
    with open_session(tmp_path, False, Console(quiet=True)) as session:
        alone = pipeline.run_on_data(small_data, configs[0], session).results()
    assert alone["reused"] == {"teacher": True, "student": True}
    assert trained_when(alone) == trained_when(both[configs[0]])

    shelf = Shelf(tmp_path, small_data, Console(quiet=True))
    teacher = shelf.store.path("teacher", pipeline.determinants("teacher", configs[0], small_data))
    teacher.write_bytes(b"damaged")
    shelf.record_path(configs[0]).unlink()
    again, _ = make(configs, small_data)
    assert trained_when(again[configs[0]])[0] != teachers[0]
    assert [trained_when(again[config]) for config in configs[1:]] == [
        trained_when(both[config]) for config in configs[1:]
    ]


FORGED = {  # a path, and the value that takes the place of what is there
    "NaN": ("teacher.test_accuracy", float("nan")),
    "infinite offset": ("bias_correction.offsets", [float("inf")]),
    "an accuracy of 42": ("student.after_correction.test_accuracy", 42),
    "an accuracy per class of -1": ("teacher.per_class_accuracy", [-1.0] + [1.0] * 9),
    "more errors than images": ("student.before_correction.test_errors", 301),
    "half an error": ("student.before_correction.omitted_errors", 0.5),
    "true for an error": ("student.before_correction.omitted_errors", True),
    "errors in words": ("teacher.test_errors", "few"),
    "no student": ("student",),
    "no metric": ("student.after_correction.other_accuracy",),
    "no offset": ("bias_correction.offsets", []),
    "errors that contradict the accuracy": ("teacher.test_errors", 0),
    "negative seconds": ("wall_clock_seconds.student", -1.0),
    "other data": ("data.sha256", {}),
}
NO_RECORDS = {"a list": "[]", "an empty object": "{}", "no JSON": "{", "deep nesting": NESTED}


def test_no_damaged_record_is_believed(small_data, tmp_path, capsys):
    config = tiny_configs(tmp_path)[0]
    original = make([config], small_data)[0][config]
    shelf = Shelf(tmp_path, small_data, Console(quiet=True))
    path = shelf.record_path(config)
    sealed = path.read_bytes()
    assert json.loads(read_sealed(path, len(sealed))) == original

    def flip() -> None:
        path.write_bytes(sealed[:-20] + bytes([sealed[-20] ^ 1]) + sealed[-19:])

    def huge() -> None:
        with open(path, "wb") as file:
            file.truncate(2**40)

    damages = {"a flipped bit": flip, "huge": huge, "empty": lambda: path.write_bytes(b"")}
    forged = {name: json.dumps(changed(original, *change)) for name, change in FORGED.items()}
    for name, text in (forged | NO_RECORDS).items():
        damages[name] = lambda text=text: write_sealed(path, text.encode())
    if hasattr(os, "mkfifo"):
        damages["a pipe"] = lambda: os.mkfifo(path)
    for name, damage in damages.items():
        path.unlink()
        damage()
        assert shelf.record(config) is None, name  # of a pipe, without waiting for who writes into it
        complaint = capsys.readouterr().err.splitlines()
        assert len(complaint) == 1, name
        if name != "a pipe":
            assert "damaged" in complaint[0], name
            assert "measuring the run again" in complaint[0], name
    path.unlink()
    flip()
    found = make([config], small_data)[0][config]
    assert measured(found) == measured(original)
    assert trained_when(found) == trained_when(original)  # measured anew, not trained


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_failed_run_is_named_and_fails_alone(small_data, tmp_path, capsys):
    configs = tiny_configs(tmp_path)
    bad_student = replace(configs[0], learning_rate_student=1e30, n_epochs_student=3)
    bad_teacher = replace(configs[1], learning_rate=1e30, n_epochs_teacher=3, learning_rate_student=1e-3)
    found, reasons = make([bad_student, bad_teacher, *configs], small_data)
    assert set(found) == set(configs)
    assert set(reasons) == {bad_student, bad_teacher}
    assert all("diverged" in reason for reason in reasons.values())
    complaints = capsys.readouterr().err.splitlines()
    assert len(complaints) == 2
    assert any("--learning-rate-student 1e+30" in line for line in complaints)
    assert any("teacher of" in line and "--learning-rate 1e+30" in line for line in complaints)


class Dying(Executor):
    """Does what it is asked, but from the `deadly`-th call on all is lost."""

    def __init__(self, deadly: int, error: Exception | None = None) -> None:
        self.deadly, self.error, self.n_calls = deadly, error or BrokenProcessPool("a process died"), 0

    def submit(self, function, /, *arguments):
        self.n_calls += 1
        future: Future = Future()
        if self.n_calls >= self.deadly:
            future.set_exception(self.error)
        else:
            future.set_result(function(*arguments))
        return future


def test_a_pool_that_dies_is_followed_by_another(small_data, tmp_path, capsys):
    configs = tiny_configs(tmp_path)
    opened = []

    @contextmanager
    def dying_pool(data):
        opened.append(Dying(deadly=3))
        yield Pool(opened[-1], data)

    found, reasons = make(configs, small_data, dying_pool)
    assert set(found) == set(configs)
    assert not reasons
    assert len(opened) >= 3
    assert "a worker process died" in capsys.readouterr().err

    @contextmanager
    def dead_pool(data):
        yield Pool(Dying(deadly=1), data)

    others = tiny_configs(tmp_path, batch_size=50)
    found, reasons = make(others, small_data, dead_pool)
    assert not found
    assert set(reasons) == set(others)


def test_a_lost_cluster_is_said_in_one_line_and_what_finished_is_kept(small_data, tmp_path, capsys):
    configs = tiny_configs(tmp_path)

    @contextmanager
    def lost_pool(data):
        try:
            yield Pool(Dying(deadly=4), data)
        except BrokenProcessPool:
            raise PoolLostError("the scheduler is gone") from None

    found, reasons = make(configs, small_data, lost_pool)
    assert len(found) == 1
    assert set(reasons) == set(configs) - set(found)
    complaint = capsys.readouterr().err.splitlines()
    assert len(complaint) == 1
    assert "the scheduler is gone" in complaint[0]
    assert "3 runs" in complaint[0]
    again, reasons = make(configs, small_data)
    assert not reasons
    assert all(again[config] == record for config, record in found.items())


def test_an_interrupt_does_not_wait_for_what_is_running():
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), local_pool(1, None) as pool:  # noqa: PT012
        future = pool.executor.submit(time.sleep, 60)
        until(future.running)
        raise KeyboardInterrupt
    until(lambda: not multiprocessing.active_children())
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("when", ["from the start", "in the middle"])
def test_without_room_in_the_cache_the_study_goes_on_from_memory(when, small_data, tmp_path, capsys):
    folder = tmp_path / "runs"
    if when == "from the start":
        folder.write_text("no folder")

    @contextmanager
    def filling_pool(data):
        with thread_pool(data) as pool:
            if when == "in the middle":
                shutil.rmtree(folder)
                folder.write_text("no folder")
            yield pool

    configs = tiny_configs(tmp_path)
    found, reasons = make(configs, small_data, filling_pool, quiet=False)
    assert not reasons
    assert set(found) == set(configs)
    printed = capsys.readouterr()
    assert printed.out.count("teacher of seed") == 2  # each was used, and not thrown away
    teachers = [trained_when(found[config])[0] for config in configs]
    assert teachers[0] == teachers[1]
    assert teachers[2] == teachers[3]
    assert len(printed.err.splitlines()) == 1, printed.err
    assert "cannot write" in printed.err


# what a cluster's worker is sent


def test_a_worker_needs_nothing_but_the_zip(tmp_path):
    archive = cluster.packed(tmp_path)
    with zipfile.ZipFile(archive) as packed:  # the same version gives the same bytes, at any time
        assert {info.date_time for info in packed.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    look = """
import sys
import runs.many, runs.cluster
from runs.records import core, measured_by
assert sys.argv[1] in core.__file__, "not from the zip"
assert "matplotlib" not in sys.modules
print(measured_by())
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    words = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(archive)!r})\n{look}", archive.name]
    result = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == records.measured_by()


@pytest.mark.parametrize(
    ("what", "theirs"),
    [
        ("NumPy", "1.26.0"),
        ("kernel", "Z80"),
        ("random stream", "00000000"),
        ("Python", "2.7.0"),
        ("this project", "another"),
    ],
)
def test_a_worker_that_would_get_other_bits_is_refused_naming_both_sides(what, theirs, small_data, tmp_path):
    here = records.made_with()
    task = Task(tiny_configs(tmp_path)[0], teacher_only=True, made_with={**here, what: theirs})
    with pytest.raises(UserError) as raised:
        work(task, small_data, {}, {})
    assert f"a worker has {what} {here[what]}, not {theirs}: its bits would not be" in str(raised.value)


def test_what_a_worker_is_told_apart_by_is_what_it_computes_with(monkeypatch):
    """Another stream of random numbers, another kernel: each is asked for, not written down."""
    stored.arithmetic.cache_clear()
    before, original = stored.arithmetic(), np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: original(seed + 1))
    monkeypatch.setattr(stored, "blas_kernel", lambda: "Z80")
    stored.arithmetic.cache_clear()
    changed = {name for name, value in stored.arithmetic().items() if value != before[name]}
    assert changed == {"random stream", "kernel"}
    stored.arithmetic.cache_clear()


def test_runs_that_differ_in_measuring_alone_share_a_student(small_data, tmp_path):
    one = tiny_configs(tmp_path)[0]
    others = [replace(one, probe_size=size) for size in (100, 200, 300)]
    asked = [one, *others, replace(one, seed=1)]
    n_teachers_and_students = []

    @contextmanager
    def counting_pool(data):
        with thread_pool(data) as pool:
            submit = pool.executor.submit

            def counted(function, task, data, student, *given):
                n_teachers_and_students.append((task.teacher_only, bool(student)))
                return submit(function, task, data, student, *given)

            pool.executor.submit = counted
            yield pool

    found, reasons = make(asked, small_data, counting_pool)
    assert not reasons
    assert sorted(n_teachers_and_students) == [(False, False)] * 2 + [(False, True)] * 3 + [(True, False)] * 2
    assert len({trained_when(found[config]) for config in asked[:4]}) == 1
    sizes = [found[config]["bias_correction"]["probe_size"] for config in asked[:4]]
    assert sizes == [600, 100, 200, 300]


def test_the_data_travel_once_to_each_process(small_data, tmp_path):
    """However many tasks there are: what is sent with one is a word that stands for them."""
    big = np.zeros(3_000_000, np.uint8)
    with local_pool(2, big) as pool:
        assert len(pickle.dumps(pool.shared)) < 200
        found = [pool.executor.submit(size_of, pool.shared) for _ in range(6)]
        assert {future.result() for future in found} == {big.size}


def size_of(value) -> int:
    return given_here(value).size


def test_other_children_of_this_process_are_left_alone():
    other = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    other.start()
    with pytest.raises(ZeroDivisionError), local_pool(1, None) as pool:
        pool.executor.submit(divmod, 1, 0).result()
    assert other.is_alive()
    other.terminate()
    other.join(10)
