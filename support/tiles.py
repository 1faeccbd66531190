"""Work cut into tiles that all cores share: the engine under the matrix products."""

from __future__ import annotations

import ctypes
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

# For a single row or less than a million multiply-adds OpenBLAS goes another way on some processors, which
# rounds otherwise. So the number of threads decides how a product is cut only where all tiles are above that.
MIN_TILE_WORK = 4 * 2**20  # multiply-adds, on average; of equal tiles none has less than half of it
# Any other product is cut alike for any number of threads: into so many rows or, as waking a thread takes
# longer than a little work, into as many rows as make up that much.
SMALL_TILE_ROWS = 200
SMALL_TILE_WORK = 2 * 2**20  # multiply-adds
BLAS_CONTROLS = (
    "scipy_openblas_{}_num_threads64_",
    "scipy_openblas_{}_num_threads",
    "openblas_{}_num_threads",
)


class Workers:
    """One thread per core for the tiles of a layer, each with a single-threaded BLAS.

    OpenBLAS's own threads go on spinning for a while after each product and so fight every other use of the
    cores. Within `with Workers() as workers:` it therefore runs on one thread, and our threads take whole
    tiles: the product and, while its result is still in the cache, what follows it. The count is the one that
    OpenBLAS would have used, so OPENBLAS_NUM_THREADS is respected; at the end it is given back. With a BLAS
    that cannot be asked (Accelerate, MKL), `map` is a plain loop and the BLAS uses its own threads.

    The rows of a product come out the same, bit for bit, however it is cut into large tiles, and so do all
    results, whatever the number of threads.
    """

    def __init__(self, n_threads: int | None = None) -> None:
        library = ctypes.CDLL(np._core._multiarray_umath.__file__)  # its BLAS is found through it
        name = next((name for name in BLAS_CONTROLS if hasattr(library, name.format("set"))), None)
        self._set_blas_threads = getattr(library, name.format("set")) if name else lambda count: None
        self._blas_threads = getattr(library, name.format("get"))() if name else 1
        self.n_threads = n_threads or self._blas_threads

    def __enter__(self) -> Workers:
        self._set_blas_threads(1)
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        self._done: queue.SimpleQueue = queue.SimpleQueue()
        for _ in range(self.n_threads - 1):
            threading.Thread(target=self._work, daemon=True).start()
        return self

    def __exit__(self, *exception: Any) -> None:
        for _ in range(self.n_threads - 1):
            self._jobs.put(None)
        self._set_blas_threads(self._blas_threads)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
                self._done.put(None)
            except BaseException as error:
                self._done.put(error)

    def tiles(self, n_rows: int, work_per_row: int) -> list[slice]:
        """The rows of a product that takes so many multiply-adds for each: as large as all threads allow."""
        most = min(n_rows // 2, n_rows * work_per_row // MIN_TILE_WORK)
        if most < 2:
            return slices(n_rows, max(SMALL_TILE_ROWS, SMALL_TILE_WORK // max(work_per_row, 1)))
        n_tiles = min(most, self.n_threads)
        return [slice(*edges) for edges in pairwise(n_rows * k // n_tiles for k in range(n_tiles + 1))]

    def map(self, function: Callable[[Any], None], tiles: Sequence[Any]) -> None:
        """Call `function` once with each tile, on all threads; return when all are done.

        Raises what `function` raises. A number that overflows says nothing: a training that diverges is
        found at the end of its epoch.
        """
        pending = deque(tiles)

        def drain() -> None:
            with np.errstate(over="ignore", invalid="ignore"):  # holds for the calling thread only
                while pending:
                    try:
                        tile = pending.popleft()
                    except IndexError:  # another thread took the last one
                        return
                    function(tile)

        n_helpers = min(self.n_threads, len(tiles)) - 1
        for _ in range(n_helpers):
            self._jobs.put(drain)
        try:
            drain()
        finally:
            errors = [self._done.get() for _ in range(n_helpers)]
        for error in errors:
            if error is not None:
                raise error


def slices(n: int, at_most: int) -> list[slice]:
    """0 .. n - 1 in slices of at most `at_most`."""
    return [slice(start, min(start + at_most, n)) for start in range(0, n, at_most)]
