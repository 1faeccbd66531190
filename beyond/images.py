"""The images that a student learns from: training images, or images drawn epoch by epoch."""

from __future__ import annotations

from support.settings import N_CLASSES
from support.tiles import Workers
from support.transformations import IMAGE_SIDE

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from distillation_mnist_omitted_3 import MLP, Lesson, Loss, predict, softmax
from synthetic import digits, noise

BLOCK = 1000  # images that are drawn at a time, from a generator of their own


@dataclass(frozen=True)
class DrawnLesson(Lesson):
    """A lesson on images that are drawn; `images` are those of its first epoch."""

    kind: str  # one of DRAWN_SETS
    n_drawn: int  # different ones in the whole training
    drawn: Callable[[int], np.ndarray] | None = None  # the images of an epoch, where each has its own

    def of_epoch(self, epoch: int) -> np.ndarray:
        return self.images if epoch == 1 or self.drawn is None else self.drawn(epoch)

    @property
    def n_different(self) -> int:
        return self.n_drawn


def part_of(
    indices: np.ndarray,
    fraction: float,
    seed: int,
    rank: np.ndarray | None = None,
    within: np.ndarray | None = None,
) -> np.ndarray:
    """A `fraction` of `indices`: a random one or, where `rank` orders the images, the first of them.

    `within`: the classes of all images, of each of which the same share is kept. What is kept is repeated to
    the length of the whole, so that an epoch keeps its number of steps. (Section 6 of the paper asks the same
    of speech: there, soft targets do with 3 % of the data.)
    """
    rng = np.random.default_rng(seed)
    ordered = rng.permutation(indices) if rank is None else indices[rank[indices].argsort(kind="stable")]
    groups = [ordered] if within is None else [ordered[within[ordered] == c] for c in np.unique(within)]
    kept = [group[: max(1, round(fraction * len(group)))] for group in groups]
    return np.resize(np.concatenate(kept), len(indices))


def draw_halves(images: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """The upper half of one image on the lower half of another, both at random."""
    upper, lower = rng.integers(0, len(images), (2, n))
    glued = images[upper]
    glued[:, IMAGE_SIDE // 2 :] = images[lower, IMAGE_SIDE // 2 :]
    return glued


def drawn_by(kind: str, images: np.ndarray) -> Callable[[int, np.random.Generator], np.ndarray]:
    """What draws n images of a transfer set in which no training image is whole."""
    others = {
        "halves": partial(draw_halves, images),
        "rendered": lambda n, rng: digits.render_digits(n, rng)[0],
    }
    return (others | noise.DRAW)[kind]


def nearness(drawn: np.ndarray, images: np.ndarray, n: int = 1000) -> float:
    """How near drawn images come to images of digits: the mean cosine with the nearest, of the first n.

    1 would be a copy. Images as they are, without centring: ink on ink counts, and nothing else.
    """

    def unit(pixels: np.ndarray) -> np.ndarray:
        flat = pixels.reshape(len(pixels), -1).astype(np.float32)
        return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)

    ours, nearest = unit(drawn[:n]), np.zeros(min(n, len(drawn)), np.float32)
    for start in range(0, len(images), 5000):  # so that the cosines stay small
        nearest = np.maximum(nearest, (ours @ unit(images[start : start + 5000]).T).max(axis=1))
    return float(nearest.mean())


def described(
    lesson: Lesson, training_images: np.ndarray, teacher: MLP, workers: Workers
) -> dict[str, Any] | None:
    """What results.json says of a drawn transfer set: what its teacher answers, how near digits are."""
    if not isinstance(lesson, DrawnLesson):
        return None
    p = softmax(predict(teacher, lesson.first(10_000), workers)[:, :N_CLASSES].astype(np.float64))
    return {
        "kind": lesson.kind,
        "n_different": lesson.n_different,
        "teacher_mean_probabilities": p.mean(axis=0).tolist(),
        "teacher_mean_largest": float(p.max(axis=1).mean()),
        "nearest_digit_cosine": nearness(lesson.first(1000), training_images),
    }


class Drawing:
    """Images drawn when an epoch asks for them, the same for a seed whatever the number of threads."""

    def __init__(self, kind: str, training_images: np.ndarray, seed: int) -> None:
        """An epoch has as many as there are training images; only "halves" are made from these."""
        self.kind, self.n, self.seed = kind, len(training_images), seed
        self.draw = drawn_by(kind, training_images)

    def images(self, numbers: range, workers: Workers) -> np.ndarray:
        """The images of these numbers, counted from 0: blocks of them have generators of their own."""
        first, last = numbers.start // BLOCK, (numbers.stop - 1) // BLOCK
        found = np.empty(((last - first + 1) * BLOCK, IMAGE_SIDE, IMAGE_SIDE), np.uint8)

        def block(k: int) -> None:
            rng = np.random.default_rng([self.seed, first + k])
            found[k * BLOCK : (k + 1) * BLOCK] = self.draw(BLOCK, rng)

        workers.map(block, range(last - first + 1))
        start = numbers.start - first * BLOCK
        return found[start : start + len(numbers)]

    def lesson(self, n_epochs: int, n_different: int | None, loss: Loss, workers: Workers) -> DrawnLesson:
        """An epoch after the other goes through new images, or always through the first `n_different`."""
        n, all_in_all = self.n, self.n * n_epochs
        if n_different is not None and n_different <= n:
            few = self.images(range(n_different), workers)
            return DrawnLesson(few, np.resize(np.arange(n_different), n), loss, self.kind, n_different)
        n_cycle = math.ceil(min(n_different or all_in_all, all_in_all) / n)  # epochs until they come again

        def of_epoch(epoch: int) -> np.ndarray:
            start = (epoch - 1) % n_cycle * n
            return self.images(range(start, start + n), workers)

        return DrawnLesson(of_epoch(1), np.arange(n), loss, self.kind, n_cycle * n, of_epoch)
