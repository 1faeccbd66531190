"""Layers: whitening, and blocks of convolution, pooling, batch normalisation and ReLU, by hand.

A batch is cut into groups of images, and a core takes a whole group through a layer, some rows at a time:
what follows a product finds its result in the cache. Only the normalisation needs all groups, for its mean
and variance. A row of activations is (2, channel, half): its even and its odd columns (see convolution.py).
"""

from __future__ import annotations

from support.tiles import slices

from typing import NamedTuple, Protocol

import numpy as np

from cifar10.convolution import (
    add_kernel_gradient,
    convolve_rows,
    kernel_parts,
    kernels_gradient,
    turned,
    write_parts,
)

STATISTICS_MOMENTUM = 0.4  # of the running mean and variance that evaluation uses: they follow the last steps
EPSILON = 1e-5  # added to the variance
PATCH = 2  # rows and columns that the whitening looks at
N_WHITENED = 2 * 3 * PATCH**2  # its outputs
AT_A_TIME = 4096  # even columns, of all rows and images together: few calls do much, on what caches hold


class Source(Protocol):
    """What a block's input comes from."""

    def output_rows(self, group: int, rows: slice, training: bool) -> np.ndarray:
        """Rows (rows, 2, channel, half) of the output for a group."""


def rows_at_a_time(side: int, half: int) -> int:
    """How many of `side` rows of `half` even columns are done at a time: even, and a divisor of `side`."""
    n = side
    while n * half > AT_A_TIME and n % 4 == 0:
        n //= 2
    return n


def split(rows: np.ndarray, n_images: int) -> np.ndarray:
    """Even and odd columns of (rows, channel, columns * images): (rows, 2, channel, columns / 2, images)."""
    return rows.reshape(*rows.shape[:2], -1, 2, n_images).transpose(0, 3, 1, 2, 4)


# ---- Whitening ---------------------------------------------------------------------------------------------


def whitening_kernels(images: np.ndarray, floor: float = 5e-4) -> np.ndarray:
    """The directions in which 2x2 patches vary, (12, 12), each divided by its standard deviation.

    Eigenvectors, as rows, of the covariance of all patches of `images`, uint8 (n, 3, rows, columns), with
    values in [0, 1]; `floor` is added to the variances. What comes out of them is uncorrelated and of equal
    size, which spares the first kernels to find that out.
    """
    windows = np.lib.stride_tricks.sliding_window_view(images, (PATCH, PATCH), axis=(2, 3))
    patches = windows.transpose(4, 5, 1, 0, 2, 3).reshape(3 * PATCH**2, -1) / np.float64(255)
    variances, vectors = np.linalg.eigh(np.cov(patches, bias=True))
    return vectors.T / np.sqrt(variances + floor)[:, None]


class Whitening:
    """What is positive and what is negative in each direction of a 2x2 patch, frozen.

    `kernels` (12, 12): (direction, patch as row, column, colour). Takes uint8 images (n, 3, side + 1,
    side + 1), one row and column more than come out.
    """

    def __init__(self, kernels: np.ndarray) -> None:
        self.kernels = kernels
        self.pixels: list[np.ndarray] = []

    def load(self, images: np.ndarray, groups: list[slice]) -> None:
        """Take the images of a batch, each group as (row, colour, column, image)."""
        self.pixels = [images[group].transpose(2, 1, 3, 0) for group in groups]

    def output_rows(self, group: int, rows: slice, training: bool) -> np.ndarray:
        pixels = self.pixels[group][rows.start : rows.stop + PATCH - 1].astype(self.kernels.dtype)
        n, width, n_images = rows.stop - rows.start, pixels.shape[2] - PATCH + 1, pixels.shape[3]
        pixels *= self.kernels.dtype.type(1 / 255)
        places = [(dy, dx) for dy in range(PATCH) for dx in range(PATCH)]
        patches = np.stack([pixels[dy : dy + n, :, dx : dx + width] for dy, dx in places], axis=1)
        both_signs = np.concatenate((self.kernels, -self.kernels))
        columns = split(both_signs @ patches.reshape(n, len(self.kernels), -1), n_images)
        out = np.maximum(columns, 0, out=np.empty(columns.shape, pixels.dtype))
        return out.reshape(n, 2, N_WHITENED, -1)


# ---- Blocks ------------------------------------------------------------------------------------------------


