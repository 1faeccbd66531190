#!/usr/bin/env python3
"""The pictures of distillation_cifar10.py: how the networks learn, what soft targets say, what size costs.

    python3 visualize_distillation_cifar10.py         # three PNGs into viz/cifar10
    python3 visualize_distillation_cifar10.py --omitted-class cat     # and a fourth: the unseen class

Takes the flags of distillation_cifar10.py and trains only what is not stored yet.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

import distillation_cifar10 as cifar
import distillation_mnist_omitted_3 as core
from distillation_cifar10 import CLASSES, Experiment
from suite_io import Console, run_script
from visualize_distillation_mnist_omitted_3 import (
    AFTER,
    BEFORE,
    INK,
    OMITTED,
    TEACHER,
    epoch_axis,
    percent_axis,
    write_pictures,
)

N_EXAMPLES = 6  # images in soft_targets.png
SERIES = (
    ("teacher", "teacher, hard labels", TEACHER, "o"),
    ("student", "student, soft targets alone", AFTER, "D"),
    ("baseline", "the same student, hard labels", BEFORE, "s"),
)


def new_figure(experiment: Experiment, title: str, width: float, height: float) -> Figure:
    """An empty figure with the title and, small, which data and settings it shows."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    config = experiment.config
    origin = f"{experiment.data.name}, temperature {config.temperature:g}, seed {config.seed}"
    figure.supxlabel(origin, x=0.99, ha="right", fontsize=9, color="#666666")
    return figure


def curves(experiment: Experiment) -> Figure:
    """Loss and test accuracy per epoch of all three networks."""
    figure = new_figure(experiment, "Teacher and students learn", 12, 4.6)
    axes = figure.subplots(1, 3)
    titles = ("hard labels: cross-entropy", "soft targets: T² KL(teacher ‖ student)", "test accuracy")
    for key, label, colour, marker in SERIES:
        run = getattr(experiment, key)
        epochs = np.arange(1, len(run.losses) + 1)
        style = {"color": colour, "marker": marker, "markersize": 4, "label": label}
        axes[int(key == "student")].plot(epochs, run.losses, **style)
        accuracy = [e["test_accuracy"] for e in core.history(run, experiment.data.test_labels, ())]
        axes[2].plot(epochs, accuracy, **style)
    n_epochs = (max(experiment.config.n_epochs_teacher, experiment.config.n_epochs_student),) * 3
    for one, title, n in zip(axes, titles, n_epochs, strict=True):
        one.set_title(title)
        one.grid(axis="y", color="#DDDDDD", linewidth=0.8)
        epoch_axis(one, n)
    for one in axes[:2]:
        one.set_ylim(bottom=0)
    percent_axis(axes[2])
    axes[2].legend(loc="lower right")
    return figure


def soft_targets(experiment: Experiment) -> Figure:
    """Test images, what the teacher says of them at T = 1 and at T, and what a hard label would have said."""
    data, temperature = experiment.data, experiment.config.temperature
    logits = experiment.teacher.test_logits[-1]
    p = core.softmax(logits)
    order = np.sort(p, axis=1)
    # of each class a rightly named image with a clear second thought: its second largest probability near 0.2
    right = logits.argmax(axis=1) == data.test_labels
    distance = np.where(right, abs(order[:, -2] - 0.2), np.inf)
    wanted = [CLASSES.index(name) for name in ("cat", "dog", "truck", "ship", "deer", "airplane")][
        :N_EXAMPLES
    ]
    members = [np.flatnonzero(data.test_labels == c) for c in wanted]
    chosen = [mine[distance[mine].argmin()] for mine in members if len(mine)]
    figure = new_figure(experiment, "What soft targets say and hard labels do not", 13, 7.6)
    grid = figure.subplots(4, len(chosen), height_ratios=(1.3, 1, 1, 1), squeeze=False)
    names = cifar.class_names(experiment.data)
    for column, index in zip(grid.T, chosen, strict=True):
        label = data.test_labels[index]
        column[0].imshow(data.test_images[index].transpose(1, 2, 0), interpolation="nearest")
        column[0].set_title(f"labelled {names[label]}", loc="center", fontsize=10)
        column[0].axis("off")
        z = logits[index : index + 1]
        rows = (np.eye(len(names))[label], core.softmax(z)[0], core.softmax(z, temperature)[0])
        for axes, values in zip(column[1:], rows, strict=True):
            axes.bar(
                range(len(names)), values, color=[AFTER if c == label else TEACHER for c in range(len(names))]
            )
            axes.set_ylim(0, 1.05)
            axes.set_xticks(range(len(names)), [""] * len(names))
        column[3].set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    # a high T leaves small differences between small numbers, which need a scale of their own
    highest = core.softmax(logits[chosen], temperature).max()
    for axes in grid[3]:
        axes.set_ylim(0, min(1.05, 1.15 * highest))
    own_scale = f"soft target\nT = {temperature:g}, its own scale"
    for axes, text in zip(grid[1:, 0], ("hard label\n", "teacher\nT = 1", own_scale), strict=True):
        axes.set_ylabel(text, fontsize=9)
    return figure


