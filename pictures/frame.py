"""What the pictures and the animation share: title, words for what was never seen, the axis of classes."""

from __future__ import annotations

from support.charts import OMITTED, log_axis, titled_figure
from support.experiment import Experiment
from support.report import class_name
from support.settings import DECIDE_NOTHING, flag_name

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import distillation_mnist_omitted_3 as core
from beyond.settings import DRAWN_SETS, Config

# Settings that the origin of a picture does not name: paths, and what its title or the origin says anyway.
NAMED = (*DECIDE_NOTHING, "recipe", "seed", "temperature", "lr_schedule", "omitted_class", "transfer_set")
MOST_FLAGS = 4
LACKS = {"halves": "no whole digit", "rendered": "no training image"}  # all others: no digit


def lacks(experiment: Experiment) -> str:
    """What a student of drawn images never sees: "no digit", "no whole digit", "no training image"."""
    return LACKS.get(experiment.config.transfer_set, "no digit")


def a(c: int) -> str:
    """ "a 3", "an 8"."""
    return f"an {c}" if c == 8 else f"a {c}"


def classes_there(labels: np.ndarray) -> list[int]:
    """The classes that there are images of: of MNIST all ten, of a user's own data maybe fewer."""
    return np.unique(labels).tolist()


def all_of(classes: Sequence[int]) -> str:
    """ "all ten classes", "all 5 classes", "both classes", "class 3"."""
    words = {core.N_CLASSES: "all ten classes", 2: "both classes", 1: class_name(classes)}
    return words.get(len(classes), f"all {len(classes)} classes")


def never_seen(omitted_class: Sequence[int]) -> str:
    """What the student never sees: "a 3", "classes 3, 5", "any digit"."""
    if len(omitted_class) == core.N_CLASSES:
        return "any digit"
    return a(omitted_class[0]) if len(omitted_class) == 1 else class_name(omitted_class)


def instances(omitted_class: Sequence[int]) -> str:
    """ "3s", "3s and 5s" or, where that gets long, "8 classes"; "digits" when it is all of them."""
    if len(omitted_class) == core.N_CLASSES:
        return "digits"
    few = len(omitted_class) <= 2
    return " and ".join(f"{c}s" for c in omitted_class) if few else f"{len(omitted_class)} classes"


LEARNED = 0.5  # of the images of what was never seen: with fewer of them right, no picture says "learns"


def outcome(experiment: Experiment) -> str:
    """What became of it, after "the student never sees a 3" or "... sees noise and no digit"."""
    if experiment.config.hard_weight == 1:
        return "and hears hard labels alone"
    share = experiment.metrics()["after_correction"]["omitted_accuracy"]
    if sees_no_digit(experiment):
        return "and learns to read digits" if share >= LEARNED else f"and reads {100 * share:.2f} % of digits"
    if share < LEARNED:
        return f"and has {100 * share:.2f} % of them right after the correction"
    return f"and learns to recognise {'it' if len(experiment.config.omitted_class) == 1 else 'them'}"


def sees_no_digit(experiment: Experiment) -> bool:
    return len(experiment.config.omitted_class) == core.N_CLASSES


def learner(experiment: Experiment) -> str:
    """Who learns in this experiment: "a student that never sees a 3", "... sees contour lines of noise"."""
    if sees_no_digit(experiment):
        return f"a student that sees {lacks(experiment)}, only {DRAWN_SETS[experiment.config.transfer_set]}"
    return f"a student that never sees {never_seen(experiment.config.omitted_class)}"


def taught_by(experiment: Experiment) -> str:
    """What the student learns from: "soft targets", "hard labels", "soft targets and hard labels"."""
    hard = experiment.config.hard_weight
    return "soft targets" if hard == 0 else "hard labels" if hard == 1 else "soft targets and hard labels"


def other_settings(config: Config) -> str:
    """What else was set otherwise than in the recipe, as flags: ", --hard-weight 1"."""
    usual = Config(recipe=config.recipe, transfer_set=config.transfer_set)
    changed = [item.name for item in fields(config) if item.name not in NAMED]
    changed = [name for name in changed if getattr(config, name) != getattr(usual, name)]
    words = []
    for name in changed[:MOST_FLAGS]:
        value = getattr(config, name)
        values = [f"{x:g}" if isinstance(x, float) else f"{x}" for x in np.atleast_1d(value).tolist()]
        words.append(" ".join([flag_name(name), *values]))
    return "".join(f", {word}" for word in words) + (", ..." if len(changed) > MOST_FLAGS else "")


def new_figure(experiment: Experiment, title: str, width: float, height: float) -> Figure:
    """An empty figure with the title and, small, which data and settings it shows."""
    config = experiment.config
    origin = (
        f"{experiment.data.name}, temperature {config.temperature:g}, recipe {config.recipe}, "
        f"{config.lr_schedule} rate, seed {config.seed}{other_settings(config)}"
    )
    return titled_figure(title, origin, width, height)


def mark_omitted(axes: Axes, omitted_class: Sequence[int], classes: Sequence[int]) -> None:
    """`classes` along the x axis, the omitted ones shaded and named, unless it is all ten."""
    axes.set_xticks(classes)
    if len(omitted_class) == core.N_CLASSES:
        axes.set_xlabel("class (the student never saw a digit of any)", color=OMITTED, fontweight="bold")
        return
    note = "\nnever seen" if len(omitted_class) == 1 else ""
    if len(omitted_class) > 1:
        axes.set_xlabel("shaded: classes never seen", color=OMITTED, fontweight="bold")
    axes.set_xticklabels([f"{c}{note}" if c in omitted_class else str(c) for c in classes])
    for c, label in zip(classes, axes.get_xticklabels(), strict=True):
        if c not in omitted_class:
            continue
        label.set_color(OMITTED)
        label.set_fontweight("bold")
        axes.axvspan(c - 0.5, c + 0.5, color=OMITTED, alpha=0.12, linewidth=0, zorder=0)


def target_in_words(experiment: Experiment) -> str:
    """Where the targets of the correction come from."""
    config = experiment.config
    if config.probe == "transfer":
        return "the teacher's mean probability"
    return "its frequency in training" if config.prior == "known" else "its frequency as EM finds it"


def not_all_heard(experiment: Experiment) -> str:
    """What a picture of the teacher's answers has to add where the student hears something else."""
    config = experiment.config
    if config.spare_outputs:
        return " (the student hears other outputs)"
    if config.hard_weight == 1:
        return " (this student hears hard labels alone)"
    if config.soft_part != "whole":
        return f" (the student hears the {config.soft_part} part alone)"
    return "" if config.teacher_answers == "whole" else f" (the student hears: {config.teacher_answers})"


def n_errors(n: int) -> str:
    """ "1 error", "1,234 errors"."""
    return f"{n:,} error{'' if n == 1 else 's'}"


def error_axis(axes: Axes) -> None:
    """Shares of errors on a logarithmic axis: it shows what happens between 99 and 100 % right."""
    log_axis(axes, lambda share: f"{100 * share:.3g} %")


def error_shares(accuracies: Sequence[float], n: int) -> np.ndarray:
    """1 - accuracy, no less than half an error of n images: a logarithmic axis has no zero."""
    return np.maximum(1 - np.asarray(accuracies, float), 0.5 / n)
