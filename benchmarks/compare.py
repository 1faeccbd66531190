#!/usr/bin/env python3
"""Seconds per epoch of this project, of PyTorch and of plain NumPy: the same work on the same data, in turn.

    python3 benchmarks/compare.py --data-dir FOLDER         # or: make bench

Each contestant is a process of its own. They take turns, A B C A B C ..., one whole teacher epoch and one
whole student epoch each, so that a machine whose speed drifts drifts for all of them; the ratios are taken
within a round. The work is the described recipe's: 784-1200-1200-10 on jittered images and hard labels,
784-800-800-10 on soft targets at T = 20, Adam, float32. The first two compute the soft targets once, the
plain one for every batch.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import plain_numpy

import distillation_cifar10 as cifar
import distillation_mnist_omitted_3 as core
from suite_io import Console, UserError, atomic_output, environment, run_script

CONFIG = core.Config()
TEACHER_SIZES, STUDENT_SIZES = CONFIG.teacher_training.sizes, CONFIG.student_training.sizes
Epoch = Callable[[], None]


def flop_per_image(sizes: tuple[int, ...]) -> int:
    """Multiplications and additions of a training step's products; the inputs get no gradient."""
    products = [a * b for a, b in pairwise(sizes)]
    return 2 * (3 * sum(products) - products[0])


# ------------------------------------------------------------------------------------------------------------
# Contestants: each gives a teacher epoch and a student epoch
# ------------------------------------------------------------------------------------------------------------


