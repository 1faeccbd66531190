"""Where the time of a step goes: each part by itself, beside what this machine's own limits would allow."""

from __future__ import annotations

from support.report import markdown
from support.tiles import Workers
from support.transformations import Transformer

import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np

import distillation_mnist_omitted_3 as core

PASSES = 6  # Adam reads and writes weights and two moments; the gradient is still in the cache
COLUMNS = ("ms", "at the machine's limit", "share of the limit")


def flop_per_image(sizes: tuple[int, ...]) -> int:
    """Multiplications and additions of a training step's products; the inputs get no gradient."""
    products = [a * b for a, b in pairwise(sizes)]
    return 2 * (3 * sum(products) - products[0])


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """The median over `repeats` calls, after one to warm up."""
    call()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)


def bandwidth(workers: Workers, n_bytes: int = 2**28) -> float:
    """Bytes per millisecond that all threads together read and write, in place, in more than any cache."""
    parts = np.array_split(np.ones(n_bytes // 4, np.float32), 8 * workers.n_threads)

    def scale(part: np.ndarray) -> None:
        np.multiply(part, np.float32(1.0), out=part)

    return 2 * n_bytes / milliseconds(lambda: workers.map(scale, parts), 5)


def breakdown(images: np.ndarray, labels: np.ndarray, config: core.Config, peak_gflops: float) -> str:
    """The parts of the teacher's step as Markdown; `peak_gflops` is the rate of the best product."""
    settings = config.training("teacher")
    n, rng = min(settings.batch_size, len(images)), np.random.default_rng(0)
    network = core.MLP(settings.sizes, rng)
    adam, loss = core.Adam(network.parameters), core.hard_labels(labels)
    transformer, activations = Transformer(settings.limits, rng), network.new_activations(n)
    batch, repeats = np.arange(n), max(5, 20_000 // n)
    adam.begin_step(0.0)

    def inputs() -> None:
        workers.map(lambda call: call(), transformer.calls(activations[0][:-1], images[:n]))

    def products() -> None:
        network.forward(activations, workers)
        network.backward(activations, gradient, workers, lambda part, tile: None)

    with Workers() as workers:
        inputs()
        logits = network.forward(activations, workers)
        gradient = loss(logits, batch, activations[0])[1]
        parts = {
            "inputs": milliseconds(inputs, repeats),
            "loss": milliseconds(lambda: loss(logits, batch, activations[0]), repeats),
            "products, forward and back": milliseconds(products, repeats),
        }
        whole = milliseconds(
            lambda: (
                inputs(), network.forward(activations, workers), loss(logits, batch, activations[0]),
                network.backward(activations, gradient, workers, adam.update),
            ),
            repeats,
        )  # fmt: skip
        parts["Adam"] = whole - sum(parts.values())
        weights = network.parameters.nbytes
        limits = {
            "products, forward and back": flop_per_image(settings.sizes) * n / peak_gflops / 1e6,
            "Adam": PASSES * weights / bandwidth(workers),
        }
    rows = []
    for name, ms in [*parts.items(), ("all of it, one after the other", whole)]:
        limit = limits.get(name)
        rows.append([name, f"{ms:.2f}", *([f"{limit:.2f}", f"{limit / ms:.0%}"] if limit else ["", ""])])
    return markdown([f"{config.recipe}, teacher's step of {n} images", *COLUMNS], rows)
