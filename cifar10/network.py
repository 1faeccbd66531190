"""The convolutional network: blocks, then the maximum over all positions and a linear layer to the logits."""

from __future__ import annotations

from support.settings import N_CLASSES
from support.tiles import Workers

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from cifar10.data import SIDE
from cifar10.layers import Block, BlockArrays

POOL = "M"  # in a list of channels: max-pooling after the convolution before it
LOGIT_SCALE = 0.125  # maxima over a whole image are large: without it only small steps are stable


def plan_of(channels: Sequence[str]) -> list[tuple[int, int, int, bool]]:
    """For each block of `channels`, as 32 M 64: side of its input, channels from and to, whether it pools."""
    plan, side, n_from = [], SIDE, 3
    for place, word in enumerate(channels):
        if word == POOL:
            continue
        n_to, pools = int(word), tuple(channels[place + 1 : place + 2]) == (POOL,)
        plan.append((side, n_from, n_to, pools))
        side, n_from = side // 2 if pools else side, n_to
    return plan


class ConvNet:
    """Blocks, then the maximum over all positions and a linear layer to the logits.

    `parameters` is one flat vector: first everything that is trained, `trained`, then the running means and
    variances of the normalisations. Kernels start normal with variance 2 / fan_in (He et al. 2015), the
    linear layer, (out, in + 1) with the biases as last column, with half of that and biases at zero; without
    `rng`, both are zero.
    """

    def __init__(
        self, channels: Sequence[str], rng: np.random.Generator | None, dtype: Any = np.float32
    ) -> None:
        self.channels = tuple(channels)
        plan = plan_of(self.channels)
        n_features = plan[-1][2]
        shapes: list[tuple[int, ...]] = []
        for _, n_from, n_to, _ in plan:
            shapes += [(3, n_to, 3, n_from), (n_to,), (n_to,)]
        shapes.append((N_CLASSES, n_features + 1))
        self.n_trained = sum(math.prod(shape) for shape in shapes)
        shapes += [(n_to,) for _, _, n_to, _ in plan for _ in range(2)]
        starts = [0, *np.cumsum([math.prod(shape) for shape in shapes]).tolist()]
        self.parameters = np.zeros(starts[-1], dtype)
        views = [
            self.parameters[a:b].reshape(shape)
            for (a, b), shape in zip(pairwise(starts), shapes, strict=True)
        ]
        self.trained = self.parameters[: self.n_trained]
        self.linear = views[3 * len(plan)]
        statistics = views[3 * len(plan) + 1 :]
        self.blocks = []
        self.kernel_places = []  # of each block's kernels in `parameters`
        for index, (side, _, _, pools) in enumerate(plan):
            arrays = BlockArrays(*views[3 * index : 3 * index + 3], *statistics[2 * index : 2 * index + 2])
            arrays.scale[:], arrays.running_variance[:] = 1, 1
            self.kernel_places.append(slice(starts[3 * index], starts[3 * index + 1]))
            self.blocks.append(Block(arrays, side, pools))
        if rng is not None:
            self.linear[:, :-1] = rng.standard_normal((N_CLASSES, n_features), dtype) / math.sqrt(n_features)
            for block in self.blocks:
                normal = rng.standard_normal(block.kernels.shape, dtype)
                block.kernels[:] = normal * math.sqrt(2 / (9 * block.n_from))
        self.n_images = 0

    def with_offsets(self, classes: Sequence[int], offsets: Sequence[float]) -> ConvNet:
        """Another network, whose logit of each of `classes` is larger by its offset."""
        corrected = ConvNet(self.channels, None, self.parameters.dtype)
        corrected.parameters[:] = self.parameters
        # a bias reaches its logit times LOGIT_SCALE
        corrected.linear[list(classes), -1] += np.asarray(offsets, self.parameters.dtype) / LOGIT_SCALE
        return corrected

    @property
    def n_multiply_adds(self) -> int:
        """Multiplications (with their additions) of the products for one image, forward."""
        return sum(b.side**2 * b.kernels.size for b in self.blocks) + self.linear.size - N_CLASSES

    def inputs(self, n_images: int) -> np.ndarray:
        """The buffer to write a batch to, (row, channel, column, image); all others are made to fit."""
        if n_images != self.n_images:
            self.n_images = n_images
            dtype = self.parameters.dtype
            self.padded_inputs = np.zeros((SIDE + 2, 3, SIDE + 2, n_images), dtype)
            for block in self.blocks:
                block.allocate(n_images)
            self.features = np.ones((self.blocks[-1].n_to + 1, n_images), dtype)
            self.d_inputs: list[np.ndarray] | None = None
        return self.padded_inputs[1:-1, :, 1:-1]

    def forward(self, workers: Workers, training: bool = False) -> np.ndarray:
        """Logits (images, classes) of what was written to `inputs`.

        In training each batch is normalised by its own statistics, otherwise by the running ones.
        """
        padded = self.padded_inputs
        for block in self.blocks:
            padded = block.forward(padded, workers, training)
        np.max(self.blocks[-1].output, axis=(0, 2), out=self.features[:-1])
        return LOGIT_SCALE * (self.linear @ self.features).T

    def backward(self, d_logits: np.ndarray, workers: Workers) -> np.ndarray:
        """Gradient by `trained`, flat, for dLoss/d(logits) (images, classes), after `forward` in training."""
        if self.d_inputs is None:
            self.d_inputs = [
                np.empty((b.side, b.n_from, b.side * self.n_images), b.kernels.dtype) for b in self.blocks
            ]
        d_sums = LOGIT_SCALE * d_logits.T
        d_linear = d_sums @ self.features.T
        d_features = self.linear[:, :-1].T @ d_sums
        last = self.blocks[-1]
        hits = last.output == self.features[:-1][:, None]  # equal ones share
        d_features /= hits.sum(axis=(0, 2))
        d_output = (hits * d_features[:, None]).reshape(last.side_out, last.n_to, -1)
        gradients = [d_linear]
        for index in range(len(self.blocks) - 1, -1, -1):
            d_input = self.d_inputs[index] if index else None
            gradients[:0] = self.blocks[index].backward(d_output, workers, d_input)
            d_output = d_input
        return np.concatenate([gradient.ravel() for gradient in gradients]).astype(self.parameters.dtype)
