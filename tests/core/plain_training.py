"""What the tests beside this file share."""

from __future__ import annotations

import numpy as np
import plain_numpy

import distillation_mnist_omitted_3 as core

SIZES = (6, 450, 230, 4)  # several tiles per layer, the last of them uneven


def plain_copy(network: core.MLP) -> plain_numpy.PlainMLP:
    return plain_numpy.PlainMLP([(w[:, :-1].T.copy(), w[:, -1].copy()) for w in network.layers])


def train_on_labels(
    network: core.MLP, data: core.Data, training: core.TrainingSettings, workers: core.Workers
) -> None:
    core.train(network, core.teacher_lesson(data), training, workers)


def filled(network: core.MLP, x: np.ndarray) -> list[np.ndarray]:
    activations = network.new_activations(len(x))
    activations[0][:-1] = x.T
    return activations
