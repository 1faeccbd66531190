"""The convolutional network: whitening, blocks, maximum over all positions, a linear layer to the logits."""

from __future__ import annotations

from support.settings import N_CLASSES
from support.tiles import Workers

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from cifar10.data import SIDE
from cifar10.layers import N_WHITENED, Block, BlockArrays, Source, Whitening

POOL = "M"  # in a list of channels: max-pooling after the convolution before it
LOGIT_SCALE = 0.125  # maxima over a whole image are large: without it only small steps are stable
GROUP = 64  # images that a core takes through a layer at a time


def plan_of(channels: Sequence[str], side: int = SIDE) -> list[tuple[int, int, int, bool]]:
    """For each block of `channels`, as 32 M 64: side of its input, channels from and to, whether it pools."""
    plan, n_from = [], N_WHITENED
    for place, word in enumerate(channels):
        if word == POOL:
            continue
        n_to, pools = int(word), tuple(channels[place + 1 : place + 2]) == (POOL,)
        plan.append((side, n_from, n_to, pools))
        side, n_from = side // 2 if pools else side, n_to
    return plan


def groups_of(n_images: int) -> list[slice]:
    """The images of a batch in groups of GROUP at most, as equal as can be."""
    n_groups = math.ceil(n_images / GROUP)
    return [slice(*edges) for edges in pairwise(n_images * k // n_groups for k in range(n_groups + 1))]


class ConvNet:
    """A frozen whitening, blocks, the maximum over all positions and a linear layer to the logits.

    `parameters` is one flat vector: first everything that is trained, `trained`, then the running means and
    variances of the normalisations and the kernels of the whitening. Kernels start normal with variance
    2 / fan_in (He et al. 2015), the linear layer, (out, in + 1) with the biases as last column, with half of
    that and biases at zero; without `rng`, both are zero. The whitening is zero until somebody sets it.
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
        shapes.append((N_WHITENED // 2, N_WHITENED // 2))
        starts = [0, *np.cumsum([math.prod(shape) for shape in shapes]).tolist()]
        self.parameters = np.zeros(starts[-1], dtype)
        views = [
            self.parameters[a:b].reshape(shape)
            for (a, b), shape in zip(pairwise(starts), shapes, strict=True)
        ]
        self.trained = self.parameters[: self.n_trained]
        self.linear = views[3 * len(plan)]
        statistics = views[3 * len(plan) + 1 :]
        self.whitening = Whitening(views[-1])
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
        self.side, self.n_images = SIDE, 0

    def see(self, side: int) -> None:
        """Take images of this side from now on: the same kernels go over another number of pixels."""
        self.side, self.n_images = side, 0
        for block, (its_side, *_) in zip(self.blocks, plan_of(self.channels, side), strict=True):
            block.see(its_side)

    def with_offsets(self, classes: Sequence[int], offsets: Sequence[float]) -> ConvNet:
        """Another network, whose logit of each of `classes` is larger by its offset."""
        corrected = ConvNet(self.channels, None, self.parameters.dtype)
        corrected.parameters[:] = self.parameters
        # a bias reaches its logit times LOGIT_SCALE
        corrected.linear[list(classes), -1] += np.asarray(offsets, self.parameters.dtype) / LOGIT_SCALE
        return corrected

    @property
    def n_multiply_adds(self) -> int:
        """Multiplications (with their additions) of the products for one image, forward.

        Those of the definition, at the side that it takes now: Winograd's way takes two thirds of a
        convolution's.
        """
        whitening = self.side**2 * self.whitening.kernels.size
        blocks = sum(b.side**2 * b.kernels.size for b in self.blocks)
        return whitening + blocks + self.linear.size - N_CLASSES

    def _load(self, images: np.ndarray) -> None:
        """Take a batch of uint8 images (n, 3, side + 1, side + 1); buffers are made anew for another n."""
        groups = groups_of(len(images))
        self.whitening.load(images, groups)
        if len(images) != self.n_images:
            self.n_images = len(images)
            for block in self.blocks:
                block.allocate([group.stop - group.start for group in groups])
        self.group_slices = groups

    def forward(self, images: np.ndarray, workers: Workers, training: bool = False) -> np.ndarray:
        """Logits (n, classes) of uint8 images (n, 3, side + 1, side + 1).

        In training each batch is normalised by its own statistics, otherwise by the running ones.
        """
        self._load(images)
        indices = range(len(self.group_slices))
        sources: list[Source] = [self.whitening, *self.blocks[:-1]]
        for block in self.blocks:
            block.begin(training)
        if training:
            for block, source in zip(self.blocks, sources, strict=True):
                workers.map(lambda index: block.forward_group(index, source, True), indices)
                block.statistics()
        self.features = np.ones((self.blocks[-1].n_to + 1, len(images)), self.parameters.dtype)
        self.last_outputs: list[np.ndarray] = [np.empty(0)] * len(indices)

        def whole(index: int) -> None:
            if not training:
                for block, source in zip(self.blocks, sources, strict=True):
                    block.forward_group(index, source, False)
            last, group = self.blocks[-1], self.group_slices[index]
            rows = last.output_rows(index, slice(0, last.side_out), training)
            rows = rows.reshape(*rows.shape[:3], -1, group.stop - group.start)
            self.last_outputs[index] = rows
            rows.max(axis=(0, 1, 3), out=self.features[:-1, group])

        workers.map(whole, indices)
        return LOGIT_SCALE * (self.linear @ self.features).T

    def backward(self, d_logits: np.ndarray, workers: Workers) -> np.ndarray:
        """Gradient by `trained`, flat, for dLoss/d(logits) (images, classes), after `forward` in training."""
        d_sums = LOGIT_SCALE * d_logits.T
        gradients = [d_sums @ self.features.T]
        d_features = self.linear[:, :-1].T @ d_sums
        last, indices = self.blocks[-1], range(len(self.group_slices))

        def from_maximum(index: int) -> None:
            group, rows = self.group_slices[index], self.last_outputs[index]
            hits = rows == self.features[:-1, None, group]  # equal ones share
            d = hits * (d_features[:, group] / hits.sum(axis=(0, 1, 3)))[:, None]
            last.groups[index].d_output[:] = d.reshape(last.groups[index].d_output.shape)
            last.end_of_output(index, slice(0, last.side_out))

        workers.map(from_maximum, indices)
        for block, below in zip(self.blocks[::-1], [*self.blocks[-2::-1], None], strict=True):
            block.slopes()
            workers.map(lambda index: block.backward_group(index, below), indices)
            gradients[:0] = block.gradients()
        return np.concatenate([gradient.ravel() for gradient in gradients]).astype(self.parameters.dtype)
