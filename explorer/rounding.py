"""Weights as 8-bit integers with a scale per row, rounded so that the network still says the same.

To the nearest integer alone, probabilities move by up to 0.04. Here, weight by weight, the rest of each row
makes up for what rounding one did to the outputs: Frantar et al. (2023), "GPTQ: accurate post-training
quantization", after Hassibi & Stork (1993). The images that say what matters are some that the network itself
learned from: a student that never saw a 3 is not shown one for this, either.
"""

from __future__ import annotations

from support.settings import N_CLASSES
from support.tiles import Workers
from support.transformations import N_PIXELS, scaled_into

from dataclasses import dataclass

import numpy as np

import distillation_mnist_omitted_3 as core
from distillation_mnist_omitted_3 import MLP

LARGEST = 127  # of the integers
DAMPING = 1e-3  # of the mean square input, added to each: inputs that the images never show count for little
N_IMAGES = 10_000  # that say how the inputs of a layer go together


@dataclass(frozen=True)
class RoundedLayer:
    """A layer as the page holds it: weight = integer * scale of its row."""

    integers: np.ndarray  # (fan_out, fan_in), int8
    scales: np.ndarray  # (fan_out,), float32
    biases: np.ndarray  # (fan_out,), float32

    @property
    def weights(self) -> np.ndarray:
        """(fan_out, fan_in), float32, as the page computes them."""
        return self.integers * self.scales[:, None]


def rounded_weights(weights: np.ndarray, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers (fan_out, fan_in), int8, and scales (fan_out,), float32, that do to `inputs` what weights do.

    With H the inputs' mean outer product, rounding weight i by e costs least when the weights after it take
    up e / U_ii times row i of U, where U is the upper triangle with U^T U = inverse of H. The strongest
    inputs come first: what is left over ends where it matters least. `inputs` (fan_in, n).
    """
    scales = np.abs(weights).max(axis=1) / LARGEST
    scales = np.where(scales > 0, scales, 1).astype(np.float32)
    together = (inputs @ inputs.T).astype(np.float64) / inputs.shape[1]
    strength = together.diagonal()
    together += (DAMPING * strength.mean() + 1e-12) * np.eye(len(together))
    order = np.argsort(-strength, kind="stable")
    upper = np.linalg.cholesky(np.linalg.inv(together[np.ix_(order, order)])).T
    left, integers = weights[:, order].astype(np.float64), np.empty(weights.shape, np.int8)
    for place, column in enumerate(order):
        integers[:, column] = np.clip(np.rint(left[:, place] / scales), -LARGEST, LARGEST)
        off = (left[:, place] - integers[:, column] * scales) / upper[place, place]
        left[:, place + 1 :] -= np.outer(off, upper[place, place + 1 :])
    return integers, scales


def rounded(network: MLP, images: np.ndarray) -> list[RoundedLayer]:
    """The layers of `network`, rounded on uint8 images (n, 28, 28); of its outputs the classes alone.

    Each layer is rounded for what the rounded ones below it give, and its biases take up the mean of what is
    off.
    """
    images = images[:N_IMAGES]
    exact = np.empty((N_PIXELS, len(images)), np.float32)
    scaled_into(exact, images, network.background)
    inputs, found = exact, []
    for layer in network.layers:
        if layer is network.layers[-1]:
            layer = layer[:N_CLASSES]
        integers, scales = rounded_weights(layer[:, :-1], inputs)
        wanted = layer[:, :-1] @ exact
        biases = layer[:, -1] + (wanted - (integers * scales[:, None]) @ inputs).mean(axis=1)
        found.append(RoundedLayer(integers, scales, biases.astype(np.float32)))
        exact = np.maximum(wanted + layer[:, -1:], 0)
        inputs = np.maximum(found[-1].weights @ inputs + found[-1].biases[:, None], 0)
    return found


def as_network(layers: list[RoundedLayer], background: float) -> MLP:
    """The network that the page computes with."""
    sizes = [layers[0].integers.shape[1], *(len(layer.biases) for layer in layers)]
    network = MLP(sizes, None)
    network.background = background
    for ours, layer in zip(network.layers, layers, strict=True):
        ours[:, :-1], ours[:, -1] = layer.weights, layer.biases
    return network


@dataclass(frozen=True)
class Agreement:
    """How far a rounded network says what the network itself does, on test images."""

    n_images: int
    n_other_class: int  # images of which it says another class
    largest_difference: float  # of a probability at T = 1


def agreement(layers: list[RoundedLayer], network: MLP, logits: np.ndarray, images: np.ndarray) -> Agreement:
    """Of `network`'s logits (n, 10) on test images (n, 28, 28), uint8, and the rounded network's."""
    with Workers() as workers:
        ours = core.predict(as_network(layers, network.background), images, workers)
    difference = np.abs(core.softmax(ours) - core.softmax(logits)).max()
    n_other = int((ours.argmax(axis=1) != logits.argmax(axis=1)).sum())
    return Agreement(len(images), n_other, float(difference))
