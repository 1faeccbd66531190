#!/usr/bin/env python3
"""The pictures of the experiment: how both networks learn, what one scalar changes, and why it works.

    python3 visualize_distillation_mnist_omitted_3.py       # PNGs into viz/

Takes the flags of distillation_mnist_omitted_3.py and trains only what is not stored yet.
"""

from __future__ import annotations

from support.charts import (
    AFTER,
    BEFORE,
    INK,
    OMITTED,
    OTHERS,
    TEACHER,
    draw_image,
    draw_loss,
    epoch_axis,
    percent_axis,
    titled_figure,
    write_pictures,
)
from support.console import Console, UserError, run_script
from support.data import warn_of_stand_in
from support.experiment import Experiment
from support.offsets import add_offsets
from support.report import class_name
from support.settings import argument_parser, given_settings
from support.tiles import Workers
from support.transformations import IMAGE_SIDE, Transformer

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import distillation_mnist_omitted_3 as core
from distillation_mnist_omitted_3 import Config

N_DARK_KNOWLEDGE = 6  # images in dark_knowledge.png
N_EXAMPLES = 8  # images per row of omitted_examples.png
N_DRAWS = 24  # of transformations.png


def never_seen(omitted_class: Sequence[int]) -> str:
    """What the student never sees: "a 3", "classes 3, 5"."""
    return f"a {omitted_class[0]}" if len(omitted_class) == 1 else class_name(omitted_class)


def instances(omitted_class: Sequence[int]) -> str:
    """ "3s", "3s and 5s" or, where that gets long, "8 classes"."""
    few = len(omitted_class) <= 2
    return " and ".join(f"{c}s" for c in omitted_class) if few else f"{len(omitted_class)} classes"


def check_something_omitted(config: Config) -> None:
    """Raises UserError when no class is omitted."""
    if not config.omitted_class:
        raise UserError("these pictures show what the student never saw; leave at least one class out")


def new_figure(experiment: Experiment, title: str, width: float, height: float) -> Figure:
    """An empty figure with the title and, small, which data and settings it shows."""
    config = experiment.config
    origin = (
        f"{experiment.data.name}, temperature {config.temperature:g}, recipe {config.recipe}, "
        f"{config.lr_schedule} rate, seed {config.seed}"
    )
    return titled_figure(title, origin, width, height)


def teacher_curves(experiment: Experiment) -> Figure:
    """The teacher's loss and test accuracy per epoch."""
    entries = experiment.history("teacher")
    figure = new_figure(experiment, "The teacher learns all ten classes from hard labels", 10, 4.2)
    left, right = figure.subplots(1, 2)
    draw_loss(left, experiment.teacher.losses, INK, "training loss: cross-entropy (log scale)")
    accuracy = [entry["test_accuracy"] for entry in entries]
    right.plot(range(1, len(accuracy) + 1), accuracy, color=TEACHER, marker="o", markersize=4)
    right.annotate(
        f"{100 * accuracy[-1]:.2f} %\n{entries[-1]['test_errors']} errors",
        (len(accuracy), accuracy[-1]),
        xytext=(-6, -14),
        textcoords="offset points",
        ha="right",
        va="top",
    )
    right.set_title("test accuracy")
    percent_axis(right)
    epoch_axis(right, len(accuracy))
    return figure


