"""The pictures of the CIFAR-10 experiment: how the networks learn, what soft targets say, what size costs.

    python3 -m cifar10.pictures                          # three PNGs into viz/cifar10
    python3 -m cifar10.pictures --omitted-class cat      # and a fourth: the unseen class

Takes the flags of `python3 -m cifar10` and trains only what is not stored yet.
"""

from __future__ import annotations

from support.charts import (
    AFTER,
    BEFORE,
    INK,
    OMITTED,
    TEACHER,
    epoch_axis,
    light_grid,
    percent_axis,
    titled_figure,
    write_pictures,
)
from support.console import Console, run_script
from support.data import warn_of_stand_in
from support.experiment import Experiment
from support.settings import argument_parser, given_settings

from collections.abc import Callable, Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from cifar10.data import CLASSES, RENDERED_NOTICE, class_names
from cifar10.experiment import run
from cifar10.settings import Config
from distillation_mnist_omitted_3 import softmax

EXAMPLES = ("cat", "dog", "truck", "ship", "deer", "airplane")  # the columns of soft_targets.png
SERIES = (
    ("teacher", "teacher, hard labels", TEACHER, "o"),
    ("student", "student, soft targets alone", AFTER, "D"),
    ("baseline", "the same student, hard labels", BEFORE, "s"),
)


def new_figure(experiment: Experiment, title: str, width: float, height: float) -> Figure:
    """An empty figure with the title and, small, which data and settings it shows."""
    config = experiment.config
    origin = f"{experiment.data.name}, temperature {config.temperature:g}, seed {config.seed}"
    return titled_figure(title, origin, width, height)


