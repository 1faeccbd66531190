"""What trains the convolutional networks: Nesterov's momentum, and Muon."""

from __future__ import annotations

from support.tiles import Workers

import math
from collections.abc import Callable

import numpy as np

from cifar10.network import ConvNet


class Nesterov:
    """Gradient descent with Nesterov's momentum (Sutskever et al. 2013) and weight decay, in place.

    `weight_decay` is one number, or an array like `parameters` with one for each. A parameter with a decay of
    0 whose gradient is always 0 is never moved.
    """

    def __init__(
        self, parameters: np.ndarray, weight_decay: float | np.ndarray, momentum: float = 0.9
    ) -> None:
        self.parameters, self.weight_decay, self.momentum = parameters, weight_decay, momentum
        self.velocity = np.zeros_like(parameters)

    def step(self, gradient: np.ndarray, learning_rate: float, workers: Workers) -> None:
        """v <- momentum v + g; parameters <- parameters - rate (g + momentum v). Overwrites `gradient`."""
        gradient += self.weight_decay * self.parameters
        self.velocity *= self.momentum
        self.velocity += gradient
        gradient += self.momentum * self.velocity
        gradient *= learning_rate
        self.parameters -= gradient


def orthogonalised(matrix: np.ndarray) -> np.ndarray:
    """About the nearest matrix of which all singular values are 1: U V' for a matrix U S V'.

    Five steps of a Newton-Schulz iteration with the coefficients of Jordan et al. (2024), "Muon", which bring
    all but the smallest singular values between 0.6 and 1.3. Each step multiplies by a polynomial of x x', so
    that these small matrices are all that the steps need, and x is multiplied once.
    """
    x = matrix / (np.linalg.norm(matrix) + 1e-7)
    if turned := len(x) > x.shape[1]:
        x = x.T
    identity = np.eye(len(x), dtype=x.dtype)
    square, product = x @ x.T, identity
    for _ in range(5):
        factor = 3.4445 * identity - 4.7750 * square + 2.0315 * square @ square
        square, product = factor @ square @ factor, factor @ product
    x = product @ x
    return x.T if turned else x


class Muon:
    """Momentum with orthogonalised steps (Jordan et al. 2024, "Muon") for kernels, Nesterov's for the rest.

    A few directions dominate a kernel's gradient; in the orthogonalised step all count the same. The batch
    normalisation behind it makes a kernel's length meaningless, which therefore is kept at sqrt(to), and the
    kernels do not decay.
    """

    KERNEL_SHARE = 0.2  # a kernel's step, in singular values, as a share of the learning rate

    def __init__(self, network: ConvNet, weight_decay: float, momentum: float = 0.9) -> None:
        self.network, self.momentum = network, momentum
        self.velocities = [np.zeros_like(block.kernels) for block in network.blocks]
        decay = np.full_like(network.trained, weight_decay)
        for place in network.kernel_places:
            decay[place] = 0
        self.rest = Nesterov(network.trained, decay, momentum)

    def step(self, gradient: np.ndarray, learning_rate: float, workers: Workers) -> None:
        """One step by the flat `gradient`, which it overwrites; the largest kernels first."""

        def step_of(index: int) -> None:
            block, velocity = self.network.blocks[index], self.velocities[index]
            kernels, g = block.kernels, gradient[self.network.kernel_places[index]].reshape(velocity.shape)
            velocity *= self.momentum
            velocity += g
            matrix = (g + self.momentum * velocity).transpose(1, 0, 2, 3).reshape(block.n_to, -1)
            step = orthogonalised(matrix).reshape(block.n_to, 3, 3, -1).transpose(1, 0, 2, 3)
            kernels *= math.sqrt(block.n_to) / np.linalg.norm(kernels)
            kernels -= self.KERNEL_SHARE * learning_rate * step
            g[:] = 0  # nothing is left for the rest's momentum to do here

        sizes = [velocity.size for velocity in self.velocities]
        workers.map(step_of, sorted(range(len(sizes)), key=lambda index: -sizes[index]))
        self.rest.step(gradient, learning_rate, workers)


OPTIMISERS: dict[str, Callable[[ConvNet, float], Nesterov | Muon]] = {
    "nesterov": lambda network, weight_decay: Nesterov(network.trained, weight_decay),
    "muon": Muon,
}
