"""What the student is told: the teacher's answers, a part of them, or outputs that mean nothing."""

from __future__ import annotations

from support.tiles import Workers

from collections.abc import Sequence
from functools import cache

import numpy as np

from beyond.settings import Config
from distillation_mnist_omitted_3 import MLP, Answers, Loss, predict


def answers_as_seen(teacher: MLP, n_images: int, workers: Workers) -> Answers:
    """The frozen teacher's logits for each batch as the student sees it, of at most `n_images`."""
    buffers = cache(lambda: teacher.new_activations(n_images)[1:])  # a stored student never asks

    def answers(batch: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        above = [buffer[:, : len(batch)] for buffer in buffers()]
        return teacher.forward([inputs, *above], workers)

    return answers


def altered_answers(
    teacher: MLP, images: np.ndarray, labels: np.ndarray, config: Config, workers: Workers
) -> Answers:
    """What is left of the teacher's logits for the images as they are, once some of it is taken away."""
    logits = cache(lambda: told(predict(teacher, images, workers), labels, config))
    return lambda batch, inputs: logits()[batch]


def told(logits: np.ndarray, labels: np.ndarray, config: Config) -> np.ndarray:
    """What of the teacher's logits (n, outputs) on the training images its student is told."""
    if config.teacher_answers == "whole":
        return logits
    rng = np.random.default_rng(config.seed + 73)
    return altered(logits, labels, config.omitted_class, config.teacher_answers, rng)


def altered(
    logits: np.ndarray, labels: np.ndarray, classes: Sequence[int], how: str, rng: np.random.Generator
) -> np.ndarray:
    """The teacher's logits (n, outputs) with those of `classes` made to say less; see Config.

    `labels` (n,) are used to take means and to shuffle within classes: this is a control, no way to learn.
    """
    found, mine = logits.copy(), list(classes)
    if how == "mean":
        found[:, mine] = logits[:, mine].mean(axis=0)
    others = [c for c in range(logits.shape[1]) if c not in classes]
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if how == "class-mean":
            found[np.ix_(rows, mine)] = logits[np.ix_(rows, mine)].mean(axis=0)
        elif how == "shuffled":
            found[np.ix_(rows, mine)] = logits[np.ix_(rng.permutation(rows), mine)]
        elif how == "alone":
            found[np.ix_(rows, others)] = logits[np.ix_(rows, others)].mean(axis=0)
    return found


def of_outputs(part: slice, loss: Loss) -> Loss:
    """`loss` of the outputs of `part` alone: nothing trains the others."""

    def padded(logits: np.ndarray, batch: np.ndarray, inputs: np.ndarray) -> tuple[float, np.ndarray]:
        gradient = np.zeros_like(logits)
        value, gradient[:, part] = loss(logits[:, part], batch, inputs)
        return value, gradient

    return padded
