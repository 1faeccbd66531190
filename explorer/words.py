"""The page's words for the classes and the data of a run: no sentence of it is about 3s unless the run is."""

from __future__ import annotations

from support.experiment import Experiment
from support.report import short_name

from collections.abc import Sequence

import numpy as np

import distillation_mnist_omitted_3 as core
from beyond.settings import DRAWN_SETS
from pictures.frame import a, instances, lacks, sees_no_digit


def one_of(classes: Sequence[int]) -> str:
    """ "a 3", "a 3 or a 5", "a 0, 1, 2 or 9", "a digit"."""
    if len(classes) == core.N_CLASSES:
        return "a digit"
    if len(classes) <= 2:
        return " or ".join(map(a, classes))
    return f"{a(classes[0])}, {', '.join(map(str, classes[1:-1]))} or {classes[-1]}"


def taught(experiment: Experiment) -> list[int]:
    """The classes whose images the teacher learned from."""
    never = experiment.config.teacher_omitted_class
    return [c for c in np.unique(experiment.data.train_labels).tolist() if c not in never]


def all_taught(experiment: Experiment) -> str:
    """What the teacher saw: "all ten digits" or, of other data, "3s and 8s"."""
    classes = taught(experiment)
    return "all ten digits" if len(classes) == core.N_CLASSES else every([f"{c}s" for c in classes])


def teacher_story(experiment: Experiment) -> str:
    """What became of the teacher; to name one class whatever the image is no reading."""
    labels = experiment.data.test_labels
    right = int((experiment.teacher.test_logits[-1].argmax(axis=1) == labels).sum())
    if right <= np.bincount(labels).max():
        return "was to learn to read digits, and reads none better than by naming one class of all"
    whole = len(np.unique(experiment.data.train_labels)) == core.N_CLASSES
    return f"learned to read {'digits' if whole else all_taught(experiment)}"


def tour_bias(experiment: Experiment, of_all: str) -> str:
    """What the slider of a single bias, or of many, lets one see."""
    found = experiment.metrics()
    before, after = (found[f"{when}_correction"]["omitted_errors"] for when in ("before", "after"))
    if len(experiment.correction.classes) == 1 and after < before:
        return f"see how {of_all} become right, and in the end other digits wrong."
    return "see which digits become right, and which wrong."


TEMPERATURES = (1, 50)  # the ends of the slider
# Where the student sees something of digits: what it has never seen, after "draw a digit" and in full.
NEVER = {
    "halves": ("a whole one", "a whole digit"),
    "rendered": ("one of the training set", "a training image"),
}


# What a student heard whose teacher's answers were altered, on purpose, to see what is lost.
ANSWERS = {
    "mean": "On every image it heard the same, a mean, of how much that looks like {}.",
    "class-mean": "Of how much an image looks like {} it heard only the mean over all images of its class.",
    "shuffled": "How much an image looks like {} it heard of another image of the same class.",
    "alone": "It heard how much an image looks like {}; of the rest only means over all images of a class.",
}
# Which of the transfer set a student of a part of it saw.
CHOICES = {
    "random": ", taken at random",
    "least-like": ", those that the teacher finds least like what was removed",
    "least-like-within": ", of each digit those that the teacher finds least like what was removed",
    "most-like-within": ", of each digit those that the teacher finds most like what was removed",
    "most-like": ", those that the teacher finds most like what was removed",
}


def origin_notice(name: str) -> str:
    """What stands above everything when the digits are not MNIST's; "" when they are."""
    if name == "MNIST":
        return ""
    if name.startswith("rendered"):
        return (
            f"Not MNIST: this page was made from {name}, which this project draws by itself as a stand-in. "
            "Its figures are not those of the paper's data, and its networks know printed digits better than "
            "drawn ones."
        )
    return f"This page was made from other data than MNIST's training and test set: {name}."


def what_differs(experiment: Experiment) -> str:
    """What is unusual about the teacher or about what the student heard, in a sentence each; mostly ""."""
    config, said = experiment.config, []
    if never := config.teacher_omitted_class:
        said.append(f"This teacher never saw {one_of(never)} either.")
    if config.mislabelled:
        shown, called = config.mislabelled
        share = "" if config.mislabelled_share == 1 else f"{100 * config.mislabelled_share:g} % of "
        said.append(f"This teacher was told that {share}the {shown}s are {called}s.")
    if config.label_smoothing:
        said.append(f"This teacher's labels were smoothed, by {config.label_smoothing:g}.")
    if config.soft_part != "whole":
        said.append(f"This student heard no more than the {config.soft_part} part of its teacher's answers.")
    if config.spare_outputs:
        said.append(
            f"This student heard {config.spare_outputs} outputs that mean nothing, and none of the classes."
        )
    if 0 < config.hard_weight < 1:
        said.append(f"Hard labels have a weight of {config.hard_weight:g} in what this student learned from.")
    if config.teacher_answers != "whole":
        said.append(ANSWERS[config.teacher_answers].format(one_of(config.omitted_class)))
    if config.transfer_fraction < 1:
        share, which = f"{100 * config.transfer_fraction:g} %", CHOICES[config.transfer_choice]
        said.append(f"It saw {share} of these images{which}.")
    if config.background:
        said.append(f"An empty pixel is {config.background:g} for these networks.")
    return " ".join(said)