class BlockArrays(NamedTuple):
    """All numbers of a block, views of its network's one vector."""

    kernels: np.ndarray  # (3 dx, to, 3 dy, from)
    scale: np.ndarray  # (to,), as all that follow
    shift: np.ndarray
    running_mean: np.ndarray
    running_variance: np.ndarray


class Group:
    """What a block keeps of a group of images from the way forward for the way back."""

    def __init__(self, block: Block, n_images: int) -> None:
        dtype, n_to, side = block.kernels.dtype, block.n_to, block.side_out
        half, half_out = (block.side + 1) // 2 * n_images, (side + 1) // 2 * n_images
        self.n_images, self.n_rows = n_images, rows_at_a_time(block.side, half)
        self.n_outputs = side * side * n_images  # per channel
        self.parts = np.zeros((4, block.side + 2, block.n_from, half), dtype)
        # or just convolved, where the block does not pool; less `centre` in training
        self.pooled = np.zeros((side, 2, n_to, half_out), dtype)
        self.active = np.empty((side, 2, n_to, half_out), bool)  # where ReLU let something through
        self.d_output = np.empty((side, 2, n_to, half_out), dtype)
        if block.pools:  # which of two rows, and then of two columns, the maximum came from
            self.is_upper = np.empty((side, 2, n_to, half), bool)
            self.is_left = np.empty((side, n_to, half), bool)
        self.centre = np.zeros(n_to, dtype)  # near the mean: without it, squares would cancel
        self.total, self.squares = np.zeros((2, n_to))  # of the pooled values, less the centre
        self.d_total, self.d_product = np.zeros((2, n_to))  # of d_output, and of it times the pooled values
        self.d_kernel_parts = np.zeros((4, 3 * block.n_from, n_to), dtype)


