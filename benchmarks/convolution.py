"""A step of CIFAR-10's teacher and student, forward and back: this project's and PyTorch's, timed in turn."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.settings import N_CLASSES
from support.tiles import Workers

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from breakdown import KINDS, PRODUCTS, Part, Steps, in_turn, with_whole
from passes import Rate, passes_of

from cifar10.convolution import in_pieces, n_pieces, threes
from cifar10.data import SIDE
from cifar10.layers import PATCH, Block, whitening_kernels
from cifar10.network import ConvNet
from cifar10.optimisers import OPTIMISERS
from cifar10.settings import Config
from cifar10.training import views

Step = Callable[[], None]


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def pytorch_network(network: ConvNet) -> Any:
    """The same network in PyTorch, behind the whitening. Raises ImportError without it."""
    import torch

    modules: list[Any] = []
    for block in network.blocks:
        modules.append(torch.nn.Conv2d(block.n_from, block.n_to, 3, padding=1, bias=False))
        modules += [torch.nn.MaxPool2d(2)] if block.pools else []
        modules += [torch.nn.BatchNorm2d(block.n_to), torch.nn.ReLU()]
    linear = torch.nn.Linear(network.blocks[-1].n_to, N_CLASSES)
    return torch.nn.Sequential(*modules, torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten(), linear)


def pytorch_convolution(network: ConvNet, images: np.ndarray, gradient: np.ndarray) -> Step:
    """A step of the same network in PyTorch. Raises ImportError without it."""
    import torch

    torch.set_num_threads(Workers().n_threads)
    net = pytorch_network(network)
    patches = network.whitening.kernels.reshape(-1, PATCH, PATCH, 3).transpose(0, 3, 1, 2)
    whitening, d_logits = torch.from_numpy(patches.copy()), torch.from_numpy(gradient)

    def step() -> None:
        net.zero_grad(set_to_none=True)
        with torch.no_grad():
            directions = torch.nn.functional.conv2d(torch.from_numpy(images).float().mul_(1 / 255), whitening)
            x = torch.relu(torch.cat((directions, -directions), 1))
        net(x).backward(d_logits)

    return step


def steps_of(network: ConvNet, n_images: int, names: list[str]) -> dict[str, Step]:
    """A step of each contestant on the same images."""
    rng, workers = np.random.default_rng(0), Workers()
    side = SIDE + PATCH - 1
    images = rng.integers(0, 256, (n_images, 3, side, side), dtype=np.uint8)
    gradient = rng.standard_normal((n_images, N_CLASSES), np.float32)
    network.whitening.kernels[:] = whitening_kernels(images)

    def ours() -> None:
        with workers:
            network.forward(images, workers, training=True)
            network.backward(gradient, workers)

    steps = {"this project": ours}
    if "PyTorch" in names:
        try:
            steps["PyTorch"] = pytorch_convolution(network, images, gradient)
        except ImportError as error:
            print(f"PyTorch is left out: {error}", file=sys.stderr)
    return steps


def convolution(names: list[str], rounds: int, n_images: int | None) -> list[dict[str, Any]]:
    """Of CIFAR-10's teacher and student the seconds of a step, forward and back, of each contestant in turn.

    A turn is two steps, of which the second counts: in a training a step follows its like. `n_images` at a
    time or, where that is None, as many as they are trained with.
    """
    found = []
    for kind in KINDS:
        settings = Config().training(kind)
        network, n = ConvNet(settings.channels, np.random.default_rng(0)), n_images or settings.batch_size
        steps = steps_of(network, n, names)
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for done in range(rounds + 1):
            for name, step in steps.items():
                step()  # finds the caches, and the threads, as the other has left them
                started = time.perf_counter()
                step()
                if done:  # the first round warms up
                    seconds[name].append(time.perf_counter() - started)
        inputs = network.blocks[0].side ** 2 * network.blocks[0].kernels.size  # these get no gradient
        frozen = SIDE**2 * network.whitening.kernels.size  # these neither, nor do what they are made of
        gflop = 2 * n * (3 * network.n_multiply_adds - 2 * frozen - inputs) / 1e9
        found.append({"kind": kind, "batch_size": n, "gflop": gflop, "seconds": seconds})
    return found


def convolution_report(found: list[dict[str, Any]]) -> str:
    """The tables, as Markdown; GFLOP/s are those of the definition, whatever the way."""
    tables = []
    for one in found:
        title, seconds = f"CIFAR-10 {one['kind']}, batch {one['batch_size']}", one["seconds"]
        lines = [f"| {title} | s/step | x PyTorch | GFLOP/s |", "|---|---:|---:|---:|"]
        for name, theirs in seconds.items():
            ratios = [a / b for a, b in zip(theirs, seconds.get("PyTorch", []), strict=False)]
            rate = f"{one['gflop'] / statistics.median(theirs):.0f}"
            lines.append(f"| {name} | {spread(theirs, 3)} | {spread(ratios, 2) if ratios else ''} | {rate} |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


# ---- Where the time goes -----------------------------------------------------------------------------------


def products_of(block: Block, index: int, is_first: bool) -> Callable[[], None]:
    """A group's matrix products through a block and back; the first block's inputs get no gradient."""
    parts, n = block.groups[index].parts, block.groups[index].n_rows
    n_from, n_to, half, dtype = block.n_from, block.n_to, parts.shape[3], parts.dtype
    by, back = np.ones((4, 1, 1, n_to, 3 * n_from), dtype), np.ones((4, 1, 1, n_from, 3 * n_to), dtype)
    out, d_in = np.empty((4, n, n_to, half), dtype), np.empty((4, n, n_from, half), dtype)
    d_parts = np.ones((4, n + 2, n_to, half), dtype)
    n_out, n_in = n_pieces(n_to, 3 * n_from, half), n_pieces(n_from, 3 * n_to, half)
    share = np.empty((4, n, 3 * n_from, n_to), dtype)

    def products() -> None:
        for start in range(0, block.side, n):
            rows = threes(parts[:, start : start + n + 2])
            np.matmul(by, in_pieces(rows, n_out), out=in_pieces(out, n_out))
            for one in range(4):
                np.matmul(rows[one], out[one].swapaxes(1, 2), out=share[one])
            if not is_first:
                np.matmul(back, in_pieces(threes(d_parts), n_in), out=in_pieces(d_in, n_in))

    return products


def winograd_flop(network: ConvNet, n_images: int) -> float:
    """Multiplications and additions of a step's products: two thirds of those by the definition."""
    products = [block.side**2 * block.kernels.size for block in network.blocks]
    return 2 / 3 * 2 * n_images * (3 * sum(products) - products[0])


