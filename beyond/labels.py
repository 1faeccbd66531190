"""What the teacher is told: labels that are wrong, or smoothed."""

from __future__ import annotations

import numpy as np

from beyond.settings import Config
from distillation_mnist_omitted_3 import Loss, hard_labels, log_softmax, mixed


def shown_labels(config: Config, labels: np.ndarray) -> np.ndarray:
    """The labels (n,) that the teacher learns from: a share of one class may be called by another's name."""
    if not config.mislabelled:
        return labels
    true, said = config.mislabelled
    mine, shown = np.flatnonzero(labels == true), labels.copy()
    seed = config.seed if config.teacher_seed is None else config.teacher_seed
    wrong = np.random.default_rng(seed + 83).permutation(mine)
    shown[wrong[: round(config.mislabelled_share * len(mine))]] = said
    return shown


def every_class_alike(logits: np.ndarray, batch: np.ndarray, inputs: np.ndarray) -> tuple[float, np.ndarray]:
    """Cross-entropy with the uniform distribution, mean over the batch; logits (n, classes)."""
    log_q = log_softmax(logits)
    return -float(log_q.mean()), (np.exp(log_q) - 1 / logits.shape[1]) / len(logits)


def smoothed(labels: np.ndarray, smoothing: float) -> Loss:
    """Label smoothing, Szegedy et al. (2016), section 7: the target is (1 - e) onehot + e / classes.

    Cross-entropy is linear in its target, so that this is a weighted mean of two of them.
    """
    return mixed(hard_labels(labels), every_class_alike, smoothing)
