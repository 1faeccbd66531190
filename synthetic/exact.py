"""Products that come out the same everywhere: of numbers so coarse that no sum of theirs is ever rounded.

A matrix product adds in an order of its own on every processor, and each order rounds otherwise. Where the
result is cut to whole grey values, a last bit then makes another image. Of multiples of a power of two, with
few enough digits, every sum is exact, and so the same in any order.
"""

from __future__ import annotations

import numpy as np


def coarse(values: np.ndarray, bits: int) -> np.ndarray:
    """`values`, float64, rounded to multiples of 2^-bits.

    float64 holds 53 bits: a sum of products is exact where those after the point, of all factors together,
    and those before it, of the sum, are no more.
    """
    return np.rint(values.astype(np.float64) * 2.0**bits) * 2.0**-bits
