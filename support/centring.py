"""Images of any size brought to the form of MNIST's: scaled into 20 x 20 pixels, centred in 28 x 28 by mass.

As MNIST's page says (LeCun, Cortes & Burges): a digit is scaled, its aspect ratio kept, to fit a box of
20 x 20 pixels, and moved so that its centre of mass comes to the middle of a field of 28 x 28. In MNIST's
files that middle is pixel 14, counted from 0, and the way there is a whole number of pixels. All of it is
reckoned in whole numbers, so that every machine gives the same bytes.
"""

from __future__ import annotations

from support.transformations import IMAGE_SIDE

from functools import cache

import numpy as np

BOX_SIDE = 20
MIDDLE = IMAGE_SIDE // 2  # where MNIST's centres of mass are, to half a pixel
WEIGHT_BITS = 14  # of the weights of the interpolation; both axes' and a pixel's 8 bits need 36
MAX_SIDE = 4096  # of an image: with it the cubes below stay within 63 bits


@cache
def cubic_weights(n_in: int, n_out: int) -> np.ndarray:
    """What each of `n_in` pixels in a row adds to each of `n_out`: int64 (n_out, n_in), of 2^14 a row.

    Cubic convolution, Keys (1981), "Cubic convolution interpolation for digital image processing", with
    a = -1/2: a pixel at distance t weighs 3/2 t^3 - 5/2 t^2 + 1 below t = 1, and -1/2 t^3 + 5/2 t^2 - 4 t + 2
    from there to t = 2. A row that shrinks is read with a kernel that is as much wider; pixels beyond the
    ends are left out. With t = u / d in whole numbers, all weights are multiplied by 2 d^3.
    """
    d = 2 * max(n_in, n_out)
    centres = (2 * np.arange(n_out, dtype=np.int64)[:, None] + 1) * n_in
    u = np.abs(centres - (2 * np.arange(n_in, dtype=np.int64) + 1) * n_out)
    near = 3 * u**3 - 5 * u**2 * d + 2 * d**3
    far = -(u**3) + 5 * u**2 * d - 8 * u * d**2 + 4 * d**3
    exact = np.where(u < d, near, np.where(u < 2 * d, far, 0))
    total, unit = exact.sum(axis=1, keepdims=True), 1 << WEIGHT_BITS
    weights = (2 * exact * unit + total) // (2 * total)  # rounded to the nearest
    weights[np.arange(n_out), weights.argmax(axis=1)] += unit - weights.sum(axis=1)
    return weights


def scaled(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image uint8 (rows, columns) at another size, uint8 (height, width)."""
    down, right = cubic_weights(image.shape[0], height), cubic_weights(image.shape[1], width)
    grey = down @ image.astype(np.int64) @ right.T
    half = 1 << (2 * WEIGHT_BITS - 1)
    return np.clip((grey + half) >> (2 * WEIGHT_BITS), 0, 255).astype(np.uint8)


def ink_range(ink: np.ndarray) -> slice:
    """From the first to the last place of a row or column that holds ink; `ink` bool (n,), not all False."""
    (places,) = np.nonzero(ink)
    return slice(int(places[0]), int(places[-1]) + 1)


def start_of(mass: np.ndarray) -> int:
    """Where a box begins in the field, so that its centre of mass comes to the middle; `mass` int64 (side,).

    Inside the field in any case.
    """
    total = int(mass.sum())
    centre = (2 * int(mass @ np.arange(len(mass))) + total) // (2 * total)  # rounded to the nearest
    return min(max(MIDDLE - centre, 0), IMAGE_SIDE - len(mass))


def centred(image: np.ndarray) -> np.ndarray:
    """A grey image uint8 (rows, columns), ink on paper that is 0, in the form of MNIST's: uint8 (28, 28).

    MNIST's own images come out as they are. Raises ValueError for an image without ink.
    """
    if not image.any():
        raise ValueError("it is empty, all black")
    box = image[ink_range(image.any(axis=1)), ink_range(image.any(axis=0))]
    longer = max(box.shape)
    height, width = (max(1, (2 * BOX_SIDE * side + longer) // (2 * longer)) for side in box.shape)
    small = scaled(box, height, width)
    top, left = (start_of(small.sum(axis=axis, dtype=np.int64)) for axis in (1, 0))
    field = np.zeros((IMAGE_SIDE, IMAGE_SIDE), np.uint8)
    field[top : top + height, left : left + width] = small
    return field
