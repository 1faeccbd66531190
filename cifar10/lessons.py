"""What teacher, student and baseline learn from: the same training loop with other images or another loss."""

from __future__ import annotations

from support.code import digest_of
from support.console import UserError
from support.data import Data
from support.files import read_sealed, write_sealed
from support.forecast import Forecast
from support.report import shown_accuracies
from support.settings import N_CLASSES
from support.stored import Session, TrainedRun, Training, digest_of_parameters, found_or_none
from support.tiles import Workers

from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np

from cifar10.data import SIDE
from cifar10.layers import whitening_kernels
from cifar10.network import ConvNet
from cifar10.settings import Config, TrainingSettings
from cifar10.training import predict, predict_views, shifts_of_versions, side_in, train
from distillation_mnist_omitted_3 import Lesson, Loss, distillation_loss, evaluate, hard_labels

KINDS = ("teacher", "student", "baseline")
UNSEEN = "unseen"  # what tables call the omitted classes
N_WHITENING = 1000  # images whose patches the whitening is made from


def trained_by() -> str:
    """A digest of the code that decides a training's result: a change in it gives it another name."""
    roots = (teacher_lesson, student_lesson, teacher_answers_computed, lesson_of, whiten)
    return digest_of(ConvNet, train, predict, Workers, *roots)


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


# ---- How long they take ------------------------------------------------------------------------------------

PASSES = 6e6  # multiply-adds in whose time a step does all else to a whole image, measured: docs/cifar10.md
FORWARD = 0.3  # of a step's time


def costs_per_image(settings: TrainingSettings) -> tuple[float, ...]:
    """Of an image in each epoch, in multiply-adds of a step."""
    network = ConvNet(settings.channels, None)

    def cost(side: int) -> float:
        network.see(side)
        return network.n_multiply_adds + PASSES * side**2 / SIDE**2

    return tuple(cost(side_in(epoch, settings)) for epoch in range(1, settings.n_epochs + 1))


def forecast_of(config: Config, data: Data, session: Session) -> Forecast:
    """Of the teacher, its answers, the student and the baseline, in multiply-adds of a step."""

    def cost(kind: str) -> float:
        _, n_per_epoch = images_for(kind, config, data)
        return n_per_epoch * sum(costs_per_image(config.training(kind)))

    n_answers = 2 * config.n_versions * len(data.train_labels)  # of mirrored images, too
    costs = {kind: cost(kind) for kind in KINDS}
    costs["answers"] = FORWARD * n_answers * costs_per_image(config.training("teacher"))[-1]
    forecast = Forecast(costs)
    baseline = session.store.path("baseline", determinants("baseline", config, data))
    if baseline.exists() and not session.retrain:
        forecast.skip("baseline")
    return forecast


# ---- The three trainings -----------------------------------------------------------------------------------


def teacher_lesson(data: Data) -> Loss:
    """Hard labels: of the teacher, and of the baseline."""
    return hard_labels(data.train_labels)


def student_lesson(answers: Callable[[], np.ndarray], temperature: float) -> Loss:
    """The teacher's `answers` (n_versions, images, classes) for an image's version: no label."""

    def loss(logits: np.ndarray, batch: np.ndarray, version: np.ndarray) -> tuple[float, np.ndarray]:
        return distillation_loss(logits, answers()[version, batch], temperature)

    return loss


def train_teacher(config: Config, data: Data, session: Session) -> TrainedRun:
    """The large network, from hard labels, on all classes."""
    return stored_or_new("teacher", teacher_lesson(data), config, data, session)


def train_student(config: Config, data: Data, teacher: ConvNet, session: Session) -> TrainedRun:
    """The small network, from the frozen teacher's soft targets alone: no label reaches the loss."""
    answers = cache(lambda: teacher_answers(config, data, teacher, session))
    loss = student_lesson(answers, config.temperature)
    run = stored_or_new("student", loss, config, data, session, teacher)
    session.skip("answers")  # which a stored student does not need
    return run


def train_baseline(config: Config, data: Data, session: Session) -> TrainedRun:
    """The student's network, start and images, but hard labels instead of a teacher."""
    return stored_or_new("baseline", teacher_lesson(data), config, data, session)


