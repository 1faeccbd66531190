"""A short, smooth change of an image that makes a network say another class: gradient steps on the pixels."""

from __future__ import annotations

import numpy as np

import distillation_mnist_omitted_3 as core
from distillation_mnist_omitted_3 import MLP

SIGMA = 1.5  # px: a change is smooth on this scale
STEP = 0.05  # L2 norm of a step, pixels in [0, 1]
ENOUGH = 0.99  # probability of the wanted class at which the way ends
MOST_STEPS = 400


def input_gradient(network: MLP, inputs: np.ndarray, target: int) -> tuple[float, np.ndarray]:
    """log p(target) at T = 1 for one image (784,) as the network sees it, and its gradient by the pixels.

    The delta of the logits, onehot - p (the derivative of log softmax), goes back through every layer.
    """
    activations = [np.append(inputs, 1.0)]
    for layer in network.layers[:-1]:
        activations.append(np.append(np.maximum(layer @ activations[-1], 0), 1.0))
    log_p = core.log_softmax((network.layers[-1] @ activations[-1])[None, : core.N_CLASSES])[0]
    delta = np.zeros(network.sizes[-1])
    delta[: core.N_CLASSES] = -np.exp(log_p)
    delta[target] += 1
    for layer, below in zip(network.layers[::-1], activations[::-1], strict=True):
        delta = layer[:, :-1].T @ delta
        if below is not activations[0]:
            delta *= below[:-1] > 0  # slope of ReLU
    return float(log_p[target]), delta


def short_change(network: MLP, image: np.ndarray, target: int) -> tuple[np.ndarray, float]:
    """The image (28, 28), pixels in [0, 1], at which p(target) passes ENOUGH, and that probability.

    From `image` (uint8) on, steps of one length go up the gradient, made smooth by a Gaussian: the steepest
    way for changes that are measured by their smoothness, step by step, though not the shortest of all ways.
    Pixels stay in [0, 1]. After MOST_STEPS it is given back as far as it came.
    """
    side = len(image)
    distance = np.subtract.outer(np.arange(side), np.arange(side))
    gaussian = np.exp(-(distance**2) / (2 * SIGMA**2))
    pixels, scale = image / 255.0, 1 - network.background
    for step in range(MOST_STEPS + 1):
        log_p, gradient = input_gradient(network, network.background + scale * pixels.ravel(), target)
        if log_p >= np.log(ENOUGH) or step == MOST_STEPS:
            break
        uphill = gaussian @ gradient.reshape(side, side) @ gaussian
        uphill[(pixels <= 0) & (uphill < 0) | (pixels >= 1) & (uphill > 0)] = 0  # the border holds them
        pixels = np.clip(pixels + STEP * uphill / max(np.linalg.norm(uphill), 1e-12), 0, 1)
    return pixels, float(np.exp(log_p))
