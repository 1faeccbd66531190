"""What adding a scalar to a bias does, and to which images."""

from __future__ import annotations

from support.charts import AFTER, BEFORE, INK, OMITTED, SMALL, TEACHER, draw_image, percent_axis, say_if_cut
from support.experiment import Experiment
from support.offsets import add_offsets
from support.report import class_name

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import distillation_mnist_omitted_3 as core
from pictures import frame

N_EXAMPLES = 8  # images per row of omitted_examples.png


def bias_correction(experiment: Experiment) -> Figure:
    """Errors, and mean probability of the corrected classes, against the offset.

    With several classes: against the share of the chosen offsets that is added; when no digit was ever seen:
    the offset of each class, and what it does to its mean probability.
    """
    if len(experiment.correction.classes) == core.N_CLASSES:
        return ten_offsets(experiment)
    return against_offset(experiment)


def ten_offsets(experiment: Experiment) -> Figure:
    """The offset of each of the ten classes, and its mean probability before and after."""
    correction, metrics = experiment.correction, experiment.metrics()
    errors = [metrics[part]["test_errors"] for part in ("before_correction", "after_correction")]
    title = f"One scalar for each of ten biases: {errors[0]:,} test errors before, {errors[1]:,} after"
    if not correction.reached:
        title = f"No ten scalars reach these targets: {errors[0]:,} test errors, and no bias is changed"
    figure = frame.new_figure(experiment, title, 11, 4.8)
    left, right = figure.subplots(1, 2)
    classes = np.array(correction.classes)
    left.bar(classes, correction.offsets, color=AFTER, width=0.7)
    left.axhline(0, color=INK, linewidth=0.8)
    left.set_title("offset added to the bias (their mean is 0)")
    parts = (
        ("before", correction.mean_probabilities_before, BEFORE, -0.2),
        ("after", correction.mean_probabilities_after, AFTER, 0.2),
    )
    for label, values, colour, shift in parts:
        right.bar(classes + shift, values, width=0.38, color=colour, label=label)
    targets = correction.target_frequencies
    right.plot(classes, targets, "_", color=INK, markersize=26, markeredgewidth=2, label="target")
    right.set_title(f"mean probability on {correction.probe_size:,} images without labels")
    right.set_ylim(0, 1.25 * max(*correction.mean_probabilities_before, *targets))
    right.legend(loc="upper center", ncols=3)
    percent_axis(right)
    for axes in (left, right):
        frame.mark_omitted(axes, experiment.config.omitted_class, correction.classes)
        axes.set_xlabel("class")
    return figure


def against_offset(experiment: Experiment) -> Figure:
    """Errors and mean probabilities along the way from no offset to the chosen one and beyond."""
    config, correction = experiment.config, experiment.correction
    omitted_class, chosen = config.omitted_class, np.array(correction.offsets)
    one, labels = len(omitted_class) == 1, experiment.data.test_labels
    best = experiment.results()["bias_correction"]["best_on_test_set"]
    if one:
        at_chosen = chosen[0]
        xs = np.linspace(min(-1.0, at_chosen - 2, best["offset"] - 1), max(6.0, 2 * at_chosen), 281)
        offsets = xs[:, None]
        title = f"Adding one scalar to the bias of {class_name(omitted_class)}"
        x_label = f"offset added to the output bias of {class_name(omitted_class)}"
    else:
        at_chosen, xs = 1.0, np.linspace(-0.5, 2, 126)
        offsets = xs[:, None] * chosen
        title = f"Adding one scalar to the bias of each of {class_name(omitted_class)}"
        x_label = "share of the chosen offsets that is added to the output biases"
    metrics = [experiment.measure(add_offsets(experiment.student_logits, omitted_class, b)) for b in offsets]
    probabilities = np.array(
        [core.omitted_probabilities(experiment.probe_logits, omitted_class, b).mean(axis=0) for b in offsets]
    )
    figure = frame.new_figure(experiment, title, 11.5, 5)
    left, right = figure.subplots(1, 2)
    n_omitted = int(np.isin(labels, omitted_class).sum())
    for key, n, colour, label in (
        ("test_accuracy", len(labels), BEFORE, f"all {len(labels):,} test images"),
        ("omitted_accuracy", n_omitted, OMITTED, f"the {n_omitted:,} of {class_name(omitted_class)}"),
    ):
        shares = frame.error_shares([m[key] for m in metrics], n)
        left.plot(xs, shares, color=colour, linewidth=2, label=label)
    left.set_title("test errors, log scale (not used for the choice)")
    frame.error_axis(left)
    if one:  # the paper's way, for comparison: with test labels
        left.axvline(best["offset"], color=INK, linestyle="--", linewidth=1.4, zorder=1.5,
                     label=f"fewest test errors: {best['test_errors']} at {best['offset']:+.2f}")  # fmt: skip
    draw_mean_probabilities(right, experiment, xs, probabilities)
    for axes in (left, right):
        axes.axvline(0, color=TEACHER, linestyle=":", linewidth=1.2)
        chosen_label = f"chosen without test labels: {at_chosen:+.2f}" if one else "chosen: each its own"
        chosen_label = chosen_label if correction.reached else "no offset reaches the target: none is added"
        axes.axvline(at_chosen, color=AFTER, linewidth=1.6, label=chosen_label, zorder=1.5)
        axes.set_xlabel(x_label)
        axes.set_xlim(xs[0], xs[-1])
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=1, fontsize=SMALL)
        say_if_cut(axes)
    return figure


