"""What a finished network costs where it is used: size, arithmetic, time, and the same weights in 8 bits."""

from __future__ import annotations

from support.tiles import Workers

import statistics
import time
from typing import Any

import numpy as np

from cifar10.network import ConvNet
from cifar10.training import predict

N_TIMED = 1000  # test images that the throughput is measured on
N_ALONE = 50  # images that are asked about one by one
N_ROUNDS = 3  # of each measurement; the fastest counts, since other work on the machine only adds to it


def in_8_bits(network: ConvNet) -> ConvNet:
    """A copy whose kernels and linear weights are whole numbers from -127 to 127 times one scale per output.

    Each is rounded to the nearest.
    """
    rounded = ConvNet(network.channels, None, network.parameters.dtype)
    rounded.parameters[:] = network.parameters
    for block in rounded.blocks:
        block.kernels[:] = nearest(block.kernels, axes=(0, 2, 3))
    rounded.linear[:, :-1] = nearest(rounded.linear[:, :-1], axes=(1,))
    return rounded


def nearest(weights: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The weights, each rounded to the nearest of 255 equally spaced values; one spacing over all `axes`."""
    scale = np.maximum(np.abs(weights).max(axis=axes, keepdims=True) / 127, np.finfo(np.float32).tiny)
    return np.rint(weights / scale) * scale


def bytes_of(network: ConvNet) -> dict[str, int]:
    """Bytes of what a forward pass needs, in float32 and with its weights in 8 bits.

    The normalisation is one factor and one constant for each channel; in 8 bits the factor takes the scale.
    """
    weights = sum(block.kernels.size for block in network.blocks) + network.linear[:, :-1].size
    factors = 2 * sum(block.n_to for block in network.blocks)
    biases, whitening = len(network.linear), network.whitening.kernels.size
    others = 4 * (factors + biases + whitening)
    return {"bytes": 4 * weights + others, "bytes_8_bits": weights + others + 4 * len(network.linear)}


def seconds_of(network: ConvNet, images: np.ndarray, workers: Workers) -> float:
    started = time.perf_counter()
    predict(network, images, workers)
    return time.perf_counter() - started


def milliseconds_per_image(network: ConvNet, images: np.ndarray, workers: Workers) -> float:
    """Wall clock of a forward pass per image, in batches as `predict` makes them, of the fastest round."""
    return 1000 * min(seconds_of(network, images, workers) for _ in range(N_ROUNDS)) / len(images)


def milliseconds_alone(network: ConvNet, images: np.ndarray, workers: Workers) -> float:
    """Wall clock from one image to its logits: the median over `N_ALONE` images, of the fastest round."""
    singly = [images[index : index + 1] for index in range(min(N_ALONE, len(images)))]
    medians = [
        statistics.median(seconds_of(network, one, workers) for one in singly) for _ in range(N_ROUNDS)
    ]
    return 1000 * min(medians)


def costs(
    network: ConvNet, images: np.ndarray, labels: np.ndarray, workers: Workers, timed: bool = True
) -> dict[str, Any]:
    """What results.json says of a network: parameters, multiply-adds, bytes, accuracy in 8 bits, times."""
    found = {
        "parameters": network.n_trained,
        "multiply_adds": network.n_multiply_adds,
        **bytes_of(network),
        "test_accuracy_8_bits": accuracy(in_8_bits(network), images, labels, workers),
    }
    if timed:
        found["milliseconds_per_image"] = milliseconds_per_image(network, images[:N_TIMED], workers)
        found["milliseconds_alone"] = milliseconds_alone(network, images, workers)
    return found


def accuracy(network: ConvNet, images: np.ndarray, labels: np.ndarray, workers: Workers) -> float:
    return float((predict(network, images, workers).argmax(axis=1) == labels).mean())