def convolution_parts(
    kind: str, peak_gflops: float, n_images: int | None
) -> tuple[dict[str, Part], dict[str, Rate]]:
    """The parts of a step of CIFAR-10's teacher or student, each by itself, and the whole; and its passes."""
    settings, rng = Config().training(kind), np.random.default_rng(0)
    network, n = ConvNet(settings.channels, rng), n_images or settings.batch_size
    images = rng.integers(0, 256, (n, 3, SIDE, SIDE), dtype=np.uint8)
    shifts, mirrored = rng.integers(0, 2 * settings.jitter + 1, (n, 2)), rng.random(n) < 0.5
    gradient = rng.standard_normal((n, N_CLASSES), np.float32)
    optimiser = OPTIMISERS[settings.optimiser](network, settings.weight_decay)
    network.whitening.kernels[:] = whitening_kernels(images)

    def inputs() -> np.ndarray:
        return views(images, shifts, mirrored, settings.jitter)

    def passes() -> np.ndarray:
        network.forward(seen, workers, training=True)
        return network.backward(gradient, workers)

    with Workers() as workers:
        seen = inputs()
        by_parameters = passes()
        groups = range(len(network.group_slices))
        of_blocks = [
            [products_of(block, index, place == 0) for index in groups]
            for place, block in enumerate(network.blocks)
        ]

        def products() -> None:
            for one in of_blocks:
                workers.map(lambda call: call(), one)

        calls = {"inputs": inputs, PRODUCTS: products, "passes": passes}
        calls["Muon"] = lambda: optimiser.step(by_parameters, 0.0, workers)
        times = in_turn(calls, 9)
        of_passes = passes_of(passes, network, n, workers.n_threads)
    times["all between them"] = times.pop("passes") - times[PRODUCTS]
    limits = {PRODUCTS: winograd_flop(network, n) / peak_gflops / 1e6}
    return with_whole(times, limits, ("inputs", PRODUCTS, "all between them", "Muon")), of_passes


def convolution_breakdown(
    peak_gflops: float, n_images: int | None
) -> tuple[Steps, dict[str, dict[str, Rate]]]:
    """The parts of teacher's and student's steps, products counted in Winograd's way; and their passes."""
    steps, passes = {}, {}
    for kind in KINDS:
        step = f"{kind}'s step of {n_images or Config().training(kind).batch_size}"
        steps[step], passes[step] = convolution_parts(kind, peak_gflops, n_images)
    return steps, passes


if __name__ == "__main__":
    print(f"{__doc__}\nA part of the comparison: python3 benchmarks/compare.py --help")
