"""Lines, ridge regression, nearest images and rank correlations, against NumPy's own and loops."""

from __future__ import annotations

from support.regression import line, linear, nearest, rank_correlation, ridge

import math

import numpy as np
import pytest


def test_a_line_is_that_of_polyfit():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, 50)
    y = 0.8 * x - 1 + rng.normal(0, 0.5, 50)
    assert line(x, y) == pytest.approx(tuple(np.polyfit(x, y, 1)))


@pytest.mark.parametrize("n", [40, 6])  # more images than features, and fewer
def test_ridge_is_least_squares_on_an_augmented_matrix(n):
    rng = np.random.default_rng(1)
    x, y = rng.normal(1, 2, (n, 9)).astype(np.float32), rng.normal(-2, 1, (n, 3))
    x[:, 4] = 0  # a pixel that is never lit
    centred = x.astype(float) - x.mean(axis=0, dtype=float)
    scale = (centred**2).sum() / 9
    for penalty, weights in zip((0.003, 0.5), ridge(x, y, (0.003, 0.5)), strict=True):
        rows = np.vstack([centred, math.sqrt(penalty * scale) * np.eye(9)])
        right = np.vstack([y - y.mean(axis=0), np.zeros((9, 3))])
        wanted = np.linalg.lstsq(rows, right, rcond=None)[0]
        np.testing.assert_allclose(weights[:-1], wanted, atol=1e-6)
        np.testing.assert_allclose(linear(x, weights).mean(axis=0), y.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(linear(x, weights)[0], centred[0] @ wanted + y.mean(axis=0), atol=1e-5)


def test_the_nearest_is_found_whatever_the_chunk():
    rng = np.random.default_rng(2)
    points, others = rng.random((7, 5)), rng.random((23, 5))
    others[20] = points[3]
    wanted = [min(math.dist(p, q) for q in others) for p in points]
    for chunk in (4, 23, 100):
        np.testing.assert_allclose(nearest(points, others, chunk), wanted, atol=1e-7)


def test_a_rank_correlation_sees_the_order_alone():
    x = [1, 5, 2, 9, 7, 3]
    assert rank_correlation(x, [math.exp(v) for v in x])[0] == pytest.approx(1)
    assert rank_correlation(x, [-(v**3) for v in x])[0] == pytest.approx(-1)
    y = [2, 4, 1, 6, 3, 5]
    places = [sorted(x).index(v) + 1 for v in x]
    wanted = 1 - 6 * sum((a - b) ** 2 for a, b in zip(places, y, strict=True)) / (6 * 35)  # Spearman's own
    r, low, high = rank_correlation(x, y)
    assert r == pytest.approx(wanted)
    half = 1.959964 * math.sqrt(1.06 / 3)
    assert (low, high) == pytest.approx(
        (math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)), abs=1e-4
    )


def test_what_is_alike_shares_its_rank():
    wanted = np.corrcoef([0, 1.5, 1.5, 3], [0.5, 0.5, 2, 3])[0, 1]
    assert rank_correlation([1, 4, 4, 8], [3, 3, 5, 6])[0] == pytest.approx(wanted)
