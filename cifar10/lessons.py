"""What teacher, student and baseline learn from: the same training loop with other images or another loss."""

from __future__ import annotations

from support import schedule, tiles
from support.console import UserError
from support.data import Data
from support.files import read_sealed, write_sealed
from support.report import shown_accuracies
from support.settings import N_CLASSES
from support.stored import Session, TrainedRun, Training, Watcher, code_of

import hashlib
import sys
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import cifar10.convolution
import cifar10.data
import cifar10.layers
import cifar10.network
import cifar10.optimisers
import cifar10.training
import distillation_mnist_omitted_3 as core
from cifar10.layers import whitening_kernels
from cifar10.network import ConvNet
from cifar10.settings import Config
from cifar10.training import predict, predict_views, shifts_of_versions, train
from distillation_mnist_omitted_3 import Lesson, Loss, distillation_loss, evaluate, hard_labels

UNSEEN = "unseen"  # what tables call the omitted classes
N_WHITENING = 1000  # images whose patches the whitening is made from

# What a training's result is made by: a change in any of them gives it another name in the store.
TRAINED_BY = (
    cifar10.convolution, cifar10.data, cifar10.layers, cifar10.network, cifar10.optimisers, cifar10.training,
    sys.modules[__name__], core, schedule, tiles,
)  # fmt: skip


# ---- Which images: parts of the training set ---------------------------------------------------------------


def part_of(n_images: int, fraction: float, seed: int) -> np.ndarray:
    """Which images, bool (n_images,), belong to a random part; a smaller part is within a larger one."""
    chosen = np.random.default_rng(seed).permutation(n_images)[: max(1, round(fraction * n_images))]
    return np.isin(np.arange(n_images), chosen)


def images_for(kind: str, config: Config, data: Data) -> tuple[np.ndarray, int]:
    """Indices of the images that the network learns from, each once, and how many an epoch goes through.

    An epoch over a part has as many steps as one over the whole. Raises UserError when there are too few to
    normalise a batch over.
    """
    labels = data.train_labels
    of_labels = part_of(len(labels), config.label_fraction, config.part_seed)
    of_transfer = part_of(len(labels), config.transfer_fraction, config.part_seed)
    seen = ~np.isin(labels, config.omitted_class if kind != "teacher" else ())
    kept = {"teacher": of_labels, "student": of_transfer, "baseline": of_labels & of_transfer}[kind]
    indices = np.flatnonzero(seen & kept)
    if len(indices) < 2:
        raise UserError(
            f"too few images for the {kind}: {len(indices)}; omit fewer classes, hold out less or keep more"
        )
    return indices, int(seen.sum())


# ---- The three trainings -----------------------------------------------------------------------------------


def train_teacher(config: Config, data: Data, session: Session) -> TrainedRun:
    """The large network, from hard labels, on all classes."""
    return stored_or_new("teacher", hard_labels(data.train_labels), config, data, session)


def train_student(config: Config, data: Data, teacher: ConvNet, session: Session) -> TrainedRun:
    """The small network, from the frozen teacher's soft targets alone: no label reaches the loss."""
    indices, _ = images_for("student", config, data)
    place = np.zeros(len(data.train_labels), np.int64)  # of an image among the answers
    place[indices] = np.arange(len(indices))
    answers = cache(lambda: teacher_answers(indices, config, data, teacher, session))

    def loss(logits: np.ndarray, batch: np.ndarray, version: np.ndarray) -> tuple[float, np.ndarray]:
        return distillation_loss(logits, answers()[version, place[batch]], config.temperature)

    return stored_or_new("student", loss, config, data, session)


def train_baseline(config: Config, data: Data, session: Session) -> TrainedRun:
    """The student's network, start and images, but hard labels instead of a teacher."""
    return stored_or_new("baseline", hard_labels(data.train_labels), config, data, session)


