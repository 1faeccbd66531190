"""What a step of CIFAR-10's networks does between its products: how long, over how many bytes, how fast."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.report import markdown
from support.tiles import Workers

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from breakdown import bandwidth

from cifar10 import convolution, layers
from cifar10.data import SIDE
from cifar10.layers import N_WHITENED, PATCH, Block, Whitening
from cifar10.network import ConvNet

FLOAT, BOOL, PIXEL = 4, 1, 1  # bytes
N_STEPS = 9
PASSES: dict[str, tuple[Any, str]] = {
    "whitening": (Whitening, "output_rows"),
    "parts for the products": (layers, "write_parts"),
    "sums of products": (convolution, "add_up"),
    "pooling": (Block, "pool"),
    "mean and variance": (Block, "count"),
    "normalisation, ReLU": (Block, "output_rows"),
    "back through ReLU, sums": (Block, "end_of_output"),
    "back through normalisation": (Block, "d_pooled_rows"),
    "back through pooling": (Block, "unpooled"),
}
Rate = tuple[float, float]  # milliseconds of a step, if its threads share them; bytes at the least


def bytes_of_passes(network: ConvNet, n_images: int) -> dict[str, int]:
    """What each pass of a step must read and write if it did both once.

    Whatever it keeps for itself on the way, and whatever lies in the cache, is not counted off or added.
    """
    found: Counter[str] = Counter()
    pixels = 3 * (SIDE + PATCH - 1) ** 2
    found["whitening"] = n_images * (PIXEL * pixels + FLOAT * SIDE**2 * N_WHITENED)
    for place, block in enumerate(network.blocks):
        given = n_images * block.side**2 * block.n_from
        convolved = n_images * block.side**2 * block.n_to
        pooled = n_images * block.side_out**2 * block.n_to
        # The four parts of a row are twice as long as the row, and so are the products for one.
        found["parts for the products"] += 3 * FLOAT * (given + convolved)
        found["sums of products"] += 3 * FLOAT * (convolved + (given if place else 0))
        if block.pools:  # beside the values, which of two rows, and of two columns, each came from
            both_ways = FLOAT * (convolved + pooled) + BOOL * (convolved // 2 + convolved // 4)
            found["pooling"] += both_ways
            found["back through pooling"] += both_ways
        found["mean and variance"] += 2 * FLOAT * pooled
        found["normalisation, ReLU"] += (2 * FLOAT + BOOL) * pooled
        found["back through ReLU, sums"] += (3 * FLOAT + BOOL) * pooled
        found["back through normalisation"] += 3 * FLOAT * pooled
    return dict(found)


@contextmanager
def timed_passes() -> Iterator[dict[str, list[float]]]:
    """The seconds that each call of each pass takes in whichever thread. No pass calls another."""
    seconds: dict[str, list[float]] = {name: [] for name in PASSES}

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*given: Any) -> Any:
            started = time.perf_counter()
            result = call(*given)
            seconds[name].append(time.perf_counter() - started)
            return result

        return wrapper

    originals = {name: getattr(owner, called) for name, (owner, called) in PASSES.items()}
    for name, (owner, called) in PASSES.items():
        setattr(owner, called, timed(name, originals[name]))
    try:
        yield seconds
    finally:
        for name, (owner, called) in PASSES.items():
            setattr(owner, called, originals[name])


def passes_of(step: Callable[[], object], network: ConvNet, n_images: int, n_threads: int) -> dict[str, Rate]:
    """By pass the median milliseconds of a few steps, and bytes."""
    step()  # warms up
    rounds = []
    for _ in range(N_STEPS):
        with timed_passes() as seconds:
            step()
        rounds.append({name: 1000 * sum(calls) / n_threads for name, calls in seconds.items()})
    n_bytes = bytes_of_passes(network, n_images)
    return {name: (statistics.median(one[name] for one in rounds), n_bytes[name]) for name in PASSES}


def passes_table(found: dict[str, dict[str, Rate]], bytes_per_ms: float) -> str:
    """As Markdown, for each step: ms, MB, and the rate as a share of that of the memory."""

    def cells(ms: float, n_bytes: float) -> list[str]:
        return [f"{ms:.1f}", f"{n_bytes / 1e6:.0f}", f"{n_bytes / ms / bytes_per_ms:.0%}"]

    header = [f"{step}: {what}" for step in found for what in ("ms", "MB", "of the memory's rate")]
    whole = {step: [sum(all_of) for all_of in zip(*one.values(), strict=True)] for step, one in found.items()}
    rows = [[name, *(c for one in found.values() for c in cells(*one[name]))] for name in PASSES]
    rows.append(["all of them", *(c for step in found for c in cells(*whole[step]))])
    return markdown([f"between the products (memory: {bytes_per_ms / 1e6:.1f} GB/s)", *header], rows)


def memory_rate() -> float:
    """Bytes per millisecond of all threads together."""
    with Workers() as workers:
        return bandwidth(workers)


if __name__ == "__main__":
    print(f"{__doc__}\nA part of the comparison: python3 benchmarks/compare.py --help")