def teacher_answers(config: Config, data: Data, teacher: ConvNet, session: Session) -> np.ndarray:
    """The teacher's logits (n_versions, training images, classes), float32, stored or computed once.

    Always for all images: what a product gives for one depends, in its last bits, on which stand beside it.
    """
    settings = config.training("student")
    decisive = {
        "data": data.digest, "parameters": digest_of_parameters(teacher.parameters), "code": trained_by(),
        "n_versions": settings.n_versions, "jitter": settings.jitter, "shift_seed": settings.shift_seed,
    }  # fmt: skip
    path = session.store.path("answers", decisive)
    shape = settings.n_versions, len(data.train_labels), N_CLASSES
    if not session.retrain:

        def read() -> np.ndarray:
            return np.frombuffer(read_sealed(path, 4 * int(np.prod(shape))), np.float32).reshape(shape)

        what, then = f"teacher's answers {path} are", "asking the teacher again"
        if (answers := found_or_none(read, what, then, session.console)) is not None:
            session.skip("answers")
            return answers
    with session.other_phase("answers"):
        answers = teacher_answers_computed(settings, data.train_images, teacher, session)
    try:
        write_sealed(path, answers.tobytes())
    except UserError as error:
        session.console.warn(f"warning: {error} (the teacher's answers are not stored)")
    return answers


def teacher_answers_computed(
    settings: TrainingSettings, images: np.ndarray, teacher: ConvNet, session: Session
) -> np.ndarray:
    """The same, computed: for each shifted version of an image the mean over it and its mirror image."""
    shifts = shifts_of_versions(len(images), settings)
    answers = np.empty((settings.n_versions, len(images), N_CLASSES), np.float32)
    for version in range(settings.n_versions):
        session.console.progress("the teacher's answers", version / settings.n_versions)
        both = [
            predict_views(teacher, images, shifts[version], settings.jitter, mirrored, session.workers)
            for mirrored in (False, True)
        ]
        answers[version] = (both[0] + both[1]) / 2
    return answers


def determinants(kind: str, config: Config, data: Data, teacher: np.ndarray | None = None) -> dict[str, Any]:
    """Everything that decides the result of a training of `kind`, "teacher", "student" or "baseline".

    `teacher`: the parameters of a student's; without them, its settings stand for it.
    """
    decisive: dict[str, Any] = {
        "kind": kind,
        "settings": asdict(config.training(kind)),
        "data": data.digest,
        "code": trained_by(),
        "part_seed": config.part_seed,
    }
    if kind != "student":
        decisive["label_fraction"] = config.label_fraction
    if kind != "teacher":
        decisive |= {"omitted_class": config.omitted_class, "transfer_fraction": config.transfer_fraction}
    if kind == "student":
        its_settings = [asdict(config.training("teacher")), config.label_fraction]
        decisive["temperature"] = config.temperature
        decisive["teacher"] = its_settings if teacher is None else digest_of_parameters(teacher)
    return decisive


def whiten(network: ConvNet, images: np.ndarray, indices: np.ndarray) -> None:
    """Set the network's whitening by the first of the images that it learns from."""
    network.whitening.kernels[:] = whitening_kernels(images[indices[:N_WHITENING]])


def stored_or_new(
    kind: str, loss: Loss, config: Config, data: Data, session: Session, teacher: ConvNet | None = None
) -> TrainedRun:
    """The stored training of `kind` or, where there is none, a new one. Raises UserError when it diverges."""
    settings, omitted = config.training(kind), config.omitted_class if kind != "teacher" else ()
    network = ConvNet(settings.channels, np.random.default_rng(settings.weight_seed))
    training = Training(
        kind,
        determinants(kind, config, data, None if teacher is None else teacher.parameters),
        network,
        settings.n_epochs,
        costs=costs_per_image(settings),
        predict_test=lambda n: predict(network, data.test_images[:n], session.workers),
        output_shape=(len(data.test_labels), N_CLASSES),
        measure=lambda logits: evaluate(logits, data.test_labels, omitted),
        shown=shown_accuracies(UNSEEN if omitted else ""),
    )
    if (stored := session.stored(training)) is not None:
        return stored
    lesson = lesson_of(kind, loss, config, data)
    whiten(network, data.train_images, np.unique(lesson.indices))
    recorder = session.recorder(training)
    train(network, lesson, settings, session.workers, recorder)
    return session.kept(recorder)


def lesson_of(kind: str, loss: Loss, config: Config, data: Data) -> Lesson:
    """The images that a network learns from, repeated to the length of an epoch, and its loss."""
    indices, n_per_epoch = images_for(kind, config, data)
    return Lesson(data.train_images, np.resize(indices, n_per_epoch), loss)
