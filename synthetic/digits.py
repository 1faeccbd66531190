"""Digits drawn by this project, so that everything runs where MNIST cannot be had.

Each image starts as one of a few hand-made skeletons of its class: strokes, given by control points and
joined by Catmull-Rom splines. The control points are shaken, the whole is slanted, turned, scaled and
shifted, and a pen of random width follows it. Some of the variants of a class come close to those of another
(a 5 with a round back, an 8 with an open side), as handwriting does: that is what soft targets need to have
something to tell.

    images, labels, test_images, test_labels = render_dataset()
"""

from __future__ import annotations

import numpy as np

from synthetic.exact import coarse

SIDE = 28
BOX = 19.0  # pixels per unit of the skeletons' coordinates; MNIST's digits fill a box of 20 pixels
N_SEGMENTS = 56  # straight pieces per digit

# Per class its variants, per variant its strokes, per stroke its control points "x,y" in hundredths of the
# box, y down.
SKELETONS = {
    0: (
        ("50,2 30,12 22,45 28,85 50,98 70,86 78,50 70,12 50,2",),
        ("58,4 34,8 20,40 24,80 46,98 70,84 80,48 72,14 48,2 34,10",),
        ("50,8 28,22 22,52 32,84 52,92 72,78 78,50 70,20 50,8",),
    ),
    1: (
        ("50,2 50,35 50,65 50,98",),
        ("34,22 44,14 54,2", "54,2 53,35 52,65 52,98"),
        ("36,20 46,12 52,4", "52,4 52,35 51,65 50,96", "34,97 50,96 66,97"),
        ("60,2 55,35 48,65 42,98",),
    ),
    2: (
        ("24,24 32,8 52,2 72,12 72,32 56,58 38,80 24,96", "24,96 45,95 62,96 80,95"),
        ("26,20 38,5 60,4 74,20 66,44 44,68 26,88 24,96 34,90 52,90 66,97 80,92",),
        ("28,14 48,4 68,14 70,36 50,62 30,84 26,94 38,82 46,90 60,98 78,90",),
    ),
    3: (
        ("26,14 44,2 66,8 72,26 60,42 44,48", "44,48 66,52 76,70 66,92 44,98 24,86"),
        ("24,20 36,5 58,3 72,18 66,38 48,47 66,54 76,72 66,92 42,98 22,84",),
        ("26,5 46,5 70,5", "70,5 58,24 46,42", "46,42 68,50 76,70 64,92 42,97 24,86"),
        ("30,10 52,2 70,14 66,34 46,46 40,48 56,48 74,62 74,84 54,98 30,92",),
        ("26,5 48,4 70,5", "70,5 71,27 70,50", "38,50 54,50 70,50", "70,50 72,74 70,96", "70,96 48,97 24,95"),
        ("26,6 50,15 72,24", "72,24 54,36 38,48", "38,48 56,60 74,72", "74,72 50,85 26,96"),
    ),
    4: (
        ("34,4 28,28 22,56", "22,56 45,56 62,56 82,54", "66,6 65,35 64,65 63,98"),
        ("62,2 44,28 30,46 18,66", "18,66 40,66 60,66 84,65", "62,2 62,35 62,65 62,98"),
        ("28,8 24,32 30,50 48,54 64,48", "70,6 68,35 64,65 60,98"),
    ),
    5: (
        ("74,4 54,4 34,4", "34,4 32,24 30,46", "30,46 48,38 68,46 76,66 66,90 46,98 24,88"),
        ("72,5 52,6 36,8 32,26 32,44 50,40 70,50 74,72 62,92 42,98 24,88",),
        ("68,6 48,8 34,16 32,34 46,44 64,50 74,66 68,88 48,98 26,90",),
        ("38,6 34,24 32,44", "32,44 50,38 70,48 76,68 64,92 44,98 24,86", "38,6 56,6 76,5"),
    ),
    6: (
        ("66,4 46,16 30,42 24,68 34,92 54,98 72,86 72,66 54,54 36,60 26,74",),
        ("58,2 38,26 26,56 28,86 48,98 68,90 74,70 60,56 40,58 28,72",),
        ("70,10 50,6 34,24 26,52 28,82 46,98 66,92 72,74 62,60 42,60 28,72",),
    ),
    7: (
        ("22,6 42,6 60,6 78,6", "78,6 64,35 52,65 44,98"),
        ("24,16 26,6 48,6 78,6", "78,6 68,28 54,60 50,98"),
        ("22,8 42,7 60,7 76,6", "76,6 64,35 54,62 46,97", "36,50 52,49 70,48"),
    ),
    8: (
        ("66,12 46,2 28,14 32,34 52,46 72,62 74,84 52,98 28,88 26,66 46,50 66,34 70,18 58,6",),
        ("50,2 30,12 32,36 50,46 68,36 70,12 50,2", "50,46 26,62 26,86 50,98 74,86 74,62 50,46"),
        ("72,16 54,3 32,12 36,34 58,48 74,66 70,90 46,98 26,84 34,62 54,46 68,30",),
        ("34,16 50,3 68,12 66,34 48,46 70,56 75,78 54,98 30,90 28,70 46,50 38,38 32,24",),
    ),
    9: (
        ("72,22 56,4 34,8 26,28 38,46 58,44 72,24", "72,24 72,50 68,74 62,98"),
        ("70,30 66,8 46,2 28,16 28,38 46,48 66,38 72,20 72,48 68,76 50,98 30,92",),
        ("70,16 52,4 32,12 28,34 44,48 64,40 71,18", "71,18 66,45 58,72 50,98"),
    ),
}


