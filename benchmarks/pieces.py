#!/usr/bin/env python3
"""Why Adam takes what it takes: threads that share the interpreter's lock beside processes that do not.

python3 benchmarks/pieces.py            # a minute; nothing else should run
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.console import OneLineParser, put, run_script
from support.report import markdown
from support.tiles import Workers

from concurrent.futures import Executor
from itertools import pairwise

import numpy as np
from breakdown import in_turn

import distillation_mnist_omitted_3 as core
from beyond.settings import Config
from runs.processes import local_pool

PIECES = tuple(2**power for power in range(13, 20))
REPEATS = 200
ONE, THREADS, PROCESSES = "one thread, a share alone", "threads, all shares", "processes, all shares"


def adam_in_pieces(n_values: int, piece: int) -> tuple[core.Adam, np.ndarray]:
    """Adam on so many parameters, about to take a step in pieces, and a gradient."""
    adam = core.Adam(np.zeros(n_values, np.float32))
    adam.PIECE = piece
    adam.begin_step(0.0)
    return adam, np.ones(n_values, np.float32)


def alone(n_values: int, piece: int) -> float:
    """Milliseconds of a step by one thread."""
    adam, gradient = adam_in_pieces(n_values, piece)
    times = in_turn({"step": lambda: adam.update(slice(None), gradient)}, REPEATS)
    return float(np.median(times["step"]))


def in_threads(n_values: int, piece: int, workers: Workers) -> float:
    """Milliseconds of a step whose shares the threads take, as they do in a training."""
    adam, gradient = adam_in_pieces(n_values, piece)
    edges = [n_values * k // workers.n_threads for k in range(workers.n_threads + 1)]
    shares = [slice(*both) for both in pairwise(edges)]
    calls = {"step": lambda: workers.map(lambda share: adam.update(share, gradient[share]), shares)}
    return float(np.median(in_turn(calls, REPEATS)["step"]))


def in_processes(n_values: int, piece: int, n: int, executor: Executor) -> float:
    """Milliseconds of a step whose shares `n` processes take, side by side: of the slowest."""
    return max(executor.map(alone, [n_values // n] * n, [piece] * n))


def measured(n_values: int) -> list[dict[str, float]]:
    """For each of PIECES the milliseconds of ONE, THREADS and PROCESSES, of as many as there are threads."""
    found = []
    with Workers() as workers, local_pool(workers.n_threads, None) as pool:
        n = workers.n_threads
        for piece in PIECES:
            found.append(
                {
                    ONE: alone(n_values // n, piece),
                    THREADS: in_threads(n_values, piece, workers),
                    PROCESSES: in_processes(n_values, piece, n, pool.executor),
                }
            )
    return found


def table(n_values: int, found: list[dict[str, float]]) -> str:
    rows = [
        [f"{piece:,}", *(f"{ms:.2f}" for ms in one.values())]
        for piece, one in zip(PIECES, found, strict=True)
    ]
    return markdown([f"Adam, {n_values:,} parameters, ms; values at a time", *found[0]], rows)


def main(argv: list[str] | None = None) -> None:
    parser = OneLineParser(description="Time Adam by the size of its pieces, in threads and processes.")
    parser.parse_args(argv)
    sizes = Config().training("teacher").sizes
    n_values = core.MLP(sizes, None).parameters.size
    put(table(n_values, measured(n_values)) + "\n")


if __name__ == "__main__":
    run_script(main)