def compression(experiment: Experiment) -> Figure:
    """Accuracy against parameters, multiply-adds and milliseconds per image."""
    figure = new_figure(experiment, "What compression costs, with soft targets and with hard labels", 12, 4.6)
    metrics = experiment.metrics()
    found = cifar.results(experiment)["networks"]
    columns = (
        ("parameters", "parameters (thousands)", 1e-3),
        ("multiply_adds", "multiply-adds per image (millions)", 1e-6),
        ("milliseconds_per_image", f"milliseconds per image, threads: {experiment.n_threads}", 1.0),
    )
    for axes, (key, title, unit) in zip(figure.subplots(1, 3, sharey=True), columns, strict=True):
        for name, label, colour, marker in SERIES:
            accuracy = metrics["after_correction" if name == "student" else name]["test_accuracy"]
            x = unit * found[name][key]
            axes.plot(x, accuracy, marker, color=colour, markersize=11, label=label, linestyle="none")
            axes.annotate(
                f"{100 * accuracy:.2f} %",
                (x, accuracy),
                xytext=(12, 0) if name != "teacher" else (-12, 0),
                ha="left" if name != "teacher" else "right",
                textcoords="offset points",
                va="center",
                color=INK,
            )
        axes.set_title(title)
        axes.set_xlim(0, 1.15 * unit * found["teacher"][key])
        percent_axis(axes)
        axes.margins(y=0.25)
    figure.axes[0].legend(loc="center left", fontsize=9.5)
    figure.axes[0].set_ylabel("test accuracy")
    return figure


def unseen_class(experiment: Experiment) -> Figure:
    """What each network calls the test images of the class or classes that the students never saw."""
    data, omitted = experiment.data, list(experiment.config.omitted_class)
    names = cifar.class_names(data)
    unseen = " and ".join(names[c] for c in omitted)
    mine = np.isin(data.test_labels, omitted)
    shown = (
        ("teacher, has seen them", experiment.teacher.test_logits[-1]),
        ("student on hard labels", experiment.baseline.test_logits[-1]),
        ("student on soft targets", experiment.student.test_logits[-1]),
        ("the same, bias corrected", experiment.corrected_logits),
    )
    title = f"What networks call {mine.sum():,} test images of class {unseen}, which no student ever saw"
    figure = new_figure(experiment, title, 12, 4.4)
    for axes, (label, logits) in zip(
        figure.subplots(1, len(shown), sharex=True, sharey=True), shown, strict=True
    ):
        share = np.bincount(logits[mine].argmax(axis=1), minlength=len(names)) / mine.sum()
        bars = axes.barh(
            range(len(names)), share, color=[OMITTED if c in omitted else TEACHER for c in range(len(names))]
        )
        axes.bar_label(bars, [f"{100 * x:.1f} %" for x in share], padding=3, fontsize=9, color=INK)
        axes.set_title(label)
        axes.set_yticks(range(len(names)), names)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    axes.invert_yaxis()  # shared by all
    axes.set_xlim(0, 1.2)
    axes.set_xticks([0, 0.5, 1])
    return figure


PICTURES: tuple[Callable[[Experiment], Figure], ...] = (curves, soft_targets, compression)


def main(argv: list[str] | None = None) -> None:
    parser = core.argument_parser("Draw the pictures; trains only what is not stored yet.", cifar.Config)
    config = cifar.config_from(parser.parse_args(argv))
    console = Console(config.quiet)
    experiment = cifar.run(config, console)
    unseen = (unseen_class,) if config.omitted_class else ()
    write_pictures((*PICTURES, *unseen), experiment, console)
    cifar.closing_notice(experiment, console)


if __name__ == "__main__":
    run_script(main)
