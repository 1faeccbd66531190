#!/usr/bin/env python3
"""The animation: a student learns to recognise a digit that it never sees, epoch by epoch.

    python3 make_distillation_mnist_omitted_3_gif.py        # distillation_mnist_omitted_3.gif

Takes the flags of distillation_mnist_omitted_3.py and trains only what is not stored yet. Every frame is
drawn from the test logits that were stored after that epoch.
"""

from __future__ import annotations

from support.charts import (
    AFTER,
    BEFORE,
    INK,
    OMITTED,
    TEACHER,
    draw_image,
    epoch_axis,
    our_style,
    percent_axis,
)
from support.console import Console, UserError, run_script
from support.data import warn_of_stand_in
from support.experiment import Experiment
from support.files import atomic_output, check_output
from support.settings import argument_parser, given_settings, whole_number, written_file

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import distillation_mnist_omitted_3 as core
from beyond import pipeline
from beyond.data import RENDERED_NOTICE
from beyond.settings import Config
from pictures.frame import (
    error_axis,
    error_shares,
    instances,
    learner,
    mark_omitted,
    new_figure,
    sees_no_digit,
    taught_by,
)
from visualize_distillation_mnist_omitted_3 import check_something_omitted

GIF_NAME = "distillation_mnist_omitted_3.gif"
N_DIGITS = 8  # test images of the omitted class in every frame
HOLD_BEFORE_SECONDS = 2.5  # the last frame before the correction
HOLD_AFTER_SECONDS = 5.0  # the corrected student, before the animation starts again
N_COLOURS = 128
LOWEST_FPS, HIGHEST_FPS = 0.1, 50  # a GIF counts a frame's hundredths of a second in 16 bits


@dataclass(frozen=True)
class Story:
    """What all frames show."""

    experiment: Experiment
    entries: list[dict]  # the student's history
    digits: np.ndarray  # indices of test images
    hard: list[dict] | None  # the history of the same student on hard labels


def is_repaired(experiment: Experiment, images: np.ndarray) -> np.ndarray:
    """Which of the test images with these indices (n,) only the correction makes right: (n,), booleans."""
    labels = experiment.data.test_labels[images]
    logits = (experiment.student_logits, experiment.corrected_logits)
    before, after = (z[images].argmax(axis=1) == labels for z in logits)
    return ~before & after


