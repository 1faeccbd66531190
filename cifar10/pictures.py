"""The pictures of the CIFAR-10 experiment: how networks learn, what soft targets say, what a small one saves.

    python3 -m cifar10.pictures                          # three PNGs into viz/cifar10
    python3 -m cifar10.pictures --omitted-class cat      # and a fourth: the unseen class

Takes the flags of `python3 -m cifar10` and trains only what is not stored yet.
"""

from __future__ import annotations

from support.charts import (
    HARD,
    INK,
    SMALL,
    SOFT,
    TEACHER,
    epoch_axis,
    light_grid,
    percent_axis,
    say_if_cut,
    titled_figure,
    write_pictures,
)
from support.console import Console, run_script
from support.data import warn_of_stand_in
from support.experiment import Experiment
from support.settings import argument_parser, given_settings

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cifar10.charts import draw_compression, draw_unseen_class
from cifar10.data import CLASSES, RENDERED_NOTICE, SIDE, class_names
from cifar10.experiment import run
from cifar10.settings import Config
from distillation_mnist_omitted_3 import softmax

EXAMPLES = ("cat", "dog", "truck", "ship", "deer", "airplane")  # the columns of soft_targets.png
SERIES = (
    ("teacher", "teacher, hard labels", TEACHER, "o"),
    ("student", "student, soft targets alone", SOFT, "D"),
    ("baseline", "the same student, hard labels", HARD, "s"),
)


def sides_in_words(config: Config) -> str:
    """How images grow from epoch to epoch, where they do; the test images grow with them."""
    if {*config.sides, *config.sides_student} == {SIDE}:
        return ""
    teacher, students = (
        ", ".join(map(str, dict.fromkeys(sides))) for sides in (config.sides, config.sides_student)
    )
    return f", on images that grow: {teacher} pixels (teacher), {students} (students)"


def new_figure(experiment: Experiment, title: str, width: float, height: float, more: str = "") -> Figure:
    """An empty figure with the title and, small, which data and settings it shows."""
    config, names = experiment.config, class_names(experiment.data)
    omitted = "".join(f", without {names[c]}" for c in config.omitted_class)
    shares = {"labelled": config.label_fraction, "seen": config.transfer_fraction}
    parts = "".join(f", {100 * share:.3g} % {word}" for word, share in shares.items() if share < 1)
    origin = f"{experiment.data.name}, temperature {config.temperature:g}, seed {config.seed}"
    return titled_figure(title, origin + omitted + parts + more, width, height)


def curves(experiment: Experiment) -> Figure:
    """Loss and test accuracy per epoch of all three networks."""
    figure = new_figure(experiment, "Teacher and students learn", 12, 4.6, sides_in_words(experiment.config))
    axes = figure.subplots(1, 3)
    titles = ("loss: cross-entropy with labels", "loss: T² KL(teacher ‖ student)", "test accuracy")
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
    say_if_cut(axes[2])
    legend = axes[2].get_legend_handles_labels()  # of all panels, beside the title, where it hides no point
    figure.legend(*legend, loc="outside upper right", ncols=len(SERIES), fontsize=SMALL)
    return figure


def telling_images(experiment: Experiment) -> list[int]:
    """Of each of EXAMPLES a rightly named test image with a clear second thought: one of about 0.2.

    Classes of which no image is named rightly are left out.
    """
    labels, logits = experiment.data.test_labels, experiment.teacher.test_logits[-1]
    second = np.sort(softmax(logits), axis=1)[:, -2]
    right = logits.argmax(axis=1) == labels
    members = [np.flatnonzero(right & (labels == CLASSES.index(name))) for name in EXAMPLES]
    return [int(mine[abs(second[mine] - 0.2).argmin()]) for mine in members if len(mine)]


def draw_shares(axes: Axes, shares: np.ndarray, label: int) -> None:
    """A bar for each class, that of `label` in another colour."""
    classes = range(len(shares))
    axes.bar(classes, shares, color=[INK if c == label else TEACHER for c in classes])
    axes.set_ylim(0, 1.05)
    axes.set_xticks(classes, [""] * len(shares))


def soft_targets(experiment: Experiment) -> Figure:
    """Test images, what the teacher says of them at T = 1 and at T, and what a hard label would have said."""
    data, temperature = experiment.data, experiment.config.temperature
    chosen, names = telling_images(experiment), class_names(experiment.data)
    logits = experiment.teacher.test_logits[-1][chosen]
    softened = softmax(logits, temperature)
    rows = (np.eye(len(names))[data.test_labels[chosen]], softmax(logits), softened)
    figure = new_figure(experiment, "What soft targets say and hard labels do not", 12.5, 7.6)
    grid = figure.subplots(4, len(chosen), height_ratios=(1.3, 1, 1, 1), squeeze=False)
    for place, (column, index) in enumerate(zip(grid.T, chosen, strict=True)):
        label = data.test_labels[index]
        column[0].imshow(data.test_images[index].transpose(1, 2, 0), interpolation="nearest")
        column[0].set_title(f"labelled {names[label]}", loc="center", fontsize=SMALL)
        column[0].axis("off")
        for axes, shares in zip(column[1:], rows, strict=True):
            draw_shares(axes, shares[place], label)
        column[3].set_xticks(range(len(names)), names, rotation=90, fontsize=SMALL)
        # a high T leaves small differences between small numbers, which need a scale of their own
        column[3].set_ylim(0, min(1.05, 1.15 * softened.max()))
    own_scale = f"soft target\nT = {temperature:g}, its own scale"
    for axes, text in zip(grid[1:, 0], ("hard label\n", "teacher\nT = 1", own_scale), strict=True):
        axes.set_ylabel(text, fontsize=SMALL)
    return figure


def compression(experiment: Experiment) -> Figure:
    """What a small network saves, of this one run."""
    return draw_compression([experiment.results()], class_names(experiment.data))


def unseen_class(experiment: Experiment) -> Figure:
    """What this run's networks call the classes that its students never saw."""
    return draw_unseen_class([experiment.results()], class_names(experiment.data))


def pictures_of(experiment: Experiment) -> list[Callable[[Experiment], Figure]]:
    """Those that there is something to show in."""
    some = {
        curves: True,
        soft_targets: len(telling_images(experiment)) > 0,
        compression: True,
        unseen_class: len(experiment.config.omitted_class) > 0,
    }
    return [draw for draw, shows in some.items() if shows]


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
