"""How far one network's logits follow another's, and how far a linear one would: least squares and ridge."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the least squares line of y (n,) on x (n,), n >= 2 and x not constant."""
    dx = x - x.mean()
    slope = float(dx @ (y - y.mean()) / (dx @ dx))
    return slope, float(y.mean() - slope * x.mean())


def ridge(features: np.ndarray, targets: np.ndarray, penalties: Sequence[float]) -> list[np.ndarray]:
    """Ridge regression of targets (n, k) on features (n, d), closed form: one (d + 1, k) for each penalty.

    W = (X^T X + lambda I)^-1 X^T Y for centred X and Y, and in the last row the intercept, which nothing
    penalises; lambda is `penalty` times the mean of the diagonal of X^T X. One decomposition does for all.
    """
    x_mean, y_mean = features.mean(axis=0), targets.mean(axis=0)
    x = (features - x_mean).astype(np.float64)
    gram = x.T @ x
    values, vectors = np.linalg.eigh(gram)
    projected = vectors.T @ (x.T @ (targets - y_mean))
    found = []
    for penalty in penalties:
        weights = vectors @ (projected / (values.clip(0) + penalty * gram.trace() / len(gram))[:, None])
        found.append(np.vstack([weights, y_mean - x_mean @ weights]))
    return found


def linear(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What `ridge` found says of features (n, d): (n, k)."""
    return features @ weights[:-1] + weights[-1]


def nearest(points: np.ndarray, others: np.ndarray, chunk: int = 10_000) -> np.ndarray:
    """The Euclidean distance (n,) of each of `points` (n, d) to the nearest of `others` (m, d)."""
    found = np.full(len(points), np.inf)
    squares = (points**2).sum(axis=1)
    for start in range(0, len(others), chunk):
        part = others[start : start + chunk]
        squared = squares[:, None] + (part**2).sum(axis=1) - 2 * points @ part.T
        found = np.minimum(found, squared.min(axis=1))
    return np.sqrt(found.clip(0))


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """Spearman's rank correlation of four pairs or more, and its 95 % interval.

    By Fisher's transformation, whose variance for ranks is 1.06 / (n - 3): Fieller, Hartley & Pearson (1957).
    """

    def ranks(values: Sequence[float]) -> np.ndarray:
        ordered = np.asarray(values, float)
        below = (ordered[:, None] > ordered).sum(axis=1)
        return below + ((ordered[:, None] == ordered).sum(axis=1) - 1) / 2  # ties share their mean rank

    a, b = ranks(x), ranks(y)
    a, b = a - a.mean(), b - b.mean()
    r = float(a @ b / math.sqrt((a @ a) * (b @ b)))
    half, middle = 1.96 * math.sqrt(1.06 / (len(a) - 3)), math.atanh(min(max(r, -1 + 1e-12), 1 - 1e-12))
    return r, math.tanh(middle - half), math.tanh(middle + half)