def student_curves(experiment: Experiment) -> Figure:
    """The student's loss and its test accuracy per epoch on the omitted class, the others and all."""
    omitted_class = experiment.config.omitted_class
    entries = experiment.history("student")
    after = experiment.metrics()["after_correction"]
    it = "it" if len(omitted_class) == 1 else "them"
    title = f"The student never sees {never_seen(omitted_class)}, and learns to recognise {it}"
    figure = new_figure(experiment, title, 11, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
    draw_loss(left, experiment.student.losses, INK, "T² KL(teacher ‖ student), log scale")
    epochs = range(1, len(entries) + 1)
    curves = (
        ("other_accuracy", "the classes it sees", OTHERS, "s"),
        ("test_accuracy", "all classes", BEFORE, "o"),
        ("omitted_accuracy", f"{class_name(omitted_class)}, never seen", OMITTED, "D"),
    )
    end = len(entries) + max(1.0, 0.08 * len(entries))  # the corrected student stands after the last epoch
    for key, label, colour, marker in curves:
        values = [entry[key] for entry in entries]
        right.plot(epochs, values, color=colour, marker=marker, markersize=4, label=label)
        right.plot([epochs[-1], end], [values[-1], after[key]], color=colour, linestyle=":")
        right.plot(end, after[key], marker="*", markersize=12, color=colour, linestyle="none")
    right.set_title("test accuracy")
    right.legend(loc="lower center")
    percent_axis(right)
    epoch_axis(right, len(entries))
    right.set_xlim(0.5, end + 0.06 * end)
    right.axvline((len(entries) + end) / 2, color=AFTER, linewidth=1)
    ticks = [tick for tick in right.get_xticks() if 1 <= tick <= len(entries) - 0.08 * end]
    right.set_xticks([*ticks, end], [*(f"{tick:g}" for tick in ticks), "bias\ncorrected"])
    right.get_xticklabels()[-1].set_color(AFTER)
    before = experiment.metrics()["before_correction"]["omitted_accuracy"]
    right.annotate(
        f"{instances(omitted_class)}: {100 * before:.1f} % → {100 * after['omitted_accuracy']:.1f} %",
        (end, min(before, after["omitted_accuracy"])),
        xytext=(0, -16),
        textcoords="offset points",
        ha="right",
        va="top",
        color=OMITTED,
    )
    return figure


def per_class_accuracy(experiment: Experiment) -> Figure:
    """Accuracy per class of the teacher and of the student before and after the correction."""
    omitted_class, metrics = experiment.config.omitted_class, experiment.metrics()
    one = len(omitted_class) == 1
    repaired = "one scalar repairs the class" if one else "one scalar each repairs the classes"
    figure = new_figure(experiment, f"Accuracy per class: {repaired} never seen", 11, 4.8)
    axes = figure.subplots()
    bars = (
        ("teacher", "teacher", TEACHER),
        ("before_correction", "student before the correction", BEFORE),
        (
            "after_correction",
            f"student after it, bias {experiment.correction.offsets[0]:+.2f}" if one else "student after it",
            AFTER,
        ),
    )
    lowest = 1.0
    for index, (key, label, colour) in enumerate(bars):
        values = [np.nan if v is None else v for v in metrics[key]["per_class_accuracy"]]
        lowest = min(lowest, np.nanmin(values))
        positions = np.arange(core.N_CLASSES) + (index - 1) * 0.27
        axes.bar(positions, values, width=0.25, color=colour, label=label)
        for c in omitted_class:
            axes.annotate(
                f"{100 * values[c]:.1f}",
                (positions[c], values[c]),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=9 if one else 7,
            )
    floor = max(0.0, np.floor(lowest * 20) / 20 - 0.05)
    axes.set_ylim(floor, 1.0 + 0.04 * (1 - floor))
    mark_omitted(axes, omitted_class)
    axes.set_ylabel(f"test accuracy (axis starts at {100 * floor:.0f} %)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12 if one else -0.15), ncols=3)
    percent_axis(axes)
    return figure


def mark_omitted(axes: Axes, omitted_class: Sequence[int]) -> None:
    """Ten classes along the x axis, the omitted ones shaded and named."""
    axes.set_xticks(range(core.N_CLASSES))
    if len(omitted_class) == 1:
        note = "\nnever seen"
    else:
        note = ""
        axes.set_xlabel("shaded: classes never seen", color=OMITTED, fontweight="bold")
    axes.set_xticklabels([f"{c}{note}" if c in omitted_class else str(c) for c in range(core.N_CLASSES)])
    for c in omitted_class:
        label = axes.get_xticklabels()[c]
        label.set_color(OMITTED)
        label.set_fontweight("bold")
        axes.axvspan(c - 0.5, c + 0.5, color=OMITTED, alpha=0.12, linewidth=0, zorder=0)


def bias_correction(experiment: Experiment) -> Figure:
    """Accuracy, and mean probability of the omitted classes, against the offset.

    With several omitted classes: against the share of the chosen offsets that is added.
    """
    config, correction = experiment.config, experiment.correction
    omitted_class, chosen = config.omitted_class, np.array(correction.offsets)
    one = len(omitted_class) == 1
    if one:
        at_chosen = chosen[0]
        xs = np.linspace(min(-2.0, at_chosen - 2), max(6.0, 2 * at_chosen), 201)
        offsets = xs[:, None]
        title = f"Adding one scalar to the bias of {class_name(omitted_class)}"
        x_label = f"offset added to the output bias of {class_name(omitted_class)}"
    else:
        at_chosen, xs = 1.0, np.linspace(-0.5, 2, 101)
        offsets = xs[:, None] * chosen
        title = f"Adding one scalar to the bias of each of {class_name(omitted_class)}"
        x_label = "share of the chosen offsets that is added to the output biases"
    metrics = [experiment.measure(add_offsets(experiment.student_logits, omitted_class, b)) for b in offsets]
    probabilities = np.array(
        [core.omitted_probabilities(experiment.probe_logits, omitted_class, b).mean(axis=0) for b in offsets]
    )

    figure = new_figure(experiment, title, 11, 4.6)
    left, right = figure.subplots(1, 2)
    for key, colour, label in (
        ("test_accuracy", BEFORE, "all classes"),
        ("omitted_accuracy", OMITTED, f"{class_name(omitted_class)}, never seen"),
    ):
        left.plot(xs, [m[key] for m in metrics], color=colour, linewidth=2, label=label)
    lowest = min(m["omitted_accuracy"] for m in metrics)
    left.set_ylim(max(0.0, 1 - 1.15 * max(1 - lowest, 0.02)), 1.003)
    left.set_title("test accuracy (not used for the choice)")
    targets = np.array(correction.target_frequencies)
    if one:
        right.plot(xs, probabilities[:, 0], color=OMITTED, linewidth=2)
        label = f"target, its frequency in training: {100 * targets[0]:.2f} %"
        right.axhline(targets[0], color=INK, linestyle="--", linewidth=1, label=label)
        right.set_title(
            f"mean probability of {class_name(omitted_class)} on {correction.probe_size:,} training images"
        )
    else:
        for c, curve in zip(omitted_class, (probabilities / targets).T, strict=True):
            right.plot(xs, curve, color=OMITTED, linewidth=1.5)
            right.annotate(
                f"{c}", (xs[-1], curve[-1]), xytext=(3, 0), textcoords="offset points", color=OMITTED
            )
        right.axhline(1, color=INK, linestyle="--", linewidth=1, label="target, the class's frequency")
        right.set_title(f"mean probability / frequency, {correction.probe_size:,} training images")
    for axes in (left, right):
        axes.axvline(0, color=TEACHER, linestyle=":", linewidth=1.2)
        chosen_label = f"chosen: {at_chosen:+.3f}" if one else "chosen: each its own"
        axes.axvline(at_chosen, color=AFTER, linewidth=1.6, label=chosen_label)
        axes.set_xlabel(x_label)
        axes.set_xlim(xs[0], xs[-1])
        percent_axis(axes)
    left.legend(loc="lower right")
    right.legend(loc="upper left")
    return figure


def dark_knowledge(experiment: Experiment) -> Figure:
    """Transfer-set images whose soft targets say most about the class that is not there."""
    config, data = experiment.config, experiment.data
    with Workers() as workers:
        logits = core.predict(experiment.teacher.network, data.train_images, workers)
    omitted = list(config.omitted_class)
    mass = core.softmax(logits, config.temperature)[:, omitted].sum(axis=1)
    # of each class the image with the most mass on the omitted ones, then the classes with the most
    transfer = np.unique(experiment.transfer)
    labels = data.train_labels[transfer]
    best = [transfer[labels == c][mass[transfer[labels == c]].argmax()] for c in np.unique(labels)]
    chosen = sorted(best, key=lambda i: -mass[i])[:N_DARK_KNOWLEDGE]

    figure = new_figure(
        experiment,
        f"Dark knowledge: what the soft targets of other digits say about {instances(omitted)}, "
        "which the student never sees",
        12,
        6.4,
    )
    grid = figure.subplots(3, len(chosen), squeeze=False, height_ratios=(1.25, 1, 1))
    colours = [OMITTED if c in omitted else TEACHER for c in range(core.N_CLASSES)]
    for column, index in zip(grid.T, chosen, strict=True):
        draw_image(column[0], data.train_images[index], f"labelled {data.train_labels[index]}")
        for axes, temperature in ((column[1], 1.0), (column[2], config.temperature)):
            p = core.softmax(logits[index : index + 1], temperature)[0]
            axes.bar(range(core.N_CLASSES), p, color=colours)
            axes.set_xticks(range(core.N_CLASSES))
            axes.tick_params(labelsize=8)
            for c in omitted:
                axes.get_xticklabels()[c].set_color(OMITTED)
                axes.get_xticklabels()[c].set_fontweight("bold")
            axes.set_ylim(0, 1.0 if temperature == 1 else max(0.3, 1.1 * p.max()))
            on_omitted = p[omitted].sum()
            shown = f"{on_omitted:.3f}" if on_omitted >= 0.001 else f"{on_omitted:.0e}"
            name = omitted[0] if len(omitted) == 1 else "unseen"
            axes.set_title(f"p({name}) = {shown}", loc="center", fontsize=9.5, color=OMITTED)
    grid[1, 0].set_ylabel("teacher, T = 1")
    grid[2, 0].set_ylabel(f"soft target, T = {config.temperature:g}")
    return figure


def omitted_examples(experiment: Experiment) -> Figure:
    """Test images of the omitted classes: right before the correction, only after it, and never."""
    data, omitted_class = experiment.data, experiment.config.omitted_class
    mine = np.flatnonzero(np.isin(data.test_labels, omitted_class))
    labels, rows = data.test_labels[mine], np.arange(len(mine))
    before, after = (core.softmax(z[mine]) for z in (experiment.student_logits, experiment.corrected_logits))
    p_before, p_after = before[rows, labels], after[rows, labels]  # of the image's own class
    right_before, right_after = before.argmax(1) == labels, after.argmax(1) == labels
    groups = (
        ("right from the start", right_before, AFTER),
        ("right only after\nthe correction", ~right_before & right_after, BEFORE),
        ("never right", ~right_after, OMITTED),
    )
    figure = new_figure(
        experiment,
        f"Test images of {instances(omitted_class)}, which the student never saw in training",
        12.5,
        6.6,
    )
    grid = figure.subplots(len(groups), N_EXAMPLES)
    for row, (name, members, colour) in zip(grid, groups, strict=True):
        found = np.flatnonzero(members)
        # from the least to the most certain, evenly spread
        ordered = found[p_before[found].argsort()]
        shown = ordered[np.linspace(0, len(ordered) - 1, min(len(ordered), N_EXAMPLES)).round().astype(int)]
        for axes in row:
            axes.axis("off")
        for axes, index in zip(row, shown, strict=False):
            axes.axis("on")
            draw_image(axes, data.test_images[mine[index]])
            axes.set_xlabel(
                f"before: {before[index].argmax()}  p({labels[index]}) {p_before[index]:.2f}\n"
                f"after: {after[index].argmax()}  p({labels[index]}) {p_after[index]:.2f}",
                fontsize=9,
            )
        row[0].text(
            -0.22,
            0.5,
            f"{name}\n{len(found)} of {len(mine)}",
            transform=row[0].transAxes,
            ha="right",
            va="center",
            color=colour,
            fontweight="bold",
        )
    return figure


def transformations(experiment: Experiment) -> Figure:
    """One training image as it is, and as each of the networks may see it: 24 draws."""
    config, image = experiment.config, experiment.data.train_images[experiment.transfer[0]]
    limits = {kind: config.limits(kind) for kind in ("teacher", "student")}
    if limits["teacher"] == limits["student"]:
        limits = {"teacher and student": limits["teacher"]}
    title = f"One training image in {N_DRAWS} draws, as a network may see it in an epoch"
    figure = new_figure(experiment, title, 12, 0.6 + 2.6 * len(limits))
    parts = np.atleast_1d(figure.subfigures(len(limits), 1))
    for part, (who, how_far) in zip(parts, limits.items(), strict=True):
        part.suptitle(f"{who}: {how_far.in_words()}", x=0.01, ha="left", fontsize=11)
        inputs = np.empty((core.N_PIXELS, N_DRAWS), np.float32)
        transformer = Transformer(how_far, np.random.default_rng(config.seed))
        for call in transformer.calls(inputs, np.stack([image] * N_DRAWS)):
            call()
        grid = part.subplots(2, N_DRAWS // 2 + 1)
        grid[1, 0].axis("off")
        draw_image(grid[0, 0], image)
        grid[0, 0].set_xlabel("as it is")
        for axes, drawn in zip(grid[:, 1:].flat, 255 * inputs.T, strict=True):
            draw_image(axes, drawn.reshape(IMAGE_SIDE, IMAGE_SIDE))
    return figure


PICTURES: tuple[Callable[[Experiment], Figure], ...] = (
    teacher_curves,
    student_curves,
    per_class_accuracy,
    bias_correction,
    dark_knowledge,
    omitted_examples,
    transformations,
)


def main(argv: list[str] | None = None) -> None:
    description = "Draw the pictures of the experiment; trains only what is not stored yet."
    arguments = argument_parser(description, Config).parse_args(argv)
    config = core.config_from(given_settings(arguments, Config))
    check_something_omitted(config)
    console = Console(config.quiet)
    experiment = core.run(config, console)
    write_pictures(PICTURES, experiment, console)
    warn_of_stand_in(experiment.data, core.RENDERED_NOTICE, console)


if __name__ == "__main__":
    run_script(main)
