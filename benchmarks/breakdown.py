"""Where the time of a step goes: each part by itself, beside what this machine's own limits would allow."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.report import markdown
from support.settings import N_CLASSES
from support.tiles import Workers
from support.transformations import Transformer

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np

import distillation_mnist_omitted_3 as core
from beyond.settings import Config

PASSES = 6  # Adam reads and writes weights and two moments; the gradient is still in the cache
IN_CACHE = 2**14  # values that Adam finds in a core's own cache, with their moments
KINDS = ("teacher", "student")
PRODUCTS, WHOLE = "products, forward and back", "all of it, one after the other"
Part = tuple[float, float | None] | None  # milliseconds; those at the machine's limit, where it has one
Steps = dict[str, dict[str, Part]]  # the parts of each step, by name


def flop_per_image(sizes: tuple[int, ...]) -> int:
    """Multiplications and additions of a training step's products; the inputs get no gradient."""
    products = [a * b for a, b in pairwise(sizes)]
    return 2 * (3 * sum(products) - products[0])


def fastest(call: Callable[[], object], repeats: int) -> float:
    """The fewest milliseconds of `repeats` calls: a limit is what nothing disturbs."""
    return float(in_turn({"call": call}, repeats)["call"].min())


def in_turn(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, np.ndarray]:
    """Milliseconds (repeats,) of each call, in turn: a machine whose speed drifts does so for all."""
    found = {name: np.empty(repeats) for name in calls}
    for place in range(-1, repeats):  # the first turn warms up
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if place >= 0:
                found[name][place] = 1000 * (time.perf_counter() - started)
    return found


def bandwidth(workers: Workers, n_bytes: int = 2**28) -> float:
    """Bytes per millisecond that all threads together read and write, in place, in more than any cache."""
    parts = np.array_split(np.ones(n_bytes // 4, np.float32), 8 * workers.n_threads)

    def scale(part: np.ndarray) -> None:
        np.multiply(part, np.float32(1.0), out=part)

    return 2 * n_bytes / fastest(lambda: workers.map(scale, parts), 5)


def adam_at_its_limit(n_parameters: int, workers: Workers) -> float:
    """Milliseconds: by memory or, if that is more, by Adam's arithmetic on what is in the cache already."""
    adam, gradient = core.Adam(np.zeros(IN_CACHE, np.float32)), np.ones(IN_CACHE, np.float32)
    adam.begin_step(0.0)
    piece = fastest(lambda: adam.update(slice(None), gradient), 50)
    by_arithmetic = piece * n_parameters / IN_CACHE / workers.n_threads
    return max(by_arithmetic, PASSES * 4 * n_parameters / bandwidth(workers))


def parts_of_step(
    kind: str, images: np.ndarray, labels: np.ndarray, config: Config, peak_gflops: float
) -> dict[str, Part]:
    """The parts of a step of the "teacher" or the "student", each by itself, and the whole step."""
    settings = config.training(kind)
    n, rng = min(settings.batch_size, len(images)), np.random.default_rng(0)
    network, teacher = (core.MLP(config.training(k).sizes, rng) for k in (kind, "teacher"))
    adam, transformer = core.Adam(network.parameters), Transformer(settings.limits, rng)
    activations, above = network.new_activations(n), teacher.new_activations(n)[1:]
    batch, hears = np.arange(n), kind == "student"
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

    calls: dict[str, Callable[[], object]] = {"inputs": inputs, "loss": loss}
    calls |= {PRODUCTS: lambda: step(lambda part, tile: None), "products and Adam": lambda: step(adam.update)}
    if hears and settings.limits.change:  # otherwise it has the teacher's answers from before
        calls["teacher's answers"] = answers
    with Workers() as workers:
        inputs()
        logits = network.forward(activations, workers)
        gradient = loss()
        times = in_turn(calls, max(15, 20_000 // n))
        adams_limit = adam_at_its_limit(network.parameters.size, workers)
    times["Adam"] = times.pop("products and Adam") - times[PRODUCTS]
    asked = sum(a * b for a, b in pairwise(teacher.sizes))
    limits = {
        "teacher's answers": 2 * asked * n / peak_gflops / 1e6,
        PRODUCTS: flop_per_image(settings.sizes) * n / peak_gflops / 1e6,
        "Adam": adams_limit,
    }
    return with_whole(times, limits, ("inputs", "teacher's answers", "loss", PRODUCTS, "Adam"))


def with_whole(
    times: dict[str, np.ndarray], limits: dict[str, float], names: tuple[str, ...]
) -> dict[str, Part]:
    """The medians of the parts `names`, those that were not timed as None, and their sum."""
    found: dict[str, Part] = {
        name: (float(np.median(times[name])), limits.get(name)) if name in times else None for name in names
    }
    return found | {WHOLE: (sum(part[0] for part in found.values() if part), None)}


def breakdown(images: np.ndarray, labels: np.ndarray, config: Config, peak_gflops: float) -> Steps:
    """The parts of both steps; `peak_gflops` is the rate of the best product."""
    return {
        f"{kind}'s step of {min(config.training(kind).batch_size, len(images))}": parts_of_step(
            kind, images, labels, config, peak_gflops
        )
        for kind in KINDS
    }


def table(steps: Steps, title: str) -> str:
    """As Markdown, a column for each step: milliseconds, in brackets those at the limit and their share."""

    def cell(part: Part) -> str:
        if part is None:
            return ""
        ms, limit = part
        return f"{ms:.2f}" if limit is None else f"{ms:.2f} ({limit:.2f}: {limit / ms:.0%})"

    rows = [[name, *(cell(parts[name]) for parts in steps.values())] for name in next(iter(steps.values()))]
    return markdown([f"{title}, ms (at the limit: share of it)", *steps], [r for r in rows if any(r[1:])])


if __name__ == "__main__":
    print(f"{__doc__}\nA part of the comparison: python3 benchmarks/compare.py --help")
