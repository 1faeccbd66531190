"""The training loop of teacher, student and baseline, and what a finished network answers."""

from __future__ import annotations

from support.schedule import learning_rate_at
from support.settings import N_CLASSES
from support.stored import Watcher
from support.tiles import Workers

import time

import numpy as np

from cifar10.data import SIDE
from cifar10.network import ConvNet
from cifar10.optimisers import OPTIMISERS
from cifar10.settings import TrainingSettings
from distillation_mnist_omitted_3 import Lesson


def augment(images: np.ndarray, jitter: int, rng: np.random.Generator) -> np.ndarray:
    """Each uint8 image (n, 3, 32, 32) mirrored or not, and shifted by up to `jitter` pixels per axis.

    What moves in at the border is the image's own reflection.
    """
    n = len(images)
    if jitter:
        images = np.pad(images, ((0, 0), (0, 0), (jitter, jitter), (jitter, jitter)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(images, (SIDE, SIDE), axis=(2, 3))
    down, right = rng.integers(0, 2 * jitter + 1, (2, n))
    shifted = windows[np.arange(n), :, down, right]
    mirrored = rng.random(n) < 0.5
    shifted[mirrored] = shifted[mirrored][..., ::-1]
    return shifted


def fill_inputs(inputs: np.ndarray, images: np.ndarray) -> None:
    """Write uint8 images (n, 3, 32, 32) as values in [-2, 2] into `inputs` (row, channel, column, n)."""
    np.multiply(images.transpose(2, 1, 3, 0), inputs.dtype.type(4 / 255), out=inputs)
    inputs -= 2


def predict(network: ConvNet, images: np.ndarray, workers: Workers, chunk: int = 200) -> np.ndarray:
    """Logits (n, classes) of uint8 images (n, 3, 32, 32), with the running statistics.

    They may be infinite or NaN when the training diverged; the caller looks.
    """
    logits = np.empty((len(images), N_CLASSES), network.parameters.dtype)
    for start in range(0, len(images), chunk):
        batch = images[start : start + chunk]
        fill_inputs(network.inputs(len(batch)), batch)
        with np.errstate(over="ignore", invalid="ignore"):
            logits[start : start + chunk] = network.forward(workers)
    return logits


def train(
    network: ConvNet,
    lesson: Lesson,
    settings: TrainingSettings,
    workers: Workers,
    watcher: Watcher | None = None,
) -> None:
    """Train `network` in place, each epoch in another order; `watcher` hears of steps and epochs.

    All batches have the same size: each epoch leaves out the few images that are left over. The loss gets as
    inputs what the network got, (row, channel, column, image).
    """
    watcher = watcher or Watcher()
    rng = np.random.default_rng(settings.order_seed)
    optimiser = OPTIMISERS[settings.optimiser](network, settings.weight_decay)
    batch_size = min(settings.batch_size, len(lesson.indices))
    n_batches = len(lesson.indices) // batch_size
    n_steps = settings.n_epochs * n_batches
    step = 0
    for epoch in range(1, settings.n_epochs + 1):
        started = time.perf_counter()
        total_loss = 0.0
        order = rng.permutation(lesson.indices)
        for number in range(n_batches):
            batch = order[number * batch_size : (number + 1) * batch_size]
            inputs = network.inputs(batch_size)
            fill_inputs(inputs, augment(lesson.images[batch], settings.jitter, rng))
            rate = learning_rate_at(step, n_steps, settings.learning_rate, settings.lr_schedule)
            with np.errstate(over="ignore", invalid="ignore"):  # of a training that diverges: see epoch_done
                value, gradient = lesson.loss(network.forward(workers, training=True), batch, inputs)
                optimiser.step(network.backward(gradient, workers), rate)
            total_loss += value
            step += 1
            watcher.step_done(epoch, (number + 1) / n_batches)
        watcher.epoch_done(epoch, total_loss / n_batches, time.perf_counter() - started)
