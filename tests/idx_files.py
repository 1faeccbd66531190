"""IDX files for the tests."""

from __future__ import annotations

import struct

import numpy as np


def idx_bytes(array: np.ndarray) -> bytes:
    """IDX written by hand: 0, 0, type 8, number of dimensions, big-endian sizes, values."""
    header = bytes((0, 0, 8, array.ndim)) + b"".join(struct.pack(">I", n) for n in array.shape)
    return header + array.tobytes()
