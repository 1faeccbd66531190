"""Work cut into tiles that all cores share: the engine under the matrix products."""

from __future__ import annotations

import ctypes
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

# For a single row or less than a million multiply-adds OpenBLAS goes another way on some processors, which
# rounds otherwise. So the number of threads decides how a product is cut only where all tiles are above that.
MIN_TILE_WORK = 4 * 2**20  # multiply-adds, on average; no tile has less than half of it
# Rows keep their bits, however many are computed at once, only where the cut lies on an edge of the kernel's
# own blocks: every 12 rows with OpenBLAS's Haswell kernel, 8 with Nehalem's; others take any. 24 serve all.
EDGE_ROWS = 24
# Any other product is cut alike for any number of threads: into so many rows or, as waking a thread takes
# longer than a little work, into as many rows as make up that much.
SMALL_TILE_ROWS = 8 * EDGE_ROWS
SMALL_TILE_WORK = 2 * 2**20  # multiply-adds
BLAS_NAMES = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}")  # of the functions that control it


def blas_function(what: str) -> Any:
    """The function `what` of NumPy's OpenBLAS; None for a BLAS that cannot be asked (Accelerate, MKL)."""
    library = ctypes.CDLL(np._core._multiarray_umath.__file__)  # its BLAS is found through it
    names = (name.format(what) for name in BLAS_NAMES)
    return next((getattr(library, name) for name in names if hasattr(library, name)), None)


@cache
def blas_kernel() -> str:
    """For which processors the BLAS computes here, as "Haswell"; "" where it does not say."""
    if (ask := blas_function("get_corename")) is None:
        return ""
    ask.restype = ctypes.c_char_p
    return ask().decode()


class BlasThreads:
    """How many threads the BLAS uses: as many as it finds, or one while any `Workers` are at work."""

    def __init__(self) -> None:
        self.lock, self.n_open, self.before = threading.RLock(), 0, 1

    def count(self) -> int:
        """As many as the BLAS uses where no `Workers` are at work."""
        ask = blas_function("get_num_threads")
        with self.lock:
            return self.before if self.n_open else ask() if ask else 1

    def take(self) -> None:
        with self.lock:
            self.before = self.count()
            self.n_open += 1
            self._set(1)

    def give_back(self) -> None:
        with self.lock:
            self.n_open -= 1
            if self.n_open == 0:
                self._set(self.before)

    @staticmethod
    def _set(count: int) -> None:
        if (tell := blas_function("set_num_threads")) is not None:
            tell(count)


BLAS_THREADS = BlasThreads()  # those of this process


class Workers:
    """One thread per core for the tiles of a layer, each with a single-threaded BLAS.

    OpenBLAS's own threads go on spinning for a while after each product and so fight every other use of the
    cores. Within `with Workers() as workers:` it therefore runs on one thread, and our threads take whole
    tiles: the product and, while its result is still in the cache, what follows it. The count is the one that
    OpenBLAS would have used, so OPENBLAS_NUM_THREADS is respected; when the last of several ends, it is given
    back. With a BLAS that cannot be asked, `map` is a plain loop and the BLAS uses its own threads.

    The rows of a product come out the same, bit for bit, however it is cut into large tiles, and so do all
    results, whatever the number of threads.
    """

    def __init__(self, n_threads: int | None = None) -> None:
        self.n_threads = n_threads or BLAS_THREADS.count()
        self._depth = 0
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        self._at_work = threading.local()  # in a thread that is within `map`

    def __enter__(self) -> Workers:
        if self._depth == 0:
            BLAS_THREADS.take()
            self._jobs = queue.SimpleQueue()
            for _ in range(self.n_threads - 1):
                threading.Thread(target=work_off, args=(self._jobs,), daemon=True).start()
        self._depth += 1
        return self

    def __exit__(self, *exception: Any) -> None:
        self._depth -= 1
        if self._depth == 0:
            for _ in range(self.n_threads - 1):
                self._jobs.put(None)
            BLAS_THREADS.give_back()

    def tiles(self, n_rows: int, work_per_row: int) -> list[slice]:
        """The rows of a product that takes so many multiply-adds for each: as large as all threads allow."""
        most = min(n_rows // EDGE_ROWS, n_rows * work_per_row // MIN_TILE_WORK)
        if most < 2:
            enough = edge_near(SMALL_TILE_WORK // max(work_per_row, 1) + EDGE_ROWS // 2)
            return slices(n_rows, max(SMALL_TILE_ROWS, enough))
        n_tiles = min(most, self.n_threads)
        inner = [edge_near(n_rows * k // n_tiles) for k in range(1, n_tiles)]
        return [slice(*edges) for edges in pairwise([0, *inner, n_rows])]

    def map(self, function: Callable[[Any], None], tiles: Sequence[Any]) -> None:
        """Call `function` once with each tile, on all threads; return when all are done.

        Raises what `function` raises, and then starts no other tile. A number that overflows says nothing: a
        training that diverges is found at the end of its epoch. Outside `with`, it opens for this call alone;
        within a tile, the thread at work there does it all.
        """
        if self._depth == 0:
            with self:
                return self.map(function, tiles)
        pending = deque(tiles)
        done: queue.SimpleQueue = queue.SimpleQueue()  # this call's own: an interrupted one leaves answers

        def drain() -> None:
            outer, self._at_work.now = getattr(self._at_work, "now", False), True
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # holds for the calling thread only
                    while pending:
                        try:
                            tile = pending.popleft()
                        except IndexError:  # another thread took the last one
                            return
                        function(tile)
            except BaseException:
                pending.clear()
                raise
            finally:
                self._at_work.now = outer

        def help_out() -> None:
            try:
                drain()
                done.put(None)
            except BaseException as error:
                done.put(error)

        nested = getattr(self._at_work, "now", False)
        n_helpers = 0 if nested else max(0, min(self.n_threads, len(tiles)) - 1)
        for _ in range(n_helpers):
            self._jobs.put(help_out)
        try:
            drain()
        finally:
            errors = [done.get() for _ in range(n_helpers)]
        for error in errors:
            if error is not None:
                raise error


def work_off(jobs: queue.SimpleQueue) -> None:
    while (job := jobs.get()) is not None:
        job()


def edge_near(row: int) -> int:
    """The multiple of EDGE_ROWS that is nearest to `row`."""
    return (row + EDGE_ROWS // 2) // EDGE_ROWS * EDGE_ROWS


def slices(n: int, at_most: int) -> list[slice]:
    """0 .. n - 1 in slices of at most `at_most`."""
    return [slice(start, min(start + at_most, n)) for start in range(0, n, at_most)]
