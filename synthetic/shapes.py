"""Ten kinds of coloured shapes, 32 x 32 pixels: a stand-in where CIFAR-10 cannot be had.

Shape alone tells the class: colours, place, size, angle, background and noise are random. Neighbouring
classes (disc and ring, square and frame, bars and checks) look alike when small or noisy, which gives soft
targets something to say.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SIDE = 32
# Of points of a plane in units of the shape's size, arrays of one shape: whether they belong to it; `r` and
# `box` are how far from the middle they are, on a circle and on a square.
INSIDE: dict[str, Callable[..., np.ndarray]] = {
    "disc": lambda x, y, r, box: r < 1,
    "ring": lambda x, y, r, box: (r < 1) & (r > 0.5),
    "square": lambda x, y, r, box: box < 0.85,
    "frame": lambda x, y, r, box: (box < 0.9) & (box > 0.45),
    "triangle": lambda x, y, r, box: (y < 0.6) & (y > 1.9 * abs(x) - 1.1),
    "star": lambda x, y, r, box: r < 0.65 + 0.35 * np.cos(5 * np.arctan2(y, x)),
    "cross": lambda x, y, r, box: (np.minimum(abs(x), abs(y)) < 0.3) & (box < 1),
    "bars": lambda x, y, r, box: (np.floor(x * 2.5) % 2 == 0) & (box < 1),
    "checks": lambda x, y, r, box: ((np.floor(x * 2) + np.floor(y * 2)) % 2 == 0) & (box < 1),
    "dots": lambda x, y, r, box: (np.hypot((2 * x) % 1 - 0.5, (2 * y) % 1 - 0.5) < 0.32) & (box < 1),
}
NAMES = tuple(INSIDE)


def inside(kind: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether points belong to a shape of this kind."""
    return INSIDE[kind](x, y, np.hypot(x, y), np.maximum(abs(x), abs(y)))


def render(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One uint8 image (3, 32, 32) for each label."""
    n = len(labels)
    rows, columns = (np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2) / (SIDE / 2)
    size, angle = rng.uniform(0.3, 0.8, n), rng.uniform(-0.5, 0.5, n)
    centre = rng.uniform(-1, 1, (2, n)) * (1 - size) * 0.8
    images = np.empty((n, 3, SIDE, SIDE), np.uint8)
    for i, label in enumerate(labels):
        dx, dy = columns - centre[0, i], rows - centre[1, i]
        x = (np.cos(angle[i]) * dx + np.sin(angle[i]) * dy) / size[i]
        y = (-np.sin(angle[i]) * dx + np.cos(angle[i]) * dy) / size[i]
        shape = inside(NAMES[label], x, y)
        back, front = rng.uniform(0, 255, (2, 3, 1, 1))
        slope = rng.uniform(-60, 60, (2, 3, 1, 1))
        picture = np.where(shape, front, back + slope[0] * rows + slope[1] * columns)
        picture += rng.normal(0, rng.uniform(5, 45), (3, SIDE, SIDE))
        images[i] = picture.clip(0, 255)
    return images


def render_dataset(
    n_train: int = 10_000, n_test: int = 2_000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images uint8 (n, 3, 32, 32) and labels uint8 (n,), then those of the test; always the same."""
    rng = np.random.default_rng(seed)
    labels = [rng.permutation(np.arange(n) % len(NAMES)).astype(np.uint8) for n in (n_train, n_test)]
    return render(labels[0], rng), labels[0], render(labels[1], rng), labels[1]
