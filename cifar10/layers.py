"""Layers: convolution, pooling, batch normalisation and ReLU, forward and backward by hand.

A batch of activations lies in memory as (row, channel, column, image). Three rows of all channels are then
one matrix, a step to the right is a step in it: a convolution is three matrix products per row.
"""

from __future__ import annotations

from support.tiles import Workers

from typing import NamedTuple

import numpy as np

STATISTICS_MOMENTUM = 0.1  # of the running mean and variance that evaluation uses
EPSILON = 1e-5  # added to the variance


def convolve(kernels: np.ndarray, padded: np.ndarray, workers: Workers, out: np.ndarray) -> None:
    """3x3 convolution: out[y] = sum over dx of kernels[dx] @ (rows y - 1, y, y + 1, shifted by dx).

    `kernels` (3 dx, to, 3 dy * from); `padded` (height + 2, from, width + 2, images), zeros around the image;
    `out` (height, to, width * images).
    """
    height, n_channels, width, n_images = padded.shape
    flat = padded.reshape(height, n_channels, width * n_images)

    def row(y: int) -> None:
        rows = flat[y : y + 3].reshape(3 * n_channels, width * n_images)
        left, middle, right = (rows[:, dx * n_images :][:, : out.shape[2]] for dx in range(3))
        np.matmul(kernels[0], left, out=out[y])
        out[y] += kernels[1] @ middle
        out[y] += kernels[2] @ right

    workers.map(row, range(len(out)))


def quarters(rows: np.ndarray) -> list[np.ndarray]:
    """The four views (channels, columns / 2, images) of two rows (2, channels, columns, images)."""
    return [rows[i, :, j::2] for i in (0, 1) for j in (0, 1)]


def max_of_four(parts: list[np.ndarray], out: np.ndarray | None = None) -> np.ndarray:
    """The largest of four arrays, element by element."""
    a, b, c, d = parts
    out = np.maximum(a, b, out=out)
    np.maximum(out, c, out=out)
    return np.maximum(out, d, out=out)


def shared_out(d_maximum: np.ndarray, parts: list[np.ndarray], targets: list[np.ndarray]) -> None:
    """The gradient of `max_of_four(parts)`, to where the maximum came from; equal ones share.

    Goes to `targets`, one for each of `parts`. Overwrites `d_maximum`.
    """
    largest = max_of_four(parts)
    hits = [part == largest for part in parts]
    d_maximum /= np.sum(hits, axis=0, dtype=np.uint8)
    for target, hit in zip(targets, hits, strict=True):
        np.multiply(d_maximum, hit, out=target)


class BlockArrays(NamedTuple):
    """All numbers of a block, views of its network's one vector."""

    kernels: np.ndarray  # (3 dx, to, 3 dy, from)
    scale: np.ndarray  # (to,), as all that follow
    shift: np.ndarray
    running_mean: np.ndarray
    running_variance: np.ndarray


