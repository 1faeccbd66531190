"""How teacher and student learn, epoch by epoch, and what they reach class by class."""

from __future__ import annotations

from support.charts import (
    AFTER,
    BEFORE,
    FAINT,
    INK,
    OMITTED,
    OTHERS,
    SMALL,
    TEACHER,
    draw_loss,
    epoch_axis,
    percent_axis,
)
from support.experiment import Experiment
from support.report import class_name

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import distillation_mnist_omitted_3 as core
from beyond.settings import DRAWN_SETS
from pictures import frame
from pictures.seeds import other_seeds, seeds_in_words

THIN = {"linewidth": 0.8, "alpha": 0.45}


def draw_losses(axes: Axes, experiment: Experiment, kind: str, title: str) -> None:
    """A network's loss, and thin those of other seeds."""
    for run in other_seeds(experiment):
        losses = [entry["loss"] for entry in run["history"][kind]]
        axes.plot(range(1, len(losses) + 1), losses, color=INK, **THIN)
    draw_loss(axes, experiment.runs[kind].losses, INK, title)


def teacher_curves(experiment: Experiment) -> Figure:
    """The teacher's loss and test errors per epoch."""
    entries, others = experiment.history("teacher"), other_seeds(experiment)
    n = len(experiment.data.test_labels)
    never = experiment.config.teacher_omitted_class
    learned = frame.all_of(frame.classes_there(experiment.data.train_labels))
    title = f"The teacher learns {f'all but {frame.instances(never)}' if never else learned} from hard labels"
    figure = frame.new_figure(experiment, title, 10, 4.4)
    left, right = figure.subplots(1, 2)
    draw_losses(left, experiment, "teacher", "training loss: cross-entropy (log scale)")
    epochs = range(1, len(entries) + 1)
    for run in others:
        shares = frame.error_shares([entry["test_accuracy"] for entry in run["history"]["teacher"]], n)
        right.plot(epochs, shares, color=TEACHER, **THIN)
    shares = frame.error_shares([entry["test_accuracy"] for entry in entries], n)
    right.plot(epochs, shares, color=INK, marker="o", markersize=4)
    n_wrong = frame.n_errors(entries[-1]["test_errors"])
    end = f"after epoch {len(entries)}: {n_wrong}, {100 * shares[-1]:.2f} %"
    right.annotate(end, (0.97, 0.96), xycoords="axes fraction", ha="right", va="top")
    if others:
        corner = {"xycoords": "axes fraction", "ha": "right", "va": "top"}
        right.annotate(seeds_in_words(others), (0.97, 0.88), fontsize=SMALL, **corner)
    right.set_title(f"errors on {n:,} test images (log scale)")
    frame.error_axis(right)
    epoch_axis(right, len(entries))
    return figure


def student_curves(experiment: Experiment) -> Figure:
    """The student's loss and its test errors per epoch on the omitted class, the others and all."""
    config, entries, others = experiment.config, experiment.history("student"), other_seeds(experiment)
    omitted_class, labels = config.omitted_class, experiment.data.test_labels
    after, n_epochs = experiment.metrics()["after_correction"], len(entries)
    hard = config.hard_weight
    if frame.sees_no_digit(experiment):
        seen, lacking = DRAWN_SETS[config.transfer_set], frame.lacks(experiment)
        title = f"The student sees {seen} and {lacking}, {frame.outcome(experiment)}"
        curves: Sequence[tuple[str, str, str, str]] = (("test_accuracy", "all digits", BEFORE, "o"),)
    else:
        seen_classes = set(frame.classes_there(labels)) - set(omitted_class)
        others_seen = "the class it sees" if len(seen_classes) == 1 else "the classes it sees"
        title = f"The student never sees {frame.never_seen(omitted_class)}, {frame.outcome(experiment)}"
        curves = (
            ("omitted_accuracy", f"{class_name(omitted_class)}, never seen", OMITTED, "D"),
            ("test_accuracy", "all classes", BEFORE, "o"),
            ("other_accuracy", others_seen, OTHERS, "s"),
        )
    figure = frame.new_figure(experiment, title, 11.5, 5)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
    soft_loss, hard_loss = "T² KL(teacher ‖ student)", "cross-entropy"
    mixed = f"{1 - hard:g} {soft_loss} + {hard:g} {hard_loss}"
    loss = soft_loss if hard == 0 else hard_loss if hard == 1 else mixed
    draw_losses(left, experiment, "student", f"{loss}, log scale")
    end = n_epochs + max(1.0, 0.08 * n_epochs)  # the corrected student stands after the last epoch
    n_of = {
        "test_accuracy": len(labels),
        "omitted_accuracy": int(np.isin(labels, omitted_class).sum()),
        "other_accuracy": int((~np.isin(labels, omitted_class)).sum()),
    }
    for key, label, colour, marker in curves:
        runs: list[tuple[list[Any], dict[str, Any], dict[str, Any]]] = [
            (run["history"]["student"], run["student"]["after_correction"], {"color": colour, **THIN})
            for run in others
        ]
        style = {"color": colour, "marker": marker, "markersize": 4, "label": label}
        for history, corrected, drawn in (*runs, (entries, after, style)):
            shares = frame.error_shares([entry[key] for entry in history], n_of[key])
            at_end = frame.error_shares([corrected[key]], n_of[key])[0]
            right.plot(range(1, n_epochs + 1), shares, **drawn)
            thin = "label" not in drawn
            jump = THIN if thin else {"linewidth": 1.5}
            right.plot([n_epochs, end], [shares[-1], at_end], color=colour, linestyle=":", **jump)
            right.plot(
                end, at_end, marker="*", markersize=6 if thin else 13, color=colour, linestyle="none",
                alpha=0.5 if thin else 1,
            )  # fmt: skip
    right.set_title("test errors (log scale)" + (f"; {seeds_in_words(others)}" if others else ""))
    right.legend(loc="upper center", bbox_to_anchor=(0.45, -0.21), ncols=3)
    frame.error_axis(right)
    epoch_axis(right, n_epochs)
    right.xaxis.get_major_locator().set_params(steps=(1, 2, 5, 10))  # not 3, 6, ... before a 20
    right.set_xlim(0.5, end + 0.06 * end)
    right.set_ylim(top=1.7 * right.get_ylim()[1])  # room for the words above the curves
    right.axvline((n_epochs + end) / 2, color=AFTER, linewidth=1)
    ticks = [tick for tick in right.get_xticks() if 1 <= tick <= n_epochs - 0.05 * end] + [n_epochs]
    biases = "bias" if len(experiment.correction.classes) == 1 else "biases"
    right.set_xticks([*ticks, end], [*(f"{tick:g}" for tick in ticks), f"\n{biases}\ncorrected"])
    right.get_xticklabels()[-1].set_color(AFTER)
    right.xaxis.set_label_coords(0.45, -0.1)  # beside the last tick's words, not below them
    before = experiment.metrics()["before_correction"]
    words = "right, before and after the correction"
    right.annotate(
        f"{frame.instances(omitted_class)} {words}: "
        f"{100 * before['omitted_accuracy']:.2f} → {100 * after['omitted_accuracy']:.2f} %",
        ((n_epochs + end) / 2, 0.97), xycoords=("data", "axes fraction"), ha="right", va="top", color=OMITTED,
        xytext=(-5, 0), textcoords="offset points",
    )  # fmt: skip
    return figure


