"""What the tests beside this file share."""

from __future__ import annotations

import numpy as np

from cifar10.layers import Block
from distillation_mnist_omitted_3 import cross_entropy


def naive_convolution(kernels: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Of x (row, from, column, image) with kernels (dx, to, dy, from), by its definition."""
    height, _, width, n_images = x.shape
    around = np.pad(x, ((1, 1), (0, 0), (1, 1), (0, 0)))
    out = np.zeros((height, kernels.shape[1], width, n_images))
    for row in range(height):
        for column in range(width):
            for dy in range(3):
                for dx in range(3):
                    out[row, :, column] += kernels[dx, :, dy] @ around[row + dy, :, column + dx]
    return out


def naive_pool(x: np.ndarray) -> np.ndarray:
    height, n, width, n_images = x.shape
    return x.reshape(height // 2, 2, n, width // 2, 2, n_images).max(axis=(1, 4))


def naive_block(block: Block, x: np.ndarray, statistics: tuple | None = None) -> tuple[np.ndarray, tuple]:
    """Output (row, to, column, image) for an input of that form, and mean and variance that it used."""
    z = naive_convolution(block.kernels, x)
    z = naive_pool(z) if block.pools else z
    mean, variance = statistics or (z.mean(axis=(0, 2, 3)), z.var(axis=(0, 2, 3)))
    a, b, m, v = (s[:, None, None] for s in (block.scale, block.shift, mean, variance))
    return np.maximum(a * (z - m) / np.sqrt(v + 1e-5) + b, 0), (mean, variance)


def naive_whitening(kernels: np.ndarray, images: np.ndarray) -> np.ndarray:
    """(row, 24, column, image) of images (n, 3, 33, 33)."""
    out = np.zeros((32, 24, 32, len(images)))
    for row in range(32):
        for column in range(32):
            patch = images[:, :, row : row + 2, column : column + 2].transpose(2, 3, 1, 0) / 255
            directions = kernels @ patch.reshape(12, -1)
            out[row, :, column] = np.maximum(np.concatenate((directions, -directions)), 0)
    return out


def loss_and_gradient(network, images, labels, workers) -> tuple[float, np.ndarray, np.ndarray]:
    logits = network.forward(images, workers, training=True)
    value, gradient = cross_entropy(logits, labels)
    return value, logits, network.backward(gradient, workers)
