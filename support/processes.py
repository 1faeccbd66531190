"""Processes of this machine, for many runs: they end with their parent, and leave Ctrl-C to it."""

from __future__ import annotations

from support.tiles import Workers

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def identity(value: Any) -> Any:
    return value


@dataclass
class Pool:
    """An executor, and how to hand it a value that many runs share: `share` gives what stands for it.

    `attend` is called about once a second while runs are waited for.
    """

    executor: Executor
    share: Callable[[Any], Any] = identity
    attend: Callable[[], None] = lambda: None


@contextmanager
def local_pool(n_jobs: int) -> Iterator[Pool]:
    """`n_jobs` processes, each with an equal share of the threads that the BLAS would use here."""
    n_threads = max(1, Workers().n_threads // n_jobs)
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(n_threads)))  # the new processes inherit them
    executor = ProcessPoolExecutor(n_jobs, multiprocessing.get_context("spawn"), begin_worker)
    try:
        start_workers(executor, n_jobs)
        yield Pool(executor)
        executor.shutdown()
    except BaseException:
        results = executor._result_queue
        executor.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        # One that was sending a result leaves half of it. Once nobody can write the rest, the executor's
        # thread stops waiting for it; otherwise this process would never end.
        results._writer.close()
        raise
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def start_workers(executor: Executor, n_jobs: int) -> None:
    """Start all processes at once, deaf to Ctrl-C from their first moment: they inherit that we are."""
    if threading.current_thread() is not threading.main_thread():  # only that one may set signals
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for _ in range(n_jobs):
            executor.submit(identity, None)
    finally:
        signal.signal(signal.SIGINT, before)


def begin_worker() -> None:
    """In a new process: leave Ctrl-C to the parent, and end with it, however it dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    if parent is not None:
        threading.Thread(target=end_with_parent, daemon=True).start()
