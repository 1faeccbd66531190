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

import dataclasses
import multiprocessing
import resource
import signal
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.console import Console, OneLineParser, UserError, run_script
from support.data import Data
from support.report import environment, write_json
from support.settings import N_CLASSES, argument_parser, given_settings, named_file, whole_number
from support.tiles import Workers

import numpy as np
import plain_numpy
from convolution import convolution, convolution_report, spread

import distillation_mnist_omitted_3 as core

CONFIG = core.Config()
TEACHER_SIZES, STUDENT_SIZES = CONFIG.training("teacher").sizes, CONFIG.training("student").sizes
Epoch = Callable[[], None]


def flop_per_image(sizes: tuple[int, ...]) -> int:
    """Multiplications and additions of a training step's products; the inputs get no gradient."""
    products = [a * b for a, b in pairwise(sizes)]
    return 2 * (3 * sum(products) - products[0])


# ---- Contestants: each gives a teacher epoch and a student epoch -------------------------------------------


def this_project(images: np.ndarray, labels: np.ndarray, batch_size: int) -> dict[str, Epoch]:
    workers = Workers()
    teacher, student = (core.MLP(s, np.random.default_rng(0)) for s in (TEACHER_SIZES, STUDENT_SIZES))
    with workers:
        teacher_logits = core.predict(teacher, images, workers)
    transfer = core.transfer_set(labels, CONFIG.omitted_class)

    def train(
        network: core.MLP, settings: core.TrainingSettings, indices: np.ndarray, loss: core.Loss
    ) -> None:
        settings = dataclasses.replace(settings, n_epochs=1, batch_size=batch_size)
        with workers:
            core.train(network, core.Lesson(images, indices, loss), settings, workers)

    def products_only() -> None:
        """The teacher epoch's forward and backward passes, without batches, loss and optimiser."""
        activations = teacher.new_activations(batch_size)
        gradient = np.zeros((batch_size, N_CLASSES), np.float32)
        with workers:
            for _ in range(len(images) // batch_size):
                teacher.forward(activations, workers)
                teacher.backward(activations, gradient, workers, lambda part, tile: None)

    return {
        "teacher": lambda: train(
            teacher, CONFIG.training("teacher"), np.arange(len(images)), core.hard_labels(labels)
        ),
        "student": lambda: train(
            student,
            CONFIG.training("student"),
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

    torch.set_num_threads(Workers().n_threads)

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

# ---- Taking turns ------------------------------------------------------------------------------------------


def data_from(flags: list[str]) -> Data:
    """What the flags of the main script name. Raises UserError."""
    arguments = argument_parser("", core.Config).parse_args(flags)
    return core.load_data(core.config_from(given_settings(arguments, core.Config)), Console(quiet=True))


def serve(name: str, flags: list[str], n_images: int, batch_size: int, pipe: Connection) -> None:
    """A contestant's process: run the epochs that are asked for, answer with seconds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    data = data_from(flags)
    images, labels = data.train_images[:n_images], data.train_labels[:n_images]
    few = max(20 * batch_size, 1000)
    try:
        for epoch in CONTESTANTS[name](images[:few], labels[:few], batch_size).values():
            epoch()  # warm up: threads, caches, the allocator
        epochs = CONTESTANTS[name](images, labels, batch_size)
        pipe.send(list(epochs))
        while (asked := pipe.recv()) is not None:
            started = time.perf_counter()
            epochs[asked]()
            pipe.send(time.perf_counter() - started)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pipe.send(peak / (2**20 if sys.platform == "darwin" else 1024))
    except (ImportError, MemoryError) as error:
        pipe.send(str(error) or "not enough memory")
    except (EOFError, BrokenPipeError):
        pass  # the parent is gone


def answer_of(name: str, pipe: Connection) -> Any:
    """The next answer of a contestant. Raises UserError when its process died."""
    try:
        return pipe.recv()
    except (EOFError, ConnectionResetError) as error:
        raise UserError(f"the process of {name} died (out of memory?); try fewer --images") from error


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
        theirs.close()  # so that its end is noticed when the process dies
        answer = answer_of(name, pipe)
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
                    seconds[name][kind].append(answer_of(name, pipe))
        print(f"batch {batch_size}: round {done + 1} of {rounds} done", file=sys.stderr, flush=True)
    memory = {}
    for name, pipe in pipes.items():
        pipe.send(None)
        memory[name] = answer_of(name, pipe)
    return {"batch_size": batch_size, "seconds": seconds, "peak_gflops": peaks, "memory_mb": memory}


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
    parser = OneLineParser(
        description="Time this project, PyTorch and plain NumPy on the same epochs. "
        "Further flags, such as --data-dir, go to the data loader.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--rounds", type=whole_number, default=3, help="turns per contestant (default: %(default)s)"
    )
    parser.add_argument(
        "--batch-sizes", type=whole_number, nargs="+", default=[128, 512], help="(default: 128 512)"
    )
    parser.add_argument("--images", type=whole_number, default=60_000, help="training images (default: all)")
    parser.add_argument(
        "--convolution-batch",
        type=whole_number,
        default=256,
        help="of the convolutional net (default: %(default)s)",
    )
    parser.add_argument("--contestants", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--json", type=named_file, help="also write every measurement to this file")
    arguments, flags = parser.parse_known_args(argv)
    sizes = (arguments.rounds, arguments.images, arguments.convolution_batch, *arguments.batch_sizes)
    if min(sizes) < 1 or max(sizes) > 60_000:
        raise UserError("--rounds, --images and batch sizes must be from 1 to 60,000")
    if "this project" not in arguments.contestants:
        raise UserError("--contestants must name this project, which is what the others are compared with")
    data, console = data_from(flags), Console()
    labels = data.train_labels[: arguments.images]
    n_transfer = len(core.transfer_set(labels, CONFIG.omitted_class))
    made_with = environment(Workers().n_threads)
    found = [
        compare(arguments.contestants, flags, arguments.images, batch_size, arguments.rounds)
        for batch_size in arguments.batch_sizes
    ]
    convolved = convolution(arguments.contestants, 3 * arguments.rounds, arguments.convolution_batch)
    console.always(
        f"{data.name}; {made_with['cpu']}, {made_with['threads']} threads; NumPy {made_with['numpy']}, "
        f"{made_with['blas']}; {arguments.rounds} rounds: median (least-most)"
    )
    for measured in found:
        console.always("\n" + report(measured, len(labels), n_transfer))
    console.always("\n" + convolution_report(convolved, arguments.convolution_batch))
    if arguments.json:
        content = {
            "environment": made_with,
            "data": data.name,
            "n_images": len(labels),
            "measured": found,
            "convolution": {"batch_size": arguments.convolution_batch, "seconds": convolved},
        }
        write_json(arguments.json, content)


if __name__ == "__main__":
    run_script(main)
