"""Threads that share tiles: in whatever order they are opened, nested and interrupted, every tile once."""

from __future__ import annotations

from support import tiles
from support.tiles import BLAS_THREADS, Workers

import signal
import threading
import time

import pytest


def counts(workers: Workers, n: int = 40) -> list[int]:
    done: list[int] = []
    workers.map(done.append, range(n))
    return sorted(done)


def test_workers_may_be_used_before_within_and_after_with_and_twice():
    before, workers = BLAS_THREADS.count(), Workers(3)
    assert counts(workers) == list(range(40))
    for _ in range(2):
        with workers:
            assert counts(workers) == list(range(40))
            with workers:
                assert counts(workers) == list(range(40))
            assert counts(workers) == list(range(40))
    assert counts(workers) == list(range(40))
    assert BLAS_THREADS.count() == before
    assert BLAS_THREADS.n_open == 0


def test_threads_end_with_the_block():
    before = set(threading.enumerate())
    with Workers(4) as workers:
        counts(workers)
        ours = set(threading.enumerate()) - before
        assert len(ours) == 3
    for thread in ours:
        thread.join(5)
        assert not thread.is_alive()


def test_overlapping_workers_give_the_blas_back_what_it_had(monkeypatch):
    """Opened one after the other and closed in the same order, as two threads of a notebook do."""
    told: list[int] = []
    functions = {"get_num_threads": lambda: told[-1] if told else 2, "set_num_threads": told.append}
    monkeypatch.setattr(tiles, "blas_function", functions.get)
    first = Workers()
    first.__enter__()
    second = Workers()
    assert second.n_threads == 2  # as many as there will be, not the one of now
    second.__enter__()
    first.__exit__()
    assert set(told) == {1}
    assert counts(second) == list(range(40))
    second.__exit__()
    assert told[-1] == 2


def test_a_tile_may_map_tiles_of_its_own():
    done: list[tuple[int, int]] = []
    with Workers(3) as workers:
        workers.map(lambda i: workers.map(lambda j: done.append((i, j)), range(5)), range(7))
        assert sorted(done) == [(i, j) for i in range(7) for j in range(5)]
        assert counts(workers) == list(range(40))


def test_after_an_error_no_other_tile_is_started():
    begun: list[int] = []

    def tile(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise ZeroDivisionError

    with Workers(1) as workers, pytest.raises(ZeroDivisionError):
        workers.map(tile, range(100))
    assert begun == [0, 1, 2, 3]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
def test_an_interrupted_wait_leaves_nothing_behind_for_the_next_call():
    """Ctrl-C while another thread has a tile in hand: what it answers later is not the next call's."""
    may_go, main = threading.Event(), threading.main_thread()
    done: list[int] = []

    def tile(number: int) -> None:
        if threading.current_thread() is main:
            time.sleep(0.1)
        else:
            may_go.wait(5)
        done.append(number)

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Workers(2) as workers:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(KeyboardInterrupt):
                workers.map(tile, [0, 1])  # this thread is done with one, the other waits
            may_go.set()
            assert counts(workers) == list(range(40))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    deadline = time.monotonic() + 5
    while len(done) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(done) == [0, 1]
