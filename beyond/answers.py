"""What the student is told: the teacher's answers, a part of them, or outputs that mean nothing."""

from __future__ import annotations

from support.tiles import Workers

from collections.abc import Sequence
from functools import cache

import numpy as np

from beyond.settings import Config
from distillation_mnist_omitted_3 import MLP, Answers, Loss, distillation_loss, predict, softmax


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


def target_loss(
    logits: np.ndarray, teacher_logits: np.ndarray, labels: np.ndarray, temperature: float
) -> tuple[float, np.ndarray]:
    """The target's part of the soft targets: Zhao et al. (2022), "Decoupled knowledge distillation", TCKD.

    T^2 KL between the teacher's and the student's (q_t, 1 - q_t), their probabilities at T of the label's
    class and of all others together: what is learned is how sure the teacher is. Two classes with the logits
    z_t and T log sum_(j not t) exp(z_j / T) have these probabilities, and the second one's gradient by z_j is
    the softmax of the others. Logits (n, classes), labels (n,).
    """
    n, is_target = len(labels), np.arange(logits.shape[1]) == labels[:, None]

    def two(z: np.ndarray) -> np.ndarray:
        others = z[~is_target].reshape(n, -1)
        largest = others.max(axis=1, keepdims=True)
        total = np.exp((others - largest) / temperature).sum(axis=1)
        return np.stack([z[is_target], largest[:, 0] + temperature * np.log(total)], axis=1)

    value, by_two = distillation_loss(two(logits), two(teacher_logits), temperature)
    gradient = np.empty_like(logits)
    gradient[is_target] = by_two[:, 0]
    shares = softmax(logits[~is_target].reshape(n, -1), temperature)
    gradient[~is_target] = (by_two[:, 1:] * shares).reshape(-1)
    return value, gradient


def non_target_loss(
    logits: np.ndarray, teacher_logits: np.ndarray, labels: np.ndarray, temperature: float
) -> tuple[float, np.ndarray]:
    """What remains: Zhao et al. (2022), NCKD, the distillation loss of all classes but the label's.

    Each one's probability is its share of what the target leaves; no gradient reaches the target's logit.
    Logits (n, classes), labels (n,).
    """
    n, is_target = len(labels), np.arange(logits.shape[1]) == labels[:, None]
    others = (z[~is_target].reshape(n, -1) for z in (logits, teacher_logits))
    value, by_others = distillation_loss(*others, temperature)
    gradient = np.zeros_like(logits)
    gradient[~is_target] = by_others.reshape(-1)
    return value, gradient


def soft_targets_in_part(part: str, answers: Answers, temperature: float, labels: np.ndarray) -> Loss:
    """The loss of a student that hears the "target" or the "non-target" part of its teacher's answers."""
    loss = target_loss if part == "target" else non_target_loss
    return lambda logits, batch, inputs: loss(logits, answers(batch, inputs), labels[batch], temperature)
