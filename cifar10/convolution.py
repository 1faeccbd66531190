"""3x3 convolutions with two thirds of the multiplications: Winograd's F(2, 3), along the rows of an image.

Two neighbouring outputs y0, y1 of a filter with three taps g0, g1, g2 over d0 .. d3 take six multiplications
as they stand, and four like this (Winograd 1980; Lavin & Gray 2015, section 4.1):

    m0 = (d0 - d2) g0                       y0 = m0 + m1 + m2
    m1 = (d1 + d2) (g0 + g1 + g2) / 2       y1 = m1 - m2 - m3
    m2 = (d2 - d1) (g0 - g1 + g2) / 2
    m3 = (d1 - d3) g2

All channels and three rows at a time, each m is a matrix product. So a row of activations lies in memory as
its even and its odd columns, (2, channel, half), where `half` counts half the columns times the images of a
group; and as its four parts, the sums and differences above, (4, channel, half). The parts of all rows, with
a row of zeros above and below, are (4, rows + 2, channel, half): three rows of a part are one matrix. Some
rows are done at a time, so that few calls do much.
"""

from __future__ import annotations

from support.tiles import blas_kernel

import numpy as np

UNPACKED_KERNELS = ("SkylakeX", "Cooperlake", "SapphireRapids")
UNPACKED = 10**6  # multiply-adds of a product that they take without packing
PIECE = 64  # columns at least: with fewer, nothing is gained


def kernel_parts(kernels: np.ndarray) -> np.ndarray:
    """Of kernels (3 dx, to, 3 dy, from) what multiplies the parts of three rows, (4, to, 3 dy * from)."""
    g0, g1, g2 = kernels.reshape(3, kernels.shape[1], -1)
    return np.stack((g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2))


def kernels_gradient(d_parts: np.ndarray) -> np.ndarray:
    """The gradient by kernels, (3 dx, to, 3 dy, from), from that by their parts, (4, 3 dy * from, to)."""
    both, difference = (d_parts[1] + d_parts[2]) / 2, (d_parts[1] - d_parts[2]) / 2
    gradient = np.stack((d_parts[0] + both, difference, both + d_parts[3]))
    return gradient.swapaxes(1, 2).reshape(3, d_parts.shape[2], 3, -1)


def turned(kernels: np.ndarray) -> np.ndarray:
    """The kernels whose convolution takes a gradient back from the output to the input."""
    return kernels[::-1, :, ::-1].transpose(0, 3, 2, 1)


def write_parts(rows: np.ndarray, n_images: int, parts: np.ndarray) -> None:
    """The four parts, (4, rows, channel, half), of (rows, 2, channel, half); zeros lie beyond the ends."""
    even, odd = rows[:, 0], rows[:, 1]
    before, after = parts[0], parts[3]
    np.subtract(odd[..., :-n_images], odd[..., n_images:], out=before[..., n_images:])
    # not np.negative: NumPy 2.4's is wrong for some columns, as those of a single image 8 pixels wide
    np.subtract(0, odd[..., :n_images], out=before[..., :n_images])
    np.add(even, odd, out=parts[1])
    np.subtract(odd, even, out=parts[2])
    np.subtract(even[..., :-n_images], even[..., n_images:], out=after[..., :-n_images])
    after[..., -n_images:] = even[..., -n_images:]


def threes(parts: np.ndarray) -> np.ndarray:
    """A view (4, rows, 3 * channel, half) of parts (4, rows + 2, channel, half): each row with two around."""
    n_parts, n_rows, n_channels, half = parts.shape
    shape = (n_parts, n_rows - 2, 3 * n_channels, half)
    return np.lib.stride_tricks.as_strided(parts, shape, parts.strides, writeable=False)


def n_pieces(n_rows: int, n_inner: int, n_columns: int) -> int:
    """In how many equal pieces a product's columns are best multiplied, by (n_rows, n_inner).

    On processors with AVX-512, OpenBLAS takes the factors of a small product as they lie, without packing
    them first, which saves up to half of the time where rows are few.
    """
    if blas_kernel() not in UNPACKED_KERNELS:
        return 1
    few = (k for k in range(1, n_columns // PIECE + 1) if n_columns % k == 0)
    return next((k for k in few if n_rows * n_inner * (n_columns // k) <= UNPACKED), 1)


def in_pieces(matrices: np.ndarray, n: int) -> np.ndarray:
    """A view (..., n, inner, columns / n) of (..., inner, columns)."""
    *outer, n_columns = matrices.shape
    return matrices.reshape(*outer, n, n_columns // n).swapaxes(-3, -2)


def convolve_rows(by: np.ndarray, parts: np.ndarray, products: np.ndarray, out: np.ndarray) -> None:
    """Rows of the convolution to `out` (rows, 2, to, half).

    `by` are the kernels' parts, `parts` (4, rows + 2, from, half) those of the rows and of the two around;
    `products` (4, rows, to, half) is overwritten.
    """
    n = n_pieces(*by.shape[1:], parts.shape[3])
    np.matmul(by[:, None, None], in_pieces(threes(parts), n), out=in_pieces(products, n))
    add_up(products, out)


def add_up(products: np.ndarray, out: np.ndarray) -> None:
    """The m (4, rows, to, half) to even and odd columns (rows, 2, to, half)."""
    m0, m1, m2, m3 = products
    even, odd = out[:, 0], out[:, 1]
    np.add(m1, m2, out=even)
    even += m0
    np.subtract(m1, m2, out=odd)
    odd -= m3


def add_kernel_gradient(
    d_rows: np.ndarray, d_parts: np.ndarray, parts: np.ndarray, scratch: np.ndarray, total: np.ndarray
) -> None:
    """Add some rows' share to the gradient by the kernels' parts, `total` (4, 3 dy * from, to).

    `d_rows` (rows, 2, to, half) is dLoss/d(rows of the convolution) and `d_parts` (4, rows, to, half) their
    parts; `parts` as for `convolve_rows`, `scratch` (4, rows, 3 dy * from, to): a product is the faster the
    more rows it has. By the m are y0, y0 + y1, y0 - y1 and -y1 differentiated; the second and minus the third
    are parts already.
    """
    rows = threes(parts)
    for one, d in enumerate((d_rows[:, 0], d_parts[1], d_parts[2], d_rows[:, 1])):
        np.matmul(rows[one], d.swapaxes(1, 2), out=scratch[one])
    for share in scratch.swapaxes(0, 1):
        total[:2] += share[:2]
        total[2:] -= share[2:]