def legend_below(figure: Figure, axes: Axes) -> None:
    """One legend for all panels, where it hides no point."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=len(labels), fontsize=10)


def curves(experiment: Experiment) -> Figure:
    """Loss and test accuracy per epoch of all three networks."""
    figure = new_figure(experiment, "Teacher and students learn", 12, 4.6)
    axes = figure.subplots(1, 3)
    titles = ("hard labels: cross-entropy", "soft targets: T² KL(teacher ‖ student)", "test accuracy")
    for kind, label, colour, marker in SERIES:
        history = experiment.history(kind)
        epochs = [entry["epoch"] for entry in history]
        style = {"color": colour, "marker": marker, "markersize": 4, "label": label}
        axes[int(kind == "student")].plot(epochs, [entry["loss"] for entry in history], **style)
        axes[2].plot(epochs, [entry["test_accuracy"] for entry in history], **style)
    n_epochs = max(experiment.config.n_epochs_teacher, experiment.config.n_epochs_student)
    for one, title in zip(axes, titles, strict=True):
        one.set_title(title)
        light_grid(one)
        epoch_axis(one, n_epochs)
    for one in axes[:2]:
        one.set_ylim(0, 1.05 * max(max(line.get_ydata()) for line in one.lines))
    percent_axis(axes[2])
    legend_below(figure, axes[2])
    return figure


def telling_images(experiment: Experiment) -> list[int]:
    """Of each of EXAMPLES a rightly named test image with a clear second thought: one of about 0.2."""
    labels, logits = experiment.data.test_labels, experiment.teacher.test_logits[-1]
    second = np.sort(softmax(logits), axis=1)[:, -2]
    distance = np.where(logits.argmax(axis=1) == labels, abs(second - 0.2), np.inf)
    members = [np.flatnonzero(labels == CLASSES.index(name)) for name in EXAMPLES]
    return [int(mine[distance[mine].argmin()]) for mine in members if len(mine)]


def draw_shares(axes: Axes, shares: np.ndarray, label: int) -> None:
    """A bar for each class, that of `label` in another colour."""
    classes = range(len(shares))
    axes.bar(classes, shares, color=[AFTER if c == label else TEACHER for c in classes])
    axes.set_ylim(0, 1.05)
    axes.set_xticks(classes, [""] * len(shares))


def soft_targets(experiment: Experiment) -> Figure:
    """Test images, what the teacher says of them at T = 1 and at T, and what a hard label would have said."""
    data, temperature = experiment.data, experiment.config.temperature
    chosen, names = telling_images(experiment), class_names(experiment.data)
    logits = experiment.teacher.test_logits[-1][chosen]
    softened = softmax(logits, temperature)
    rows = (np.eye(len(names))[data.test_labels[chosen]], softmax(logits), softened)
    figure = new_figure(experiment, "What soft targets say and hard labels do not", 13, 7.6)
    grid = figure.subplots(4, len(chosen), height_ratios=(1.3, 1, 1, 1), squeeze=False)
    for place, (column, index) in enumerate(zip(grid.T, chosen, strict=True)):
        label = data.test_labels[index]
        column[0].imshow(data.test_images[index].transpose(1, 2, 0), interpolation="nearest")
        column[0].set_title(f"labelled {names[label]}", loc="center", fontsize=10)
        column[0].axis("off")
        for axes, shares in zip(column[1:], rows, strict=True):
            draw_shares(axes, shares[place], label)
        column[3].set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        # a high T leaves small differences between small numbers, which need a scale of their own
        column[3].set_ylim(0, min(1.05, 1.15 * softened.max()))
    own_scale = f"soft target\nT = {temperature:g}, its own scale"
    for axes, text in zip(grid[1:, 0], ("hard label\n", "teacher\nT = 1", own_scale), strict=True):
        axes.set_ylabel(text, fontsize=9)
    return figure


def compression(experiment: Experiment) -> Figure:
    """Accuracy against parameters, multiply-adds and milliseconds per image."""
    figure = new_figure(experiment, "What compression costs, with soft targets and with hard labels", 12, 4.6)
    metrics, networks = experiment.metrics(), experiment.networks
    columns = (
        ("parameters", "parameters (thousands)", 1e-3),
        ("multiply_adds", "multiply-adds per image (millions)", 1e-6),
        ("milliseconds_per_image", f"milliseconds per image, threads: {experiment.n_threads}", 1.0),
    )
    for axes, (key, title, unit) in zip(figure.subplots(1, 3, sharey=True), columns, strict=True):
        for kind, label, colour, marker in SERIES:
            accuracy = metrics["before_correction" if kind == "student" else kind]["test_accuracy"]
            x, to_the_left = unit * networks[kind][key], kind == "teacher"
            axes.plot(x, accuracy, marker, color=colour, markersize=11, label=label, linestyle="none")
            axes.annotate(
                f"{100 * accuracy:.2f} %",
                (x, accuracy),
                xytext=(-12 if to_the_left else 12, 0),
                ha="right" if to_the_left else "left",
                textcoords="offset points",
                va="center",
                color=INK,
            )
        axes.set_title(title)
        axes.set_xlim(0, 1.15 * unit * networks["teacher"][key])
        percent_axis(axes)
        axes.margins(y=0.25)
    figure.axes[0].set_ylabel("test accuracy")
    legend_below(figure, figure.axes[0])
    return figure


def unseen_class(experiment: Experiment) -> Figure:
    """What each network calls the test images of the class or classes that the students never saw."""
    data, omitted = experiment.data, experiment.config.omitted_class
    names = class_names(data)
    mine = np.isin(data.test_labels, omitted)
    shown = (
        ("teacher, has seen them", experiment.teacher.test_logits[-1]),
        ("student on hard labels", experiment.runs["baseline"].test_logits[-1]),
        ("student on soft targets", experiment.student_logits),
        ("the same, bias corrected", experiment.corrected_logits),
    )
    unseen = " and ".join(names[c] for c in omitted)
    title = f"What networks call {mine.sum():,} test images of class {unseen}, which no student ever saw"
    figure = new_figure(experiment, title, 12, 4.4)
    colours = [OMITTED if c in omitted else TEACHER for c in range(len(names))]
    panels: Iterable[Axes] = figure.subplots(1, len(shown), sharex=True, sharey=True)
    for axes, (label, logits) in zip(panels, shown, strict=True):
        share = np.bincount(logits[mine].argmax(axis=1), minlength=len(names)) / mine.sum()
        bars = axes.barh(range(len(names)), share, color=colours)
        axes.bar_label(bars, [f"{100 * x:.1f} %" for x in share], padding=3, fontsize=9, color=INK)
        axes.set_title(label)
        axes.set_yticks(range(len(names)), names)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    axes.invert_yaxis()  # shared by all
    axes.set_xlim(0, 1.2)
    axes.set_xticks([0, 0.5, 1])
    return figure


PICTURES: tuple[Callable[[Experiment], Figure], ...] = (curves, soft_targets, compression)


def pictures_of(experiment: Experiment) -> tuple[Callable[[Experiment], Figure], ...]:
    return (*PICTURES, unseen_class) if experiment.config.omitted_class else PICTURES


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser("Draw the pictures; trains only what is not stored yet.", Config)
    parser.prog = "python3 -m cifar10.pictures"
    config = Config(**given_settings(parser.parse_args(argv), Config))
    console = Console(config.quiet)
    experiment = run(config, console)
    write_pictures(pictures_of(experiment), experiment, console)
    warn_of_stand_in(experiment.data, RENDERED_NOTICE, console)


if __name__ == "__main__":
    run_script(main)