def chosen_digits(experiment: Experiment) -> np.ndarray:
    """Indices of N_DIGITS test images of the omitted classes, hardest for the student first: no random ones.

    Half of them are those that only the correction repairs, where there are that many: they show what it
    does.
    """
    mine = np.flatnonzero(np.isin(experiment.data.test_labels, experiment.config.omitted_class))
    labels = experiment.data.test_labels[mine]
    own = core.softmax(experiment.student_logits[mine])[np.arange(len(mine)), labels]  # of its own class
    repaired = is_repaired(experiment, mine)
    ordered = own.argsort()

    def spread(candidates: np.ndarray, n: int) -> np.ndarray:
        return candidates[np.linspace(0, len(candidates) - 1, min(n, len(candidates))).round().astype(int)]

    first = spread(ordered[repaired[ordered]], N_DIGITS // 2)
    rest = spread(ordered[~repaired[ordered]], N_DIGITS - len(first))
    both = np.concatenate((first, rest))
    return mine[both[own[both].argsort()]]


def draw_bars(axes: Axes, metrics: dict, omitted_class: Sequence[int], colour: str, state: str) -> None:
    """A bar for each class of which there are test images; those of unseen ones carry their height."""
    values = {c: value for c, value in enumerate(metrics["per_class_accuracy"]) if value is not None}
    bars = dict(
        zip(values, axes.bar(list(values), list(values.values()), color=colour, width=0.75), strict=True)
    )
    mark_omitted(axes, omitted_class, list(values))
    few = len(omitted_class) <= 3
    for c in omitted_class if len(omitted_class) < core.N_CLASSES else ():
        bars[c].set_color(OMITTED)
        axes.annotate(
            f"{100 * values[c]:.1f} %" if few else f"{100 * values[c]:.0f}", (c, values[c]), xytext=(0, 4),
            textcoords="offset points", ha="center", color=OMITTED, fontweight="bold",
            fontsize=10 if few else 8,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
        )  # fmt: skip
    axes.set_ylim(0, 1.1)
    axes.set_title(f"{state}: test accuracy per class", fontweight="bold")
    percent_axis(axes)


def hard_label_student(config: Config, console: Console) -> list[dict] | None:
    """The same student's history on hard labels; None where there are no labels. Raises UserError."""
    if config.is_drawn or config.spare_outputs or config.hard_weight == 1:
        return None
    console.line("for comparison, a control: the same student on hard labels. These say nothing")
    console.line(
        f"of what it never sees, so 0 % of {instances(config.omitted_class)} is expected, and no failure:"
    )
    hard = replace(config, hard_weight=1.0, teacher_answers="whole", soft_part="whole")
    return pipeline.run(hard, console).history("student")


def draw_curves(axes: Axes, story: Story, epoch: int, corrected: bool) -> None:
    """Errors up to `epoch`; at the end of the true curves, the jump that the correction makes."""
    experiment, entries = story.experiment, story.entries
    omitted_class, labels = experiment.config.omitted_class, experiment.data.test_labels
    after, teacher = (experiment.metrics()[name] for name in ("after_correction", "teacher"))
    end = len(entries) + max(1.0, 0.08 * len(entries))
    unseen = (("omitted_accuracy", f"{instances(omitted_class)}, never seen", OMITTED),)
    what = (("test_accuracy", "all classes", BEFORE), *(() if sees_no_digit(experiment) else unseen))
    n_of = {"test_accuracy": len(labels), "omitted_accuracy": int(np.isin(labels, omitted_class).sum())}
    lowest, epochs = 1.0, range(1, epoch + 1)
    for key, label, colour in what:
        shares = error_shares([entry[key] for entry in entries], n_of[key])
        at_end, of_teacher = (error_shares([m[key]], n_of[key])[0] for m in (after, teacher))
        axes.plot(epochs, shares[:epoch], color=colour, marker="o", markersize=3.5, label=label)
        if story.hard is not None:
            hard = error_shares([entry[key] for entry in story.hard], n_of[key])
            label = f"on hard labels (upper: {instances(omitted_class)})" if colour == BEFORE else None
            axes.plot(epochs, hard[:epoch], color=INK, linewidth=1.2, linestyle="--", label=label)
        if key == "test_accuracy":
            axes.axhline(of_teacher, color=TEACHER, linewidth=2, label="its teacher, all classes", zorder=1)
        if corrected:
            axes.plot([epoch, end], [shares[epoch - 1], at_end], color=colour, linestyle=":")
            axes.plot(end, at_end, marker="*", markersize=13, color=colour, linestyle="none")
        lowest = min(lowest, at_end, of_teacher, *shares)
    axes.set_ylim(0.55 * lowest, 3.5)
    axes.set_title("test errors so far (log scale)")
    axes.legend(loc="upper right", ncols=2, fontsize=9)
    error_axis(axes)
    axes.set_yticks([tick for tick in axes.get_yticks() if 0.55 * lowest <= tick <= 1])
    epoch_axis(axes, len(entries))
    axes.set_xlim(0.5, end + 0.06 * end)
    offsets, correction = experiment.correction.offsets, after_correction(experiment)
    ticks = [tick for tick in axes.get_xticks() if 1 <= tick <= len(entries)]
    words = f"bias {offsets[0]:+.2f}" if correction == "bias corrected" else correction
    axes.set_xticks([*ticks, end], [*(f"{tick:g}" for tick in ticks), f"\n{words}"])
    label = axes.get_xticklabels()[-1]  # in every frame, so that nothing moves when it is to be seen
    label.set(color=AFTER if corrected else "none", fontweight="bold", ha="right")
    axes.xaxis.set_label_coords(0.45, -0.12)  # beside these words, not below them


def after_correction(experiment: Experiment) -> str:
    """What the last frame shows: "bias corrected", "biases corrected", or that there is no such bias."""
    correction = experiment.correction
    if not correction.reached:
        return "no bias reaches its target"
    return "bias corrected" if len(correction.classes) == 1 else "biases corrected"


def row_title(experiment: Experiment, digits: np.ndarray) -> str:
    """How many test images these are, of how many, and how they were chosen."""
    omitted_class, n = experiment.config.omitted_class, len(digits)
    of = int(np.isin(experiment.data.test_labels, omitted_class).sum())
    repaired = int(is_repaired(experiment, digits).sum())
    words = f"{n} of {of:,} test image{'' if of == 1 else 's'} of {instances(omitted_class)}"
    if n > 1:
        words += ", from hard to easy"
    if repaired:
        words += f"; {repaired} chosen because the correction repairs {'it' if repaired == 1 else 'them'}"
    return words


def draw_frame(story: Story, epoch: int, corrected: bool) -> Figure:
    """The student after `epoch` epochs or, at the end, after the correction."""
    experiment, entries, digits = story.experiment, story.entries, story.digits
    omitted_class, data = experiment.config.omitted_class, experiment.data
    logits = experiment.corrected_logits if corrected else experiment.student.test_logits[epoch - 1]
    metrics = experiment.measure(logits)
    probabilities = core.softmax(logits[digits])
    done, state = after_correction(experiment), f"epoch {epoch} of {len(entries)}"
    who = learner(experiment)
    # the same in every frame, so that nothing moves where it takes two lines
    title = f"{who[0].upper()}{who[1:]}, taught by {taught_by(experiment)}"
    figure = new_figure(experiment, title, 10, 6.4)
    upper, lower, _ = figure.subfigures(3, 1, height_ratios=(2.1, 1, 0.07))  # the last for the origin
    left, right = upper.subplots(1, 2)
    draw_bars(left, metrics, omitted_class, AFTER if corrected else BEFORE, done if corrected else state)
    draw_curves(right, story, epoch, corrected)
    lower.suptitle(row_title(experiment, digits), x=0.01, ha="left", fontsize=12)
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


def animation(story: Story, snapshot_every: int, fps: float) -> tuple[list[Image.Image], list[int]]:
    """Frames and their durations in milliseconds; the last two are held."""
    n_epochs = len(story.entries)
    epochs = sorted({1, *range(snapshot_every, n_epochs, snapshot_every), n_epochs})
    steps = [(epoch, False) for epoch in epochs] + [(n_epochs, True)]
    frames = [frame_image(draw_frame(story, *step)) for step in steps]
    durations = [round(1000 / fps)] * len(frames)
    durations[-2:] = round(1000 * HOLD_BEFORE_SECONDS), round(1000 * HOLD_AFTER_SECONDS)
    # one palette for all frames, made from the last one, keeps colours still and the file small
    palette = frames[-1].quantize(N_COLOURS)
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames], durations


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser("Animate the student's training; trains only what is not stored yet.", Config)
    parser.add_argument(
        "--snapshot-every", type=whole_number, default=1,
        help="epochs from one frame to the next (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--fps", type=float, default=3.0, help="frames per second (default: %(default)s)")
    parser.add_argument(
        "--out", type=written_file(".gif"),
        help=f"file to write (default: {GIF_NAME}, for other data than MNIST in --outdir)",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    if arguments.snapshot_every < 1:
        raise UserError(f"--snapshot-every must be 1 or more, not {arguments.snapshot_every}")
    if not LOWEST_FPS <= arguments.fps <= HIGHEST_FPS:
        raise UserError(f"--fps must be from {LOWEST_FPS} to {HIGHEST_FPS}, not {arguments.fps}")
    config = Config(**given_settings(arguments, Config))
    check_something_omitted(config)
    if arguments.out:
        check_output(arguments.out)
    console = Console(config.quiet)
    experiment = pipeline.run(config, console)
    beside_this_file = Path(__file__).resolve().parent / GIF_NAME
    default = beside_this_file if experiment.data.name == "MNIST" and not config.outdir else None
    path = arguments.out or default or experiment.outdir / GIF_NAME
    check_output(path)
    with our_style():
        digits, entries = chosen_digits(experiment), experiment.history("student")
        story = Story(experiment, entries, digits, hard_label_student(config, console))
        frames, durations = animation(story, arguments.snapshot_every, arguments.fps)
    with atomic_output(path) as temporary:
        looped = {"append_images": frames[1:], "duration": durations, "loop": 0}
        frames[0].save(temporary, "GIF", save_all=True, optimize=False, **looped)
    console.line(f"wrote {path}: {len(frames)} frames, {path.stat().st_size / 1e6:.1f} MB")
    warn_of_stand_in(experiment.data, RENDERED_NOTICE, console)


if __name__ == "__main__":
    run_script(main)
