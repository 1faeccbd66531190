#!/usr/bin/env python3
"""Seconds per epoch of this project, of PyTorch and of plain NumPy: the same work on the same data, in turn.

    python3 benchmarks/compare.py --data-dir FOLDER         # or: make bench

Each contestant is a process of its own. They take turns, A B C A B C ..., one whole teacher epoch and one
whole student epoch each, so that a machine whose speed drifts drifts for all of them; the ratios are taken
within a round. The work is that of a recipe: 784-1200-1200-10 on hard labels, 784-800-800-10 on soft targets
at T = 20, Adam, float32, on images transformed as the recipe says. Where the student sees them as they are,
the first two compute the soft targets once, the plain one for every batch.
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
from functools import cache, partial
from importlib import metadata
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support import transformations
from support.console import Console, OneLineParser, UserError, run_script
from support.data import Data
from support.files import check_output
from support.report import environment, markdown, write_json
from support.settings import N_CLASSES, argument_parser, given_settings, named_file, whole_number
from support.tiles import Workers
from support.transformations import N_WARPS, Limits, Warps, random_maps

import numpy as np
import plain_numpy
from breakdown import KINDS, breakdown, flop_per_image, table
from convolution import convolution, convolution_breakdown, convolution_report, spread
from passes import memory_rate, passes_table

import distillation_mnist_omitted_3 as core
from beyond import pipeline
from beyond.pipeline import answers_for
from beyond.settings import RECIPES, Config

TEACHER_SIZES, STUDENT_SIZES = (Config().training(kind).sizes for kind in KINDS)
Epoch = Callable[[], None]


# ---- Contestants: each gives a teacher epoch and a student epoch of `config` ------------------------------


def this_project(images: np.ndarray, labels: np.ndarray, config: Config) -> dict[str, Epoch]:
    workers = Workers()
    once = cache(lambda limits: Warps(random_maps(N_WARPS, limits, np.random.default_rng(0))))
    transformations.random_warps = lambda limits, rng: once(limits)  # as in a whole training, not per epoch
    for limits in {config.limits(kind) for kind in KINDS if config.limits(kind).warp}:
        once(limits)
    data = Data("a part", images, labels, images[:1], labels[:1], {})
    settings = {kind: dataclasses.replace(config.training(kind), n_epochs=1) for kind in KINDS}
    networks = {kind: core.MLP(one.sizes, np.random.default_rng(0)) for kind, one in settings.items()}
    with workers:
        answers = answers_for(config, data, networks["teacher"], workers)
        answers(np.arange(1), np.zeros((785, 1), np.float32))  # of images that stay as they are, once
    lessons = {
        "teacher": core.Lesson(images, np.arange(len(images)), core.hard_labels(labels)),
        "student": core.Lesson(
            images,
            core.images_without(labels, config.omitted_class),
            core.soft_targets(answers, config.temperature),
        ),
    }

    def epoch(kind: str) -> None:
        with workers:
            core.train(networks[kind], lessons[kind], settings[kind], workers)

    def products_only() -> None:
        """The teacher epoch's forward and backward passes, without batches, loss and optimiser."""
        teacher, batch_size = networks["teacher"], config.batch_size
        activations = teacher.new_activations(batch_size)
        gradient = np.zeros((batch_size, N_CLASSES), np.float32)
        with workers:
            for _ in range(len(images) // batch_size):
                teacher.forward(activations, workers)
                teacher.backward(activations, gradient, workers, lambda part, tile: None)

    return {**{kind: partial(epoch, kind) for kind in KINDS}, "products": products_only}


def pytorch(images: np.ndarray, labels: np.ndarray, config: Config) -> dict[str, Epoch]:
    import torch
    from torch.nn import functional

    torch.set_num_threads(Workers().n_threads)
    settings = {kind: config.training(kind) for kind in KINDS}
    rng = np.random.default_rng(0)
    images = images.copy()  # torch warns of arrays that it may not write to

    def network(one: core.TrainingSettings) -> tuple[Any, Any]:
        layers: list[Any] = []
        for a, b in pairwise(one.sizes):
            layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
        net = torch.nn.Sequential(*layers[:-1])
        return net, torch.optim.Adam(net.parameters(), lr=one.learning_rate, fused=True)

    def transformed(limits: Limits) -> Callable[[np.ndarray], Any]:
        """Gives a batch as inputs, each image shifted and, by one of as many maps as here, warped."""
        jitter = limits.jitter
        padded = np.pad(images, ((0, 0), (jitter, jitter), (jitter, jitter)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[1:], axis=(1, 2))
        if limits.warp:
            maps = np.moveaxis(random_maps(N_WARPS, limits, rng)[:, ::-1], 1, 3)
            grids = torch.from_numpy(np.ascontiguousarray(maps / 13.5 - 1))

        def inputs(batch: np.ndarray) -> Any:
            seen = images[batch]
            if jitter:
                down, right = rng.integers(0, 2 * jitter + 1, (2, len(batch)))
                seen = windows[batch, down, right]
            x = torch.from_numpy(seen).float().mul_(1 / 255)
            if limits.warp:
                chosen = torch.from_numpy(rng.integers(0, N_WARPS, len(batch)))
                x = functional.grid_sample(x[:, None], grids[chosen], align_corners=True)
            return x.reshape(len(batch), -1)

        return inputs

    nets = {kind: network(settings[kind]) for kind in KINDS}
    teacher = nets["teacher"][0]
    targets = torch.from_numpy(labels.astype(np.int64))
    t, as_they_are = config.temperature, not settings["student"].limits.change

    @torch.no_grad()
    def soft_targets(inputs: Any) -> Any:
        return torch.softmax(teacher(inputs) / t, 1)

    if as_they_are:
        plain = transformed(Limits())
        once = torch.cat([soft_targets(plain(part)) for part in np.array_split(np.arange(len(images)), 60)])
    transfer = core.images_without(labels, config.omitted_class)

    def hard(logits: Any, batch: np.ndarray, inputs: Any) -> Any:
        return functional.cross_entropy(logits, targets[batch])

    def soft(logits: Any, batch: np.ndarray, inputs: Any) -> Any:
        p = once[batch] if as_they_are else soft_targets(inputs)
        return t * t * functional.cross_entropy(logits / t, p)

    def epoch(kind: str, indices: np.ndarray, loss: Callable[[Any, np.ndarray, Any], Any], seen: Any) -> None:
        (net, adam), batch_size = nets[kind], settings[kind].batch_size
        order = rng.permutation(indices)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            inputs = seen(batch)
            adam.zero_grad(set_to_none=True)
            loss(net(inputs), batch, inputs).backward()
            adam.step()

    seen = {kind: transformed(one.limits) for kind, one in settings.items()}
    return {
        "teacher": partial(epoch, "teacher", np.arange(len(images)), hard, seen["teacher"]),
        "student": partial(epoch, "student", transfer, soft, seen["student"]),
    }


def plain(images: np.ndarray, labels: np.ndarray, config: Config) -> dict[str, Epoch]:
    if config.limits("teacher").warp:
        raise ImportError("it shifts images and does nothing else with them")
    rng, batch_size = np.random.default_rng(0), config.batch_size
    teacher = plain_numpy.PlainMLP(plain_numpy.he_parameters(TEACHER_SIZES, rng))
    student = plain_numpy.PlainMLP(plain_numpy.he_parameters(STUDENT_SIZES, rng))
    transfer_images = images[core.images_without(labels, config.omitted_class)]
    return {
        "teacher": lambda: plain_numpy.teacher_epoch(teacher, images, labels, batch_size, rng, config.jitter),
        "student": lambda: plain_numpy.student_epoch(student, teacher, transfer_images, batch_size, rng),
    }


CONTESTANTS = {"this project": this_project, "PyTorch": pytorch, "plain NumPy": plain}

# ---- Taking turns ------------------------------------------------------------------------------------------


def data_from(flags: list[str]) -> Data:
    """What the flags of the main script name. Raises UserError."""
    arguments = argument_parser("", Config).parse_args(flags)
    return pipeline.load_data(Config(**given_settings(arguments, Config)), Console(quiet=True))


def serve(name: str, flags: list[str], n_images: int, config: Config, pipe: Connection) -> None:
    """A contestant's process: run the epochs that are asked for, answer with seconds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    data = data_from(flags)
    images, labels = data.train_images[:n_images], data.train_labels[:n_images]
    few = max(20 * config.batch_size, 1000)
    try:
        for epoch in CONTESTANTS[name](images[:few], labels[:few], config).values():
            epoch()  # warm up: threads, caches, the allocator
        epochs = CONTESTANTS[name](images, labels, config)
        pipe.send(list(epochs))
        while (asked := pipe.recv()) is not None:
            started = time.perf_counter()
            epochs[asked]()
            pipe.send(time.perf_counter() - started)
        pipe.send(peak_memory())
    except (ImportError, MemoryError) as error:
        pipe.send(str(error) or "not enough memory")
    except (EOFError, BrokenPipeError):
        pass  # the parent is gone


def peak_memory() -> float:
    """MB that this process has had at most; Linux's getrusage knows its parent's, too."""
    try:
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 1024)


def answer_of(name: str, pipe: Connection) -> Any:
    """The next answer of a contestant. Raises UserError when its process died."""
    try:
        return pipe.recv()
    except (EOFError, ConnectionResetError) as error:
        raise UserError(f"the process of {name} died (out of memory?); try fewer --images") from error


def peak_rate(side: int = 2048) -> float:
    """The best float32 matrix product of a few, side x side, in GFLOP/s."""
    a = np.ones((side, side), np.float32)
    out, seconds = np.empty_like(a), []
    for _ in range(8):
        started = time.perf_counter()
        np.matmul(a, a, out=out)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds) / 1e9


def compare(names: list[str], flags: list[str], n_images: int, config: Config, rounds: int) -> dict[str, Any]:
    """All measurements of one setting: seconds per contestant, epoch and round, memory, peak rates."""
    context = multiprocessing.get_context("spawn")
    pipes, epochs = {}, {}
    for name in names:
        pipe, theirs = context.Pipe()
        context.Process(target=serve, args=(name, flags, n_images, config, theirs), daemon=True).start()
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
        print(f"{title_of(config)}: round {done + 1} of {rounds} done", file=sys.stderr, flush=True)
    memory = {}
    for name, pipe in pipes.items():
        pipe.send(None)
        memory[name] = answer_of(name, pipe)
    sizes = [config.training(kind).batch_size for kind in KINDS]
    measured = {"seconds": seconds, "peak_gflops": peaks, "memory_mb": memory}
    return {"title": title_of(config), "batch_sizes": sizes, **measured}


def title_of(config: Config) -> str:
    """ "described, batch 128", "best, batch 512 / 256"."""
    sizes = dict.fromkeys(config.training(kind).batch_size for kind in KINDS)
    return f"{config.recipe}, batch {' / '.join(map(str, sizes))}"


def report(measured: dict[str, Any], n_images: int) -> str:
    """The table of one setting, as Markdown."""
    seconds, reference = measured["seconds"], measured["seconds"].get("PyTorch")
    peak = statistics.median(measured["peak_gflops"])
    columns = ("teacher s/epoch", "x PyTorch", "student s/epoch", "x PyTorch", "GFLOP/s", "of peak", "MB")
    rows = []
    gflop = flop_per_image(TEACHER_SIZES) * n_images / 1e9
    for name, theirs in seconds.items():
        cells = []
        for kind in ("teacher", "student"):
            ratios = [a / b for a, b in zip(theirs[kind], reference[kind], strict=True)] if reference else []
            cells += [spread(theirs[kind], 2), spread(ratios, 2) if ratios else ""]
        rate = gflop / statistics.median(theirs["teacher"])
        cells += [f"{rate:.0f}", f"{rate / peak:.0%}", f"{measured['memory_mb'][name]:.0f}"]
        rows.append([name, *cells])
    ours = seconds["this project"]
    share = statistics.median(a / b for a, b in zip(ours["products"], ours["teacher"], strict=True))
    return (
        f"{markdown([measured['title'], *columns], rows)}\n\n"
        f"Best float32 product here: {peak:.0f} GFLOP/s (median over the rounds). Forward and backward "
        f"passes alone take {share:.0%} of this project's teacher epoch; GFLOP/s are the teacher epoch's."
    )


def version_of_pytorch() -> str:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return "not there"


def tables(content: dict[str, Any]) -> dict[str, str]:
    """What was measured where, and the tables of each setting and of the convolutions, as Markdown."""
    made_with = content["environment"]
    where = (
        f"{content['data']}, {content['n_images']:,} images; {made_with['cpu']} "
        f"(kernel {made_with['kernel']}), {made_with['threads']} threads; NumPy {made_with['numpy']}, "
        f"{made_with['blas']}; PyTorch {made_with['pytorch']}; "
        f"{content['rounds']} rounds: median (least-most)"
    )
    found = {"where": where}
    for one in content["measured"]:
        parts = table(one["steps"], one["title"].partition(",")[0])
        found[one["title"]] = f"{report(one, content['n_images'])}\n\n{parts}"
    parts = table(content["convolution_steps"], "CIFAR-10")
    passes = passes_table(content["convolution_passes"], content["memory_bytes_per_ms"])
    return found | {"CIFAR-10": f"{convolution_report(content['convolution'])}\n\n{parts}\n\n{passes}"}


def configs_of(recipes: list[str], batch_sizes: list[int]) -> list[Config]:
    """The settings to measure: the described recipe at each batch size, the others at their own."""
    asked = [{"recipe": recipe, **RECIPES[recipe]} for recipe in recipes]
    return [
        Config(**settings, **more)
        for settings in asked
        for more in ([{"batch_size": b} for b in batch_sizes] if settings["recipe"] == "described" else [{}])
    ]


def main(argv: list[str] | None = None) -> None:
    parser = OneLineParser(
        description="Time this project, PyTorch and plain NumPy on the same epochs. "
        "Further flags, such as --data-dir, go to the data loader.",
        allow_abbrev=False,
    )
    turns = "turns per contestant (default: %(default)s)"
    parser.add_argument("--rounds", type=whole_number, default=3, help=turns)
    parser.add_argument(
        "--batch-sizes", type=whole_number, nargs="+", default=[128, 512],
        help="of the described recipe (default: 128 512)",
    )  # fmt: skip
    parser.add_argument(
        "--recipes", nargs="+", choices=list(RECIPES), default=["described", "best"],
        help="whose steps (default: described best)",
    )  # fmt: skip
    parser.add_argument("--images", type=whole_number, default=60_000, help="training images (default: all)")
    of_nets = "of the convolutional nets (default: as they are trained)"
    parser.add_argument("--convolution-batch", type=whole_number, help=of_nets)
    parser.add_argument("--contestants", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--json", type=named_file, help="also write every measurement to this file")
    arguments, flags = parser.parse_known_args(argv)
    sizes = (arguments.rounds, arguments.images, *arguments.batch_sizes, arguments.convolution_batch or 1)
    if min(sizes) < 1 or max(sizes) > 60_000:
        raise UserError("--rounds, --images and batch sizes must be from 1 to 60,000")
    if "this project" not in arguments.contestants:
        raise UserError("--contestants must name this project, which is what the others are compared with")
    if arguments.json:
        check_output(arguments.json)
    data, console = data_from(flags), Console()
    images, labels = (part[: arguments.images] for part in (data.train_images, data.train_labels))
    found = []
    for config in configs_of(arguments.recipes, arguments.batch_sizes):
        measured = compare(arguments.contestants, flags, len(images), config, arguments.rounds)
        peak = statistics.median(measured["peak_gflops"])
        found.append(measured | {"steps": breakdown(images, labels, config, peak)})
    peak = statistics.median(rate for measured in found for rate in measured["peak_gflops"])
    steps, passes = convolution_breakdown(peak, arguments.convolution_batch)
    content = {
        "environment": environment(Workers().n_threads) | {"pytorch": version_of_pytorch()},
        "data": data.name,
        "n_images": len(images),
        "rounds": arguments.rounds,
        "measured": found,
        "convolution": convolution(arguments.contestants, 3 * arguments.rounds, arguments.convolution_batch),
        "convolution_steps": steps,
        "convolution_passes": passes,
        "memory_bytes_per_ms": memory_rate(),
    }
    content["tables"] = tables(content)
    console.always("\n\n".join(content["tables"].values()))
    if arguments.json:
        write_json(arguments.json, content, sort_keys=False)  # the order of the tables' rows


if __name__ == "__main__":
    run_script(main)
