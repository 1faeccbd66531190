"""Images that show no digit: smoothed noise, as contour lines or as blobs, and noise as it is.

    images = DRAW["contours"](1000, np.random.default_rng(0))     # uint8, (1000, 28, 28)

Four of five start from normal noise under a Gaussian, of which each pixel keeps unit standard deviation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from synthetic.exact import coarse

SIDE = 28
SIGMAS = (1.2, 1.8, 2.4, 3.2)  # px: the smoothnesses of contours and blobs, in equal parts
FADE_RADIUS = 11.3  # px from the centre: there, faded images have e^-1 of their brightness
SOFTNESS = 0.1  # standard deviations over which an edge goes from black to white
HALF_WIDTH = 0.25  # standard deviations: a contour line is where |f| is smaller
THRESHOLDS = (0.2, 1.6)  # standard deviations: a blob is where f exceeds one of these, or one between them


@cache
def gaussian(sigma: float) -> np.ndarray:
    """(28, 28), coarse: one axis of a smoothing. Rows have unit norm, so unit variance stays that."""
    distance = np.subtract.outer(np.arange(SIDE), np.arange(SIDE))
    weights = np.exp(-(distance**2) / (2 * sigma**2))
    return coarse(weights / np.sqrt((weights**2).sum(axis=1, keepdims=True)), 14)


@cache
def fading() -> np.ndarray:
    """(28, 28), float32: 1 in the middle, almost 0 at the border, as digits leave it."""
    row, column = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    return np.exp(-(((row**2 + column**2) / FADE_RADIUS**2) ** 2)).astype(np.float32)


def smooth(n: int, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Smoothed noise f of unit standard deviation, (n, 28, 28), float32; the same everywhere."""
    along = gaussian(sigma)
    noise = coarse(rng.standard_normal((n, SIDE, SIDE), np.float32), 14)
    return (along @ noise @ along.T).astype(np.float32)


def of_all_smoothnesses(n: int, rng: np.random.Generator) -> np.ndarray:
    """The same, a part for each of SIGMAS."""
    edges = [n * k // len(SIGMAS) for k in range(len(SIGMAS) + 1)]
    parts = zip(SIGMAS, edges[:-1], edges[1:], strict=True)
    return np.concatenate([smooth(end - start, sigma, rng) for sigma, start, end in parts])


def pixels(brightness: np.ndarray) -> np.ndarray:
    """Brightness, cut to [0, 1], as uint8."""
    np.clip(brightness, 0, 1, out=brightness)
    brightness *= 255
    return np.rint(brightness, out=brightness).astype(np.uint8)


def lines(f: np.ndarray, half_width: float) -> np.ndarray:
    """Brightness of the contour lines |f| < half_width, with soft edges inwards."""
    return np.clip((half_width - np.abs(f)) / np.float32(SOFTNESS), 0, 1)


def draw_contours(n: int, rng: np.random.Generator) -> np.ndarray:
    """Contour lines of four smoothnesses, faded towards the border."""
    return pixels(lines(of_all_smoothnesses(n, rng), HALF_WIDTH) * fading())


def draw_lines(n: int, rng: np.random.Generator) -> np.ndarray:
    """Contour lines of one smoothness, 2.5 px, all over the image."""
    return pixels(lines(smooth(n, 2.5, rng), HALF_WIDTH))


def draw_blobs(n: int, rng: np.random.Generator) -> np.ndarray:
    """Blobs of four smoothnesses and many sizes, faded towards the border."""
    threshold = rng.uniform(*THRESHOLDS, (n, 1, 1)).astype(np.float32)
    above = (of_all_smoothnesses(n, rng) - threshold) / np.float32(SOFTNESS)
    return pixels(np.clip(above, 0, 1) * fading())


def draw_patches(n: int, rng: np.random.Generator) -> np.ndarray:
    """Blobs of one smoothness, 2 px, and one threshold, 0.9 standard deviations, all over the image."""
    return pixels((smooth(n, 2.0, rng) - np.float32(0.9)) / np.float32(SOFTNESS))


def draw_noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """Every pixel uniform, and independent of all others."""
    return rng.integers(0, 256, (n, SIDE, SIDE), np.uint8)


DRAW: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "contours": draw_contours,
    "lines": draw_lines,
    "blobs": draw_blobs,
    "patches": draw_patches,
    "noise": draw_noise,
}
