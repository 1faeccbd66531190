"""What sets the bias: on which images the student's mean probabilities are to have which values."""

from __future__ import annotations

from support.console import UserError
from support.data import Data
from support.offsets import em_frequencies, frequencies
from support.settings import N_CLASSES
from support.tiles import Workers

import math
from collections.abc import Sequence

import numpy as np

from beyond.answers import told
from beyond.settings import Config
from distillation_mnist_omitted_3 import MLP, Lesson, log_softmax, predict


def with_share(labels: np.ndarray, classes: Sequence[int], share: float, size: int) -> np.ndarray:
    """The first images, no more than `size`, of which a `share` is of `classes`: indices, in order.

    Raises UserError when there are none of these or none of others.
    """
    mine, others = (np.flatnonzero(np.isin(labels, classes) == wanted) for wanted in (True, False))
    most = min(size, len(mine) / share, len(others) / (1 - share))
    n_mine = math.floor(share * most + 1e-9)
    n_others = round(n_mine * (1 - share) / share)
    if not (n_mine and n_others):
        raise UserError(
            f"--probe-share {share:g} of {min(size, len(labels)):,} images is no image, or every one; choose "
            "another share or a larger --probe-size"
        )
    return np.sort(np.concatenate((mine[:n_mine], others[:n_others])))


def probe_images(config: Config, data: Data) -> np.ndarray:
    """The images of a probe that is not of the transfer set. Raises UserError when it cannot be had."""
    return (data.test_images if config.probe == "test" else data.train_images)[probe_indices(config, data)]


def probe_labels(config: Config, data: Data) -> np.ndarray:
    """The labels of those images, which no correction is told: only to measure what one finds out."""
    return (data.test_labels if config.probe == "test" else data.train_labels)[probe_indices(config, data)]


def probe_indices(config: Config, data: Data) -> slice | np.ndarray:
    """Which training or test images those are. Raises UserError when they cannot be had."""
    if config.probe_share is None:
        return slice(config.probe_size)
    labels = data.test_labels if config.probe == "test" else data.train_labels
    found = with_share(labels, config.omitted_class, config.probe_share, config.probe_size)
    return found[: config.probe_size]


def check_probe(config: Config, data: Data) -> None:
    """Raises UserError when the probe cannot be had, or when a class whose bias it sets never occurs."""
    probe_images(config, data)
    missing = sorted(set(config.corrected_class) - set(np.unique(data.train_labels).tolist()))
    if missing:
        raise UserError(
            f"the training set has no image of class {missing[0]}, so that its bias cannot be set by how "
            "often it occurs; leave --correct all out, or take data of all ten classes"
        )


def mean_probabilities(logits: np.ndarray) -> np.ndarray:
    """The mean (classes,) of the probabilities at T = 1 of logits (n, classes), in double precision."""
    return np.exp(log_softmax(logits.astype(np.float64))).mean(axis=0)


def probe_and_targets(
    config: Config, data: Data, lesson: Lesson, teacher: MLP, student: MLP, workers: Workers
) -> tuple[np.ndarray, list[float]]:
    """The student's logits (n, classes) on the probe, and the mean probabilities that they are to have.

    Described: training images, and how often the classes occur in the whole training set. A probe of images
    that the student learned from takes the mean probabilities that it heard from its teacher instead. Labels
    compose a probe with a given share of unseen classes, and otherwise only say how often classes occur; with
    the prior "em" not even that. EM starts from the frequencies that the student learned: its own mean
    probabilities on what it learned from.
    """
    corrected = list(config.corrected_class)
    if config.probe == "transfer":
        images = lesson.first(config.probe_size)
        if config.teacher_answers == "whole":
            heard = predict(teacher, images, workers)
        else:  # which are altered by what it says of all training images
            on_training = told(predict(teacher, data.train_images, workers), data.train_labels, config)
            heard = on_training[np.unique(lesson.indices)[: config.probe_size]]
        answers = mean_probabilities(heard[:, :N_CLASSES])
        return predict(student, images, workers)[:, :N_CLASSES], answers[corrected].tolist()
    logits = predict(student, probe_images(config, data), workers)[:, :N_CLASSES]
    if config.prior == "known":
        return logits, frequencies(data.train_labels, corrected)
    on_lesson = predict(student, lesson.first(config.probe_size), workers)[:, :N_CLASSES]
    found = em_frequencies(log_softmax(logits.astype(np.float64)), mean_probabilities(on_lesson))
    return logits, found[corrected].tolist()
