"""Images as a network sees them: shifted, turned, stretched, sheared, bent; another way each time.

The paper jitters its teacher's images by two pixels (section 3). The others are those of Simard, Steinkraus &
Platt (2003), "Best practices for convolutional neural networks applied to visual document analysis", who
brought one hidden layer of 800 units to 70 errors on MNIST with elastic distortions.
"""

from __future__ import annotations

from support.tiles import slices

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

IMAGE_SIDE = 28
N_PIXELS = IMAGE_SIDE * IMAGE_SIDE
PIECE = 64  # images that one thread writes at a time: what it works on stays in its cache

N_WARPS = 4000  # prepared once per training; each image of each batch takes one of them
FIELD_SIGMA = 4.0  # px: how smooth the elastic fields are
FIELD_MARGIN = 12  # px of noise around the image, so that a field is as strong at the border as inside
PADDED_SIDE = IMAGE_SIDE + 3  # a row and a column of zeros before an image, two after it: see Warps


@dataclass(frozen=True)
class Limits:
    """How an image is shown to a network, and how far it is transformed; all zero: the image as it is."""

    jitter: int = 0  # px per axis, whole ones
    rotation: float = 0.0  # degrees
    scaling: float = 0.0  # share, per axis, by which the points that are read move from the centre or to it
    shear: float = 0.0  # px sideways per px down
    elastic: float = 0.0  # px, root mean square over both axes of a smooth field of displacements
    background: float = 0.0  # what an empty pixel is for the network, where ink is 1

    @property
    def warp(self) -> bool:
        """Whether any of them needs interpolation between pixels."""
        return max(self.rotation, self.scaling, self.shear, self.elastic) > 0

    @property
    def change(self) -> bool:
        """Whether a network sees anything but the images as they are."""
        return self.jitter > 0 or self.warp

    def in_words(self) -> str:
        """ "shifted by up to 2 px, turned by up to 10°"; "not changed" where that is so."""
        said = (
            (self.jitter, f"shifted by up to {self.jitter} px"),
            (self.rotation, f"turned by up to {self.rotation:g}°"),
            (self.scaling, f"stretched by up to {100 * self.scaling:g} %"),
            (self.shear, f"slanted by up to {self.shear:g}"),
            (self.elastic, f"bent by up to {self.elastic:g} px"),
        )
        return ", ".join(words for limit, words in said if limit) or "not changed"


PIXELS: dict[str, Any] = {"at_least": 0, "below": IMAGE_SIDE}  # what a shift may be


def scaled_into(inputs: np.ndarray, images: np.ndarray, background: float = 0.0) -> None:
    """Write images (n, ...) of values 0 to 255 as values in [background, 1] into `inputs` (pixels, n)."""
    scale = inputs.dtype.type((1 - background) / 255)
    np.multiply(images.reshape(len(images), -1).T, scale, out=inputs)
    if background:
        inputs += inputs.dtype.type(background)


def smooth_fields(n: int, rng: np.random.Generator) -> np.ndarray:
    """Displacements (n, 2, 28, 28), float32: noise smoothed by a Gaussian, of 1 px rms.

    The mean square is over both axes together, as those of one image differ: 0.5 to 1.3 px for each.
    """
    side = IMAGE_SIDE + 2 * FIELD_MARGIN
    noise = rng.random((n, 2, side, side), np.float32) * 2 - 1
    distance = np.arange(IMAGE_SIDE)[:, None] + FIELD_MARGIN - np.arange(side)
    gaussian = np.exp(-(distance**2) / (2 * FIELD_SIGMA**2)).astype(np.float32)
    smooth = gaussian @ noise @ gaussian.T  # along both axes, one after the other
    return smooth / np.sqrt((smooth**2).mean(axis=(1, 2, 3), keepdims=True))


def affine_maps(angle: np.ndarray, stretch: np.ndarray, slant: np.ndarray) -> np.ndarray:
    """For each pixel of transformed images the point of the original that it shows: (n, 2, 28, 28), float32.

    In px, the row first; the centre stays where it is. Seen from there, the pixel (row, column) stands for
    the point (stretch[0] row, stretch[1] column + slant row), turned back by `angle` radians: the picture is
    turned clockwise. `angle` and `slant` are (n,), `stretch` is (2, n).
    """
    row, column = np.indices((IMAGE_SIDE, IMAGE_SIDE)) - (IMAGE_SIDE - 1) / 2
    angle, slant, down, right = (x[:, None, None] for x in (angle, slant, *stretch))
    row, column = down * row, right * column + slant * row
    turned = (np.cos(angle) * row - np.sin(angle) * column, np.sin(angle) * row + np.cos(angle) * column)
    return (np.stack(turned, axis=1) + (IMAGE_SIDE - 1) / 2).astype(np.float32)


