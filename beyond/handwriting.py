"""How the networks of an experiment read other people's handwriting, on which nothing was trained."""

from __future__ import annotations

from support.data import Data
from support.experiment import Experiment
from support.offsets import add_offsets, frequencies
from support.settings import N_CLASSES
from support.tiles import Workers

from collections.abc import Sequence
from typing import Any

import numpy as np

from beyond.probes import mean_probabilities
from distillation_mnist_omitted_3 import correct_bias, evaluate, predict

# How the student's biases are set: not at all, as in its own experiment, or anew on the other images, towards
# how often the classes occur in its own training set, or towards its teacher's mean answer on those images.
WAYS = ("before", "after", "by_frequencies", "by_answers")


def read_by(logits: np.ndarray, labels: np.ndarray, omitted: Sequence[int]) -> dict[str, Any]:
    """Accuracies in [0, 1] of logits (n, classes): on all images, on the omitted classes, on the others."""
    found = evaluate(logits, labels, omitted)
    return {
        "accuracy": found["test_accuracy"],
        **{part: found[part] for part in ("omitted_accuracy", "other_accuracy")},
    }


def handwriting(experiment: Experiment, workers: Workers, images: Data) -> dict[str, Any]:
    """Accuracies of the teacher, and of the student whose biases are set in each of `WAYS`, on `images`.

    On all of them, and on the test part alone (`test`): what is set anew is set on the training part, of
    which no label is used. `offsets` holds what each way adds to the biases.
    """
    omitted, corrected = experiment.config.omitted_class, experiment.config.corrected_class
    parts = (images.train_images, images.test_images)
    labels = np.concatenate((images.train_labels, images.test_labels))
    teacher, student = (
        np.concatenate([predict(run.network, part, workers)[:, :N_CLASSES] for part in parts])
        for run in (experiment.teacher, experiment.student)
    )
    n_probe = len(images.train_labels)
    targets = {
        "by_frequencies": frequencies(experiment.data.train_labels, corrected),
        "by_answers": mean_probabilities(teacher[:n_probe])[list(corrected)].tolist(),
    }
    offsets = {"before": (0.0,) * len(corrected), "after": experiment.correction.offsets}
    for way, target in targets.items():
        offsets[way] = correct_bias(student[:n_probe], corrected, target).offsets
    logits = {"teacher": teacher}
    logits |= {way: add_offsets(student, corrected, offsets[way]) for way in WAYS}
    by_class = {
        name: evaluate(logits[name], labels, omitted)["per_class_accuracy"] for name in ("teacher", "before")
    }
    return {
        **{name: read_by(z, labels, omitted) for name, z in logits.items()},
        "per_class_accuracy": by_class,
        "test": {name: read_by(z[n_probe:], labels[n_probe:], omitted) for name, z in logits.items()},
        "offsets": {way: list(found) for way, found in offsets.items()},
        "n_images": {"all": len(labels), "test": len(labels) - n_probe},
        "class_shares": frequencies(labels, range(N_CLASSES)),
    }
