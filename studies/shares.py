"""How often does each class occur among images without labels? Two published estimates beside EM.

Both need what a student that never saw a class has not: labelled images of every class, of a known mixture.
Saerens' EM, which needs none, is in support/offsets.py.
"""

from __future__ import annotations

from support.offsets import em_frequencies

import numpy as np

from distillation_mnist_omitted_3 import log_softmax


def black_box_shares(
    predicted: np.ndarray, labels: np.ndarray, new: np.ndarray, n_classes: int
) -> np.ndarray:
    """Black-box shift estimation (Lipton, Wang & Smola 2018, section 4): the share (classes,) of each class.

    `predicted` and `labels` (n,) are of labelled images, `new` (m,) the predictions for the others. With the
    joint frequencies C of prediction and label, and mu of the new predictions, C w = mu, where w is how much
    more often each class occurs; of several, where a class is never predicted, the shortest. Shares below 0
    are set to 0.
    """
    joint = np.zeros((n_classes, n_classes))
    np.add.at(joint, (predicted, labels), 1 / len(labels))
    weights = np.linalg.lstsq(joint, np.bincount(new, minlength=n_classes) / len(new), rcond=None)[0]
    shares = np.maximum(weights * joint.sum(axis=0), 0)
    return shares / shares.sum()


def calibration(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Bias-corrected temperature scaling (Alexandari, Kundaje & Shrikumar 2020, section 2): (classes + 1,).

    The factor on the logits (n, classes) and the biases (the last class's is 0) with which the labels (n,)
    have the largest likelihood. That is concave, and Newton's method with halved steps finds its maximum.
    """
    n, n_classes = logits.shape
    features = np.zeros((n, n_classes, n_classes))  # of each image and class: its logit, then which class
    features[:, :, 0] = logits
    features[:, range(n_classes - 1), range(1, n_classes)] = 1
    found = np.zeros(n_classes)
    found[0] = 1.0

    def likelihood(at: np.ndarray) -> tuple[float, np.ndarray]:
        log_p = log_softmax(features @ at)
        return float(log_p[np.arange(n), labels].mean()), np.exp(log_p)

    for _ in range(100):
        here, p = likelihood(found)
        expected = np.einsum("nk,nkf->nf", p, features)
        gradient = (features[np.arange(n), labels] - expected).mean(axis=0)
        if np.abs(gradient).max() < 1e-8:
            break
        hessian = np.einsum("nk,nkf,nkg->fg", p, features, features) / n - expected.T @ expected / n
        step = np.linalg.solve(hessian + 1e-12 * np.eye(n_classes), gradient)
        while likelihood(found + step)[0] < here and np.abs(step).max() > 1e-12:
            step /= 2
        found = found + step
    return np.append(found, 0.0)


def calibrated_em_shares(logits: np.ndarray, labels: np.ndarray, new: np.ndarray) -> np.ndarray:
    """EM (Saerens et al. 2002) on calibrated probabilities, as Alexandari et al. (2020) propose: (classes,).

    `logits` (n, classes) and `labels` (n,) are of labelled images, `new` (m, classes) the others' logits.
    """
    scale = calibration(logits, labels)
    frequencies = np.bincount(labels, minlength=logits.shape[1]) / len(labels)
    return em_frequencies(log_softmax(scale[0] * new + scale[1:]), frequencies)