def spline_matrix(n_control: int, n_points: int) -> np.ndarray:
    """Matrix (n_points, n_control) from control points to points on their Catmull-Rom spline."""
    matrix = np.zeros((n_points, n_control))
    position = np.linspace(0, n_control - 1, n_points)
    left = np.minimum(position.astype(int), n_control - 2)
    t = position - left
    weights = (
        (-t + 2 * t**2 - t**3) / 2,
        (2 - 5 * t**2 + 3 * t**3) / 2,
        (t + 4 * t**2 - 3 * t**3) / 2,
        (t**3 - t**2) / 2,
    )
    for shift, weight in zip((-1, 0, 1, 2), weights, strict=True):
        neighbour = np.clip(left + shift, 0, n_control - 1)
        np.add.at(matrix, (np.arange(n_points), neighbour), weight)
    return matrix


def compile_variant(strokes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Control points (c, 2) of a skeleton, and two matrices (N_SEGMENTS, c) that multiply them.

    The first gives the midpoints of the segments that the pen follows, the second their directions.
    """
    points = [np.array([pair.split(",") for pair in stroke.split()], float) / 100 for stroke in strokes]
    lengths = np.array([np.linalg.norm(np.diff(p, axis=0), axis=1).sum() for p in points])
    counts = np.maximum(2, np.floor(lengths / lengths.sum() * N_SEGMENTS).astype(int))
    counts[lengths.argmax()] += N_SEGMENTS - counts.sum()
    total = sum(map(len, points))
    middle, direction = np.zeros((2, N_SEGMENTS, total))
    row = column = 0
    for stroke, count in zip(points, counts, strict=True):
        spline = spline_matrix(len(stroke), count + 1)
        block = (slice(row, row + count), slice(column, column + len(stroke)))
        middle[block] = (spline[1:] + spline[:-1]) / 2
        direction[block] = spline[1:] - spline[:-1]
        row, column = row + count, column + len(stroke)
    return np.concatenate(points), coarse(middle, 16), coarse(direction, 16)


def shaken(control: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """n copies (n, c, 2) of control points, each shaken, slanted, turned, scaled and shifted, in pixels."""
    # A point that two strokes share must stay shared, or corners would gape: shake the distinct points only.
    distinct, back = np.unique(control, axis=0, return_inverse=True)
    points = distinct - 0.5 + rng.normal(0, SHAKE, (n, len(distinct), 2))
    slant, turn = rng.normal(0, 0.22, n), rng.normal(0, 0.10, n)
    width, height = rng.normal(1, 0.14, (2, n)).clip(0.6, 1.25)
    x, y = points[..., 0] * width[:, None], points[..., 1] * height[:, None]
    x = x - y * slant[:, None]
    cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
    shift = rng.normal(0, 0.8, (n, 1, 2))
    turned = np.stack((cos * x - sin * y, sin * x + cos * y), axis=-1) * BOX + (SIDE - 1) / 2 + shift
    return turned[:, back.reshape(-1)]


SHAKE = 0.055  # standard deviation of a control point, in boxes


def render(
    control: np.ndarray, middle: np.ndarray, direction: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Images (n, 28, 28), uint8, of n shaken skeletons (n, c, 2): the ink of a pen that follows each of them.

    The same everywhere, as all products are of coarse numbers.

    A Gaussian spot moved along a line leaves a Gaussian profile across it, whatever the spacing; spots are
    separable, so that the ink of all of them is one small matrix product per image. A soft threshold gives
    the edge.
    """
    n = len(control)
    control = coarse(control, 16)
    spots = middle @ control  # (n, segments, 2)
    length = np.linalg.norm(direction @ control, axis=-1)
    pen = rng.uniform(0.75, 1.45, n)[:, None]
    pixels = np.arange(SIDE)
    across = np.exp(-(((pixels - spots[..., :1]) / pen[..., None]) ** 2) / 2)
    down = np.exp(-(((pixels - spots[..., 1:]) / pen[..., None]) ** 2) / 2)
    down *= (length / (np.sqrt(2 * np.pi) * pen))[..., None]
    ink = coarse(down, 16).transpose(0, 2, 1) @ coarse(across, 16)  # (n, row, column)
    ink = ink.astype(np.float32)
    ink = (0.5 + (ink - 0.5) * rng.uniform(1.0, 2.2, (n, 1, 1)).astype(np.float32)).clip(0, 1)
    ink *= rng.uniform(0.75, 1.0, (n, 1, 1)).astype(np.float32)
    ink += rng.standard_normal(ink.shape, np.float32) * np.float32(0.03) * (ink > 0.02)
    return (ink.clip(0, 1) * 255).astype(np.uint8)


def render_digits(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """n images (n, 28, 28) and labels (n,), both uint8, classes drawn at random."""
    variants = [(digit, strokes) for digit, group in SKELETONS.items() for strokes in group]
    labels = rng.integers(0, 10, n).astype(np.uint8)
    which = rng.random(n)
    images = np.empty((n, SIDE, SIDE), np.uint8)
    position = 0
    for digit, strokes in variants:
        group = SKELETONS[digit]
        position = group.index(strokes)
        share = (which * len(group)).astype(int) == position
        mine = np.flatnonzero((labels == digit) & share)
        control, middle, direction = compile_variant(strokes)
        for part in np.array_split(mine, max(1, len(mine) // 500)):  # small enough to stay in cache
            images[part] = render(shaken(control, len(part), rng), middle, direction, rng)
    return images, labels


def render_dataset(
    n_train: int = 20_000, n_test: int = 5_000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(training images, training labels, test images, test labels); the same seed gives the same bytes."""
    rng = np.random.default_rng(seed)
    images, labels = render_digits(n_train + n_test, rng)
    return images[:n_train], labels[:n_train], images[n_train:], labels[n_train:]
