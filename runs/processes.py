"""Processes of this machine, for many runs: they end with their parent, and leave Ctrl-C to it."""

from __future__ import annotations

from support.console import UserError
from support.tiles import Workers

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def identity(value: Any) -> Any:
    return value


class Shared:
    """Stands, in what is sent to a process, for the value that it was given when it began."""

    value: Any = None  # in such a process


def given_here(value: Any) -> Any:
    """In a process of `local_pool`: what `value` stands for, or itself."""
    return Shared.value if isinstance(value, Shared) else value


@dataclass
class Pool:
    """An executor, what stands for the value that all its runs share, and how to hand it others.

    `share` gives what stands for a value that many runs need. `attend` is called about once a second while
    runs are waited for.
    """

    executor: futures.Executor
    shared: Any
    share: Callable[[Any], Any] = identity
    attend: Callable[[], None] = lambda: None


def reason_of(error: Exception) -> str:
    """Why a run failed, in one line."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def outcomes(
    pool: Pool, running: dict[futures.Future, Any], beat: Callable[[], None] = lambda: None
) -> Iterator[tuple[Any, Any, Exception | None]]:
    """What each of `running` comes to when it ends: what it stands for there, its result, or its error.

    More may be added to `running` meanwhile. `beat` is called about once a second. Raises BrokenExecutor or
    CancelledError when the pool is lost, after all that is done.
    """
    while running:
        pool.attend()
        beat()
        done, _ = futures.wait(running, timeout=1.0, return_when=futures.FIRST_COMPLETED)
        lost = None
        for future in done:
            key = running.pop(future)
            try:
                result = future.result()
            except (futures.BrokenExecutor, futures.CancelledError) as error:
                lost = error  # but what else is done is kept
            except Exception as error:  # whatever it is, the others go on
                yield key, None, error
            else:
                yield key, result, None
        if lost:
            raise lost


@contextmanager
def local_pool(n_jobs: int, shared: Any) -> Iterator[Pool]:
    """`n_jobs` processes, each with an equal share of the threads that the BLAS would use here.

    Each gets `shared` once; a function that is sent there finds it with `given_here`.
    """
    n_threads = max(1, Workers().n_threads // n_jobs)
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(n_threads)))  # the new processes inherit them
    executor = futures.ProcessPoolExecutor(
        n_jobs, multiprocessing.get_context("spawn"), begin_worker, (shared,)
    )
    try:
        start_workers(executor, n_jobs)
        yield Pool(executor, Shared())
        executor.shutdown()
    except BaseException:
        results, processes = executor._result_queue, list((executor._processes or {}).values())
        executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:  # and no other child of this process
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


def start_workers(executor: futures.Executor, n_jobs: int) -> None:
    """Start all processes at once, deaf to Ctrl-C from their first moment: they inherit that we are."""
    if threading.current_thread() is not threading.main_thread():  # only that one may set signals
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for _ in range(n_jobs):
            executor.submit(identity, None)
    finally:
        signal.signal(signal.SIGINT, before)


def begin_worker(shared: Any) -> None:
    """In a new process: leave Ctrl-C to the parent, end with it, however it dies, and keep what it shares."""
    Shared.value = shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    if parent is not None:
        threading.Thread(target=end_with_parent, daemon=True).start()
