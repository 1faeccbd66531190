"""What a student's logit for a class that it never saw lacks of its teacher's, and what mends it."""

from __future__ import annotations

from support.corrections import (
    OneAgainstAll,
    adjusted_prior,
    area_under,
    centred,
    corrected,
    counts,
    factor_and_offset,
    seen_unseen_curve,
)
from support.data import Data
from support.experiment import Experiment
from support.offsets import best_offset_on_test_set
from support.regression import line, linear, nearest, ridge
from support.settings import DECIDE_NOTHING, N_CLASSES
from support.tiles import Workers

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from beyond.images import Drawing
from beyond.settings import Config
from distillation_mnist_omitted_3 import MLP, predict

FACTORS = tuple(np.linspace(1, 1.8, 33).round(3).tolist())  # at which errors are counted
OFFSETS = tuple(np.linspace(0, 5, 21).round(3).tolist())
GRIDS = {  # of factors and offsets, among which a correction's best is looked for
    "offset": [(1.0, b) for b in OFFSETS],
    "factor": [(f, 0.0) for f in FACTORS],
    "both": [(f, b) for f in FACTORS[::2] for b in OFFSETS[::2]],
}
SAME_HEIGHT = (6.0, 12.0)  # of the teacher's logit: there are images of the omitted class and others
N_TRANSFER = 10_000  # images that the student learned from: enough for means
N_VALID = 3_000  # of these, what a linear student does not learn from: its penalty is chosen there
PENALTIES = (1e-6, 1e-4, 1e-2, 1e-1, 1.0)
N_RANDOM = 1000  # random ReLU features
N_NEAREST = 300  # images of which the nearest is looked for
N_OF_CLASS = 1000  # training images of a class left out
N_GLUED = 6000  # images glued together of two halves
SHOWN = (0, 3, (800, 800))  # in the picture: the seed, the class left out, the student
N_SHOWN = 150  # images of the omitted class in it, and twice as many others


def rounded(value: Any, digits: int = 4) -> Any:
    """Numbers that take no more room in a file than they are worth."""
    if isinstance(value, dict):
        return {key: rounded(one, digits) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(one, digits) for one in value]
    return round(float(value), digits) if isinstance(value, (float, np.floating)) else value


def is_the_recipe(config: Config) -> bool:
    """Whether a run differs from its recipe in the class left out alone, and in its student's size."""
    same = ("recipe", "seed", "omitted_class", "student_hidden", "probe_size")
    usual = Config(**{name: getattr(config, name) for name in same})
    names = {item.name for item in fields(Config)} - set(DECIDE_NOTHING)
    return all(getattr(config, name) == getattr(usual, name) for name in names)


def followed(student: np.ndarray, teacher: np.ndarray, mine: np.ndarray) -> dict[str, float]:
    """How a student's logit (n,) of one class follows its teacher's, on images of it (`mine`) and on others.

    `ratio` of the means and `slope` of least squares are of images of the class, `bias` (the mean difference)
    and `slope_on_others` of all others. A single image has no slope: it is taken as its ratio.
    """
    ratio = student[mine].mean() / teacher[mine].mean()
    return {
        "ratio": ratio,
        "slope": line(teacher[mine], student[mine])[0] if mine.sum() > 1 else ratio,
        "bias": (student - teacher)[~mine].mean(),
        "slope_on_others": line(teacher[~mine], student[~mine])[0],
    }


def following(
    student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, omitted: Sequence[int]
) -> dict[str, Any]:
    """That of every class left out, in their order, and the mean of the classes seen; None where none is.

    Centred logits (n, classes) of the same images.
    """
    of = {
        c: followed(student[:, c], teacher[:, c], labels == c) for c in range(N_CLASSES) if c in set(labels)
    }
    seen = [of[c] for c in of if c not in omitted]
    ratios = [one["ratio"] for one in seen]
    means = {key: float(np.mean([one[key] for one in seen])) for key in seen[0]} if seen else {}
    return {
        "unseen": {key: [of[c][key] for c in omitted] for key in of[omitted[0]]},
        "seen": means | {"lowest_ratio": min(ratios), "highest_ratio": max(ratios)} if seen else None,
    }


def at_same_height(student: np.ndarray, teacher: np.ndarray, mine: np.ndarray) -> list[float | None]:
    """Student / teacher of one logit (n,) where the teacher's is high: on images of the class, on others."""
    high = (teacher >= SAME_HEIGHT[0]) & (teacher < SAME_HEIGHT[1])
    parts = [high & part for part in (mine, ~mine)]
    return [float(student[p].mean() / teacher[p].mean()) if p.any() else None for p in parts]