def per_class_accuracy(experiment: Experiment) -> Figure:
    """Accuracy per class of the teacher and of the student before and after the correction."""
    omitted_class, others = experiment.config.omitted_class, other_seeds(experiment)
    metrics = experiment.metrics()
    classes = experiment.correction.classes
    one = len(classes) == 1
    if frame.sees_no_digit(experiment):
        title = "Accuracy per class, of digits none of which the student has ever seen"
    else:
        who = "class" if len(omitted_class) == 1 else "classes"
        scalars = "one scalar" if one else "one scalar each" if classes == omitted_class else "ten scalars"
        title = f"Accuracy per class: {scalars} for the {who} never seen"
        title += "" if classes == omitted_class else ", and all others"
    figure = frame.new_figure(experiment, title, 11, 4.8)
    axes = figure.subplots()
    after = f"student after it, bias {experiment.correction.offsets[0]:+.2f}" if one else "student after it"
    marks = (
        ("teacher", "teacher", {"color": TEACHER, "marker": "s"}),
        ("before_correction", "student before the correction", {"color": BEFORE, "marker": "o"}),
        ("after_correction", after, {"color": AFTER, "marker": "D"}),
    )
    lowest = 1.0
    for index, (key, label, style) in enumerate(marks):
        values = [np.nan if v is None else v for v in metrics[key]["per_class_accuracy"]]
        of_others = [(run["teacher"] if key == "teacher" else run["student"][key]) for run in others]
        seeds = np.array([[np.nan if v is None else v for v in m["per_class_accuracy"]] for m in of_others])
        lowest = min(lowest, np.nanmin(values), np.nanmin(seeds) if len(seeds) else 1.0)
        positions = np.arange(core.N_CLASSES) + (index - 1) * 0.27
        axes.plot(positions, values, linestyle="none", markersize=8, label=label, **style)
        for number, seed in enumerate(seeds):
            dots = "dots: other seeds" if number == 0 and index == len(marks) - 1 else None
            axes.plot(positions, seed, ".", color=INK, markersize=4, alpha=0.7, label=dots)
        if not frame.sees_no_digit(experiment):
            for c in omitted_class:
                top = np.nanmax([values[c], *seeds[:, c]]) if len(seeds) else values[c]
                axes.annotate(
                    f"{100 * values[c]:.1f}", (positions[c], top), xytext=(0, 6), textcoords="offset points",
                    ha="center", fontsize=SMALL, rotation=0 if one else 90,
                )  # fmt: skip
    floor = max(0.0, np.floor(lowest * 20 - 0.2) / 20)  # no bar stands on it: marks need no zero
    axes.set_ylim(floor, 1.0 + (0.06 if one else 0.12) * (1 - floor))
    frame.mark_omitted(axes, omitted_class, frame.classes_there(experiment.data.test_labels))
    for border in np.arange(core.N_CLASSES - 1) + 0.5:
        axes.axvline(border, color=FAINT, linewidth=0.8, zorder=0)
    axes.set_ylabel(f"test accuracy, seed {experiment.config.seed}\n(axis starts at {100 * floor:.0f} %)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12 if one else -0.15), ncols=4)
    percent_axis(axes)
    return figure