class Block:
    """Convolution 3x3, max-pooling 2x2 if `pools`, batch normalisation (Ioffe & Szegedy 2015), ReLU.

    `side` is that of the square that comes in. Pooling comes before the normalisation, which so has a quarter
    of the work; apart from the sign of a scale that is the same function.
    """

    def __init__(self, arrays: BlockArrays, side: int, pools: bool) -> None:
        self.kernels, self.scale, self.shift, self.running_mean, self.running_variance = arrays
        self.side, self.pools, self.side_out = side, pools, side // 2 if pools else side
        self.n_from, self.n_to = self.kernels.shape[3], self.kernels.shape[1]

    def allocate(self, n_images: int) -> None:
        """Buffers for batches of this size; those of the gradients are made when first needed."""
        dtype = self.kernels.dtype
        self.n_images = n_images
        self.convolved = np.empty((self.side, self.n_to, self.side * n_images), dtype)
        self.normal = np.empty((self.side_out, self.n_to, self.side_out * n_images), dtype)
        shape = (self.side_out + 2, self.n_to, self.side_out + 2, n_images)
        self.padded_out = np.zeros(shape, dtype)
        self.output = self.padded_out[1:-1, :, 1:-1]
        self.d_convolved: np.ndarray | None = None

    def forward(self, padded: np.ndarray, workers: Workers, training: bool) -> np.ndarray:
        """The padded output (rows + 2, to, columns + 2, images) for a padded input of that form.

        In training, the batch's own mean and variance normalise it, and move the running ones a little.
        """
        self.padded_in = padded
        side, n_to, n_images = self.side_out, self.n_to, self.n_images
        convolve(self.kernels.reshape(3, n_to, 3 * self.n_from), padded, workers, self.convolved)
        n = side * side * n_images
        sums, squares = np.empty((2, side, n_to))

        def pool(y: int) -> None:
            x = self.normal[y]
            if self.pools:
                max_of_four(self.quarters_of_row(y), out=x.reshape(n_to, side, n_images))
            else:
                x[:] = self.convolved[y]
            sums[y] = x.sum(axis=1)

        workers.map(pool, range(side))
        mean = sums.sum(axis=0) / n if training else self.running_mean
        rounded_mean = np.asarray(mean, self.kernels.dtype)[:, None]

        def centre(y: int) -> None:
            x = self.normal[y]
            x -= rounded_mean
            if training:  # squares of what is left: E[x^2] - mean^2 would cancel where the mean is large
                squares[y] = np.einsum("kn,kn->k", x, x)

        workers.map(centre, range(side))
        variance = squares.sum(axis=0) / n if training else self.running_variance
        if training:
            self.running_mean += STATISTICS_MOMENTUM * (mean - self.running_mean)
            self.running_variance += STATISTICS_MOMENTUM * (variance * n / (n - 1) - self.running_variance)
        self.inverse_sd = (1 / np.sqrt(variance + EPSILON)).astype(self.kernels.dtype)

        def normalise(y: int) -> None:
            x, out = self.normal[y], self.output[y]
            x *= self.inverse_sd[:, None]
            np.multiply(x.reshape(out.shape), self.scale[:, None, None], out=out)
            out += self.shift[:, None, None]
            np.maximum(out, 0, out=out)

        workers.map(normalise, range(side))
        return self.padded_out

    def quarters_of_row(self, y: int) -> list[np.ndarray]:
        """The four views of `convolved` of which row y after pooling is the maximum."""
        two = self.convolved[2 * y : 2 * y + 2]
        return quarters(two.reshape(2, self.n_to, self.side, self.n_images))

    def backward(
        self, d_output: np.ndarray, workers: Workers, d_input: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gradients of kernels, scale and shift, after `forward` in training, for dLoss/d(output).

        `d_output` (rows, to, columns * images) is overwritten; dLoss/d(input) goes to `d_input`, of the same
        form, unless that is None.
        """
        if self.d_convolved is None:
            shape = (self.side + 2, self.n_to, self.side + 2, self.n_images)
            self.d_convolved = np.zeros(shape, self.kernels.dtype)
        d_scale, d_shift = self.backward_to_convolved(d_output, workers)
        d_kernels = self.kernel_gradient(workers)
        if d_input is not None:  # the convolution with the kernels turned round, from and to exchanged
            turned = self.kernels[::-1, :, ::-1].transpose(0, 3, 2, 1)
            convolve(turned.reshape(3, self.n_from, 3 * self.n_to), self.d_convolved, workers, d_input)
        return d_kernels, d_scale, d_shift

    def backward_to_convolved(self, d_output: np.ndarray, workers: Workers) -> tuple[np.ndarray, np.ndarray]:
        """Gradients of scale and shift; dLoss/d(convolved) goes to `d_convolved`, within its border."""
        side, n_to, n_images = self.side_out, self.n_to, self.n_images
        inner = self.d_convolved[1:-1, :, 1:-1]
        sums = np.empty((2, side, n_to))

        def slope_of_relu(y: int) -> None:
            d, x = d_output[y], self.normal[y]
            d.reshape(self.output[y].shape)[:] *= self.output[y] > 0
            sums[:, y] = d.sum(axis=1), np.einsum("kn,kn->k", d, x)

        workers.map(slope_of_relu, range(side))
        d_shift, d_scale = sums.sum(axis=1)
        # with x the normalised value: scale / sd * (d - mean d - x mean(d x))
        n, dtype = side * side * n_images, self.kernels.dtype
        mean_d, mean_dx = (d_shift / n).astype(dtype), (d_scale / n).astype(dtype)
        factor = self.scale * self.inverse_sd

        def denormalise(y: int) -> None:
            d = d_output[y]
            d -= mean_d[:, None]
            d -= self.normal[y] * mean_dx[:, None]
            d *= factor[:, None]
            d = d.reshape(n_to, side, n_images)
            if self.pools:
                shared_out(d, self.quarters_of_row(y), quarters(inner[2 * y : 2 * y + 2]))
            else:
                inner[y] = d

        workers.map(denormalise, range(side))
        return d_scale, d_shift

    def kernel_gradient(self, workers: Workers) -> np.ndarray:
        """Gradient of the kernels, once `d_convolved` is there."""
        n_images, n_inputs = self.n_images, 3 * self.n_from
        inner = self.d_convolved[1:-1, :, 1:-1]
        flat = self.padded_in.reshape(self.side + 2, self.n_from, (self.side + 2) * n_images)
        by_row = np.empty((self.side, 3, self.n_to, n_inputs), self.kernels.dtype)

        def row(y: int) -> None:
            d = inner[y].reshape(self.n_to, self.side * n_images)
            rows = flat[y : y + 3].reshape(n_inputs, (self.side + 2) * n_images)
            for dx in range(3):
                np.matmul(d, rows[:, dx * n_images :][:, : d.shape[1]].T, out=by_row[y, dx])

        workers.map(row, range(self.side))
        return by_row.sum(axis=0).reshape(self.kernels.shape)
