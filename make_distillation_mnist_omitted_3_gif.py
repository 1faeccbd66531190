#!/usr/bin/env python3
"""The animation: a student learns to recognise a digit that it never sees, epoch by epoch.

    python3 make_distillation_mnist_omitted_3_gif.py        # distillation_mnist_omitted_3.gif

Takes the flags of distillation_mnist_omitted_3.py and trains only what is not stored yet. Every frame is
drawn from the test logits that were stored after that epoch.
"""

from __future__ import annotations

from support.charts import AFTER, BEFORE, OMITTED, STYLE, draw_image, epoch_axis, percent_axis
from support.console import Console, UserError, run_script
from support.data import warn_of_stand_in
from support.experiment import Experiment
from support.files import atomic_output, check_output
from support.settings import argument_parser, given_settings, named_file, whole_number

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import distillation_mnist_omitted_3 as core
import visualize_distillation_mnist_omitted_3 as visualize
from distillation_mnist_omitted_3 import Config

GIF_NAME = "distillation_mnist_omitted_3.gif"
N_DIGITS = 8  # test images of the omitted class in every frame
HOLD_BEFORE_SECONDS = 2.5  # the last frame before the correction
HOLD_AFTER_SECONDS = 5.0  # the corrected student, before the animation starts again
N_COLOURS = 128
LOWEST_FPS, HIGHEST_FPS = 0.1, 50  # a GIF counts a frame's hundredths of a second in 16 bits


