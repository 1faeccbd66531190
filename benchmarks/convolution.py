"""A step of the CIFAR-10 teacher, forward and back: this project's and PyTorch's, timed in turn."""

from __future__ import annotations

from support.settings import N_CLASSES
from support.tiles import Workers

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from cifar10.data import SIDE
from cifar10.network import ConvNet
from cifar10.settings import Config
from cifar10.training import fill_inputs

Step = Callable[[], None]


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def pytorch_convolution(network: ConvNet, images: np.ndarray, gradient: np.ndarray) -> Step:
    """A step of the same network in PyTorch. Raises ImportError without it."""
    import torch

    torch.set_num_threads(Workers().n_threads)
    modules: list[Any] = []
    for block in network.blocks:
        modules.append(torch.nn.Conv2d(block.n_from, block.n_to, 3, padding=1, bias=False))
        modules += [torch.nn.MaxPool2d(2)] if block.pools else []
        modules += [torch.nn.BatchNorm2d(block.n_to), torch.nn.ReLU()]
    linear = torch.nn.Linear(network.blocks[-1].n_to, N_CLASSES)
    net = torch.nn.Sequential(*modules, torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten(), linear)
    x, d_logits = torch.from_numpy(images).float(), torch.from_numpy(gradient)

    def step() -> None:
        net.zero_grad(set_to_none=True)
        net(x).backward(d_logits)

    return step


def convolution(names: list[str], rounds: int, n_images: int) -> dict[str, list[float]]:
    """Seconds of the forward and backward pass of the CIFAR-10 teacher, of ours and PyTorch's, in turn."""
    rng, workers = np.random.default_rng(0), Workers()
    network = ConvNet(Config().teacher_channels, rng)
    images = rng.integers(0, 256, (n_images, 3, SIDE, SIDE), dtype=np.uint8)
    gradient = rng.standard_normal((n_images, N_CLASSES), np.float32)

    def ours() -> None:
        with workers:
            network.forward(workers, training=True)
            network.backward(gradient, workers)

    fill_inputs(network.inputs(n_images), images)
    steps = {"this project": ours}
    if "PyTorch" in names:
        try:
            steps["PyTorch"] = pytorch_convolution(network, images, gradient)
        except ImportError as error:
            print(f"PyTorch is left out: {error}", file=sys.stderr)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for done in range(rounds + 1):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if done:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    return seconds


def convolution_report(seconds: dict[str, list[float]], n_images: int) -> str:
    """The table, as Markdown."""
    network = ConvNet(Config().teacher_channels, np.random.default_rng(0))
    inputs = network.blocks[0].side ** 2 * network.blocks[0].kernels.size  # the images get no gradient
    gflop = 2 * n_images * (3 * network.n_multiply_adds - inputs) / 1e9
    lines = [f"| CIFAR-10 teacher, batch {n_images} | s/step | x PyTorch | GFLOP/s |", "|---|---:|---:|---:|"]
    for name, theirs in seconds.items():
        ratios = [a / b for a, b in zip(theirs, seconds.get("PyTorch", []), strict=False)]
        rate = f"{gflop / statistics.median(theirs):.0f}"
        lines.append(f"| {name} | {spread(theirs, 3)} | {spread(ratios, 2) if ratios else ''} | {rate} |")
    return "\n".join(lines)