def teacher_answers(
    indices: np.ndarray, config: Config, data: Data, teacher: ConvNet, session: Session
) -> np.ndarray:
    """The teacher's logits (n_versions, len(indices), classes), float32, stored or computed once.

    For each shifted version of an image they are the mean over it and its mirror image. Where the answers for
    all training images are stored, those for a part of them are taken from there.
    """
    whole_set = replace(config, transfer_fraction=1.0, omitted_class=())
    _, of_all = answers_in_store(whole_set, data, teacher, session)
    if of_all is not None:
        return of_all[:, indices]
    path, found = answers_in_store(config, data, teacher, session)
    if found is not None:
        return found
    settings = config.training("student")
    images, shifts = data.train_images[indices], shifts_of_versions(len(data.train_labels), settings)
    answers = np.empty((settings.n_versions, len(indices), N_CLASSES), np.float32)
    for version in range(settings.n_versions):
        session.console.progress("the teacher's answers", version / settings.n_versions)
        both = [
            predict_views(
                teacher, images, shifts[version, indices], settings.jitter, mirrored, session.workers
            )
            for mirrored in (False, True)
        ]
        answers[version] = (both[0] + both[1]) / 2
    try:
        write_sealed(path, answers.tobytes())
    except UserError as error:
        session.console.warn(f"warning: {error} (the teacher's answers are not stored)")
    return answers


def answers_in_store(
    config: Config, data: Data, teacher: ConvNet, session: Session
) -> tuple[Path, np.ndarray | None]:
    """Where this teacher's answers for the student's images belong, and they.

    Or None where they are not stored, damaged, or not to be reused.
    """
    settings = config.training("student")
    decisive = determinants("student", config, data) | {"kind": "answers", "settings": None}
    decisive |= {"temperature": None, "n_versions": settings.n_versions, "jitter": settings.jitter}
    decisive["parameters"] = hashlib.sha256(teacher.parameters.tobytes()).hexdigest()
    path = session.store.path("answers", decisive)
    if session.retrain:
        return path, None
    shape = (settings.n_versions, len(images_for("student", config, data)[0]), N_CLASSES)
    try:
        return path, np.frombuffer(read_sealed(path, 4 * int(np.prod(shape))), np.float32).reshape(shape)
    except (OSError, ValueError):
        return path, None


def determinants(kind: str, config: Config, data: Data) -> dict[str, Any]:
    """Everything that decides the result of a training of `kind`, "teacher", "student" or "baseline"."""
    decisive: dict[str, Any] = {
        "kind": kind,
        "settings": asdict(config.training(kind)),
        "data": [data.name, data.sha256],
        "code": [code_of(module) for module in TRAINED_BY],
        "part_seed": config.part_seed,
    }
    if kind != "student":
        decisive["label_fraction"] = config.label_fraction
    if kind != "teacher":
        decisive |= {"omitted_class": config.omitted_class, "transfer_fraction": config.transfer_fraction}
    if kind == "student":
        decisive |= {
            "temperature": config.temperature, "teacher": asdict(config.training("teacher")),
            "labels_of_teacher": config.label_fraction,
        }  # fmt: skip
    return decisive


def stored_or_new(kind: str, loss: Loss, config: Config, data: Data, session: Session) -> TrainedRun:
    """The stored training of `kind` or, where there is none, a new one. Raises UserError when it diverges."""
    settings, omitted = config.training(kind), config.omitted_class if kind != "teacher" else ()
    network = ConvNet(settings.channels, np.random.default_rng(settings.weight_seed))
    indices, n_per_epoch = images_for(kind, config, data)
    lesson = Lesson(data.train_images, np.resize(indices, n_per_epoch), loss)

    def whole_training(watcher: Watcher) -> None:
        network.whitening.kernels[:] = whitening_kernels(data.train_images[indices[:N_WHITENING]])
        train(network, lesson, settings, session.workers, watcher)

    return session.finished(
        Training(
            kind,
            determinants(kind, config, data),
            network,
            settings.n_epochs,
            train=whole_training,
            predict_test=lambda: predict(network, data.test_images, session.workers),
            output_shape=(len(data.test_labels), N_CLASSES),
            measure=lambda logits: evaluate(logits, data.test_labels, omitted),
            shown=shown_accuracies(UNSEEN if omitted else ""),
        )
    )