def random_maps(n: int, limits: Limits, rng: np.random.Generator) -> np.ndarray:
    """`n` maps as `affine_maps` gives them, each number drawn uniformly within its limits, and bent."""
    angle, slant, *stretch = (
        rng.uniform(-limit, limit, n)
        for limit in (math.radians(limits.rotation), limits.shear, limits.scaling, limits.scaling)
    )
    maps = affine_maps(angle, 1 + np.array(stretch), slant)
    if limits.elastic:
        strength = rng.uniform(0, limits.elastic, (n, 1, 1, 1)).astype(np.float32)
        for part in slices(n, 500):  # the noise of all would fill 90 MB
            maps[part] += strength[part] * smooth_fields(len(maps[part]), rng)
    return maps


class Warps:
    """Maps, made ready for bilinear interpolation; outside an image there are zeros.

    `corners` (n, 784): for each pixel, where the neighbour above and to the left of its point stands in a
    padded image; `down` and `right` (n, 784), in [0, 1): the way from there to the point. A point far outside
    is moved into the padding, where all neighbours that count are zero.
    """

    def __init__(self, maps: np.ndarray) -> None:
        """`maps` (n, 2, 28, 28), as `affine_maps` gives them."""
        points = np.clip(maps.reshape(len(maps), 2, N_PIXELS) + 1, 0, PADDED_SIDE - 2)
        whole = points.astype(np.int16)
        self.corners = whole[:, 0] * PADDED_SIDE + whole[:, 1]
        self.down, self.right = np.ascontiguousarray((points - whole).swapaxes(0, 1), np.float32)

    def __len__(self) -> int:
        return len(self.corners)

    def apply(self, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Images (n, 28, 28), each through the map that `chosen` (n,) names: (n, 784), float32."""
        padded = np.zeros((len(images), PADDED_SIDE, PADDED_SIDE), np.float32)
        padded[:, 1:-2, 1:-2] = images
        corners = self.corners[chosen].astype(np.intp)
        corners += PADDED_SIDE**2 * np.arange(len(images))[:, None]
        neighbours = (0, 1, PADDED_SIDE, PADDED_SIDE + 1)
        # all lie within; to be told so ("wrap") spares NumPy a slower check of each
        a, above, c, below = (padded.reshape(-1)[start:].take(corners, mode="wrap") for start in neighbours)
        right, down = self.right[chosen], self.down[chosen]
        for start, end, way in ((a, above, right), (c, below, right), (above, below, down)):
            end -= start  # in place: start + way (end - start)
            end *= way
            end += start
        return below


def random_warps(limits: Limits, rng: np.random.Generator) -> Warps:
    return Warps(random_maps(N_WARPS, limits, rng))


class Transformer:
    """Draws a transformation for each image of a batch and writes what a network then sees."""

    def __init__(self, limits: Limits, rng: np.random.Generator, background: float = 0.0) -> None:
        self.jitter, self.rng, self.background = limits.jitter, rng, background
        self.warps = random_warps(limits, rng) if limits.warp else None

    def calls(self, inputs: np.ndarray, images: np.ndarray) -> list[Callable[[], None]]:
        """Draw now; the calls then write images (n, 28, 28), transformed, into `inputs` (784, n).

        The images are uint8, what is written lies in [background, 1]; empty pixels move in. The calls can be
        made in any order and on any thread: each writes a piece of its own.
        """
        n, jitter = len(images), self.jitter
        if jitter:
            down, right = self.rng.integers(0, 2 * jitter + 1, (2, n))
        if self.warps is not None:
            chosen = self.rng.integers(0, len(self.warps), n)

        def piece(part: slice) -> None:
            seen = images[part]
            if jitter:
                side = IMAGE_SIDE + 2 * jitter
                padded = np.zeros((len(seen), side, side), seen.dtype)  # np.pad takes ten times as long
                padded[:, jitter:-jitter, jitter:-jitter] = seen
                windows = np.lib.stride_tricks.sliding_window_view(padded, seen.shape[1:], axis=(1, 2))
                seen = windows[np.arange(len(seen)), down[part], right[part]]
            if self.warps is not None:
                seen = self.warps.apply(seen, chosen[part])
            scaled_into(inputs[:, part], seen, self.background)

        return [partial(piece, part) for part in slices(n, PIECE)]
