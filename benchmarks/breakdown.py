"""Where the time of a step goes: each part by itself, beside what this machine's own limits would allow."""

from __future__ import annotations

from support.report import markdown
from support.settings import N_CLASSES
from support.tiles import Workers
from support.transformations import Transformer

import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np

import distillation_mnist_omitted_3 as core

PASSES = 6  # Adam reads and writes weights and two moments; the gradient is still in the cache
IN_CACHE = 2**14  # values that Adam finds in a core's own cache, with their moments
KINDS = ("teacher", "student")
PRODUCTS = "products, forward and back"
Part = (
    tuple[float, float | None] | None
)  # milliseconds, and those at this machine's limit, as far as there are


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


def adam_at_its_limit(n_parameters: int, workers: Workers) -> float:
    """Milliseconds: by memory or, if that is more, by Adam's arithmetic on what is in the cache already."""
    adam, gradient = core.Adam(np.zeros(IN_CACHE, np.float32)), np.ones(IN_CACHE, np.float32)
    adam.begin_step(0.0)
    piece = milliseconds(lambda: adam.update(slice(None), gradient), 50)
    by_arithmetic = piece * n_parameters / IN_CACHE / workers.n_threads
    return max(by_arithmetic, PASSES * 4 * n_parameters / bandwidth(workers))


def parts_of_step(
    kind: str, images: np.ndarray, labels: np.ndarray, config: core.Config, peak_gflops: float
) -> dict[str, Part]:
    """The parts of a step of the "teacher" or the "student", each by itself, and the whole step."""
    settings = config.training(kind)
    n, rng = min(settings.batch_size, len(images)), np.random.default_rng(0)
    network, teacher = (core.MLP(config.training(k).sizes, rng) for k in (kind, "teacher"))
    adam, transformer = core.Adam(network.parameters), Transformer(settings.limits, rng)
    activations, above = network.new_activations(n), teacher.new_activations(n)[1:]
    batch, repeats = np.arange(n), max(5, 20_000 // n)
    hears = kind == "student"
    asks = hears and settings.limits.change  # otherwise it has the teacher's answers from before
    targets = rng.standard_normal((n, N_CLASSES), np.float32)
    from_labels = core.hard_labels(labels)
    adam.begin_step(0.0)

    def inputs() -> None:
        workers.map(lambda call: call(), transformer.calls(activations[0][:-1], images[:n]))

    def answers() -> None:
        teacher.forward([activations[0], *above], workers)

    def loss() -> np.ndarray:
        if hears:
            return core.distillation_loss(logits, targets, config.temperature)[1]
        return from_labels(logits, batch, activations[0])[1]

    def step(update: Callable[[slice, np.ndarray], None]) -> None:
        network.forward(activations, workers)
        network.backward(activations, gradient, workers, update)

    with Workers() as workers:
        inputs()
        logits = network.forward(activations, workers)
        gradient = loss()
        found: dict[str, Part] = {"inputs": (milliseconds(inputs, repeats), None)}
        found["teacher's answers"] = None
        if asks:
            flop = 2 * sum(a * b for a, b in pairwise(teacher.sizes)) * n
            found["teacher's answers"] = milliseconds(answers, repeats), flop / peak_gflops / 1e6
        found["loss"] = milliseconds(loss, repeats), None
        at_peak = flop_per_image(settings.sizes) * n / peak_gflops / 1e6
        found[PRODUCTS] = milliseconds(lambda: step(lambda part, tile: None), repeats), at_peak
        whole = milliseconds(
            lambda: (inputs(), answers() if asks else None, loss(), step(adam.update)), repeats
        )
        limit = adam_at_its_limit(network.parameters.size, workers)
    found["Adam"] = whole - sum(part[0] for part in found.values() if part), limit
    return found | {"all of it, one after the other": (whole, None)}


def breakdown(images: np.ndarray, labels: np.ndarray, config: core.Config, peak_gflops: float) -> str:
    """The parts of both steps as Markdown; `peak_gflops` is the rate of the best product."""
    return table(
        {
            f"{kind}'s step of {min(config.training(kind).batch_size, len(images))}": parts_of_step(
                kind, images, labels, config, peak_gflops
            )
            for kind in KINDS
        },
        config.recipe,
    )


def table(steps: dict[str, dict[str, Part]], title: str) -> str:
    """One column for each step: milliseconds, and in brackets those at the limit and their share."""

    def cell(part: Part) -> str:
        if part is None:
            return ""
        ms, limit = part
        return f"{ms:.2f}" if limit is None else f"{ms:.2f} ({limit:.2f}: {limit / ms:.0%})"

    rows = [[name, *(cell(parts[name]) for parts in steps.values())] for name in next(iter(steps.values()))]
    return markdown([f"{title}, ms (at the limit: share of it)", *steps], [r for r in rows if any(r[1:])])
