"""The page's words for the classes and the data of a run: no sentence of it is about 3s unless the run is."""

from __future__ import annotations

from support.experiment import Experiment
from support.report import short_name

from collections.abc import Sequence

import distillation_mnist_omitted_3 as core
from pictures.frame import instances, lacks, sees_no_digit
from transfer.settings import DRAWN_SETS


def a(c: int) -> str:
    """ "a 3", "an 8"."""
    return f"an {c}" if c == 8 else f"a {c}"


def one_of(classes: Sequence[int]) -> str:
    """ "a 3", "a 3 or a 5", "a 0, 1, 2 or 9", "a digit"."""
    if len(classes) == core.N_CLASSES:
        return "a digit"
    if len(classes) <= 2:
        return " or ".join(map(a, classes))
    return f"{a(classes[0])}, {', '.join(map(str, classes[1:-1]))} or {classes[-1]}"


# Where the student sees something of digits: what it has never seen, after "draw a digit" and in full.
NEVER = {
    "halves": ("a whole one", "a whole digit"),
    "rendered": ("one of the training set", "a training image"),
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
    if config.spare_outputs:
        said.append(
            f"This student heard {config.spare_outputs} outputs that mean nothing, and none of the classes."
        )
    if 0 < config.hard_weight < 1:
        said.append(f"Hard labels have a weight of {config.hard_weight:g} in what this student learned from.")
    if config.teacher_answers != "whole":
        said.append(f"Of the teacher's answers on what it never saw it heard: {config.teacher_answers}.")
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
        "test_digits": "unseen test digits" if several else f"test {of_all}",
        "unseen": short_name(omitted) if len(omitted) == 1 else "" if drawn else "digits never seen",
        "likeness": "" if drawn else likeness(omitted),
        "student_story": story,
        "dark_hint": dark,
        "bias_hint": f"This is the one for {omitted[0]}." if alone else "Each class has a slider of its own.",
        "paper_chose": "+3.5 for its student's 3s" if omitted == (3,) else "its offsets",
        "biases": "bias" if alone else "biases",
        "a_target": a(3 if drawn else omitted[0]),
        "tour_bias": (
            f"see how {of_all} become right, and in the end other digits wrong."
            if alone
            else "see which digits become right, and which wrong."
        ),
        "walk_hint": "the student's comes from hearsay alone.",
        "epochs_hint": "Not one of them was shown to it, in any epoch.",
        "t": f"{config.temperature:g}",
        "notice": origin_notice(experiment.data.name),
        "differs": what_differs(experiment),
        "origin": (
            f"{experiment.data.name}, recipe {config.recipe}, temperature {config.temperature:g}, "
            f"seed {config.seed}"
        ),
    }


def every(classes: Sequence[int]) -> str:
    """ "3", "3 and 5", "0, 1 and 9"."""
    return " and ".join(filter(None, (", ".join(map(str, classes[:-1])), str(classes[-1]))))


def likeness(classes: Sequence[int]) -> str:
    """ "3-like", or for several classes "like those removed"."""
    return f"{classes[0]}-like" if len(classes) == 1 else "like those removed"