def this_project(images: np.ndarray, labels: np.ndarray, batch_size: int) -> dict[str, Epoch]:
    workers = core.Workers()
    teacher, student = (core.MLP(s, np.random.default_rng(0)) for s in (TEACHER_SIZES, STUDENT_SIZES))
    with workers:
        teacher_logits = core.predict(teacher, images, workers)
    transfer = core.transfer_set(labels, CONFIG.omitted_class)

    def train(
        network: core.MLP, settings: core.TrainingSettings, indices: np.ndarray, loss: core.Loss
    ) -> None:
        settings = dataclasses.replace(settings, n_epochs=1, batch_size=batch_size)
        with workers:
            core.train(network, images, indices, loss, settings, workers)

    def products_only() -> None:
        """The teacher epoch's forward and backward passes, without batches, loss and optimiser."""
        activations = teacher.new_activations(batch_size)
        gradient = np.zeros((batch_size, core.N_CLASSES), np.float32)
        with workers:
            for _ in range(len(images) // batch_size):
                teacher.forward(activations, workers)
                teacher.backward(activations, gradient, workers, lambda part, tile: None)

    return {
        "teacher": lambda: train(
            teacher,
            CONFIG.teacher_training,
            np.arange(len(images)),
            lambda logits, batch, inputs: core.cross_entropy(logits, labels[batch]),
        ),
        "student": lambda: train(
            student,
            CONFIG.student_training,
            transfer,
            lambda logits, batch, inputs: core.distillation_loss(
                logits, teacher_logits[batch], CONFIG.temperature
            ),
        ),
        "products": products_only,
    }


def pytorch(images: np.ndarray, labels: np.ndarray, batch_size: int) -> dict[str, Epoch]:
    import torch
    from torch.nn import functional

    torch.set_num_threads(core.Workers().n_threads)

    def network(sizes: tuple[int, ...]) -> tuple[Any, Any]:
        layers: list[Any] = []
        for a, b in pairwise(sizes):
            layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
        net = torch.nn.Sequential(*layers[:-1])
        return net, torch.optim.Adam(net.parameters(), lr=CONFIG.learning_rate, fused=True)

    rng = np.random.default_rng(0)
    jitter = CONFIG.jitter
    padded = np.pad(images, ((0, 0), (jitter, jitter), (jitter, jitter)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[1:], axis=(1, 2))
    targets = torch.from_numpy(labels.astype(np.int64))
    images = images.copy()  # torch warns of arrays that it may not write to
    teacher, teacher_adam = network(TEACHER_SIZES)
    student, student_adam = network(STUDENT_SIZES)
    with torch.no_grad():
        chunks = np.array_split(images.reshape(len(images), -1), 60)
        logits = torch.cat([teacher(torch.from_numpy(chunk).float() / 255) for chunk in chunks])
        soft_targets = torch.softmax(logits / CONFIG.temperature, 1)
    transfer = core.transfer_set(labels, CONFIG.omitted_class)

    def step(net: Any, adam: Any, pixels: np.ndarray, loss: Callable[[Any], Any]) -> None:
        inputs = torch.from_numpy(pixels.reshape(len(pixels), -1)).float().mul_(1 / 255)
        adam.zero_grad(set_to_none=True)
        loss(net(inputs)).backward()
        adam.step()

    def teacher_epoch() -> None:
        order = rng.permutation(len(images))
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            down, right = rng.integers(0, 2 * jitter + 1, (2, len(batch)))
            step(
                teacher,
                teacher_adam,
                windows[batch, down, right],
                lambda z, batch=batch: functional.cross_entropy(z, targets[batch]),
            )

    def student_epoch() -> None:
        order = rng.permutation(transfer)
        t = CONFIG.temperature
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            step(
                student,
                student_adam,
                images[batch],
                lambda z, batch=batch: t * t * functional.cross_entropy(z / t, soft_targets[batch]),
            )

    return {"teacher": teacher_epoch, "student": student_epoch}


def plain(images: np.ndarray, labels: np.ndarray, batch_size: int) -> dict[str, Epoch]:
    rng = np.random.default_rng(0)
    teacher = plain_numpy.PlainMLP(plain_numpy.he_parameters(TEACHER_SIZES, rng))
    student = plain_numpy.PlainMLP(plain_numpy.he_parameters(STUDENT_SIZES, rng))
    transfer_images = images[core.transfer_set(labels, CONFIG.omitted_class)]
    return {
        "teacher": lambda: plain_numpy.teacher_epoch(teacher, images, labels, batch_size, rng, CONFIG.jitter),
        "student": lambda: plain_numpy.student_epoch(student, teacher, transfer_images, batch_size, rng),
    }


CONTESTANTS = {"this project": this_project, "PyTorch": pytorch, "plain NumPy": plain}

# ------------------------------------------------------------------------------------------------------------
# Taking turns
# ------------------------------------------------------------------------------------------------------------


def serve(name: str, flags: list[str], n_images: int, batch_size: int, pipe: Connection) -> None:
    """A contestant's process: run the epochs that are asked for, answer with seconds."""
    config = core.config_from(core.argument_parser("").parse_args(flags))
    data = core.load_data(config, Console(quiet=True))
    images, labels = data.train_images[:n_images], data.train_labels[:n_images]
    few = max(20 * batch_size, 1000)
    try:
        for epoch in CONTESTANTS[name](images[:few], labels[:few], batch_size).values():
            epoch()  # warm up: threads, caches, the allocator
        epochs = CONTESTANTS[name](images, labels, batch_size)
    except ImportError as error:
        pipe.send(str(error))
        return
    pipe.send(list(epochs))
    while (asked := pipe.recv()) is not None:
        started = time.perf_counter()
        epochs[asked]()
        pipe.send(time.perf_counter() - started)
    pipe.send(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
    )


def convolution(rounds: int, n_images: int) -> dict[str, list[float]]:
    """Seconds of the forward and backward pass of the CIFAR-10 teacher: ours and PyTorch's, in turn."""
    rng, workers = np.random.default_rng(0), core.Workers()
    network = cifar.ConvNet(cifar.Config().teacher_channels, rng)
    images = rng.integers(0, 256, (n_images, 3, cifar.SIDE, cifar.SIDE), dtype=np.uint8)
    gradient = rng.standard_normal((n_images, len(cifar.CLASSES)), np.float32)

    def ours() -> None:
        with workers:
            network.forward(workers, training=True)
            network.backward(gradient, workers)

    cifar.fill_inputs(network.inputs(n_images), images)
    steps = {"this project": ours}
    try:
        import torch

        torch.set_num_threads(workers.n_threads)
        modules: list[Any] = []
        for block in network.blocks:
            modules.append(torch.nn.Conv2d(block.n_from, block.n_to, 3, padding=1, bias=False))
            modules += [torch.nn.MaxPool2d(2)] if block.pools else []
            modules += [torch.nn.BatchNorm2d(block.n_to), torch.nn.ReLU()]
        linear = torch.nn.Linear(network.blocks[-1].n_to, len(cifar.CLASSES))
        net = torch.nn.Sequential(*modules, torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten(), linear)
        x, torch_gradient = torch.from_numpy(images).float(), torch.from_numpy(gradient)

        def pytorch_step() -> None:
            net.zero_grad(set_to_none=True)
            net(x).backward(torch_gradient)

        steps["PyTorch"] = pytorch_step
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
    network = cifar.ConvNet(cifar.Config().teacher_channels, np.random.default_rng(0))
    inputs = network.blocks[0].side ** 2 * network.blocks[0].kernels.size  # the images get no gradient
    gflop = 2 * n_images * (3 * network.n_multiply_adds - inputs) / 1e9
    lines = [f"| CIFAR-10 teacher, batch {n_images} | s/step | x PyTorch | GFLOP/s |", "|---|---:|---:|---:|"]
    for name, theirs in seconds.items():
        ratios = [a / b for a, b in zip(theirs, seconds.get("PyTorch", []), strict=False)]
        rate = f"{gflop / statistics.median(theirs):.0f}"
        lines.append(f"| {name} | {spread(theirs, 3)} | {spread(ratios, 2) if ratios else ''} | {rate} |")
    return "\n".join(lines)


def peak_rate() -> float:
    """The best float32 matrix product of a few, 2048 x 2048, in GFLOP/s."""
    a = np.ones((2048, 2048), np.float32)
    out, seconds = np.empty_like(a), []
    for _ in range(8):
        started = time.perf_counter()
        np.matmul(a, a, out=out)
        seconds.append(time.perf_counter() - started)
    return 2 * 2048**3 / min(seconds) / 1e9


def compare(
    names: list[str], flags: list[str], n_images: int, batch_size: int, rounds: int
) -> dict[str, Any]:
    """All measurements at one batch size: seconds per contestant, epoch and round, memory, peak rates."""
    context = multiprocessing.get_context("spawn")
    pipes, epochs = {}, {}
    for name in names:
        pipe, theirs = context.Pipe()
        context.Process(target=serve, args=(name, flags, n_images, batch_size, theirs), daemon=True).start()
        answer = pipe.recv()
        if isinstance(answer, str):
            print(f"{name} is left out: {answer}", file=sys.stderr)
        else:
            pipes[name], epochs[name] = pipe, answer
    seconds: dict[str, dict[str, list[float]]] = {n: {e: [] for e in epochs[n]} for n in pipes}
    peaks = []
    for done in range(rounds):
        peaks.append(peak_rate())
        for kind in ("teacher", "student", "products"):
            for name, pipe in pipes.items():
                if kind in epochs[name]:
                    pipe.send(kind)
                    seconds[name][kind].append(pipe.recv())
        print(f"batch {batch_size}: round {done + 1} of {rounds} done", file=sys.stderr, flush=True)
    memory = {}
    for name, pipe in pipes.items():
        pipe.send(None)
        memory[name] = pipe.recv()
    return {"batch_size": batch_size, "seconds": seconds, "peak_gflops": peaks, "memory_mb": memory}


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def report(measured: dict[str, Any], n_images: int, n_transfer: int) -> str:
    """The table for one batch size, as Markdown."""
    seconds, reference = measured["seconds"], measured["seconds"].get("PyTorch")
    peak = statistics.median(measured["peak_gflops"])
    columns = ("teacher s/epoch", "x PyTorch", "student s/epoch", "x PyTorch", "GFLOP/s", "of peak", "MB")
    lines = [
        f"| batch {measured['batch_size']} | " + " | ".join(columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    gflop = {
        "teacher": flop_per_image(TEACHER_SIZES) * n_images / 1e9,
        "student": flop_per_image(STUDENT_SIZES) * n_transfer / 1e9,
    }
    for name, theirs in seconds.items():
        cells = []
        for kind in ("teacher", "student"):
            ratios = [a / b for a, b in zip(theirs[kind], reference[kind], strict=True)] if reference else []
            cells += [spread(theirs[kind], 2), spread(ratios, 2) if ratios else ""]
        rate = gflop["teacher"] / statistics.median(theirs["teacher"])
        cells += [f"{rate:.0f}", f"{rate / peak:.0%}", f"{measured['memory_mb'][name]:.0f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    ours = seconds["this project"]
    share = statistics.median(a / b for a, b in zip(ours["products"], ours["teacher"], strict=True))
    lines.append("")
    lines.append(
        f"Best float32 product here: {peak:.0f} GFLOP/s (median over the rounds). Forward and backward "
        f"passes alone take {share:.0%} of this project's teacher epoch; GFLOP/s are the teacher epoch's."
    )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Time this project, PyTorch and plain NumPy on the same epochs. "
        "Further flags, such as --data-dir, go to the data loader.",
        allow_abbrev=False,
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns per contestant (default: %(default)s)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[128, 512], help="(default: 128 512)")
    parser.add_argument("--images", type=int, default=60_000, help="training images (default: all)")
    parser.add_argument(
        "--convolution-batch", type=int, default=256, help="of the convolutional net (default: %(default)s)"
    )
    parser.add_argument("--contestants", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--json", type=Path, help="also write every measurement to this file")
    arguments, flags = parser.parse_known_args(argv)
    sizes = (arguments.rounds, arguments.images, arguments.convolution_batch, *arguments.batch_sizes)
    if min(sizes) < 1:
        raise UserError("--rounds, --images and batch sizes must be 1 or more")
    data = core.load_data(core.config_from(core.argument_parser("").parse_args(flags)), Console(quiet=True))
    labels = data.train_labels[: arguments.images]
    n_transfer = len(core.transfer_set(labels, CONFIG.omitted_class))
    made_with = environment(core.Workers().n_threads)
    found = [
        compare(arguments.contestants, flags, arguments.images, batch_size, arguments.rounds)
        for batch_size in arguments.batch_sizes
    ]
    convolved = convolution(3 * arguments.rounds, arguments.convolution_batch)
    print(
        f"{data.name}; {made_with['cpu']}, {made_with['threads']} threads; NumPy {made_with['numpy']}, "
        f"{made_with['blas']}; {arguments.rounds} rounds: median (least-most)"
    )
    for measured in found:
        print()
        print(report(measured, len(labels), n_transfer))
    print()
    print(convolution_report(convolved, arguments.convolution_batch))
    if arguments.json:
        with atomic_output(arguments.json) as temporary:
            content = {
                "environment": made_with,
                "data": data.name,
                "n_images": len(labels),
                "measured": found,
                "convolution": {"batch_size": arguments.convolution_batch, "seconds": convolved},
            }
            temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    run_script(main)