def draw_mean_probabilities(
    axes: Axes, experiment: Experiment, xs: np.ndarray, probabilities: np.ndarray
) -> None:
    """How often the student says the omitted classes on the probe, as `probabilities` (x, classes) tell."""
    correction, omitted_class = experiment.correction, experiment.config.omitted_class
    targets = np.array(correction.target_frequencies)
    if len(omitted_class) == 1:
        axes.plot(xs, probabilities[:, 0], color=OMITTED, linewidth=2, label="mean probability")
        label = f"target, {frame.target_in_words(experiment)}: {100 * targets[0]:.2f} %"
        axes.axhline(targets[0], color=INK, linestyle="-.", linewidth=1, label=label)
        axes.set_title(f"mean probability of {class_name(omitted_class)} on {correction.probe_size:,} images")
    else:
        for c, curve in zip(omitted_class, (probabilities / targets).T, strict=True):
            axes.plot(xs, curve, color=OMITTED, linewidth=1.5)
            axes.annotate(
                f"{c}", (xs[-1], curve[-1]), xytext=(3, 0), textcoords="offset points", color=OMITTED
            )
        axes.axhline(
            1, color=INK, linestyle="--", linewidth=1, label=f"target, {frame.target_in_words(experiment)}"
        )
        axes.set_title(f"mean probability / frequency, {correction.probe_size:,} images")
    percent_axis(axes)


def fates(labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> list[tuple[str, np.ndarray, str]]:
    """Name, members (n,) and colour of the four things that can become of an image; each meets one of them.

    `labels`, and the classes predicted `before` and `after` the correction, are (n,).
    """
    was, is_now = before == labels, after == labels
    return [
        ("right before\nand after", was & is_now, INK),
        ("right only after\nthe correction", ~was & is_now, AFTER),
        ("lost by the bias,\nright before", was & ~is_now, BEFORE),
        ("never right", ~was & ~is_now, OMITTED),
    ]


def omitted_examples(experiment: Experiment) -> Figure:
    """Test images of the omitted classes, by what the correction makes of them.

    A row for each of the four fates; none for images lost by the bias where there are none, as is usual.
    """
    data, omitted_class = experiment.data, experiment.config.omitted_class
    mine = np.flatnonzero(np.isin(data.test_labels, omitted_class))
    labels, rows = data.test_labels[mine], np.arange(len(mine))
    before, after = (core.softmax(z[mine]) for z in (experiment.student_logits, experiment.corrected_logits))
    p_before, p_after = before[rows, labels], after[rows, labels]  # of the image's own class
    groups = fates(labels, before.argmax(1), after.argmax(1))
    groups = [group for group in groups if group[1].any() or not group[0].startswith("lost")]
    title = f"Test images of {frame.instances(omitted_class)}, which the student never saw in training"
    if frame.sees_no_digit(experiment):
        title = "Test images of digits, of which the student never saw one in training"
    own = f"p({omitted_class[0]})" if len(omitted_class) == 1 else "the probability of its own class"
    figure = frame.new_figure(experiment, f"{title} (in brackets: {own})", 12.5, 0.6 + 2 * len(groups))
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
                f"before: {before[index].argmax()} ({p_before[index]:.2f})\n"
                f"after: {after[index].argmax()} ({p_after[index]:.2f})",
                fontsize=SMALL,
            )
        beside = {"transform": row[0].transAxes, "ha": "right", "va": "center", "fontweight": "bold"}
        row[0].text(-0.22, 0.5, f"{name}\n{len(found):,} of {len(mine):,}", color=colour, **beside)
    return figure
