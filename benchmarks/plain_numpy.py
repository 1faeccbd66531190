"""The experiment's training as one would first write it in NumPy: oracle and yardstick of the fast path.

Batch-first arrays, weights and biases apart, fresh temporaries everywhere, a Python loop over images for the
jitter, the teacher run again for every batch. Nothing here is shared with the core module.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    e = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    return e / e.sum(axis=1, keepdims=True)


def shifted(images: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Each image moved by its own whole numbers of pixels; zeros move in."""
    moved = np.zeros_like(images)
    height, width = images.shape[1:]
    for new, image, dy, dx in zip(moved, images, down, right, strict=True):
        rows, columns = slice(max(dy, 0), height + min(dy, 0)), slice(max(dx, 0), width + min(dx, 0))
        new[rows, columns] = image[max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)]
    return moved


class PlainMLP:
    """Parameters as [(weights (in, out), biases (out,)), ...]."""

    def __init__(self, parameters: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self.parameters = [p for layer in parameters for p in layer]
        self.m = [np.zeros_like(p) for p in self.parameters]
        self.v = [np.zeros_like(p) for p in self.parameters]
        self.t = 0

    def forward(self, x: np.ndarray) -> list[np.ndarray]:
        """Inputs, hidden activations and logits, each (batch, size)."""
        activations = [x]
        for index in range(0, len(self.parameters), 2):
            z = activations[-1] @ self.parameters[index] + self.parameters[index + 1]
            activations.append(np.maximum(z, 0) if index + 2 < len(self.parameters) else z)
        return activations

    def backward(self, activations: list[np.ndarray], delta: np.ndarray) -> list[np.ndarray]:
        """Gradients of all parameters, given dLoss/dlogits (batch, classes)."""
        gradients: list[np.ndarray] = []
        for index in range(len(self.parameters) - 2, -1, -2):
            below = activations[index // 2]
            gradients = [below.T @ delta, delta.sum(axis=0), *gradients]
            if index:
                delta = (delta @ self.parameters[index].T) * (below > 0)
        return gradients

    def adam_step(self, gradients: list[np.ndarray], learning_rate: float) -> None:
        """Kingma & Ba (2015), algorithm 1, line by line."""
        b1, b2, eps = 0.9, 0.999, 1e-8
        self.t += 1
        for i, g in enumerate(gradients):
            self.m[i] = b1 * self.m[i] + (1 - b1) * g
            self.v[i] = b2 * self.v[i] + (1 - b2) * g**2
            m_hat = self.m[i] / (1 - b1**self.t)
            v_hat = self.v[i] / (1 - b2**self.t)
            self.parameters[i] = self.parameters[i] - learning_rate * m_hat / (np.sqrt(v_hat) + eps)

    def step_hard(self, x: np.ndarray, labels: np.ndarray, learning_rate: float) -> None:
        activations = self.forward(x)
        onehot = np.eye(activations[-1].shape[1], dtype=x.dtype)[labels]
        self.adam_step(
            self.backward(activations, (softmax(activations[-1]) - onehot) / len(x)), learning_rate
        )

    def step_soft(self, x: np.ndarray, teacher: PlainMLP, temperature: float, learning_rate: float) -> None:
        activations = self.forward(x)
        soft_targets = softmax(teacher.forward(x)[-1], temperature)
        delta = temperature * (softmax(activations[-1], temperature) - soft_targets) / len(x)
        self.adam_step(self.backward(activations, delta), learning_rate)


def he_parameters(sizes: tuple[int, ...], rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        ((rng.standard_normal((a, b)) * np.sqrt(2 / a)).astype(np.float32), np.zeros(b, np.float32))
        for a, b in pairwise(sizes)
    ]


def to_inputs(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / 255


def teacher_epoch(
    net: PlainMLP,
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int,
    rng: np.random.Generator,
    jitter: int = 2,
) -> None:
    order = rng.permutation(len(images))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        down, right = rng.integers(-jitter, jitter + 1, (2, len(batch)))
        net.step_hard(to_inputs(shifted(images[batch], down, right)), labels[batch], 1e-3)


def student_epoch(
    net: PlainMLP, teacher: PlainMLP, images: np.ndarray, batch_size: int, rng: np.random.Generator
) -> None:
    order = rng.permutation(len(images))
    for start in range(0, len(order), batch_size):
        net.step_soft(to_inputs(images[order[start : start + batch_size]]), teacher, 20.0, 1e-3)


if __name__ == "__main__":
    print(f"{__doc__}\nA part of the comparison: python3 benchmarks/compare.py --help")