def chosen_digits(experiment: Experiment) -> np.ndarray:
    """Indices of N_DIGITS test images of the omitted classes, hardest for the student first.

    Half of them are those that only the correction repairs, where there are that many: they show what it
    does.
    """
    mine = np.flatnonzero(np.isin(experiment.data.test_labels, experiment.config.omitted_class))
    labels = experiment.data.test_labels[mine]
    before = core.softmax(experiment.student_logits[mine])
    after = experiment.corrected_logits[mine].argmax(axis=1)
    repaired = (before.argmax(axis=1) != labels) & (after == labels)
    own = before[np.arange(len(mine)), labels]  # probability of the image's own class
    ordered = own.argsort()

    def spread(candidates: np.ndarray, n: int) -> np.ndarray:
        return candidates[np.linspace(0, len(candidates) - 1, min(n, len(candidates))).round().astype(int)]

    first = spread(ordered[repaired[ordered]], N_DIGITS // 2)
    rest = spread(ordered[~repaired[ordered]], N_DIGITS - len(first))
    both = np.concatenate((first, rest))
    return mine[both[own[both].argsort()]]


def draw_bars(axes: Axes, metrics: dict, omitted_class: Sequence[int], colour: str) -> None:
    values = [0.0 if v is None else v for v in metrics["per_class_accuracy"]]
    bars = axes.bar(range(core.N_CLASSES), values, color=colour, width=0.75)
    visualize.mark_omitted(axes, omitted_class)
    few = len(omitted_class) <= 3
    for c in omitted_class:
        bars[c].set_color(OMITTED)
        axes.annotate(
            f"{100 * values[c]:.1f} %" if few else f"{100 * values[c]:.0f}",
            (c, values[c]),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            color=OMITTED,
            fontweight="bold",
            fontsize=10 if few else 8,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
        )
    axes.set_ylim(0, 1.1)
    axes.set_title("student's test accuracy per class")
    percent_axis(axes)


def draw_curves(axes: Axes, experiment: Experiment, entries: list[dict], epoch: int, corrected: bool) -> None:
    """Accuracies up to `epoch`; at the end of the true curves, the jump that the correction makes."""
    omitted_class = experiment.config.omitted_class
    after = experiment.metrics()["after_correction"]
    end = len(entries) + max(1.0, 0.08 * len(entries))
    for key, label, colour in (
        ("test_accuracy", "all classes", BEFORE),
        ("omitted_accuracy", f"{visualize.instances(omitted_class)}, never seen", OMITTED),
    ):
        values = [entry[key] for entry in entries[:epoch]]
        axes.plot(range(1, epoch + 1), values, color=colour, marker="o", markersize=3.5, label=label)
        if corrected:
            axes.plot([epoch, end], [values[-1], after[key]], color=colour, linestyle=":")
            axes.plot(end, after[key], marker="*", markersize=13, color=colour, linestyle="none")
    if corrected:
        offsets = experiment.correction.offsets
        axes.annotate(
            f"bias {offsets[0]:+.2f}" if len(offsets) == 1 else "biases corrected",
            (end, after["omitted_accuracy"]),
            xytext=(0, -18),
            textcoords="offset points",
            ha="right",
            va="top",
            color=AFTER,
            fontweight="bold",
        )
    lowest = min(min(entry["omitted_accuracy"], entry["test_accuracy"]) for entry in entries)
    axes.set_ylim(max(0.0, lowest - 0.05), 1.02)
    axes.set_title("test accuracy so far")
    axes.legend(loc="lower right")
    percent_axis(axes)
    epoch_axis(axes, len(entries))
    axes.set_xlim(0.5, end + 0.06 * end)
    axes.set_xticks([tick for tick in axes.get_xticks() if 1 <= tick <= len(entries)])


def draw_frame(
    experiment: Experiment, entries: list[dict], digits: np.ndarray, epoch: int, corrected: bool
) -> Figure:
    """The student after `epoch` epochs or, at the end, after the correction."""
    omitted_class, data = experiment.config.omitted_class, experiment.data
    logits = experiment.corrected_logits if corrected else experiment.student.test_logits[epoch - 1]
    metrics = experiment.measure(logits)
    probabilities = core.softmax(logits[digits])
    state = "bias corrected" if corrected else f"epoch {epoch} of {len(entries)}"
    figure = visualize.new_figure(
        experiment,
        f"A student that never sees {visualize.never_seen(omitted_class)}, taught by soft targets: {state}",
        10,
        6.2,
    )
    upper, lower, _ = figure.subfigures(3, 1, height_ratios=(2.1, 1, 0.07))  # the last for the origin
    left, right = upper.subplots(1, 2)
    draw_bars(left, metrics, omitted_class, AFTER if corrected else BEFORE)
    draw_curves(right, experiment, entries, epoch, corrected)
    lower.suptitle(
        f"{len(digits)} test images of {visualize.instances(omitted_class)}: the student's guess, "
        "and its p of the right answer",
        x=0.01,
        ha="left",
        fontsize=12,
    )
    row = lower.subplots(1, len(digits), squeeze=False)[0]
    for axes, index, p in zip(row, digits, probabilities, strict=True):
        image, label, guess = data.test_images[index], data.test_labels[index], int(p.argmax())
        right_guess = guess == label
        draw_image(axes, image)
        axes.set_xlabel(
            f"{'✓' if right_guess else '✗'} {guess}\np({label}) = {p[label]:.2f}",
            color=AFTER if right_guess else OMITTED,
            fontweight="bold" if right_guess else "normal",
        )
        for spine in axes.spines.values():
            spine.set_color(AFTER if right_guess else OMITTED)
            spine.set_linewidth(2)
    return figure


def frame_image(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return Image.open(buffer).convert("RGB")


def animation(experiment: Experiment, snapshot_every: int, fps: float) -> tuple[list[Image.Image], list[int]]:
    """Frames and their durations in milliseconds; the last two are held."""
    n_epochs = len(experiment.student.losses)
    entries = experiment.history("student")
    digits = chosen_digits(experiment)
    epochs = sorted({1, *range(snapshot_every, n_epochs + 1, snapshot_every), n_epochs})
    steps = [(epoch, False) for epoch in epochs] + [(n_epochs, True)]
    frames = [frame_image(draw_frame(experiment, entries, digits, *step)) for step in steps]
    durations = [round(1000 / fps)] * len(frames)
    durations[-2:] = round(1000 * HOLD_BEFORE_SECONDS), round(1000 * HOLD_AFTER_SECONDS)
    # one palette for all frames, made from the last one, keeps colours still and the file small
    palette = frames[-1].quantize(N_COLOURS)
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames], durations


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser("Animate the student's training; trains only what is not stored yet.", Config)
    parser.add_argument(
        "--snapshot-every",
        type=whole_number,
        default=1,
        help="epochs from one frame to the next (default: %(default)s)",
    )
    parser.add_argument("--fps", type=float, default=3.0, help="frames per second (default: %(default)s)")
    parser.add_argument(
        "--out",
        type=named_file,
        help=f"file to write (default: {GIF_NAME}, for other data than MNIST in --outdir)",
    )
    arguments = parser.parse_args(argv)
    if arguments.snapshot_every < 1:
        raise UserError(f"--snapshot-every must be 1 or more, not {arguments.snapshot_every}")
    if not LOWEST_FPS <= arguments.fps <= HIGHEST_FPS:
        raise UserError(f"--fps must be from {LOWEST_FPS} to {HIGHEST_FPS}, not {arguments.fps}")
    config = core.config_from(given_settings(arguments, Config))
    visualize.check_something_omitted(config)
    if arguments.out:
        check_output(arguments.out)
    console = Console(config.quiet)
    experiment = core.run(config, console)
    beside_this_file = Path(__file__).resolve().parent / GIF_NAME
    default = beside_this_file if experiment.data.name == "MNIST" and not config.outdir else None
    path = arguments.out or default or experiment.outdir / GIF_NAME
    check_output(path)
    with rc_context(STYLE):
        frames, durations = animation(experiment, arguments.snapshot_every, arguments.fps)
    with atomic_output(path) as temporary:
        frames[0].save(
            temporary,
            "GIF",
            save_all=True,
            append_images=frames[1:],
            duration=durations,
            loop=0,
            optimize=False,
        )
    console.line(f"wrote {path}: {len(frames)} frames, {path.stat().st_size / 1e6:.1f} MB")
    warn_of_stand_in(experiment.data, core.RENDERED_NOTICE, console)


if __name__ == "__main__":
    run_script(main)