def hidden(network: MLP, images: np.ndarray) -> np.ndarray:
    """The first hidden layer's activations (n, units) of images (n, pixels) as the network sees them."""
    layer = network.layers[0]
    return np.maximum(images @ layer[:, :-1].T + layer[:, -1], 0)


def flat(images: np.ndarray) -> np.ndarray:
    """uint8 images (n, 28, 28) as float32 (n, 784) from 0 to 1."""
    return images.reshape(len(images), -1).astype(np.float32) / 255


def predictors(experiment: Experiment, c: int, learned: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """How far a linear student gets that never saw class c, on test images of it.

    It learns from images (n, 28, 28) of the transfer set and its teacher's centred logits (n, classes), by
    ridge regression from three kinds of features. `ratio` is that of the student, `residual` the root mean
    square of what it lacks over that of the teacher's logit. Its penalty is the one with the least squares on
    images of the transfer set that were held out. `nearest`: how far images of c are, in the mean, from the
    nearest that was learned from; Euclidean, pixels from 0 to 1.
    """
    data, teacher, n_fit = experiment.data, experiment.teacher.network, len(learned) - N_VALID
    mine = data.test_labels == c
    images, said = flat(data.test_images[mine]), centred(experiment.teacher.test_logits[-1])[mine, c]
    rng = np.random.default_rng(experiment.config.seed + 71)
    random = rng.standard_normal((images.shape[1], N_RANDOM), np.float32) * np.sqrt(2 / images.shape[1])
    kinds = {
        "pixels": lambda x: x,
        "random": lambda x: np.maximum(x @ random, 0),
        "teacher": lambda x: hidden(teacher, x),
    }
    learned, found = flat(learned), {}
    for name, features in kinds.items():
        fitted, held_out = np.split(features(learned), [n_fit])
        weights = min(
            ridge(fitted, targets[:n_fit], PENALTIES),
            key=lambda w: float(((linear(held_out, w) - targets[n_fit:]) ** 2).mean()),
        )
        gives = linear(features(images), weights)[:, c]
        residual = np.sqrt(((gives - said) ** 2).mean() / (said**2).mean())
        found[name] = {"ratio": gives.mean() / said.mean(), "residual": residual}
    return {"linear": found, "nearest": nearest(images[:N_NEAREST], learned).mean()}


def settings_of_corrections(
    experiment: Experiment, c: int, student: np.ndarray, teacher: np.ndarray
) -> dict[str, tuple[float, float] | None]:
    """Factor and offset of every correction that a run can set by itself, None where there is none.

    No label of an image sets any of them. How often the class occurs is known; the probe is unlabelled;
    `student` and `teacher` are the logits (n, classes) of both on images of the transfer set.
    """
    target = experiment.correction.target_frequencies[0]
    probe, transfer = (OneAgainstAll.of(z, c) for z in (experiment.probe_logits, student))
    heard = OneAgainstAll.of(teacher, c).mean_probability()
    offsets = {"offset": probe.offset_for(target), "transfer": transfer.offset_for(heard),
               "prior": adjusted_prior(heard, target)}  # fmt: skip
    factor = probe.factor_for(target)
    return {
        "none": (1.0, 0.0),
        **{name: None if b is None else (1.0, b) for name, b in offsets.items()},
        "factor": None if factor is None else (factor, 0.0),
        "both": factor_and_offset(probe, target, float(transfer.mine.mean())),
    }


def factor_from_glued(experiment: Experiment, c: int, learned: np.ndarray, workers: Workers) -> float | None:
    """One over student / teacher of the logit for class c, on images that its teacher takes for one of it.

    They are the upper half of an image that the student learned from on the lower half of another: images
    of no class that leave the transfer set in the direction of c, as far as its teacher can tell. None where
    there is none of them.
    """
    glued = Drawing("halves", learned, experiment.config.seed + 73).images(range(N_GLUED), workers)
    student, teacher = (
        centred(predict(experiment.runs[kind].network, glued, workers)) for kind in ("student", "teacher")
    )
    mine = teacher.argmax(axis=1) == c
    ratio = student[mine, c].mean() / teacher[mine, c].mean() if mine.any() else 0.0
    return 1 / float(ratio) if ratio > 0 else None


def ratios_on_training(experiment: Experiment, workers: Workers) -> list[float]:
    """Student / teacher of each omitted class's own logit, on the first training images of it."""
    data, found = experiment.data, []
    for c in experiment.config.omitted_class:
        images = data.train_images[np.flatnonzero(data.train_labels == c)[:N_OF_CLASS]]
        student, teacher = (
            centred(predict(experiment.runs[kind].network, images, workers)[:, :N_CLASSES])[:, c].mean()
            for kind in ("student", "teacher")
        )
        found.append(float(student / teacher))
    return found


def corrections(experiment: Experiment, c: int, workers: Workers) -> dict[str, Any]:
    """Every correction's setting and its test errors, and what the settings of others can be taken from."""
    data, labels, test = experiment.data, experiment.data.test_labels, experiment.student_logits
    learned = experiment.lesson.first(N_TRANSFER)
    student, teacher = (
        predict(experiment.runs[kind].network, learned, workers) for kind in ("student", "teacher")
    )
    settings = settings_of_corrections(experiment, c, student, teacher)
    glued = factor_from_glued(experiment, c, learned, workers)
    settings["glued"] = None if glued is None else (glued, 0.0)

    def count(factor: float, offset: float) -> tuple[int, int, int]:
        return counts(corrected(test, c, factor, offset), labels, c)

    def area(logits: np.ndarray) -> float:
        return area_under(*seen_unseen_curve(logits, labels, c))

    probe = experiment.probe_logits
    best = best_offset_on_test_set(probe, data.train_labels[: len(probe)], (c,))
    by_factor = settings["factor"]
    found = {
        "corrections": {
            name: one and {"factor": one[0], "offset": one[1], "counts": count(*one)}
            for name, one in settings.items()
        },
        "best_offset_on_training": best["offset"],
        "area": {
            "student": area(test),
            "factor": by_factor and area(corrected(test, c, *by_factor)),
            "teacher": area(experiment.teacher.test_logits[-1]),
        },
    }
    if is_the_recipe(experiment.config):
        found["predictors"] = predictors(experiment, c, learned, centred(teacher))
        found["by_factor"] = np.transpose([count(f, 0.0) for f in FACTORS]).tolist()
        found["by_offset"] = np.transpose([count(1.0, b) for b in OFFSETS]).tolist()
        if c == SHOWN[1]:
            found["at_best"] = at_best(test, labels, c)
    return found


def at_best(logits: np.ndarray, labels: np.ndarray, c: int) -> dict[str, list[int]]:
    """Test errors of an offset, a factor and both, each at its best on images on which it is not counted.

    These are the other half of the test images, even and odd ones in turn, with their labels: what a setting
    without labels could reach. Counts as `counts` gives them, of both halves together.
    """
    halves = [np.arange(len(labels)) % 2 == k for k in (0, 1)]

    def on(half: np.ndarray, setting: tuple[float, float]) -> tuple[int, int, int]:
        return counts(corrected(logits[half], c, *setting), labels[half], c)

    found = {}
    for name, grid in GRIDS.items():
        best = [min(grid, key=lambda setting, half=half: on(half, setting)[0]) for half in halves]
        found[name] = np.sum(
            [on(half, one) for half, one in zip(halves, reversed(best), strict=True)], axis=0
        )
    return {name: found[name].tolist() for name in found}


def points(student: np.ndarray, teacher: np.ndarray, mine: np.ndarray) -> list[list[list[float]]]:
    """The teacher's and the student's logit of one class: on the first images of it, and of others."""
    shown = [np.flatnonzero(part)[:n] for part, n in ((mine, N_SHOWN), (~mine, 2 * N_SHOWN))]
    return [[z[i].round(2).tolist() for z in (teacher, student)] for i in shown]


# What is measured where one class alone is left out, or where nothing else differs from the recipe.
PERHAPS = (
    "at_same_height", "corrections", "best_offset_on_training", "area", "predictors", "by_factor",
    "by_offset", "at_best", "points",
)  # fmt: skip


def measured_slopes(experiment: Experiment, workers: Workers, images: Data | None) -> dict[str, Any]:
    """What the study of slopes measures of one run: on test images, unless a name says otherwise.

    What sets a correction comes from training images, and from no test image.
    """
    config, labels = experiment.config, experiment.data.test_labels
    student, teacher = (centred(experiment.runs[kind].test_logits[-1]) for kind in ("student", "teacher"))
    found = dict.fromkeys(PERHAPS) | following(student, teacher, labels, config.omitted_class)
    found["ratio_on_training"] = ratios_on_training(experiment, workers)
    if len(config.omitted_class) == 1:
        (c,) = config.omitted_class
        logits = student[:, c], teacher[:, c], labels == c
        found["at_same_height"] = at_same_height(*logits)
        found |= corrections(experiment, c, workers)
        if is_the_recipe(config) and (config.seed, c, config.student_hidden) == SHOWN:
            found["points"] = points(*logits)
    return rounded(found)