def words(experiment: Experiment) -> dict[str, str]:
    """Pieces of the page's sentences by name."""
    config = experiment.config
    omitted, drawn = config.omitted_class, sees_no_digit(experiment)
    last = "the last row" if len(omitted) == 1 else f"the last {len(omitted)} rows"
    several, digit = len(omitted) > 2 and not drawn, one_of(omitted)
    of_all = "unseen digits" if several else instances(omitted)
    alone = len(experiment.correction.classes) == 1
    never_one, never_digit = NEVER.get(config.transfer_set, ("one", digit))
    if drawn:
        sees = f"{lacks(experiment)}, only {DRAWN_SETS[config.transfer_set]}"
        story = f"The student saw {sees}, and heard what the teacher says of each."
        dark = (
            "These are images that the student learned from. The first of each row are those that the "
            "teacher finds most like that digit, then come typical ones."
        )
    else:
        source = {0.0: "only from the teacher's answers", 1.0: "from labels alone"}.get(
            config.hard_weight, "from the teacher's answers and from labels"
        )
        story = f"The student learned {source}, on images from which every {every(omitted)} was removed."
        dark = (
            f"These are training images; the student saw all but {last}. The first of each row are those "
            f"that the teacher finds most {likeness(omitted)}, then come typical ones."
        )
    return {
        "a_digit": digit,
        "never_one": never_one,
        "never_digit": never_digit,
        "digits": of_all,
        "every": every(omitted),
        "test_digits": "unseen test digits" if several else f"test {of_all}",
        "unseen": short_name(omitted) if len(omitted) == 1 else "" if drawn else "digits never seen",
        "likeness": "" if drawn else likeness(omitted),
        "teacher_story": teacher_story(experiment),
        "student_story": story,
        "control_story": ""
        if drawn or config.spare_outputs or config.hard_weight == 1
        else "The last one was taught by labels alone, which say nothing of what it never saw.",
        "dark_hint": dark,
        "bias_hint": f"This is the one for {omitted[0]}." if alone else "Each class has a slider of its own.",
        "paper_chose": "+3.5 for its student's 3s" if omitted == (3,) else "its offsets",
        "biases": "bias" if alone else "biases",
        "a_target": a(3 if drawn else omitted[0]),
        "tour_bias": tour_bias(experiment, of_all),
        "walk_hint": f"the student's comes from {source_of_ideas(experiment)}.",
        "heard_hint": heard_hint(experiment),
        "epochs_hint": "Not one of them was shown to it, in any epoch.",
        "tour_t": f"{min(config.temperature, TEMPERATURES[1]):g}",
        "notice": origin_notice(experiment.data.name),
        "differs": what_differs(experiment),
        "origin": (
            f"{experiment.data.name}, recipe {config.recipe}, temperature {config.temperature:g}, "
            f"seed {config.seed}; teacher {trained(experiment, 'teacher')}, student "
            f"{trained(experiment, 'student')}"
        ),
    }


def trained(experiment: Experiment, kind: str) -> str:
    """ "784-1200-1200-10, 60 epochs"."""
    settings = experiment.config.training(kind)
    epochs = "epoch" if settings.n_epochs == 1 else "epochs"
    return f"{'-'.join(map(str, settings.sizes))}, {settings.n_epochs} {epochs}"


def heard_hint(experiment: Experiment) -> str:
    """What the student heard of the teacher's softened answers."""
    config = experiment.config
    if config.hard_weight == 1:
        return "This student heard none of it: it learned from labels alone"
    if config.spare_outputs:
        return "This student heard other outputs in their place, which mean nothing"
    return f"The student learned from answers like these, at T = {config.temperature:g}"


def source_of_ideas(experiment: Experiment) -> str:
    """Where the student's idea of what it never saw comes from."""
    config = experiment.config
    if config.hard_weight == 1:
        return "labels of other digits alone"
    return "outputs that mean nothing" if config.spare_outputs else "hearsay alone"


def every(classes: Sequence[object]) -> str:
    """ "3", "3 and 5", "0, 1 and 9"."""
    return " and ".join(filter(None, (", ".join(map(str, classes[:-1])), str(classes[-1]))))


def likeness(classes: Sequence[int]) -> str:
    """ "3-like", or for several classes "like those removed"."""
    return f"{classes[0]}-like" if len(classes) == 1 else "like those removed"
