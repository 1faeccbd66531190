"""Test images made worse, each way in five strengths: the same everywhere, and each time that it is asked.

    blurred = corrupted(images, "blurred", 1.5)     # uint8, as `images` (n, 28, 28)

What is drawn at random (a side, a place, noise) depends on the image's place alone, not on the strength: from
one strength to the next an image only gets worse. Numbers are so coarse that their sums are exact (see
synthetic/exact.py), or what is done is done pixel by pixel: no processor gives other grey values.
"""

from __future__ import annotations

from support.transformations import IMAGE_SIDE, Warps, affine_maps

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from synthetic.exact import coarse

SEED = 97  # of what is drawn at random
SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # up, down, left, right
CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))
OCCLUDED_CENTRES = (8, 21)  # rows and columns in which the centre of what is hidden lies: from, and below


def moved(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Images (n, 28, 28) shifted by whole pixels; empty pixels move in."""
    found = np.zeros_like(images)
    to, source = (
        tuple(slice(max(s, 0), IMAGE_SIDE + min(s, 0)) for s in (sign * down, sign * right))
        for sign in (1, -1)
    )
    found[(slice(None), *to)] = images[(slice(None), *source)]
    return found


def grey(values: np.ndarray) -> np.ndarray:
    """Whole grey values, uint8, of any numbers."""
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def turned(images: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Clockwise or counter-clockwise."""
    angles = np.radians([degrees, -degrees])
    # multiples of 1/128 px: bilinear interpolation of whole grey values then needs 22 bits, float32 has 24
    maps = coarse(affine_maps(angles, np.ones((2, 2)), np.zeros(2)), 7).astype(np.float32)
    return grey(Warps(maps).apply(images, rng.integers(0, 2, len(images)))).reshape(images.shape)


def shifted(images: np.ndarray, n_pixels: float, rng: np.random.Generator) -> np.ndarray:
    """Up, down, to the left or to the right."""
    found, chosen = np.empty_like(images), rng.integers(0, len(SIDES), len(images))
    for k, (down, right) in enumerate(SIDES):
        found[chosen == k] = moved(images[chosen == k], down * int(n_pixels), right * int(n_pixels))
    return found


def blurred(images: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Under a Gaussian of this standard deviation; what leaves the image is lost."""
    distance = np.subtract.outer(np.arange(IMAGE_SIDE), np.arange(IMAGE_SIDE))
    weights = np.exp(-(distance**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))
    along = coarse(weights, 14)  # and whole grey values: 36 bits, float64 has 53
    return grey(along @ images.astype(np.float64) @ along.T)


def noisy(images: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Normal noise on every pixel, its standard deviation a share of the way from empty to ink."""
    return grey(images + 255 * sigma * coarse(rng.standard_normal(images.shape, np.float32), 10))


def by_morphology(images: np.ndarray, radius: float, extreme: np.ufunc) -> np.ndarray:
    """Grey erosion (`extreme` is np.minimum) or dilation (np.maximum) by `radius` px.

    By one pixel at a time, with a cross and a square in turns, which together are near a disc. Of the last
    one, if it is a part of a pixel, that part of the way.
    """
    found = images.astype(np.float64)
    for step in range(math.ceil(radius)):
        beyond = found
        for down, right in SIDES if step % 2 == 0 else (*SIDES, *CORNERS):
            beyond = extreme(beyond, moved(found, down, right))
        found = found + min(1.0, radius - step) * (beyond - found)
    return grey(found)


def thinner(images: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Strokes lose so many pixels on each side."""
    return by_morphology(images, radius, np.minimum)


def thicker(images: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Strokes gain so many pixels on each side."""
    return by_morphology(images, radius, np.maximum)


def inverted(images: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """This share of the way to the negative."""
    return grey(images + share * (255 - 2 * images.astype(np.float64)))


def occluded(images: np.ndarray, side: float, rng: np.random.Generator) -> np.ndarray:
    """An empty square of so many pixels hides what was there, somewhere in the middle."""
    first = rng.integers(*OCCLUDED_CENTRES, (2, len(images))) - int(side) // 2
    places = np.arange(IMAGE_SIDE)
    row, column = ((places >= f[:, None]) & (places < f[:, None] + int(side)) for f in first)
    return np.where(row[:, :, None] & column[:, None, :], 0, images).astype(np.uint8)


@dataclass(frozen=True)
class Corruption:
    """One way to make images worse."""

    draw: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
    strengths: tuple[float, ...]
    unit: str

    def name(self, strength: float) -> str:
        """ "25°", "1.5 px"."""
        return f"{strength:g}{self.unit}"


CORRUPTIONS: dict[str, Corruption] = {
    "turned": Corruption(turned, (5, 15, 25, 35, 45), "°"),
    "shifted": Corruption(shifted, (1, 2, 3, 4, 5), " px"),
    "blurred": Corruption(blurred, (1, 1.5, 2, 2.5, 3), " px"),
    "noisy": Corruption(noisy, (0.1, 0.2, 0.3, 0.4, 0.5), ""),
    "thinner": Corruption(thinner, (0.2, 0.4, 0.6, 0.8, 1), " px"),
    "thicker": Corruption(thicker, (0.4, 0.8, 1.2, 1.6, 2), " px"),
    "inverted": Corruption(inverted, (0.1, 0.2, 0.3, 0.4, 1), ""),
    "occluded": Corruption(occluded, (4, 6, 8, 10, 12), " px"),
}


def corrupted(images: np.ndarray, kind: str, strength: float) -> np.ndarray:
    """Images (n, 28, 28), uint8, made worse in one of the ways of CORRUPTIONS; the same shape and type."""
    return CORRUPTIONS[kind].draw(images, strength, np.random.default_rng(SEED))


def conditions() -> Iterator[tuple[str, float]]:
    """Every way in every strength."""
    for kind, corruption in CORRUPTIONS.items():
        for strength in corruption.strengths:
            yield kind, strength