class Block:
    """Convolution 3x3, max-pooling 2x2 if `pools`, batch normalisation (Ioffe & Szegedy 2015), ReLU.

    `side` is that of the square that comes in, even where it pools. An odd one has an odd column more in
    memory, which is kept at zero on both ways, as what lies beyond the border is. Pooling comes before the
    normalisation, which so has a quarter of the work; apart from the sign of a scale that is the same
    function. In training call, for each batch, `forward_group` for every group, `statistics`, then
    `output_rows`; on the way back `end_of_output` for all rows of each group, from the first on, `slopes`,
    then `backward_group` for every group, and `gradients`.
    """

    def __init__(self, arrays: BlockArrays, side: int, pools: bool) -> None:
        self.kernels, self.scale, self.shift, self.running_mean, self.running_variance = arrays
        self.pools = pools
        self.n_from, self.n_to = self.kernels.shape[3], self.kernels.shape[1]
        self.see(side)

    def see(self, side: int) -> None:
        """Take squares of this side from now on; `allocate` must follow."""
        self.side, self.side_out = side, side // 2 if self.pools else side

    def allocate(self, sizes: list[int]) -> None:
        """Buffers for batches whose groups have these sizes."""
        self.groups = [Group(self, n_images) for n_images in sizes]

    # ---- Forward

    def begin(self, training: bool) -> None:
        """Make ready for a batch: what is the same for all its groups."""
        self.kernel_parts = kernel_parts(self.kernels)
        if not training:
            self.use(self.running_mean, self.running_variance)

    def use(self, mean: np.ndarray, variance: np.ndarray) -> None:
        """Normalise by these."""
        self.mean = np.asarray(mean, self.kernels.dtype)
        self.inverse_sd = (1 / np.sqrt(variance + EPSILON)).astype(self.kernels.dtype)
        self.factor = self.scale * self.inverse_sd

    def forward_group(self, index: int, source: Source, training: bool) -> None:
        """Convolve and pool the group's images; rows of the input are used while they are in the cache."""
        group = self.groups[index]
        parts, n_written = group.parts, 0
        products = np.empty((4, group.n_rows, self.n_to, parts.shape[3]), parts.dtype)
        convolved = np.empty((group.n_rows, 2, self.n_to, parts.shape[3]), parts.dtype)
        if training:
            group.total[:] = group.squares[:] = 0
        for rows in slices(self.side, group.n_rows):
            # and one below, which has its part in the last of them
            wanted = slice(n_written, min(rows.stop + 1, self.side))
            given = source.output_rows(index, wanted, training)
            write_parts(given, group.n_images, parts[:, wanted.start + 1 : wanted.stop + 1])
            n_written = wanted.stop
            out = convolved if self.pools else group.pooled[rows]
            convolve_rows(self.kernel_parts, parts[:, rows.start : rows.stop + 2], products, out)
            if self.pools:
                rows = slice(rows.start // 2, rows.stop // 2)
                self.pool(group, rows, convolved)
            if training:
                self.count(group, rows)

    def pool(self, group: Group, rows: slice, convolved: np.ndarray) -> None:
        """`rows` of the pooled values, and where they came from; the first of two equal ones counts."""
        upper, lower = convolved[0::2], convolved[1::2]
        np.greater_equal(upper, lower, out=group.is_upper[rows])
        np.maximum(upper, lower, out=upper)
        left, right = upper[:, 0], upper[:, 1]
        np.greater_equal(left, right, out=group.is_left[rows])
        pooled = np.maximum(left, right)
        columns = pooled.reshape(*pooled.shape[:2], self.side_out, group.n_images)
        even, odd = self.columns_out(group.pooled[rows], group.n_images)
        even[:], odd[:] = columns[:, :, 0::2], columns[:, :, 1::2]

    def columns_out(self, rows: np.ndarray, n_images: int) -> tuple[np.ndarray, np.ndarray]:
        """The even and the odd columns, each with its images, of rows (rows, 2, to, half) of the output."""
        columns = rows.reshape(*rows.shape[:3], -1, n_images)
        return columns[:, 0], columns[:, 1, :, : self.side_out // 2]

    def blank(self, rows: np.ndarray, n_images: int) -> None:
        """Put zeros into the column of rows (rows, 2, to, half) of the output that an odd side has not."""
        if self.side_out % 2:
            rows[:, 1, :, -n_images:] = 0

    def count(self, group: Group, rows: slice) -> None:
        """Add `rows` of the pooled values to the group's sums, less a centre from its first row."""
        x = group.pooled[rows]
        if rows.start == 0:
            group.centre[:] = x[0].mean(axis=(0, 2))
        x -= group.centre[:, None]
        self.blank(x, group.n_images)
        for total, squares in zip(x.sum(axis=3).sum(axis=1), np.einsum("rpkn,rpkn->rk", x, x), strict=True):
            group.total += total
            group.squares += squares

    def statistics(self) -> None:
        """Mean and variance of the batch from its groups' (Chan et al. 1979); the running ones follow."""
        n = sum(group.n_outputs for group in self.groups)
        means = [group.centre + group.total / group.n_outputs for group in self.groups]
        mean = sum(g.n_outputs * m for g, m in zip(self.groups, means, strict=True)) / n
        within = sum(g.squares - g.total**2 / g.n_outputs for g in self.groups)
        between = sum(g.n_outputs * (m - mean) ** 2 for g, m in zip(self.groups, means, strict=True))
        variance = (within + between) / n
        self.running_mean += STATISTICS_MOMENTUM * (mean - self.running_mean)
        self.running_variance += STATISTICS_MOMENTUM * (variance * n / (n - 1) - self.running_variance)
        self.use(mean, variance)

    def output_rows(self, group: int, rows: slice, training: bool) -> np.ndarray:
        mine = self.groups[group]
        constant = self.shift - self.mean * self.factor
        if training:
            constant = self.shift + (mine.centre - self.mean) * self.factor
        out = mine.pooled[rows] * self.factor[:, None]
        out += constant[:, None]
        np.maximum(out, 0, out=out)
        self.blank(out, mine.n_images)
        if training:
            np.greater(out, 0, out=mine.active[rows])
        return out

    # ---- Backward

    def end_of_output(self, index: int, rows: slice) -> None:
        """Take `rows` of dLoss/d(output), which stand in `d_output`, through the ReLU."""
        group = self.groups[index]
        d = group.d_output[rows]
        if rows.start == 0:
            group.d_total[:] = group.d_product[:] = 0
        d *= group.active[rows]
        products = np.einsum("rpkn,rpkn->rk", d, group.pooled[rows])
        for total, product in zip(d.sum(axis=3).sum(axis=1), products, strict=True):
            group.d_total += total
            group.d_product += product

    def slopes(self) -> None:
        """Gradients of scale and shift, and what `backward_group` needs: sums over all groups.

        With x the normalised value, that by a pooled value is factor * (d - mean d - x mean(d x)). The factor
        is left to the kernels: those that take the gradient further down, and the kernels' own gradient.
        """
        n = sum(group.n_outputs for group in self.groups)
        self.d_shift = sum(group.d_total for group in self.groups)
        products = [g.d_product + (g.centre - self.mean) * g.d_total for g in self.groups]
        self.d_scale = sum(products) * self.inverse_sd
        dtype = self.kernels.dtype
        self.slope = (self.inverse_sd * self.d_scale / n).astype(dtype)  # of d, by the pooled value
        self.d_mean = self.d_shift / n
        self.turned_parts = kernel_parts(turned(self.kernels * self.factor[:, None, None]))

    def backward_group(self, index: int, below: Block | None) -> None:
        """The group's share of the kernels' gradient; dLoss/d(input) goes to `below.d_output`, if any."""
        group, dtype = self.groups[index], self.kernels.dtype
        n_rows, half = group.n_rows, group.parts.shape[3]
        group.d_kernel_parts[:] = 0
        share = np.empty((4, n_rows, *group.d_kernel_parts.shape[1:]), dtype)
        d_parts = np.empty((4, self.side + 2, self.n_to, half), dtype)
        d_parts[:, 0] = d_parts[:, -1] = 0
        d_constant = (self.d_mean + (group.centre - self.mean) * self.slope).astype(dtype)
        for rows in slices(self.side, n_rows):
            pooled_rows = slice(rows.start // 2, rows.stop // 2) if self.pools else rows
            d_rows = self.d_pooled_rows(group, pooled_rows, d_constant)
            if self.pools:
                d_rows = self.unpooled(group, pooled_rows, d_rows)
            own_parts = d_parts[:, rows.start + 1 : rows.stop + 1]
            write_parts(d_rows, group.n_images, own_parts)
            around = group.parts[:, rows.start : rows.stop + 2]
            add_kernel_gradient(d_rows, own_parts, around, share, group.d_kernel_parts)
            if below is not None and rows.start > 0:  # whose last row waited for the first of these
                self.input_rows(index, slice(rows.start - n_rows, rows.start), d_parts, below)
        if below is not None:
            self.input_rows(index, slice(self.side - n_rows, self.side), d_parts, below)

    def input_rows(self, index: int, rows: slice, d_parts: np.ndarray, below: Block) -> None:
        """`rows` of dLoss/d(input), through the ReLU below."""
        products = np.empty((4, rows.stop - rows.start, self.n_from, d_parts.shape[3]), d_parts.dtype)
        out = below.groups[index].d_output[rows]
        convolve_rows(self.turned_parts, d_parts[:, rows.start : rows.stop + 2], products, out)
        below.end_of_output(index, rows)

    def d_pooled_rows(self, group: Group, rows: slice, d_constant: np.ndarray) -> np.ndarray:
        """`rows` of dLoss/d(pooled) but for the factor, in place of those of the output."""
        d = group.d_output[rows]
        d -= group.pooled[rows] * self.slope[:, None]
        d -= d_constant[:, None]
        self.blank(d, group.n_images)
        return d

    def unpooled(self, group: Group, rows: slice, d_pooled: np.ndarray) -> np.ndarray:
        """dLoss/d(convolved), (2 rows, 2, to, half): each value goes where the maximum came from."""
        half, n = group.parts.shape[3], len(d_pooled)
        d = np.empty((n, self.n_to, half), d_pooled.dtype)
        columns = d.reshape(n, self.n_to, self.side_out, group.n_images)
        columns[:, :, 0::2], columns[:, :, 1::2] = self.columns_out(d_pooled, group.n_images)
        two_columns = np.empty((n, 2, self.n_to, half), d.dtype)
        np.multiply(d, group.is_left[rows], out=two_columns[:, 0])
        np.subtract(d, two_columns[:, 0], out=two_columns[:, 1])
        two_rows = np.empty((2 * n, 2, self.n_to, half), d.dtype)
        np.multiply(two_columns, group.is_upper[rows], out=two_rows[0::2])
        np.subtract(two_columns, two_rows[0::2], out=two_rows[1::2])
        return two_rows

    def gradients(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of kernels, scale and shift, once all groups went back."""
        d_kernels = kernels_gradient(sum(group.d_kernel_parts for group in self.groups))
        return d_kernels * self.factor[:, None, None], self.d_scale, self.d_shift
