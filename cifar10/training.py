"""The training loop of teacher, student and baseline, and what a finished network answers."""

from __future__ import annotations

from support.feed import learning_rate_at
from support.settings import N_CLASSES
from support.stored import Watcher
from support.tiles import Workers

import math

import numpy as np

from cifar10.data import SIDE
from cifar10.layers import PATCH
from cifar10.network import ConvNet
from cifar10.optimisers import OPTIMISERS
from cifar10.settings import TrainingSettings
from distillation_mnist_omitted_3 import Lesson

CHUNK = 256  # images that a finished network is asked about at a time


def views(
    images: np.ndarray, shifts: np.ndarray, mirrored: np.ndarray, jitter: int, side: int = SIDE
) -> np.ndarray:
    """Each uint8 image (n, 3, 32, 32) shifted, mirrored where `mirrored` (n,) says so, then made smaller.

    `shifts` (n, 2), down and right, count from 0 to 2 `jitter`, of which `jitter` is no shift. What moves in
    at the border is the image's own reflection, as are the row and column more that the whitening needs:
    (n, 3, side + 1, side + 1).
    """
    shares = shares_of_pixels(side)
    before, after = jitter, jitter + shares.shape[1] - SIDE
    padded = np.pad(images, ((0, 0), (0, 0), (before, after), (before, after)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (shares.shape[1],) * 2, axis=(2, 3))
    seen = windows[np.arange(len(images)), :, shifts[:, 0], shifts[:, 1]]
    seen[mirrored] = seen[mirrored][..., ::-1]
    if side == SIDE:
        return seen
    # Whole numbers below 2^24: the sums are exact in float32, in whatever order.
    sums = (shares @ (seen.astype(np.float32) @ shares.T)).astype(np.int32)
    return ((sums + SIDE**2 // 2) // SIDE**2).astype(np.uint8)  # the mean over an area, rounded


def shares_of_pixels(side: int) -> np.ndarray:
    """What of the pixels along an axis each of the `side` + 1 larger ones covers, float32 (side + 1, pixels).

    In shares of `side` for each pixel, whole numbers, which add up to SIDE for each larger one.
    """
    n_pixels = math.ceil((side + PATCH - 1) * SIDE / side)
    larger, pixels = np.arange(side + PATCH - 1)[:, None] * SIDE, np.arange(n_pixels) * side
    overlaps = np.minimum(larger + SIDE, pixels + side) - np.maximum(larger, pixels)
    return np.maximum(overlaps, 0).astype(np.float32)


def shifts_of_versions(n_images: int, settings: TrainingSettings) -> np.ndarray:
    """The shifts (n_versions, n_images, 2) in which students see each image, the same for all students."""
    rng = np.random.default_rng(settings.shift_seed)
    return rng.integers(0, 2 * settings.jitter + 1, (settings.n_versions, n_images, 2), dtype=np.uint8)


def predict(network: ConvNet, images: np.ndarray, workers: Workers) -> np.ndarray:
    """Logits (n, classes) of uint8 images (n, 3, 32, 32), with the running statistics.

    They may be infinite or NaN when the training diverged; the caller looks.
    """
    return predict_views(network, images, np.zeros((len(images), 2), np.uint8), 0, False, workers)


def predict_views(
    network: ConvNet, images: np.ndarray, shifts: np.ndarray, jitter: int, mirrored: bool, workers: Workers
) -> np.ndarray:
    """Logits (n, classes) of the images (n, 3, 32, 32), all shifted as `shifts` says, mirrored or not."""
    logits = np.empty((len(images), N_CLASSES), network.parameters.dtype)
    for start in range(0, len(images), CHUNK):
        part = slice(start, start + CHUNK)
        seen = views(images[part], shifts[part], np.full(len(images[part]), mirrored), jitter, network.side)
        with np.errstate(over="ignore", invalid="ignore"):
            logits[part] = network.forward(seen, workers)
    return logits


def side_in(epoch: int, settings: TrainingSettings) -> int:
    """Side of the images in epoch 1 .. n_epochs: each of `sides` for an equal part, the last at the end."""
    return settings.sides[math.ceil(epoch * len(settings.sides) / settings.n_epochs) - 1]


def train(
    network: ConvNet,
    lesson: Lesson,
    settings: TrainingSettings,
    workers: Workers,
    watcher: Watcher | None = None,
) -> None:
    """Train `network` in place, each epoch in another order; `watcher` hears of steps and epochs.

    An image is mirrored in every other epoch. A student sees it in one of a few shifted versions, which the
    loss is told as its third argument (n,), a teacher shifted anew each time. All batches have the same size:
    each epoch leaves out the few images that are left over. Images grow as `settings.sides` says; the network
    that an epoch leaves takes images of that epoch's side, in the end those of the last.
    """
    watcher = watcher or Watcher()
    rng = np.random.default_rng(settings.order_seed)
    optimiser = OPTIMISERS[settings.optimiser](network, settings.weight_decay)
    n, jitter = len(lesson.indices), settings.jitter
    batch_size = min(settings.batch_size, n)
    n_batches = n // batch_size
    n_steps = settings.n_epochs * n_batches
    mirrored_first = rng.random(n) < 0.5
    versions = shifts_of_versions(len(lesson.images), settings)
    step = 0
    for epoch in range(1, settings.n_epochs + 1):
        total_loss = 0.0
        network.see(side_in(epoch, settings))
        order = rng.permutation(n)
        for number in range(n_batches):
            places = order[number * batch_size : (number + 1) * batch_size]
            batch = lesson.indices[places]
            version = rng.integers(0, max(1, settings.n_versions), batch_size)
            shifts = rng.integers(0, 2 * jitter + 1, (batch_size, 2))
            if settings.n_versions:
                shifts = versions[version, batch]
            mirrored = mirrored_first[places] ^ (epoch % 2 == 0)
            seen = views(lesson.images[batch], shifts, mirrored, jitter, network.side)
            rate = learning_rate_at(step, n_steps, settings.learning_rate, settings.lr_schedule)
            with np.errstate(over="ignore", invalid="ignore"):  # of a training that diverges: see epoch_done
                value, gradient = lesson.loss(network.forward(seen, workers, training=True), batch, version)
                optimiser.step(network.backward(gradient, workers), rate, workers)
            total_loss += value
            step += 1
            watcher.step_done(epoch, (number + 1) / n_batches)
        watcher.epoch_done(epoch, total_loss / n_batches)
